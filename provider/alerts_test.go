package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/taskscaler"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
)

// shift is some hours of a runner, and which alerts they raise.
type shift struct {
	name   string
	lasts  time.Duration
	limit  int           // the account's; 0 = 100
	after  time.Duration // until things go wrong
	faults []dosim.Fault
	idle   int           // the policy's idle_count
	every  time.Duration // between two jobs; 0 = there are none
	job    time.Duration // how long each takes; each Droplet has one
	ready  time.Duration // how long the ready command takes; negative = it fails
	alerts []string
}

var shifts = []shift{
	{name: "a good day", lasts: 2 * time.Hour, idle: 2, every: 40 * time.Second, job: 3 * time.Minute, ready: 20 * time.Second},
	{name: "no jobs, no Droplets", lasts: time.Hour},
	{name: "the account has room for 3", lasts: time.Hour, idle: 5, limit: 3, alerts: []string{"FleetingCreatesRefused", "FleetingErrors"}},
	{name: "no capacity anywhere", lasts: time.Hour, every: 10 * time.Minute, job: time.Minute,
		faults: []dosim.Fault{{Op: "POST /v2/droplets", Status: 422, Body: dosim.ErrorBody("unprocessable_entity", dosim.MessageSizeNotHere), Times: -1}},
		alerts: []string{"FleetingCreatesRefused", "FleetingErrors", "FleetingJobsFailedWaiting", "FleetingJobsWaitForNothing"}},
	{name: "DigitalOcean is down", lasts: time.Hour, idle: 1, every: 10 * time.Minute, job: time.Minute,
		after: 15 * time.Minute, faults: []dosim.Fault{{Op: "*", Status: 503, Times: -1}},
		alerts: []string{"FleetingCreatesRefused", "FleetingDropletsStuckDeleting", "FleetingErrors", "FleetingJobsFailedWaiting", "FleetingJobsWaitForNothing"}},
	{name: "Droplets stay new", lasts: time.Hour, idle: 2,
		faults: []dosim.Fault{{Op: "POST /v2/droplets", Behaviour: dosim.StuckNew, Times: -1}}, alerts: []string{"FleetingDropletsStuckCreating"}},
	{name: "deletes are not carried out", lasts: time.Hour, every: 5 * time.Minute, job: time.Minute,
		faults: []dosim.Fault{{Op: "DELETE /v2/droplets/{id}", Behaviour: dosim.DeleteIgnored, Times: -1}},
		alerts: []string{"FleetingDropletsStuckDeleting", "FleetingJobsWaitForNothing"}},
	{name: "the ready command fails", lasts: time.Hour, idle: 2, ready: -time.Second,
		alerts: []string{"FleetingDropletsReplacedUnused"}},
	{name: "the ready command is slow", lasts: 2 * time.Hour, idle: 2, every: 5 * time.Minute, job: time.Minute, ready: 6 * time.Minute,
		alerts: []string{"FleetingDropletsSlowToGetReady", "FleetingJobsWaitForNothing"}},
	// The taskscaler now and then takes a job more than there is room for, while a Droplet has just become ready. That
	// job waits for the end of another, longer than it may, and each question meanwhile is an error in the log.
	{name: "more jobs than Droplets", lasts: 2 * time.Hour, every: 10 * time.Second, job: 20 * time.Minute,
		alerts: []string{"FleetingErrors", "FleetingJobsFailedWaiting", "FleetingNearMaxInstances"}},
	{name: "more jobs than Droplets, and shorter ones", lasts: time.Hour, every: 10 * time.Second, job: 2 * time.Minute,
		alerts: []string{"FleetingNearMaxInstances"}},
	{name: "ten idle Droplets over night", lasts: 8 * time.Hour, idle: 8, alerts: []string{"FleetingIdleIsExpensive"}},
}

// TestAlertsInSimulation: the alert rules of examples/monitoring fire in the outages that they are for, and no others
// do. The runner's own autoscaler works through some hours in virtual time; what it tells its metrics is given to
// promtool.
func TestAlertsInSimulation(t *testing.T) {
	promtool := os.Getenv("PROMTOOL")
	if promtool == "" {
		t.Skip("not run: set PROMTOOL to the path of promtool, which is in Debian's package prometheus; make verify does")
	}
	rules, err := filepath.Abs("../examples/monitoring/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shifts {
		t.Run(s.name, func(t *testing.T) {
			var series map[string][]string
			onAccount(t, dosim.Options{Latency: 150 * time.Millisecond, DropletLimit: s.limit, ListLag: 2 * time.Second},
				func(t *testing.T, sim *dosim.Sim) { series = s.work(t, sim) })
			check := filepath.Join(t.TempDir(), "check.yml")
			if err := os.WriteFile(check, []byte(promtoolTest(rules, s, series)), 0o600); err != nil {
				t.Fatal(err)
			}
			if said, err := exec.CommandContext(t.Context(), promtool, "test", "rules", check).CombinedOutput(); err != nil {
				t.Errorf("want %v:\n%s", s.alerts, said)
			}
		})
	}
}

const scrapeEvery = 15 * time.Second

// work is the shift. It returns what Prometheus scrapes: of each series a value every
// scrapeEvery, "_" before there is one.
func (s shift) work(t *testing.T, sim *dosim.Sim) map[string][]string {
	group := configured(t, sim, options{"max_instances": 10})
	registry := runnermetrics.New("ci")
	var log logBook
	runner, err := taskscaler.New(t.Context(), group,
		taskscaler.WithReservations(), taskscaler.WithMaxUseCount(1), taskscaler.WithMaxInstances(10),
		taskscaler.WithLogger(hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: io.Writer(&log)})),
		taskscaler.WithMetricsCollector(registry.Taskscaler()), taskscaler.WithFleetingMetricsCollector(registry.Fleeting()),
		taskscaler.WithInstanceUpFunc(func(taskscaler.Taskscaler, taskscaler.UpFuncInstance) error {
			time.Sleep(s.ready.Abs())
			if s.ready < 0 {
				return errors.New("exit status 1")
			}
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if err := runner.ConfigureSchedule(taskscaler.Schedule{IdleCount: s.idle, IdleTime: 10 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(s.after, func() { sim.Inject(s.faults...) })
	ctx, cancel := context.WithTimeout(t.Context(), s.lasts)
	defer cancel()
	var jobs sync.WaitGroup
	if s.every > 0 {
		jobs.Go(func() { s.jobs(ctx, runner) })
	}

	series := map[string][]string{}
	for n := 0; ctx.Err() == nil; n++ {
		values := registry.Values()
		values[`up{`] = 1
		values[`gitlab_runner_errors_total{level="error",`] = float64(len(log.lines("[ERROR]")))
		for name, value := range values {
			name = strings.TrimSuffix(name, "}")
			if !strings.HasSuffix(name, "{") && !strings.HasSuffix(name, ",") {
				name += ","
			}
			name += `job="gitlab-runner",instance="manager:9252"}`
			if series[name] == nil {
				series[name] = slices.Repeat([]string{"_"}, n)
			}
			series[name] = append(series[name], fmt.Sprint(value))
		}
		time.Sleep(scrapeEvery)
	}
	sim.ClearFaults()
	jobs.Wait()
	stop, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	runner.Shutdown(stop)
	time.Sleep(10 * time.Minute) // its loops and ready commands end by themselves
	return series
}

// jobs has the runner work as GitLab's queue makes it: a job is taken when there is or may be
// a Droplet for it, and fails if it has none after 15 minutes.
func (s shift) jobs(ctx context.Context, runner taskscaler.Taskscaler) {
	var running sync.WaitGroup
	defer running.Wait()
	for n := 0; ctx.Err() == nil; n++ {
		key := fmt.Sprint("job-", n)
		for runner.Reserve(key) != nil && ctx.Err() == nil {
			time.Sleep(3 * time.Second)
		}
		running.Go(func() {
			defer runner.Release(key)
			waiting, cancel := context.WithTimeout(ctx, 15*time.Minute)
			defer cancel()
			if _, err := runner.Acquire(waiting, key); err != nil {
				runner.Unreserve(key)
				return
			}
			select {
			case <-time.After(s.job):
			case <-ctx.Done():
			}
		})
		select {
		case <-time.After(s.every):
		case <-ctx.Done():
		}
	}
}

// promtoolTest has promtool tell which alerts fired in the shift.
func promtoolTest(rules string, s shift, series map[string][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: 30s\ntests:\n- interval: %s\n  input_series:\n", rules, scrapeEvery)
	for _, name := range slices.Sorted(maps.Keys(series)) {
		fmt.Fprintf(&b, "  - series: '%s'\n    values: '%s'\n", name, strings.Join(series[name], " "))
	}
	fmt.Fprintf(&b, "  promql_expr_test:\n  - expr: 'count by (alertname) (count_over_time(ALERTS{alertstate=\"firing\"}[%s]))'\n    eval_time: %s\n    exp_samples:\n",
		s.lasts, s.lasts)
	for _, alert := range s.alerts {
		fmt.Fprintf(&b, "    - labels: '{alertname=%q}'\n      value: 1\n", alert)
	}
	return b.String()
}
