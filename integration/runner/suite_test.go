//go:build linux

// Package runner is the integration suite with a real gitlab-runner: its binary, the plugin's, a coordinator of our own in
// GitLab's place, and the simulated DigitalOcean. What it asserts is measured there: at the jobs and the account's ledger.
//
// GITLAB_RUNNER=/path/to/gitlab-runner make runner-test. Without it the suite runs with a fake one, made of the runner's
// own libraries, and with every fault that the fake can have, each of which one check has to notice.
package runner

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// program is a gitlab-runner.
type program struct {
	path string
	old  string // an older one, to upgrade from; "" = there is none
	fake string // what is wrong with it, if it is our fake; "" = it is real

	fails string // the check that is to fail
}

// bound is how long this program may take for what a real runner has d for.
func (p program) bound(d time.Duration) time.Duration {
	if p.fake != "" {
		d *= slack
	}
	return d
}

func TestMain(m *testing.M) {
	if fault := os.Getenv(fakeEnv); fault != "" {
		if err := beRunner(fault, os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, `{"level":"fatal","msg":%q}`+"\n", err)
			os.Exit(1)
		}
		return
	}
	// The cases wait most of their time, and need not wait for each other.
	flag.Parse()
	parallel := "24"
	if os.Getenv("GITLAB_RUNNER") != "" {
		parallel = "6"
	}
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(simulated.Main(m))
}

const (
	bootTime = time.Second // of the simulated account: a real Droplet boots in some 30 s

	// Bounds of what a real runner may take. Its own intervals are in them: it asks for jobs once a second, scales once a
	// second, and looks every 2 s for an instance for a job.
	startLimit = 8 * time.Second // from a ready Droplet, or from the job if that is later, to the job's first command
	lifeLimit  = time.Minute     // for what else has to happen

	slack      = 3                // times as long may a fake take: dozens run at once, on a machine that has other things to do
	faultLimit = 10 * time.Second // for a check that is expected to fail
)

// TestRunner runs the suite with a real gitlab-runner.
func TestRunner(t *testing.T) {
	path := os.Getenv("GITLAB_RUNNER")
	if path == "" {
		t.Skip("not run: GITLAB_RUNNER=/path/to/gitlab-runner make runner-test runs it, with GITLAB_RUNNER_OLD an upgrade from that one too")
	}
	t.Parallel()
	succeed(t, program{path: path, old: os.Getenv("GITLAB_RUNNER_OLD")})
}

// TestFake runs the suite with a fake gitlab-runner that has no fault; with TEST_LONG=1 all of it.
func TestFake(t *testing.T) {
	t.Parallel()
	succeed(t, program{path: os.Args[0], old: os.Args[0], fake: "sound"})
}

// succeed has every case go well.
func succeed(t *testing.T, p program) {
	for _, c := range cases() {
		if p.fake != "" && (c.container || c.long && os.Getenv("TEST_LONG") == "") {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var engine *guest.Docker
			if c.container {
				var err error
				if engine, err = guest.FindDocker(t.Context(), ""); err != nil {
					t.Skip("not run: ", err)
				}
			}
			w := newWorld(t, p, engine)
			if f := w.try(c.run); f != nil {
				t.Errorf("%s: %v\n%s", f.check, f.err, w.tail())
			}
			t.Log(w.figure)
		})
	}
}

// TestChecksCanFail runs cases with fakes that have a fault each, which the check that it is there for notices; and no
// check of the suite is without one.
func TestChecksCanFail(t *testing.T) {
	if os.Getenv("TEST_LONG") == "" {
		t.Skip("make verify runs it, with TEST_LONG=1")
	}
	t.Parallel()
	all := cases()
	proven := map[string]bool{}
	for _, c := range []struct{ fault, name, check string }{
		{"dies", "metrics", "the runner lives"},
		{"reports no success", "metrics", "jobs succeed"},
		{"cuts logs", "metrics", "logs are whole"},
		{"reports two ends", "metrics", "no rule is broken"},
		{"shows no metrics", "metrics", "metrics are there"},
		{"ignores SIGQUIT", "metrics", "SIGQUIT ends the runner"},
		{"ignores SIGTERM", "stop: SIGTERM, with state_storage", "SIGTERM ends the runner"},
		{"reports no aborted job", "stop: SIGTERM, with state_storage", "SIGTERM's jobs are reported"},
		{"aborts at SIGQUIT", "stop: SIGQUIT, with state_storage", "SIGQUIT waits for jobs"},
		{"reads delete_instances_on_shutdown as delete_instances_on_shutdown = true", "stop: SIGQUIT, with state_storage", "Droplets stay"},
		{"reads enabled as enabled = false", "stop: SIGQUIT, with state_storage", "state_storage decides"},
		{"reads delete_instances_on_shutdown as delete_instances_on_shutdown = false", "reload: SIGHUP", "nothing is left"},
		{"ignores SIGHUP", "reload: SIGHUP", "SIGHUP is obeyed"},
		{"reads no changed file", "reload: the file changes", "a changed file is read"},
		{"dawdles", "refused sections", "jobs start in time"},
		{"waits for the refused", "refused sections", "refused sections hold nobody up"},
		{"runs jobs itself", "max_use_count", "jobs run on Droplets"},
		{"reads max_use_count as max_use_count = 0", "max_use_count", "max_use_count is kept"},
		{"reads idle_count as idle_count = 0", "idle_count and idle_time", "idle_count is kept"},
		{`reads idle_time as idle_time = "1h"`, "idle_count and idle_time", "idle_time is kept"},
		{"mixes groups", "two groups", "a group has its own jobs"},
		{"reads token_file as token = \"" + dosim.DefaultToken + "\"", "token rotation", "a new token is taken"},
		{"logs what ready commands print", "ready command", "a ready command's status is logged, its output not"},
		{"complains", "verify and lint", "verify"},
		{"is strict", "verify and lint", "lint"},
		{"forgets the password", "fleeting install, list, login", "fleeting login"},
		{"installs nothing", "fleeting install, list, login", "fleeting install"},
		{"lists nothing", "fleeting install, list, login", "fleeting list"},
	} {
		proven[c.check] = true
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, program{path: os.Args[0], old: os.Args[0], fake: c.fault, fails: c.check}, nil)
			of := all[slices.IndexFunc(all, func(o testCase) bool { return o.name == c.name })]
			if f := w.try(of.run); f == nil || f.check != c.check {
				t.Errorf("with a runner that %s, %q fails by %+v, want the check %q\n%s", c.fault, c.name, f, c.check, w.tail())
			}
		})
	}
	t.Cleanup(func() { // when all of the above is through
		checked.Range(func(name, _ any) bool {
			if !proven[name.(string)] {
				t.Errorf("no fault shows that the check %q can fail", name)
			}
			return true
		})
	})
}
