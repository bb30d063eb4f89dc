package runner

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// testCase is one thing that a runner has to do with the plugin.
type testCase struct {
	name      string
	run       func(*world)
	container bool // it needs a Docker Engine
}

// docker is the Engine of the case's Droplets; nil if it needs none.
func (c testCase) docker(t *testing.T, p program) *guest.Docker {
	t.Helper()
	if !c.container {
		return nil
	}
	engine, err := guest.FindDocker(t.Context(), "")
	if err != nil {
		t.Skip("not run: ", err)
	}
	return engine
}

func cases() []testCase {
	all := []testCase{
		{name: "instance: a burst of 20", run: burst},
		{name: "idle_count and idle_time", run: idle},
		{name: "max_use_count", run: maxUse},
		{name: "reload: the file changes", run: func(w *world) { reload(w, false) }},
		{name: "reload: SIGHUP", run: func(w *world) { reload(w, true) }},
	}
	for _, s := range []stopping{
		{name: "SIGQUIT", signal: syscall.SIGQUIT},
		{name: "SIGTERM", signal: syscall.SIGTERM},
		{name: "kill -9", signal: syscall.SIGKILL},
		{name: "kill -9 of the plugin", signal: syscall.SIGKILL, plugin: true},
	} {
		all = append(all, testCase{name: "stop: " + s.name, run: s.run})
		s.state = true
		all = append(all, testCase{name: "stop: " + s.name + ", with state_storage", run: s.run})
	}
	return append(all, testCase{name: "two groups", run: twoGroups})
}

// burst is 20 jobs at once, and Droplets for 10.
func burst(w *world) {
	w.configure(section{Name: "a", Max: 10})
	w.start()
	ids := w.queue(20, "a", 0.5)
	w.done(ids)
	w.startedInTime(ids)
}

// idle keeps idle_count Droplets before and after a burst, and those beyond it for idle_time.
func idle(w *world) {
	w.configure(section{Name: "a", Max: 6, Idle: 2, IdleTime: "3s"})
	w.start()
	w.idles("idle_count is kept", 2)
	ids := w.queue(5, "a", 2)
	w.done(ids)
	w.startedInTime(ids)
	w.idles("idle_time is kept", 2)
	for range 20 { // and no fewer, and not others
		w.check("idle_count is kept", func() error {
			if n := len(w.droplets()); n < 2 {
				return fmt.Errorf("%d Droplets after the burst", n)
			}
			return nil
		}())
		time.Sleep(100 * time.Millisecond)
	}
}

// maxUse has each Droplet do max_use_count jobs.
func maxUse(w *world) {
	w.configure(section{Name: "a", Max: 2, MaxUse: 2})
	w.start()
	ids := w.queue(6, "a", 0.1)
	w.done(ids)
	jobs := map[string]int{}
	for _, r := range w.runs(ids) {
		jobs[r.bill.Name]++
	}
	for name, n := range jobs {
		if n > 2 {
			w.check("max_use_count is kept", fmt.Errorf("%s had %d jobs", name, n))
		}
	}
	w.check("max_use_count is kept", nil)
}

// reload has a runner follow its policy while it runs: at a look at the file, which is newer, or at a signal.
func reload(w *world, hangup bool) {
	w.configure(section{Name: "a", Max: 4})
	w.start()
	w.done(w.queue(1, "a", 0.1))
	before, err := os.Stat(w.path("config.toml"))
	if err != nil {
		w.Fatal(err)
	}
	w.configure(section{Name: "a", Max: 4, Idle: 3})
	check := "a changed file is read"
	if hangup {
		check = "SIGHUP is obeyed"
		if err := os.Chtimes(w.path("config.toml"), before.ModTime(), before.ModTime()); err != nil {
			w.Fatal(err)
		}
		w.check("the runner lives", w.runner.cmd.Process.Signal(syscall.SIGHUP))
	} else if after := before.ModTime().Add(2 * time.Second); os.Chtimes(w.path("config.toml"), after, after) != nil {
		w.Fatal("the file cannot be dated")
	}
	w.idles(check, 3)
}

// stopping is a way for a runner, or its plugin, to end under a job.
type stopping struct {
	name   string
	signal syscall.Signal
	plugin bool // the plugin is signalled
	state  bool // with state_storage
	old    bool // the first runner is the older one
}

// run ends a runner that keeps its Droplets, and starts it again: with state_storage the Droplets go on, without it new ones
// take their place.
func (s stopping) run(w *world) {
	first := section{Name: "a", Max: 6, Idle: 2, State: s.state, Keep: true}
	w.configure(first)
	path := w.program.path
	if s.old {
		path = w.program.old
	}
	w.startOf(path)
	w.idles("idle_count is kept", 2)
	seconds := 3.0
	if s.signal == syscall.SIGTERM {
		seconds = 40
	}
	ids := w.queue(1, "a", seconds)
	w.eventually("jobs start in time", lifeLimit, func() error {
		if j := w.gitlab.Jobs(ids...)[0]; j.Taken.IsZero() || len(j.Log) == 0 {
			return fmt.Errorf("job %d is %s, log %q", j.ID, j.State, j.Log)
		}
		return nil
	})
	if s.plugin {
		pid, err := host.Holder(w.Group("a"))
		w.check("the plugin lives", errors.Join(err, syscall.Kill(pid, s.signal)))
		w.done(ids)
		w.stop(syscall.SIGQUIT)
	} else {
		w.stop(s.signal)
	}
	switch job := w.gitlab.Jobs(ids...)[0]; {
	case s.signal == syscall.SIGTERM:
		if job.State != "failed" {
			w.check("SIGTERM's jobs are reported", fmt.Errorf("the job is %s", job.State))
		}
		w.check("SIGTERM's jobs are reported", nil)
	case s.signal == syscall.SIGQUIT:
		if job.State != "success" {
			w.check("SIGQUIT waits for jobs", fmt.Errorf("the job is %s", job.State))
		}
		w.check("SIGQUIT waits for jobs", nil)
	}
	before := w.droplets()
	if len(before) < 2 {
		w.check("Droplets stay", fmt.Errorf("%d of them, want 2 at least", len(before)))
	}
	w.check("Droplets stay", nil)

	first.Keep = false
	w.configure(first)
	w.start()
	next := w.queue(1, "a", 0.1)
	w.done(next)
	w.startedInTime(next)
	if on := w.runs(next)[0].bill.Name; slices.Contains(before, on) != s.state {
		w.check("state_storage decides", fmt.Errorf("with state_storage = %v the job ran on %s; from before there were %v", s.state, on, before))
	}
	w.check("state_storage decides", nil)
}

// twoGroups has each of two [[runners]] use its own Droplets.
func twoGroups(w *world) {
	w.configure(section{Name: "a", Max: 3}, section{Name: "b", Max: 3})
	w.start()
	for name, ids := range map[string][]int{w.Group("a"): w.queue(3, "a", 0.2), w.Group("b"): w.queue(3, "b", 0.2)} {
		w.done(ids)
		for _, r := range w.runs(ids) {
			if len(r.bill.Name) < len(name) || r.bill.Name[:len(name)] != name {
				w.check("a group has its own jobs", fmt.Errorf("a job of %s ran on %s", name, r.bill.Name))
			}
		}
	}
	w.check("a group has its own jobs", nil)
}

var _ = http.StatusOK
