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

// lastWords bounds the clean-up: the plugin is to be gone ten seconds after its runner.
const lastWords = 9 * time.Second

// startedByRunner reports whether fleeting's handshake is there.
func startedByRunner() bool { return os.Getenv("FLEETING_INSTANCE_GROUP_PLUGIN") != "" }

// serve answers the runner until that closes the plugin, or dies.
func serve() {
	group := &provider.InstanceGroup{}
	// systemd signals the whole control group, with SIGQUIT by the runner's unit: the plugin has to outlive that for Shutdown.
	// SIGPIPE comes from a log line after the runner's death.
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
	// A runner that refused what Init told it does not call Shutdown. A second one does nothing.
	cleanUp()
}

// socketDir makes a directory for the runner's socket, which an orphan can remove: go-plugin does not. "" = the runner chose one.
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
