//go:build unix

package guest

import (
	"os"
	"os/exec"
	"syscall"
)

// signalNames are the signals that SSH can name (RFC 4254, section 6.10).
var signalNames = map[syscall.Signal]string{
	syscall.SIGABRT: "ABRT",
	syscall.SIGALRM: "ALRM",
	syscall.SIGFPE:  "FPE",
	syscall.SIGHUP:  "HUP",
	syscall.SIGILL:  "ILL",
	syscall.SIGINT:  "INT",
	syscall.SIGKILL: "KILL",
	syscall.SIGPIPE: "PIPE",
	syscall.SIGQUIT: "QUIT",
	syscall.SIGSEGV: "SEGV",
	syscall.SIGTERM: "TERM",
	syscall.SIGUSR1: "USR1",
	syscall.SIGUSR2: "USR2",
}

// ownGroup makes cmd start as the leader of a process group of its own.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// signalGroup signals cmd and all that it started. That nothing is left to
// signal is no error.
func signalGroup(cmd *exec.Cmd, sig syscall.Signal) {
	_ = syscall.Kill(-cmd.Process.Pid, sig)
}

func signalNumber(name string) (syscall.Signal, bool) {
	for sig, n := range signalNames {
		if n == name {
			return sig, true
		}
	}
	return 0, false
}

// exitOf says how a process ended. The status of one that was killed is what
// a shell would make of it; a signal that SSH cannot name is told by it alone.
func exitOf(state *os.ProcessState) exit {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !ws.Signaled() {
		return exit{status: state.ExitCode()}
	}
	return exit{status: 128 + int(ws.Signal()), signal: signalNames[ws.Signal()]}
}
