//go:build !unix

package guest

import (
	"os"
	"os/exec"
	"syscall"
)

// Hosts without process groups have no /bin/sh either: guests boot, accept
// logins and forward sockets there, and every command fails with the reason.

func ownGroup(*exec.Cmd) {}

func signalGroup(cmd *exec.Cmd, _ syscall.Signal) { _ = cmd.Process.Kill() }

func signalNumber(string) (syscall.Signal, bool) { return 0, false }

func exitOf(state *os.ProcessState) exit { return exit{status: state.ExitCode()} }
