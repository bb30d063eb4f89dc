//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// parent is the runner: whoever started us.
var parent = os.Getppid()

// ignoreSignals lets the runner decide when the plugin ends. systemd signals the
// whole control group, and the runner's own unit stops it with SIGQUIT: a plugin
// that obeyed would be gone before Shutdown could be called. SIGPIPE comes from
// writing a log line after the runner has died, which must not end the clean-up.
func ignoreSignals() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE)
}

// parentGone returns when the parent has died: the process then has another. Not
// "is 1", since a runner may be pid 1 of its container; and not PDEATHSIG, which
// follows the thread that forked, not the process.
func parentGone() {
	for os.Getppid() == parent {
		time.Sleep(time.Second)
	}
}
