package doctor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
	"gitlab.com/gitlab-org/fleeting/taskscaler/storage"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
)

// The versions that doctor goes by are those of docs/configuration.md.
func TestSinceIsInTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]string{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([^|]*) \| [^|]* \| (\d+\.\d+) \|`).FindAllStringSubmatch(string(text), -1) {
		for _, key := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[1], -1) {
			documented[key[1]] = row[2]
		}
	}
	known := maps.Clone(since)
	known["failure_threshold"] = "18.3" // has no effect in any
	if diff := cmp.Diff(known, documented); diff != "" {
		t.Errorf("versions in doctor (-) and in docs/configuration.md (+):\n%s", diff)
	}
}

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
				taskscaler.WithFleetingMetricsCollector(metrics.Fleeting()),
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
