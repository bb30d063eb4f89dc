// Command fleeting-plugin-digitalocean lets GitLab Runner scale DigitalOcean
// Droplets. The runner starts it; see help for what a person can do with it.
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/agnivade/levenshtein"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
)

const usage = `fleeting-plugin-digitalocean lets GitLab Runner scale CI on DigitalOcean Droplets.

GitLab Runner starts it by itself, from the line plugin = "..." in config.toml.

Usage:
  fleeting-plugin-digitalocean doctor                find what would go wrong, before a job does
  fleeting-plugin-digitalocean ls                    list a group's Droplets, and what they cost
  fleeting-plugin-digitalocean rm NAME...            destroy Droplets, and wait until they are gone
  fleeting-plugin-digitalocean sweep --group NAME    find what no process looks after any more
  fleeting-plugin-digitalocean migrate [FILE]        turn docker+machine runners into docker-autoscaler ones

  fleeting-plugin-digitalocean [serve]               serve the runner that started it
  fleeting-plugin-digitalocean version               what this build is
  fleeting-plugin-digitalocean bootstrap REPOSITORY  copy itself to where a runner in
                                                     another container finds it
  fleeting-plugin-digitalocean help                  this text

Each has --help. A session on the runner's host:
  $ sudo fleeting-plugin-digitalocean ls
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H    USD SO FAR  IMAGE         RUN
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571  0.01        docker-20-04  w4n2
  1 Droplet: 0.03571 USD an hour, 0.01 USD so far
`

// verbs are what a person can do, by word.
var verbs = map[string]func(context.Context, *terminal, []string) int{
	"doctor":  diagnose,
	"ls":      ls,
	"migrate": migrate,
	"rm":      rm,
	"sweep":   sweep,
}

func main() {
	var args []string
	word := ""
	if len(os.Args) > 1 {
		word, args = os.Args[1], os.Args[2:]
	}
	help := word == "help" || word == "-h" || word == "-help" || word == "--help"
	if help && len(args) == 1 && verbs[args[0]] != nil {
		word, args, help = args[0], []string{"--help"}, false
	}
	t := newTerminal()
	switch verb := verbs[word]; {
	case verb != nil:
		ctx, stop := signal.NotifyContext(context.Background(), endings()...)
		code := verb(ctx, t, args)
		stop()
		os.Exit(t.end(code))
	case word == "" || word == "serve":
		serve()
	case word == "version" || word == "-version" || word == "--version" || word == "bootstrap":
		plugin.Main(&provider.InstanceGroup{}, provider.Version)
	case help:
		_, _ = io.WriteString(t.out, usage)
		os.Exit(t.end(exitOK))
	default:
		// Upstream's Main would serve on any word.
		os.Exit(t.failed(hinted{misuse(fmt.Sprintf("unknown command %q", word)), "fleeting-plugin-digitalocean " + nearest(word)}))
	}
}

// endings are the signals that end a command in good order, as Ctrl-C does: also the
// SIGHUP of a terminal that is gone, unless nohup has it ignored.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// unheard lets a command that destroys go on when nobody reads what it says: a pipe that
// is closed must not end it halfway. (TestScripts, hangup)
func unheard() { signal.Ignore(syscall.SIGPIPE) }

// nearest is the command that was meant, or help.
func nearest(word string) string {
	best, found := 3, "help"
	for _, verb := range slices.Sorted(maps.Keys(verbs)) {
		if d := levenshtein.ComputeDistance(word, verb); d < best && d < len(verb) {
			best, found = d, verb
		}
	}
	return found
}
