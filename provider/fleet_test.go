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
	path := os.Getenv("FLEET_RESULTS")
	if path == "" {
		t.Skip("it takes minutes: make bench sets FLEET_RESULTS")
	}
	var rows []fleetRow
	measure := func(what, target string, f func(t *testing.T, sim *dosim.Sim, r *fleetRow)) {
		r := fleetRow{What: what, Target: target}
		t.Run(what, func(t *testing.T) { // on an account with room for the largest group
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond, DropletLimit: 6000})
				defer sim.Close()
				f(t, sim, &r)
			})
			t.Log(r.Measured)
			equal(t, "the target is met: "+target, true, r.Met)
		})
		rows = append(rows, r)
	}
	for _, c := range []struct {
		n, up, down int
		accepted    time.Duration
	}{{100, 25, 6, 750 * time.Millisecond}, {1000, 150, 32, 3 * time.Second}} {
		target := fmt.Sprintf("%d creates, no 429, accepted within %s, <= %d requests up, <= %d down", c.n/10, c.accepted, c.up, c.down)
		measure(fmt.Sprintf("0 -> %d -> 0", c.n), target, func(t *testing.T, sim *dosim.Sim, r *fleetRow) {
			accepted, up, down := grow(t, sim, c.n, r)
			r.Met = sim.RequestCounts()["POST /v2/droplets"] == c.n/10 && sim.Throttled() == 0 &&
				accepted <= c.accepted && up <= c.up && down <= c.down
		})
	}
	for _, c := range []struct{ n, idle, busy, age int }{{200, 70, 1800, 3}, {1000, 310, 2500, 8}, {5000, 1510, 3000, 32}} {
		measure(fmt.Sprintf("%d Droplets, Update every minute, 1 h", c.n), fmt.Sprintf("<= %d requests", c.idle),
			func(t *testing.T, sim *dosim.Sim, r *fleetRow) {
				requests, _ := steady(t, sim, c.n, time.Minute, "ci")
				r.Measured, r.Met = fmt.Sprintf("%d requests", requests), requests <= c.idle
			})
		measure(fmt.Sprintf("%d Droplets, Update every 2 s, 1 h", c.n), fmt.Sprintf("<= %d requests, p95 <= %d s", c.busy, c.age),
			func(t *testing.T, sim *dosim.Sim, r *fleetRow) {
				requests, ages := steady(t, sim, c.n, 2*time.Second, "ci")
				r.Measured = fmt.Sprintf("%d requests, data age p95 %s", requests, seconds(ages[0]))
				r.Met = requests <= c.busy && ages[0] <= time.Duration(c.age)*time.Second
			})
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
		measure(what, c.target, func(t *testing.T, sim *dosim.Sim, r *fleetRow) {
			h := churn(t, sim, c.n, c.others)
			r.Measured = fmt.Sprintf("%d created, %d requests, %d x 429; p95: data age %s, create delay %s, gone after %s; "+
				"Decrease takes %s at most", h.created, h.requests, h.throttled,
				seconds(h.age), seconds(h.delay), seconds(h.removal), seconds(h.wait))
			r.Met = h.throttled <= c.throttled && h.requests <= c.most && h.age <= c.age &&
				h.delay <= 10*time.Second && h.wait < time.Second
			r.Fleet = &fleetPoint{c.n, 16 * time.Minute, c.others, h.age}
		})
	}
	const two = "two groups of 500 on one token, Update every 2 s, 1 h"
	measure(two, "no 429, fair within 20 %", func(t *testing.T, sim *dosim.Sim, r *fleetRow) {
		requests, ages := steady(t, sim, 500, 2*time.Second, "ci", "big")
		p, q := ages[0].Seconds(), ages[1].Seconds()
		r.Measured = fmt.Sprintf("%d requests, %d x 429, data age p95 %.1f s and %.1f s", requests, sim.Throttled(), p, q)
		r.Met = sim.Throttled() == 0 && max(p, q) <= 1.2*min(p, q)
	})
	data, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	file(t, path, string(data))
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

// grow comes from nothing to n running Droplets, and back. It returns when all creates
// were accepted, and how many requests each way takes.
func grow(t *testing.T, sim *dosim.Sim, n int, r *fleetRow) (accepted time.Duration, up, down int) {
	f := deploy(t, sim, "ci", n, 2*time.Second)
	defer f.stop()
	start, before := time.Now(), total(sim)
	f.until(t, n, func(c fleeting.Capacity) { // as the runner does, which asks again for what it was refused
		f.provisioner.Request(max(0, n-c.Creating-c.Running-c.Requested-c.Pending))
	})
	bills := sim.Ledger()
	running := time.Since(start)
	accepted, up = bills[len(bills)-1].Created.Sub(start), total(sim)-before
	time.Sleep(5 * time.Minute) // they work

	start, before = time.Now(), total(sim)
	f.until(t, 0, func(fleeting.Capacity) { // all at once, as when the policy lowers idle_count
		for _, i := range f.provisioner.Instances() {
			i.Delete()
		}
	})
	down = total(sim) - before
	r.Measured = fmt.Sprintf("accepted after %s, running after %s with %d requests; gone after %s with %d; %d x 429",
		seconds(accepted), seconds(running), up, seconds(time.Since(start)), down, sim.Throttled())
	return accepted, up, down
}

// steady has groups of n Droplets each run for an hour, which know nothing of each other.
// It returns what they ask in that, and how old what each tells is, 95th percentile.
func steady(t *testing.T, sim *dosim.Sim, n int, every time.Duration, names ...string) (requests int, ages []time.Duration) {
	var fs []*fleet
	for _, name := range names {
		f := deploy(t, sim, name, n, every)
		defer f.stop()
		f.provisioner.Request(n)
		f.until(t, n, func(fleeting.Capacity) {})
		fs = append(fs, f)
	}
	time.Sleep(10 * time.Minute)
	before := total(sim)
	for _, f := range fs {
		f.read()
	}
	time.Sleep(time.Hour)
	requests = total(sim) - before
	for _, f := range fs {
		age, _, failures := f.read()
		ages = append(ages, age)
		equal(t, "Updates that failed", 0, failures) // also while the group grew, which takes minutes
	}
	equal(t, "violations", 0, len(sim.Violations()))
	return requests, ages
}

// hour is what one hour of a group is like.
type hour struct {
	requests, throttled, created int
	age                          time.Duration // of what Update tells, 95th percentile
	delay                        time.Duration // from the request for a Droplet to its creation, likewise
	removal                      time.Duration // from its deletion by the runner to its end, likewise
	wait                         time.Duration // of the runner for the answer to a deletion, at most
}

// churn has size Droplets of which each runs one job of 10 to 20 minutes, for 3 hours;
// the last one counts. Others use the token evenly.
func churn(t *testing.T, sim *dosim.Sim, size, others int) hour {
	const takes = 15 * time.Minute
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
	type job struct{ ends, deleted time.Time }
	random := rand.New(rand.NewPCG(1, 2))
	var requested []time.Time
	jobs := map[string]*job{}
	var removals []time.Duration
	var h hour
	begin := time.Now()
	from := begin.Add(2 * time.Hour)
	for time.Since(begin) < 3*time.Hour {
		now := time.Now()
		if h.requests == 0 && !now.Before(from) {
			f.read()
			h.requests, h.throttled, removals = total(sim), sim.Throttled(), nil
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
			if jobs[i.ID()] == nil {
				d := takes*2/3 + time.Duration(random.Int64N(int64(takes*2/3))) // 10 to 20 minutes
				if now.Sub(begin) < 10*time.Minute {                            // the first ones do not all end together
					d = time.Duration(random.Int64N(int64(takes)))
				}
				jobs[i.ID()] = &job{ends: now.Add(d)}
			}
			if j := jobs[i.ID()]; !now.Before(j.ends) && j.deleted.IsZero() {
				j.deleted = now
				i.Delete()
			}
		}
		for id, j := range jobs {
			if !alive[id] && !j.deleted.IsZero() {
				removals = append(removals, now.Sub(j.deleted))
				delete(jobs, id)
			}
		}
		time.Sleep(time.Second)
	}
	h.requests, h.throttled = total(sim)-h.requests-others, sim.Throttled()-h.throttled
	h.age, h.wait, _ = f.read()
	h.removal = p95(removals)
	var delays []time.Duration
	for i, bill := range sim.Ledger() {
		if i < len(requested) && bill.Created.After(from) {
			delays = append(delays, bill.Created.Sub(requested[i]))
		}
	}
	h.delay, h.created = p95(delays), len(delays)
	return h
}

// fleet is a group that is measured, from both sides: of each Update it notes how old
// the list is that it can at best have answered from.
type fleet struct {
	*InstanceGroup
	provisioner *fleeting.Provisioner
	base        http.RoundTripper

	mu       sync.Mutex
	began    time.Time // of the list that was begun last
	underWay int       // its requests
	broken   bool
	whole    time.Time // when the last whole one was begun
	ages     []time.Duration
	wait     time.Duration // of the longest Decrease
	failures int           // of Update
}

// deploy starts a group and the runner's provisioner on it.
func deploy(t *testing.T, sim *dosim.Sim, name string, size int, every time.Duration) *fleet {
	f := &fleet{InstanceGroup: configured(t, sim, options{"name": name, "max_instances": size}), base: sim.Transport()}
	f.transport = f
	var err error
	if f.provisioner, err = fleeting.Init(t.Context(), hclog.NewNullLogger(), f, fleeting.WithMaxSize(size),
		fleeting.WithUpdateInterval(every), fleeting.WithUpdateIntervalWhenExpecting(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fleet) stop() {
	f.provisioner.Shutdown(context.Background())
	time.Sleep(2 * time.Minute) // the provisioner's loop notices its end
	f.running.Load().api.Close()
}

// until waits until the runner has so many, after what it does every second.
func (f *fleet) until(t *testing.T, running int, every func(fleeting.Capacity)) {
	t.Helper()
	if err := within(24*time.Hour, func() error {
		c := f.provisioner.Capacity()
		if every(c); c.Running != running || c.Deleting > 0 {
			return fmt.Errorf("the runner has %+v", c)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/v2/droplets") || q.Get("tag_name") == "" {
		return f.base.RoundTrip(r)
	}
	f.mu.Lock()
	if p := q.Get("page"); p == "" || p == "1" {
		f.began, f.broken = time.Now(), false
	}
	f.underWay++
	f.mu.Unlock()
	resp, err := f.base.RoundTrip(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.underWay--
	f.broken = f.broken || err != nil || resp.StatusCode != http.StatusOK
	return resp, err
}

func (f *fleet) Update(ctx context.Context, fn func(string, provider.State)) error {
	err := f.InstanceGroup.Update(ctx, fn)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.underWay == 0 && !f.broken {
		f.whole = f.began
	}
	f.ages = append(f.ages, time.Since(f.whole))
	if err != nil {
		f.failures++
	}
	return err
}

func (f *fleet) Decrease(ctx context.Context, names []string) ([]string, error) {
	began := time.Now()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.wait = max(f.wait, time.Since(began))
	}()
	return f.InstanceGroup.Decrease(ctx, names)
}

// read returns how old lists were since the last read, 95th percentile, how long the
// longest Decrease took, and how many Updates have failed.
func (f *fleet) read() (age, wait time.Duration, failures int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	age, wait = p95(f.ages), f.wait
	f.ages, f.wait = nil, 0
	return age, wait, f.failures
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
