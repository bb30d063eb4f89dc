package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// notExecutable is the status with which a shell says that it found a command
// and could not run it.
const notExecutable = 126

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

// runShell runs the shell between the session's streams, and returns when it
// has ended and all of its output is sent, or when ctx is done. Like OpenSSH it
// waits for the output of background processes too; unlike OpenSSH it kills
// what is left of them in the end, so that a simulation leaves nothing behind.
func (s *session) runShell(ctx context.Context, args ...string) (status int) {
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = s.guest.home()
	cmd.Env = s.guest.env
	ownGroup(cmd)

	stdin, stdout, stderr, err := startPiped(cmd)
	if err != nil {
		return s.cannotRun(err)
	}

	s.wg.Go(func() {
		_, _ = io.Copy(stdin, s.ch)
		_ = stdin.Close()
	})

	var output sync.WaitGroup
	output.Go(func() { drain(s.ch, stdout) })
	output.Go(func() { drain(s.ch.Stderr(), stderr) })

	// The shell is reaped last: until then its process id, which is the
	// group's, cannot be given to anyone else, and the group can be signalled.
	ended := make(chan struct{})
	s.wg.Go(func() {
		defer close(ended)
		output.Wait()
		_ = cmd.Wait()
	})

	select {
	case <-ctx.Done():
		killGroup(cmd)
		stdout.Close()
		stderr.Close()
		<-ended
	case <-ended:
		killGroup(cmd)
	}
	return statusOf(cmd.ProcessState)
}

// startPiped starts cmd with pipes for its three streams. The reading ends are
// ours rather than cmd's, whose Wait would wait for them, so that reading can be
// given up: a process that left the group may hold them open for ever.
func startPiped(cmd *exec.Cmd) (stdin io.WriteCloser, stdout, stderr *os.File, err error) {
	stdout, stdoutW, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer stdoutW.Close()
	stderr, stderrW, err := os.Pipe()
	if err != nil {
		stdout.Close()
		return nil, nil, nil, err
	}
	defer stderrW.Close()

	cmd.Stdout, cmd.Stderr = stdoutW, stderrW
	stdin, err = cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		stdout.Close()
		stderr.Close()
		return nil, nil, nil, err
	}

	return stdin, stdout, stderr, nil
}

// drain sends to the client what the command writes. If the client is gone the
// command's next write fails.
func drain(client io.Writer, r *os.File) {
	_, _ = io.Copy(client, r)
	_ = r.Close()
}

func (s *session) cannotRun(err error) (status int) {
	s.guest.log("guest %s: starting a command: %v", s.guest.spec.Name, err)
	fmt.Fprintf(s.ch.Stderr(), "simulated Droplet: the host cannot start /bin/sh: %v\n", err)
	return notExecutable
}
