package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestFleet measures large groups, hours of them, in virtual time: the runner's
// own provisioner, the plugin, and a simulated DigitalOcean with its real rate
// limits and a round trip of 150 ms. `make bench` names the file for the table.
func TestFleet(t *testing.T) {
	file := os.Getenv("FLEET_RESULTS")
	if file == "" {
		t.Skip("it takes minutes: make bench sets FLEET_RESULTS")
	}
	var rows []fleetRow
	add := func(what, measured, target string, met bool) {
		t.Logf("%-60s %s", what, measured)
		if !met {
			t.Errorf("the target is missed: %s", target)
		}
		rows = append(rows, fleetRow{What: what, Measured: measured, Target: target, Met: met})
	}
	for _, c := range []struct {
		n, up, down int
		accepted    time.Duration
	}{{100, 25, 6, 750 * time.Millisecond}, {1000, 150, 32, 3 * time.Second}} {
		what := fmt.Sprintf("0 -> %d -> 0", c.n)
		var g growth
		onLargeAccount(t, what, func(t *testing.T, sim *dosim.Sim) { g = grow(t, sim, c.n) })
		add(what, g.String(), fmt.Sprintf("%d creates, no 429, accepted within %s, <= %d requests up, <= %d down", c.n/10, c.accepted, c.up, c.down),
			g.creates == c.n/10 && g.throttled == 0 && g.accepted <= c.accepted && g.up <= c.up && g.down <= c.down)
	}
	for _, c := range []struct{ n, idle, busy, age int }{{200, 70, 1800, 3}, {1000, 310, 2500, 8}, {5000, 1510, 3000, 32}} {
		var h hour
		what := fmt.Sprintf("%d Droplets, Update every minute, 1 h", c.n)
		onLargeAccount(t, what, func(t *testing.T, sim *dosim.Sim) { h = steady(t, sim, c.n, time.Minute, "ci")[0] })
		add(what, fmt.Sprintf("%d requests", h.requests), fmt.Sprintf("<= %d requests", c.idle), h.requests <= c.idle)
		what = fmt.Sprintf("%d Droplets, Update every 2 s, 1 h", c.n)
		onLargeAccount(t, what, func(t *testing.T, sim *dosim.Sim) { h = steady(t, sim, c.n, 2*time.Second, "ci")[0] })
		add(what, fmt.Sprintf("%d requests, data age p95 %s", h.requests, seconds(h.age)),
			fmt.Sprintf("<= %d requests, p95 <= %d s", c.busy, c.age), h.requests <= c.busy && h.age <= time.Duration(c.age)*time.Second)
	}
	for _, c := range []struct {
		n, others       int
		throttled, most int
		age             time.Duration
		target          string
	}{
		{2000, 0, 0, 4500, 20 * time.Second, "no 429, <= 4,500 requests, data age p95 <= 20 s, no wait for a delete"},
		{2000, 2500, 4, 2500, 40 * time.Second, "< 5 429s, create delay p95 <= 10 s, data age p95 <= 40 s"},
		{5000, 0, 0, 5000, time.Minute, "no 429, create delay p95 <= 10 s, data age p95 <= 60 s"},
	} {
		what := fmt.Sprintf("churn: %d Droplets, jobs of 10 to 20 min", c.n)
		if c.others > 0 {
			what += fmt.Sprintf(", others send %d/h", c.others)
		}
		var h hour
		onLargeAccount(t, what, func(t *testing.T, sim *dosim.Sim) { h = churn(t, sim, c.n, c.others) })
		add(what, h.String(), c.target,
			h.throttled <= c.throttled && h.requests <= c.most && h.age <= c.age && h.delay <= 10*time.Second && h.wait < time.Second)
		rows[len(rows)-1].Fleet = &fleetPoint{c.n, 16 * time.Minute, c.others, h.age}
	}
	const what = "two groups of 500 on one token, Update every 2 s, 1 h"
	var both []hour
	onLargeAccount(t, what, func(t *testing.T, sim *dosim.Sim) { both = steady(t, sim, 500, 2*time.Second, "ci", "big") })
	p, q := both[0].age.Seconds(), both[1].age.Seconds()
	add(what, fmt.Sprintf("%d requests, %d x 429, data age p95 %.1f s and %.1f s", both[0].requests, both[0].throttled, p, q),
		"no 429, fair within 20 %", both[0].throttled == 0 && max(p, q) <= 1.2*min(p, q))
	data, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fleetRow is one line of the table.
type fleetRow struct {
	What, Measured, Target string
	Met                    bool
	Fleet                  *fleetPoint `json:",omitempty"`
}

// fleetPoint is a fleet for the picture.
type fleetPoint struct {
	Droplets int
	Job      time.Duration // from a Droplet's request to its end
	Others   int           // requests an hour of other programs
	Age      time.Duration // of what the runner is told, 95th percentile
}

// onLargeAccount runs f on an account with room for the largest group.
func onLargeAccount(t *testing.T, what string, f func(*testing.T, *dosim.Sim)) {
	t.Run(what, func(t *testing.T) {
		ownState(t)
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond, DropletLimit: 6000})
			defer sim.Close()
			f(t, sim)
		})
	})
}

// growth is what it takes to come from nothing to n running Droplets, and back.
type growth struct {
	accepted, running, gone time.Duration
	creates, up, down       int
	throttled               int
}

func (g growth) String() string {
	return fmt.Sprintf("accepted after %s, running after %s with %d requests; gone after %s with %d; %d x 429",
		seconds(g.accepted), seconds(g.running), g.up, seconds(g.gone), g.down, g.throttled)
}

func grow(t *testing.T, sim *dosim.Sim, n int) growth {
	f := deploy(t, sim, "ci", n, 2*time.Second)
	defer f.stop()
	start, before := time.Now(), total(sim)
	f.until(t, func(c fleeting.Capacity) bool {
		// As the runner does, which asks again for what it was refused.
		f.provisioner.Request(max(0, n-c.Creating-c.Running-c.Requested-c.Pending))
		return c.Running == n
	})
	bills := sim.Ledger()
	g := growth{accepted: bills[len(bills)-1].Created.Sub(start), running: time.Since(start), up: total(sim) - before, creates: sim.RequestCounts()["POST /v2/droplets"]}

	time.Sleep(5 * time.Minute) // they work

	// All at once, as when the policy lowers idle_count.
	start, before = time.Now(), total(sim)
	f.until(t, func(c fleeting.Capacity) bool {
		for _, i := range f.provisioner.Instances() {
			i.Delete()
		}
		return c.Running+c.Deleting == 0
	})
	g.gone, g.down, g.throttled = time.Since(start), total(sim)-before, sim.Throttled()
	return g
}

// hour is what one hour of a group is like.
type hour struct {
	requests, throttled int
	age                 time.Duration // of what Update tells, 95th percentile
	delay               time.Duration // from the request for a Droplet to its creation, likewise
	removal             time.Duration // from its deletion by the runner to its end, likewise
	wait                time.Duration // of the runner for the answer to a deletion, at most
	jobs                int
}

func (h hour) String() string {
	return fmt.Sprintf("%d created, %d requests, %d x 429; p95: data age %s, create delay %s, gone after %s; Decrease takes %s at most",
		h.jobs, h.requests, h.throttled, seconds(h.age), seconds(h.delay), seconds(h.removal), seconds(h.wait))
}

// steady has groups of n Droplets each run for an hour, which know nothing of each other.
func steady(t *testing.T, sim *dosim.Sim, n int, every time.Duration, names ...string) []hour {
	var fs []*fleet
	for _, name := range names {
		f := deploy(t, sim, name, n, every)
		defer f.stop()
		f.provisioner.Request(n)
		f.until(t, func(c fleeting.Capacity) bool { return c.Running == n })
		fs = append(fs, f)
	}
	time.Sleep(10 * time.Minute)
	before, throttled := total(sim), sim.Throttled()
	for _, f := range fs {
		f.ages.reset()
	}
	time.Sleep(time.Hour)
	requests := total(sim) - before
	var hours []hour
	for _, f := range fs {
		age, _, failures := f.ages.read()
		hours = append(hours, hour{requests: requests, throttled: sim.Throttled() - throttled, age: age})
		if failures > 0 {
			t.Errorf("%d Updates failed", failures) // also while the group grew, which takes minutes
		}
	}
	if v := sim.Violations(); len(v) > 0 {
		t.Error(v)
	}
	return hours
}

// churn has size Droplets of which each runs one job of 10 to 20 minutes, for 3 hours;
// the last one counts. Others use the token evenly.
func churn(t *testing.T, sim *dosim.Sim, size, others int) hour {
	const job = 15 * time.Minute
	f := deploy(t, sim, "ci", size+size/10, time.Minute) // those on their way out take room, too
	defer f.stop()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if others > 0 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.digitalocean.com/v2/account", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
		go func() {
			for every := time.Hour / time.Duration(others); ctx.Err() == nil; time.Sleep(every) {
				if resp, err := sim.Transport().RoundTrip(r); err == nil {
					resp.Body.Close()
				}
			}
		}()
	}
	random := rand.New(rand.NewPCG(1, 2))
	var requested []time.Time
	ends := map[string]time.Time{}
	deleted := map[string]time.Time{}
	var removals []time.Duration
	var h hour
	var from time.Time
	begin := time.Now()
	for time.Since(begin) < 3*time.Hour {
		now := time.Now()
		if from.IsZero() && now.Sub(begin) >= 2*time.Hour {
			from = now
			f.ages.reset()
			h.requests, h.throttled = total(sim), sim.Throttled()
			removals = nil
		}
		c := f.provisioner.Capacity()
		if missing := size - c.Creating - c.Running - c.Requested; missing > 0 {
			f.provisioner.Request(missing)
			requested = append(requested, slices.Repeat([]time.Time{now}, missing)...)
		}
		alive := map[string]bool{}
		for _, i := range f.provisioner.Instances() {
			alive[i.ID()] = true
			if i.State() != provider.StateRunning {
				continue
			}
			end, ok := ends[i.ID()]
			if !ok {
				end = now.Add(job*2/3 + time.Duration(random.Int64N(int64(job*2/3)))) // 10 to 20 minutes
				if now.Sub(begin) < 10*time.Minute {                                  // the first ones do not all end together
					end = now.Add(time.Duration(random.Int64N(int64(job))))
				}
				ends[i.ID()] = end
			}
			if !now.Before(end) && deleted[i.ID()].IsZero() {
				deleted[i.ID()] = now
				i.Delete()
			}
		}
		for id, at := range deleted {
			if !alive[id] && !at.IsZero() {
				removals = append(removals, now.Sub(at))
				delete(deleted, id)
				delete(ends, id)
			}
		}
		time.Sleep(time.Second)
	}
	h.requests, h.throttled = total(sim)-h.requests-others, sim.Throttled()-h.throttled
	h.age, h.wait, _ = f.ages.read()
	h.removal = p95(removals)
	var delays []time.Duration
	for i, bill := range sim.Ledger() {
		if i < len(requested) && bill.Created.After(from) {
			delays = append(delays, bill.Created.Sub(requested[i]))
		}
	}
	h.delay, h.jobs = p95(delays), len(delays)
	return h
}

// fleet is a group that is measured.
type fleet struct {
	provisioner *fleeting.Provisioner
	ages        *ages
	ended       func()
}

// deploy starts a group and the runner's provisioner on it.
func deploy(t *testing.T, sim *dosim.Sim, name string, size int, every time.Duration) *fleet {
	g := configured(t, sim, options{"name": name, "max_instances": size})
	a := &ages{base: g.transport, InstanceGroup: g}
	g.transport = a
	p, err := fleeting.Init(t.Context(), hclog.NewNullLogger(), a, fleeting.WithMaxSize(size),
		fleeting.WithUpdateInterval(every), fleeting.WithUpdateIntervalWhenExpecting(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return &fleet{p, a, func() { g.running.Load().api.Close() }}
}

func (f *fleet) stop() {
	f.provisioner.Shutdown(context.Background())
	time.Sleep(2 * time.Minute) // the provisioner's loop notices its end
	f.ended()
}

func (f *fleet) until(t *testing.T, is func(fleeting.Capacity) bool) {
	t.Helper()
	if err := within(24*time.Hour, func() error {
		if c := f.provisioner.Capacity(); !is(c) {
			return fmt.Errorf("the runner has %+v", c)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// ages sits on both sides of a group, and notes of each Update how old the list
// is that it can at best have answered from.
type ages struct {
	provider.InstanceGroup
	base http.RoundTripper

	mu       sync.Mutex
	began    time.Time // of the list that was begun last
	underWay int       // its requests
	broken   bool
	whole    time.Time // when the last whole one was begun
	all      []time.Duration
	wait     time.Duration // of the longest Decrease
	failures int           // of Update
}

func (a *ages) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/v2/droplets") || q.Get("tag_name") == "" {
		return a.base.RoundTrip(r)
	}
	a.mu.Lock()
	if p := q.Get("page"); p == "" || p == "1" {
		a.began, a.broken = time.Now(), false
	}
	a.underWay++
	a.mu.Unlock()
	resp, err := a.base.RoundTrip(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.underWay--
	a.broken = a.broken || err != nil || resp.StatusCode != http.StatusOK
	return resp, err
}

func (a *ages) Update(ctx context.Context, fn func(string, provider.State)) error {
	err := a.InstanceGroup.Update(ctx, fn)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.underWay == 0 && !a.broken {
		a.whole = a.began
	}
	a.all = append(a.all, time.Since(a.whole))
	if err != nil {
		a.failures++
	}
	return err
}

func (a *ages) Decrease(ctx context.Context, names []string) ([]string, error) {
	began := time.Now()
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.wait = max(a.wait, time.Since(began))
	}()
	return a.InstanceGroup.Decrease(ctx, names)
}

func (a *ages) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all, a.wait = nil, 0
}

// read returns how old lists were, 95th percentile, how long the longest Decrease
// took, and how many Updates failed.
func (a *ages) read() (age, wait time.Duration, failures int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return p95(a.all), a.wait, a.failures
}

func p95(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)*95/100]
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func total(sim *dosim.Sim) int { return len(sim.Requests()) }
