package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// watched is how long a process is watched once its Droplets run. At 5,000 it lists six times in it.
const watched = 3 * time.Minute

// processes measures the real binary with groups of two sizes, side by side.
func processes(ctx context.Context, plugin, dir string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "the real binary, with 1,000 and 5,000 Droplets: 6 minutes ...")
	host, err := harness.NewHost(dir)
	if err != nil {
		return nil, err
	}
	limits := []struct {
		droplets    int
		cpu, memory float64
		target      string
	}{{1000, 1, 40, "< 1 % of a core, < 40 MiB"}, {5000, 100, 80, "< 80 MiB"}}
	rows, errs := make([]row, len(limits)), make([]error, len(limits))
	var wg sync.WaitGroup
	for i, l := range limits {
		wg.Go(func() {
			cpu, memory, err := measure(ctx, host, plugin, l.droplets)
			errs[i] = err
			rows[i] = row{
				What:     fmt.Sprintf("a process with %d Droplets, Update every 2 s", l.droplets),
				Measured: fmt.Sprintf("%.2f %% of a core, at most %.1f MiB RSS", cpu, memory),
				Target:   l.target, Met: cpu < l.cpu && memory < l.memory,
			}
		})
	}
	wg.Wait()
	return rows, errors.Join(errs...)
}

// measure starts a plugin, has it make n Droplets, updates at the runner's pace, and returns what the process takes:
// percent of a core, and the most memory in MiB.
func measure(ctx context.Context, host *harness.Host, plugin string, n int) (cpu, memory float64, err error) {
	sim := dosim.New(dosim.Options{
		Latency: 150 * time.Millisecond, BootTime: 2 * time.Second, DeleteTime: time.Second, DropletLimit: 6000,
	})
	url, stop := host.Serve(sim)
	defer stop()
	defer sim.Close()
	name := fmt.Sprintf("bench-%d", n)
	config, err := json.Marshal(map[string]any{
		"name": name, "api_url": url, "token": dosim.DefaultToken,
		"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
	})
	if err != nil {
		return 0, 0, err
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	runner, err := fleeting.RunPlugin(plugin, config, fleeting.WithPluginLogger(log))
	if err != nil {
		return 0, 0, err
	}
	defer runner.Kill()
	group := runner.InstanceGroup()
	if _, err := group.Init(ctx, hclog.NewNullLogger(), provider.Settings{}); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, group.Shutdown(ctx)) }()

	for accepted, running := 0, 0; running < n; {
		if accepted < n { // the token's minute may be spent
			more, err := group.Increase(ctx, n-accepted)
			if err != nil {
				return 0, 0, fmt.Errorf("Increase(%d): %w", n-accepted, err)
			}
			accepted += more
		}
		running = 0
		time.Sleep(2 * time.Second)
		if err := group.Update(ctx, func(_ string, s provider.State) {
			if s == provider.StateRunning {
				running++
			}
		}); err != nil {
			return 0, 0, err
		}
	}

	pid, err := host.Holder(name)
	if err != nil {
		return 0, 0, err
	}
	before, _, err := spent(pid)
	begin := time.Now()
	for err == nil && time.Since(begin) < watched {
		time.Sleep(2 * time.Second)
		err = group.Update(ctx, func(string, provider.State) {})
	}
	if err != nil {
		return 0, 0, err
	}
	after, memory, err := spent(pid)
	return 100 * (after - before).Seconds() / time.Since(begin).Seconds(), memory, err
}

// spent returns what Linux knows of a process: its time on a processor, and the most memory that it ever had, in MiB.
func spent(pid int) (cpu time.Duration, memory float64, err error) {
	stat, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err := cmp.Or(err1, err2); err != nil {
		return 0, 0, fmt.Errorf("processes are measured on Linux only: %w", err)
	}
	// proc(5): user and system time are the fields 14 and 15, and field 2, the name, is in parentheses.
	_, fields, _ := strings.Cut(string(stat), ") ")
	for _, f := range strings.Fields(fields)[11:13] {
		ticks, err := strconv.Atoi(f)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		cpu += time.Duration(ticks) * (time.Second / 100) // Linux reports 100 ticks a second everywhere
	}
	_, peak, _ := strings.Cut(string(status), "\nVmHWM:")
	var kib float64
	if _, err := fmt.Sscan(peak, &kib); err != nil {
		return 0, 0, fmt.Errorf("no VmHWM in /proc/%d/status: %w", pid, err)
	}
	return cpu, kib / 1024, nil
}
