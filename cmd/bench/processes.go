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

// watched is how long a process is watched once its Droplets run. At 5,000 it lists
// six times in it.
const watched = 3 * time.Minute

// processes measures the real binary with groups of three sizes, side by side.
func processes(ctx context.Context, plugin, dir string) ([]row, error) {
	fmt.Fprintln(os.Stderr, "the real binary, with 100, 1,000 and 5,000 Droplets: 6 minutes ...")
	sizes := []float64{100, 1000, 5000}
	targets := []string{"", "< 1 % of a core, < 40 MiB", "< 80 MiB"}
	mostCPU, mostMemory := []float64{100, 1, 100}, []float64{1 << 20, 40, 80}
	efforts, calls, errs := make([]effort, len(sizes)), make([][]row, len(sizes)), make([]error, len(sizes))
	var wg sync.WaitGroup
	host, err := harness.NewHost(dir)
	if err != nil {
		return nil, err
	}
	for i, n := range sizes {
		p, err := start(ctx, host, plugin, fmt.Sprintf("bench-%.0f", n))
		if err != nil {
			return nil, err
		}
		defer p.close(ctx)
		wg.Go(func() {
			if calls[i], errs[i] = p.grow(ctx, int(n)); errs[i] == nil {
				efforts[i], errs[i] = p.watch(ctx)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	rows := append(calls[0][:1], calls[1][1:]...) // Increase(100), and what 1,000 cost
	var cpu, memory []float64
	for i, n := range sizes {
		t := efforts[i]
		cpu, memory = append(cpu, t.cpu), append(memory, t.memory)
		rows = append(rows, row{
			What:     fmt.Sprintf("a process with %.0f Droplets, Update every 2 s", n),
			Measured: fmt.Sprintf("%.2f %% of a core, at most %.1f MiB RSS", t.cpu, t.memory),
			Target:   targets[i], Met: t.cpu < mostCPU[i] && t.memory < mostMemory[i],
		})
	}
	e, m := exponent(sizes, cpu), exponent(sizes, memory)
	return append(rows, row{
		What: "how that grows with the group", Measured: fmt.Sprintf("exponent %.2f of the time, %.2f of the memory", e, m),
		Target: "<= 1.1", Met: e <= 1.1 && m <= 1.1,
	}), nil
}

// process is the plugin's and the account that it works on.
type process struct {
	host   *harness.Host
	name   string // of the group
	sim    *dosim.Sim
	stop   func() // the simulator's server
	runner *fleeting.Runner
	group  provider.InstanceGroup
}

func start(ctx context.Context, host *harness.Host, plugin, name string) (*process, error) {
	p := &process{host: host, name: name, sim: dosim.New(dosim.Options{
		Latency: roundTrip, BootTime: 2 * time.Second, DeleteTime: time.Second, DropletLimit: 6000,
	})}
	var url string
	url, p.stop = host.Serve(p.sim)
	config, err := json.Marshal(map[string]any{
		"name": name, "api_url": url, "token": dosim.DefaultToken,
		"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
	})
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	if p.runner, err = fleeting.RunPlugin(plugin, config, fleeting.WithPluginLogger(log)); err != nil {
		return nil, err
	}
	p.group = p.runner.InstanceGroup()
	_, err = p.group.Init(ctx, hclog.NewNullLogger(), provider.Settings{})
	return p, err
}

func (p *process) close(ctx context.Context) {
	if err := p.group.Shutdown(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error: shutting the plugin down:", err)
	}
	p.runner.Kill()
	p.sim.Close()
	p.stop()
}

// grow asks for n Droplets until all run, and returns what single calls took: an
// Increase of all, an Update that lists, a ConnectInfo.
func (p *process) grow(ctx context.Context, n int) ([]row, error) {
	before, begin := p.sim.RequestCounts(), time.Now()
	accepted, err := p.group.Increase(ctx, n)
	trips := float64(time.Since(begin)) / float64(roundTrip)
	creates, all := since(before, p.sim.RequestCounts(), "POST /v2/droplets")
	if err != nil {
		return nil, fmt.Errorf("Increase(%d): %w", n, err)
	}
	rows := []row{{
		What: fmt.Sprintf("Increase(%d)", n), Measured: fmt.Sprintf("%d requests in %.1f round trips", all, trips),
		Target: "10, <= 3 round trips", Met: all == 10 && creates == 10 && trips <= 3,
	}}

	var name string
	for running := 0; running < n; {
		if accepted < n { // the token's minute was spent
			more, err := p.group.Increase(ctx, n-accepted)
			if err != nil {
				return nil, fmt.Errorf("Increase(%d): %w", n-accepted, err)
			}
			accepted += more
		}
		running = 0
		if before, err = p.update(ctx, func(id string, s provider.State) {
			if s == provider.StateRunning {
				running++
				name = id
			}
		}); err != nil {
			return nil, err
		}
	}
	lists, _ := since(before, p.sim.RequestCounts(), "GET /v2/droplets")
	before = p.sim.RequestCounts()
	if _, err := p.group.ConnectInfo(ctx, name); err != nil {
		return nil, err
	}
	_, all = since(before, p.sim.RequestCounts(), "")
	return append(rows,
		row{What: fmt.Sprintf("Update that lists %d Droplets", n), Measured: fmt.Sprintf("%d requests", lists), Target: "5", Met: lists == 5},
		row{What: "ConnectInfo", Measured: fmt.Sprintf("%d requests", all), Target: "0", Met: all == 0}), nil
}

// effort is what a process takes: percent of a core, and the most memory in MiB.
type effort struct{ cpu, memory float64 }

// watch updates at the runner's pace, and measures the process meanwhile.
func (p *process) watch(ctx context.Context) (effort, error) {
	before, _, err := p.spent()
	if err != nil {
		return effort{}, err
	}
	begin := time.Now()
	for time.Since(begin) < watched {
		if _, err := p.update(ctx, func(string, provider.State) {}); err != nil {
			return effort{}, err
		}
	}
	after, memory, err := p.spent()
	return effort{100 * (after - before).Seconds() / time.Since(begin).Seconds(), memory}, err
}

// update calls Update at the runner's pace and returns the counts before it.
func (p *process) update(ctx context.Context, report func(string, provider.State)) (map[string]int, error) {
	time.Sleep(2 * time.Second)
	before := p.sim.RequestCounts()
	return before, p.group.Update(ctx, report)
}

// spent returns what Linux knows of the plugin's process: its time on a processor,
// and the most memory that it ever had, in MiB.
func (p *process) spent() (cpu time.Duration, memory float64, err error) {
	pid, err := p.host.Holder(p.name)
	if err != nil {
		return 0, 0, err
	}
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

// since returns how many requests of one operation, and of all, came between.
func since(before, after map[string]int, op string) (of, all int) {
	for o, n := range after {
		if o == op {
			of = n - before[o]
		}
		all += n - before[o]
	}
	return of, all
}
