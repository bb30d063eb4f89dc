//go:build linux

package runner

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/coordinator"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// script prints when it begins and that it ends, and takes some seconds.
func script(seconds float64) []string {
	return []string{"echo started $(date +%s.%N)", fmt.Sprintf("sleep %.1f", seconds), "echo finished"}
}

// started matches what a script prints first, where its image has a date.
var started = regexp.MustCompile(`started (\d+)\.(\d*)`)

// queue queues jobs for a section, of some seconds each.
func (w *world) queue(n int, section string, seconds float64) []int {
	return w.gitlab.Queue(n, coordinator.Job{Runner: w.Token(section), Script: script(seconds)})
}

// work queues jobs, and waits for them.
func (w *world) work(n int, section string, seconds float64) (ids []int) {
	ids = w.queue(n, section, seconds)
	w.done("jobs succeed", ids)
	return ids
}

// done waits for jobs, which are to succeed, and to start in time. Check is that they end at all.
func (w *world) done(check string, ids []int) {
	w.eventually(check, lifeLimit, func() error {
		for _, j := range w.gitlab.Jobs(ids...) {
			if j.State == "success" {
				continue
			}
			err := fmt.Errorf("job %d is %s %s, log %q", j.ID, j.State, j.Reason, j.Log)
			if j.Done() {
				w.check("jobs succeed", err)
			}
			return err
		}
		return nil
	})
	for _, j := range w.gitlab.Jobs(ids...) {
		n := len(regexp.MustCompile(`(?m)^finished\r?$`).FindAll(j.Log, -1))
		w.require("logs are whole", n == 1, "job %d says %d times that it finished, log %q", j.ID, n, j.Log)
	}
	w.startedInTime(ids)
}

// ran is what is known of a job that has run.
type ran struct {
	job     coordinator.Job
	bill    dosim.Bill
	active  time.Time // its Droplet, as the plugin logs it
	started time.Time // zero: its image has no date
}

// runs are jobs that have run.
func (w *world) runs(ids []int) (runs []ran) {
	active := w.lines("Droplet is active")
	for _, j := range w.gitlab.Jobs(ids...) {
		r := ran{job: j}
		for _, b := range w.Sim.Ledger() {
			if strings.Contains(string(j.Log), b.Name) {
				r.bill, r.active = b, b.Created.Add(bootTime)
			}
		}
		w.require("jobs run on Droplets", r.bill.Name != "", "the log of job %d names none: %q", j.ID, j.Log)
		if i := slices.IndexFunc(active, func(l line) bool { return l.Name == r.bill.Name }); i >= 0 {
			r.active = active[i].Time
		}
		if m := started.FindSubmatch(j.Log); m != nil {
			s, _ := strconv.ParseInt(string(m[1]), 10, 64)
			ns, _ := strconv.ParseInt(string(m[2]), 10, 64) // none if the image's date has none
			r.started = time.Unix(s, ns)
		}
		runs = append(runs, r)
	}
	return runs
}

// startedInTime checks that jobs have not waited for anything but a Droplet, and prints how long each step took.
func (w *world) startedInTime(ids []int) {
	increases := w.lines("increasing instances")
	steps := map[string][]time.Duration{}
	names := []string{"queued → taken", "→ increase", "→ create", "→ active", "→ started", "on an idle Droplet: taken → started"}
	for _, r := range w.runs(ids) {
		moments := []time.Time{r.job.Queued, r.job.Taken}
		if r.bill.Created.After(r.job.Taken) {
			increase := r.job.Taken
			for _, l := range increases {
				if l.Time.Before(r.bill.Created) && l.Time.After(increase) {
					increase = l.Time
				}
			}
			moments = append(moments, increase, r.bill.Created, r.active)
		}
		for i := range len(moments) - 1 {
			steps[names[i]] = append(steps[names[i]], moments[i+1].Sub(moments[i]))
		}
		if r.started.IsZero() {
			continue
		}
		name, since := names[4], r.active
		if r.job.Taken.After(since) {
			name, since = names[5], r.job.Taken
		}
		waited := r.started.Sub(since)
		w.require("jobs start in time", waited <= w.program.bound(startLimit), "job %d waited for %s on a Droplet that was ready", r.job.ID, waited)
		steps[name] = append(steps[name], waited)
	}
	w.figure += fmt.Sprintf("\njobs: %d; ", len(ids))
	for _, name := range names {
		if s := steps[name]; len(s) > 0 {
			w.figure += fmt.Sprintf("%s %.2f-%.2f s (%d)  ", name, slices.Min(s).Seconds(), slices.Max(s).Seconds(), len(s))
		}
	}
}

// droplets are the names of the Droplets that there are.
func (w *world) droplets() (names []string) {
	for _, d := range w.Sim.Droplets() {
		names = append(names, d.Name)
	}
	return names
}

// idles waits until there are n Droplets, all of them ready to the runner.
func (w *world) idles(check string, n int) {
	w.eventually(check, lifeLimit, func() error {
		if all := w.droplets(); len(all) != n || w.ready(all) != n {
			return fmt.Errorf("%d Droplets, of which %d are ready, want %d", len(all), w.ready(all), n)
		}
		return nil
	})
}

// ready counts which of these Droplets the runner has found ready.
func (w *world) ready(droplets []string) (n int) {
	for _, l := range w.lines("instance is ready") {
		if slices.Contains(droplets, l.Instance) {
			n++
		}
	}
	return n
}
