package plan

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// casesEnv is how many random days TestModelIsTheTaskscaler compares.
const casesEnv = "PLAN_CASES"

// The model does what the runner's own autoscaler does, in virtual time, over random
// days and policies. Where two of its goroutines come in the same millisecond, chance
// decides, and a day may end in two ways. The model does one of them, so a day that it
// misses is replayed once more.
func TestModelIsTheTaskscaler(t *testing.T) {
	cases := 3
	if n, err := strconv.Atoi(os.Getenv(casesEnv)); err == nil {
		cases = n
	}
	for seed := range cases {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(uint64(seed), 16))
			s, w := randomSetup(r), randomDay(r)
			s.UpdateIntervalWhenExpecting = []time.Duration{0, 5 * time.Second, 0}[seed%3]
			model := Replay(s, w)
			var missed []string
			for range 2 {
				synctest.Test(t, func(t *testing.T) { missed = misses(model, replay(t, s, w)) })
				if missed == nil {
					return
				}
			}
			t.Errorf("%+v: %s", s, missed)
		})
	}
}

// misses says what of a replay the model does not say.
func misses(model, real Outcome) (all []string) {
	off := func(what string, model, real, part, least float64) {
		if math.Abs(model-real) > max(part*real, least) {
			all = append(all, fmt.Sprintf("%s: the model says %.2f, the taskscaler %.2f", what, model, real))
		}
	}
	off("USD", model.USD, real.USD, 0.05, 0.05)
	// One job more or less that waits can be a leap in a quantile: a hundredth of the jobs is none.
	slices.Sort(real.Waits)
	wait := func(q float64) float64 { return real.Waits[int(q*float64(len(real.Waits)))].Seconds() }
	p95 := history.WaitsOf(model.Waits).P95
	off("p95 wait", p95, min(max(p95, wait(0.94)), wait(0.96)), 0.15, 3)
	off("Droplets", float64(len(model.Lives)), float64(len(real.Lives)), 0.2, 2)
	off("jobs", float64(len(model.Waits)), float64(len(real.Waits)), 0, 0)
	return all
}

func randomSetup(r *rand.Rand) (s Setup) {
	policy := func() runnerconfig.Policy {
		p := runnerconfig.Policy{IdleCount: r.IntN(7), IdleTime: time.Duration(r.IntN(31)) * time.Minute, PreemptiveMode: new(r.IntN(3) == 0)}
		if p.IdleCount > 0 {
			p.IdleTime = max(p.IdleTime, 5*time.Minute) // below, chance decides how often the taskscaler replaces what it deletes
		}
		if r.IntN(3) == 0 {
			p.ScaleFactor, p.ScaleFactorLimit = 1+float64(r.IntN(11))/10, r.IntN(2)*(3+r.IntN(20))
		}
		return p
	}
	s.Policy = []runnerconfig.Policy{policy(), policy()}
	s.shifts = []shift{{0, 0}, {7 * time.Hour, 1}, {18 * time.Hour, 0}}
	s.CapacityPerInstance, s.MaxUseCount = 1+r.IntN(2)*r.IntN(4), []int{0, 1, 2, 5, 20}[r.IntN(5)]
	s.MaxInstances, s.UpdateInterval = 4+r.IntN(25), 30*time.Second
	return s
}

// randomDay has commits, of which each makes some jobs at once.
func randomDay(r *rand.Rand) *Work {
	const ms = time.Millisecond
	w := &Work{Length: 24 * time.Hour, Ready: time.Duration(5000+r.IntN(40_000)) * ms, Gone: time.Duration(3000+r.IntN(10_000)) * ms,
		Price: 0.03571, Queued: true}
	for range 50 {
		w.Boots = append(w.Boots, time.Duration(20_000+r.IntN(30_000))*ms)
	}
	mean, most, length := 60_000+r.Int64N(900_000), 1+r.IntN(6), 30_000+r.Int64N(600_000)
	for at := time.Duration(r.Int64N(mean)) * ms; at < w.Length; at += time.Duration(r.ExpFloat64()*float64(mean)) * ms {
		for range 1 + r.IntN(most) {
			w.Jobs = append(w.Jobs, Job{at, time.Duration(float64(length)*math.Exp(r.NormFloat64()*0.6)) * ms})
		}
	}
	return w
}

// replay has the taskscaler work.
func replay(t *testing.T, s Setup, w *Work) (out Outcome) {
	var begin time.Time
	since := func() time.Duration { return time.Since(begin) }
	cloud := &cloud{w: w, most: s.MaxInstances, since: since}
	runner, err := taskscaler.New(t.Context(), cloud, taskscaler.WithReservations(), taskscaler.WithMaxInstances(s.MaxInstances),
		taskscaler.WithMaxUseCount(s.MaxUseCount), taskscaler.WithCapacityPerInstance(s.CapacityPerInstance), taskscaler.WithLogger(hclog.NewNullLogger()),
		taskscaler.WithUpdateInterval(s.UpdateInterval), taskscaler.WithUpdateIntervalWhenExpecting(s.expecting()),
		taskscaler.WithDeleteInstancesOnShutdown(),
		taskscaler.WithInstanceUpFunc(func(taskscaler.Taskscaler, taskscaler.UpFuncInstance) error {
			time.Sleep(w.Ready)
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	var mu sync.Mutex
	var jobs sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	waited := func(j Job) {
		mu.Lock()
		defer mu.Unlock()
		out.Waits = append(out.Waits, min(since(), w.Length)-j.Arrive)
	}
	next, shift := 0, 0
	for since() < w.Length {
		if shift < len(s.shifts) && since() >= s.shifts[shift].at {
			p := s.Policy[s.shifts[shift].policy]
			shift++
			if err := runner.ConfigureSchedule(taskscaler.Schedule{IdleCount: p.IdleCount, IdleTime: p.IdleTime,
				ScaleFactor: p.ScaleFactor, ScaleFactorLimit: p.ScaleFactorLimit, PreemptiveMode: p.Preemptive()}); err != nil {
				t.Fatal(err)
			}
		}
		for ; next < len(w.Jobs) && w.Jobs[next].Arrive <= since() && runner.Reserve(fmt.Sprint(next)) == nil; next++ {
			key, j := fmt.Sprint(next), w.Jobs[next]
			jobs.Go(func() {
				_, err := runner.Acquire(ctx, key)
				waited(j)
				if err == nil {
					time.Sleep(j.Takes)
					runner.Release(key)
				}
			})
			time.Sleep(time.Millisecond) // it acquires
		}
		time.Sleep(poll(since()+1) - since())
	}
	for ; next < len(w.Jobs); next++ {
		waited(w.Jobs[next])
	}
	mu.Lock()
	cloud.mu.Lock()
	for _, d := range cloud.all {
		out.Lives = append(out.Lives, Life{d.born, min(d.gone, w.Length)})
		out.USD += instancegroup.Cost(w.Price, min(d.gone, w.Length)-d.born)
	}
	cloud.mu.Unlock()
	mu.Unlock()
	cancel()
	jobs.Wait()
	runner.Shutdown(context.Background())
	time.Sleep(2 * time.Minute)
	return out
}

// cloud is an instance group whose Droplets boot as w says.
type cloud struct {
	provider.InstanceGroup
	w     *Work
	most  int
	since func() time.Duration

	mu  sync.Mutex
	all []*machine
}

// machine is one of its Droplets. never = not yet.
type machine struct{ born, active, deleted, gone time.Duration }

func (c *cloud) Init(context.Context, hclog.Logger, provider.Settings) (provider.ProviderInfo, error) {
	return provider.ProviderInfo{MaxSize: c.most}, nil
}

func (c *cloud) Update(_ context.Context, fn func(string, provider.State)) error {
	time.Sleep(call)
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, d := range c.all {
		switch now := c.since(); {
		case d.gone <= now:
		case d.deleted <= now:
			fn(strconv.Itoa(i), provider.StateDeleting)
		case d.active <= now:
			fn(strconv.Itoa(i), provider.StateRunning)
		default:
			fn(strconv.Itoa(i), provider.StateCreating)
		}
	}
	return nil
}

func (c *cloud) Increase(_ context.Context, n int) (int, error) {
	time.Sleep(call)
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		now := c.since()
		c.all = append(c.all, &machine{born: now, active: now + c.w.Boots[len(c.all)%len(c.w.Boots)], deleted: never, gone: never})
	}
	return n, nil
}

func (c *cloud) Decrease(_ context.Context, ids []string) ([]string, error) {
	time.Sleep(call)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		i, _ := strconv.Atoi(id)
		c.all[i].deleted = c.since()
		c.all[i].gone = c.since() + c.w.Gone
	}
	return ids, nil
}

func (c *cloud) ConnectInfo(_ context.Context, id string) (provider.ConnectInfo, error) {
	return provider.ConnectInfo{ID: id}, nil
}

func (c *cloud) Shutdown(context.Context) error { return nil }
