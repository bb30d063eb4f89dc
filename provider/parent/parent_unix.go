//go:build unix

// Package parent notices that the runner that started this plugin has died.
package parent

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var (
	pid = os.Getppid()
	// The pipe that the runner reads. go-plugin replaces os.Stdout, and a file that
	// nobody refers to is closed.
	stdout = os.Stdout
)

// Gone returns when the runner has died: this process then has another parent, or nobody
// reads its standard output any more.
//
// The first is not enough for a plugin that is wrapped in a script without exec: its
// parent is the shell, which lives on. Whatever is between, the runner must have the
// reading end of the pipe, for the handshake comes over it, and it closes that only when
// it ends or when it has seen what it started end. To follow the chain of parents would
// take a list of shells, and /proc. The second alone is not enough where a script gives
// the pipe to another process and then becomes the plugin. One that stays and pipes
// hides the runner altogether.
//
// Not "the parent is 1", since a runner may be pid 1 of its container; and not
// PDEATHSIG, which follows the thread that forked, not the process.
func Gone() {
	for os.Getppid() == pid && !unread(stdout) {
		time.Sleep(time.Second)
	}
}

// unread reports whether f is a pipe without a reader. Linux then says POLLERR, others
// say POLLHUP, and only if they are asked for POLLOUT.
func unread(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLOUT}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}
