package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/parent"
)

// lastWords is how long the plugin takes to clean up when nobody waits for it:
// less than the ten seconds in which it is to be gone after its runner.
const lastWords = 9 * time.Second

// startedByRunner reports whether fleeting's handshake is to be had: without it nobody
// is served.
func startedByRunner() bool { return os.Getenv("FLEETING_INSTANCE_GROUP_PLUGIN") != "" }

// serve answers the runner until that closes the plugin, or dies.
func serve() {
	group := &provider.InstanceGroup{}
	// systemd signals the whole control group, and the runner's own unit stops it with SIGQUIT: a plugin that obeyed would be
	// gone before the runner could call Shutdown. SIGPIPE comes from writing a log line after the runner has died, which must
	// not end the clean-up.
	signal.Ignore(syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGPIPE)
	sockets := socketDir()
	cleanUp := func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = group.Shutdown(ctx) // what fails has been logged
		os.RemoveAll(sockets)
	}
	go func() {
		parent.Gone()
		cleanUp()
		os.Exit(1)
	}()
	plugin.Main(group, provider.Version)
	// A runner that refused what Init told it closes the plugin without
	// Shutdown. A second Shutdown does nothing.
	cleanUp()
}

// socketDir makes a directory of our own for the socket that the runner talks
// to, so that an orphan can remove it: go-plugin does that only when the runner
// closes the plugin. It returns "" where the runner has chosen one.
func socketDir() string {
	if os.Getenv(goplugin.EnvUnixSocketDir) != "" {
		return ""
	}
	dir, err := os.MkdirTemp("", "fleeting-plugin-digitalocean-")
	if err != nil {
		return "" // go-plugin tells why there can be no socket
	}
	os.Setenv(goplugin.EnvUnixSocketDir, dir)
	return dir
}
