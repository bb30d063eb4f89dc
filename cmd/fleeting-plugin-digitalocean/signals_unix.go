//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreSignals lets the runner decide when the plugin ends. systemd signals the
// whole control group, and the runner's own unit stops it with SIGQUIT: a plugin
// that obeyed would be gone before Shutdown could be called. SIGPIPE comes from
// writing a log line after the runner has died, which must not end the clean-up.
func ignoreSignals() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE)
}
