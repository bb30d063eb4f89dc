package guest

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// notExecutable is the status with which a shell says that it found a command
// and could not run it.
const notExecutable = 126

// outputLimit is how long output is waited for once the shell has ended: long enough for a client on a busy machine.
const outputLimit = 5 * time.Second

// environment is all that a command of g knows of the world: nothing is taken
// from the host's environment, which may hold secrets.
func environment(g *guest, f *Fleet) []string {
	env := []string{
		"PATH=" + f.binDir() + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + g.home(),
		"TMPDIR=" + g.tmp(),
		"USER=" + g.spec.User,
		"LOGNAME=" + g.spec.User,
		"HOSTNAME=" + g.spec.Name,
		"SHELL=/bin/sh",
	}
	if f.docker != nil {
		env = append(env, f.docker.env()...)
	}
	return env
}

// runShell runs a command between the session's streams, until it has ended and its
// output is sent, or until ctx is done. Its process group does not outlive it, so
// that a simulation leaves nothing behind. What left the group may hold its output
// open: that is given up after outputLimit.
func (s *session) runShell(ctx context.Context, command string) (status int) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Env = s.guest.home(), s.guest.env
	cmd.Stdout, cmd.Stderr = s.ch, s.ch.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	killGroup := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel, cmd.WaitDelay = killGroup, outputLimit
	// A pipe of our own, so that Wait does not wait for the end of the client's input.
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.guest.log("guest %s: starting a command: %v", s.guest.spec.Name, err)
		fmt.Fprintf(s.ch.Stderr(), "simulated Droplet: the host cannot start /bin/sh: %v\n", err)
		return notExecutable
	}
	s.wg.Go(func() {
		_, _ = io.Copy(stdin, s.ch)
		_ = stdin.Close()
	})
	_ = cmd.Wait()  // the status says all
	_ = killGroup() // nothing may be left to kill
	// Of one that was killed it is what a shell would make of it.
	if end, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && end.Signaled() {
		return 128 + int(end.Signal())
	}
	return cmd.ProcessState.ExitCode()
}
