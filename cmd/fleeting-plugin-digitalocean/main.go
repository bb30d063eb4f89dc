// Command fleeting-plugin-digitalocean lets GitLab Runner scale DigitalOcean
// Droplets. The runner starts it; see help for what a person can do with it.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
)

const usage = `fleeting-plugin-digitalocean lets GitLab Runner scale CI on DigitalOcean Droplets.

GitLab Runner starts it by itself, from the line plugin = "..." in config.toml.

Usage:
  fleeting-plugin-digitalocean [serve]               serve the runner that started it
  fleeting-plugin-digitalocean version               what this build is
  fleeting-plugin-digitalocean bootstrap REPOSITORY  copy itself to where a runner in
                                                     another container finds it
  fleeting-plugin-digitalocean help                  this text

A session on the runner's host, with the binary in a directory of PATH:
  $ fleeting-plugin-digitalocean version
  Name:         fleeting-plugin-digitalocean
  ...
  $ grep -A 3 'runners.autoscaler]' /etc/gitlab-runner/config.toml
    [runners.autoscaler]
      plugin = "fleeting-plugin-digitalocean"
      max_instances = 10
      update_interval = "1m0s"
  $ gitlab-runner run
`

func main() {
	word := ""
	if len(os.Args) > 1 {
		word = os.Args[1]
	}
	switch word {
	case "help", "-h", "-help", "--help":
		fmt.Print(usage)
	case "", "serve":
		serve()
	case "version", "-version", "--version", "bootstrap":
		plugin.Main(&provider.InstanceGroup{}, provider.Version)
	default:
		// Upstream's Main would serve on any word.
		fmt.Fprintf(os.Stderr, "error: unknown command %q\nhint: fleeting-plugin-digitalocean help\n", word)
		os.Exit(2)
	}
}

// lastWords is how long the plugin takes to clean up when nobody waits for it:
// less than the ten seconds in which it is to be gone after its runner.
const lastWords = 9 * time.Second

// serve answers the runner until that closes the plugin, or dies.
func serve() {
	group := &provider.InstanceGroup{}
	ignoreSignals()
	sockets := socketDir()
	cleanUp := func() {
		ctx, cancel := context.WithTimeout(context.Background(), lastWords)
		defer cancel()
		_ = group.Shutdown(ctx) // what fails has been logged
		os.RemoveAll(sockets)
	}
	go func() {
		parentGone()
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
// closes the plugin. It returns "" where the runner has chosen one, and where
// there is no runner.
func socketDir() string {
	const cookie = "FLEETING_INSTANCE_GROUP_PLUGIN" // of fleeting's handshake; without it nobody is served
	if os.Getenv(cookie) == "" || os.Getenv(goplugin.EnvUnixSocketDir) != "" {
		return ""
	}
	dir, err := os.MkdirTemp("", "fleeting-plugin-digitalocean-")
	if err != nil {
		return "" // go-plugin tells why there can be no socket
	}
	os.Setenv(goplugin.EnvUnixSocketDir, dir)
	return dir
}
