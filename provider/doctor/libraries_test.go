package doctor

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
	"gitlab.com/gitlab-org/fleeting/taskscaler/storage"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

const bootTime = 10 * time.Minute

// slow is an instance group whose instances boot for bootTime.
type slow struct {
	provider.InstanceGroup
	since []time.Time // of each instance
}

func (g *slow) Init(context.Context, hclog.Logger, provider.Settings) (provider.ProviderInfo, error) {
	return provider.ProviderInfo{MaxSize: 9}, nil
}
func (g *slow) Shutdown(context.Context) error { return nil }
func (g *slow) Increase(_ context.Context, n int) (int, error) {
	for range n {
		g.since = append(g.since, time.Now())
	}
	return n, nil
}

func (g *slow) Update(_ context.Context, update func(string, provider.State)) error {
	for i, since := range g.since {
		state := provider.StateCreating
		if time.Since(since) >= bootTime {
			state = provider.StateRunning
		}
		update(fmt.Sprint(i), state)
	}
	return nil
}

func (g *slow) ConnectInfo(_ context.Context, id string) (provider.ConnectInfo, error) {
	return provider.ConnectInfo{ID: id}, nil
}

// What docs/monitoring.md and docs/configuration.md say of the runner's own libraries: no metric has the boot of a Droplet,
// and state_storage does not remember one that boots when the runner stops.
func TestBootsInTheRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group, metrics := &slow{}, runnermetrics.New("ci")
		store, err := storage.NewFileStorage(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		run := func(idle int, d time.Duration) map[string]bool {
			restored := map[string]bool{}
			s, err := taskscaler.New(t.Context(), group, taskscaler.WithStorage(store), taskscaler.WithLogger(hclog.NewNullLogger()),
				taskscaler.WithFleetingMetricsCollector(metrics),
				taskscaler.WithInstanceUpFunc(func(_ taskscaler.Taskscaler, i taskscaler.UpFuncInstance) error {
					restored[i.ID] = i.Restored
					return nil
				}))
			if err != nil {
				t.Fatal(err)
			}
			if err := s.ConfigureSchedule(taskscaler.Schedule{IdleCount: idle}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
			s.Shutdown(t.Context())
			time.Sleep(2 * time.Minute) // its goroutines end
			return restored
		}
		run(1, 2*bootTime)
		const created, running = "fleeting_provisioner_instance_creation_time_seconds_sum", "fleeting_provisioner_instance_is_running_time_seconds_sum"
		var sums [2]float64
		for name, value := range metrics.Values() {
			for i, want := range []string{created, running} {
				if regexp.MustCompile(`^` + want + `\b`).MatchString(name) {
					sums[i] = value
				}
			}
		}
		if sums[0] == 0 || sums[0] != sums[1] || sums[1] >= bootTime.Seconds() {
			t.Errorf("sums are %v: is_running_time has the boot after all", sums)
		}
		run(2, bootTime/2)
		if got, want := run(2, 2*bootTime), map[string]bool{"0": true, "1": false}; !maps.Equal(got, want) {
			t.Errorf("of a ready and a booting instance it restores %v, expected %v", got, want)
		}
	})
}

// Periods mean to doctor what they mean to the runner's own autoscaler, whose parser
// cannot be imported: both are asked, at random moments of some years.
func TestPeriodsAreTheRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runner, err := taskscaler.New(t.Context(), &slow{}, taskscaler.WithLogger(hclog.NewNullLogger()))
		if err != nil {
			t.Fatal(err)
		}
		runner.Shutdown(t.Context()) // what we need of it works all the same

		r := rand.New(rand.NewPCG(1, 2))
		zones := []string{"UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kathmandu"}
		texts := []string{
			"* 8-18 * * mon-fri", "*/15 * * * *", "3-50/7 * * * *", "* 22-6 * * *", "* * * * fri-mon", "* * * * 7", "* * * * 0", "0 0 1 1 sun",
			"* * */2 * */2", "* * 31 feb *", "5 2 * * wed", "", "* * * *", "* * * * * *",
			"60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8",
			"*,* * * * *", "*/0 * * * *", "a * * * *", "1- * * * *", "-1 * * * *",
			"1-2-3 * * * *", "1/ * * * *", "*/61 * * * *", "MON * * * *", "* * * * Mon,TUE",
			"1,, * * * *", "256 * * * *", "*,5 * * * *", "*/2,* * * * *", "*-5 * * * *", "* * */0 * *", "* * L * *", "0 * * ? *",
		}
		for range 300 {
			texts = append(texts, randomPeriod(r))
		}
		for _, text := range texts {
			for range 20 {
				time.Sleep(time.Duration(r.IntN(60*24*40)) * time.Minute)
				zone := zones[r.IntN(len(zones))]
				err := runner.ConfigureSchedule(taskscaler.Schedule{Periods: []string{text}, Timezone: zone, IdleCount: 1})
				active, ours := Active([]runnerconfig.Policy{{Periods: []string{text}, Timezone: zone}})
				if (err == nil) != (ours == nil) {
					t.Fatalf("%q: the runner says %v, doctor %+v", text, err, ours)
				}
				if err != nil {
					break
				}
				if got, want := active(time.Now()) == 0, runner.Schedule().IdleCount == 1; got != want {
					t.Fatalf("%q in %s at %s: doctor says %t, the runner %t", text, zone, time.Now(), got, want)
				}
			}
		}
		if err := runner.ConfigureSchedule(taskscaler.Schedule{Timezone: "Europe/Nowhere"}); err == nil {
			t.Error("the runner knows Europe/Nowhere")
		}
		if _, err := Active([]runnerconfig.Policy{{Timezone: "Europe/Nowhere"}}); err == nil {
			t.Error("doctor knows Europe/Nowhere")
		}
	})
}

// randomPeriod writes periods of which most can be read.
func randomPeriod(r *rand.Rand) string {
	var words []string
	for _, f := range fields {
		number := func() string {
			n := f.min + r.IntN(f.max-f.min+1)
			if r.IntN(40) == 0 {
				n += 30
			}
			if n-f.min < len(f.words) && r.IntN(2) == 0 {
				return f.words[n-f.min]
			}
			return fmt.Sprint(n)
		}
		var items []string
		for range 1 + r.IntN(2) {
			item := "*"
			switch r.IntN(6) {
			case 0:
				item = number()
			case 1, 2:
				item = number() + "-" + number()
			}
			if r.IntN(4) == 0 {
				item += "/" + number()
			}
			items = append(items, item)
		}
		words = append(words, strings.Join(items, ","))
	}
	return strings.Join(words, " ")
}
