// Command bench measures what the docs claim of the plugin: requests, round
// trips and memory, of the real binary over gRPC against a simulated
// DigitalOcean with its real rate limits and a round trip of 150 ms. It prints
// one table, and fails if a target is missed.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

const usage = `Usage: bench [-plugin FILE]

Measures the plugin's requests, round trips and memory against a simulated DigitalOcean.

  -plugin FILE  the binary to measure (default: build it)

A session:
  $ make bench
  case                          measured            target
  Increase(100)                 10 creates          10 creates                 ok
  ...
`

// roundTrip is the simulated network's, and what round trips are counted in.
const roundTrip = 150 * time.Millisecond

func main() {
	plugin := flag.String("plugin", "", "")
	flag.Usage = func() { fmt.Fprint(flag.CommandLine.Output(), usage) }
	flag.Parse()
	if err := run(context.Background(), *plugin); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, plugin string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	os.Setenv("XDG_CACHE_HOME", dir) // the plugin's lock file
	if plugin == "" {
		if plugin, err = harness.BuildPlugin(ctx, dir); err != nil {
			return err
		}
	}
	b, err := open(ctx, plugin)
	if err != nil {
		return err
	}
	defer b.close(ctx)
	rows, err := b.measure(ctx)
	if err != nil {
		return err
	}
	return print(rows)
}

// row is one line of the table.
type row struct {
	what, measured, target string
	met                    bool
}

func print(rows []row) error {
	missed := 0
	fmt.Printf("%-44s %-22s %s\n", "case", "measured", "target")
	for _, r := range rows {
		verdict := "ok"
		if !r.met {
			verdict = "MISSED"
			missed++
		}
		fmt.Printf("%-44s %-22s %-26s %s\n", r.what, r.measured, r.target, verdict)
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d targets are missed", missed, len(rows))
	}
	return nil
}

// bench is the plugin and the account that it works on.
type bench struct {
	sim    *dosim.Sim
	server *http.Server
	runner *fleeting.Runner
	group  provider.InstanceGroup
}

func open(ctx context.Context, plugin string) (*bench, error) {
	b := &bench{sim: dosim.New(dosim.Options{Latency: roundTrip, BootTime: 2 * time.Second, DeleteTime: time.Second, DropletLimit: 2000})}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.server = &http.Server{Handler: b.sim, ReadHeaderTimeout: 10 * time.Second}
	go b.server.Serve(listener) // ends with close
	config, err := json.Marshal(map[string]any{
		"name": "bench", "api_url": "http://" + listener.Addr().String(), "token": dosim.DefaultToken,
		"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
	})
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr})
	if b.runner, err = fleeting.RunPlugin(plugin, config, fleeting.WithPluginLogger(log)); err != nil {
		return nil, err
	}
	b.group = b.runner.InstanceGroup()
	return b, nil
}

func (b *bench) close(ctx context.Context) {
	if err := b.group.Shutdown(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error: shutting the plugin down:", err)
	}
	b.runner.Kill()
	b.server.Close()
	b.sim.Close()
}

// measure runs the cases, each from where the last one ended.
func (b *bench) measure(ctx context.Context) ([]row, error) {
	var rows []row
	if _, err := b.group.Init(ctx, hclog.NewNullLogger(), provider.Settings{}); err != nil {
		return nil, err
	}

	before, begin := b.sim.RequestCounts(), time.Now()
	n, err := b.group.Increase(ctx, 100)
	took := time.Since(begin)
	if err != nil || n != 100 {
		return nil, fmt.Errorf("Increase(100) = %d, %w", n, err)
	}
	creates, all := since(before, b.sim.RequestCounts(), "POST /v2/droplets")
	trips := float64(took) / float64(roundTrip)
	rows = append(rows,
		row{"Increase(100)", fmt.Sprintf("%d requests", all), "10, all creates", all == 10 && creates == 10},
		row{"Increase(100), time", fmt.Sprintf("%.1f round trips", trips), "<= 3, no waiting for boot", trips <= 3})

	fmt.Fprintln(os.Stderr, "growing to 1,000 Droplets ...")
	if n, err = b.group.Increase(ctx, 900); err != nil || n != 900 {
		return nil, fmt.Errorf("Increase(900) = %d, %w", n, err)
	}
	var name string
	for running := 0; running < 1000; {
		running = 0
		if before, err = b.update(ctx, func(id string, s provider.State) {
			if s == provider.StateRunning {
				running++
				name = id
			}
		}); err != nil {
			return nil, err
		}
	}
	lists, _ := since(before, b.sim.RequestCounts(), "GET /v2/droplets")
	rows = append(rows, row{"Update at 1,000 Droplets", fmt.Sprintf("%d list requests", lists), "5", lists == 5})

	before = b.sim.RequestCounts()
	if _, err := b.group.ConnectInfo(ctx, name); err != nil {
		return nil, err
	}
	_, all = since(before, b.sim.RequestCounts(), "")
	rows = append(rows, row{"ConnectInfo", fmt.Sprintf("%d requests", all), "0", all == 0})

	fmt.Fprintln(os.Stderr, "listing 1,000 Droplets for a minute ...")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if _, err := b.update(ctx, func(string, provider.State) {}); err != nil {
			return nil, err
		}
	}
	rss, err := pluginRSS()
	if err != nil {
		return nil, err
	}
	rows = append(rows, row{"memory at 1,000 Droplets, most", fmt.Sprintf("%.1f MiB", rss), "< 40 MiB RSS", rss < 40})
	return rows, nil
}

// update calls Update at the runner's pace and returns the counts before it.
func (b *bench) update(ctx context.Context, report func(string, provider.State)) (map[string]int, error) {
	time.Sleep(2 * time.Second)
	before := b.sim.RequestCounts()
	return before, b.group.Update(ctx, report)
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

// pluginRSS returns the most memory that the plugin's process has had, in MiB:
// VmHWM of the process whose id is in the lock file's neighbour.
func pluginRSS() (float64, error) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "fleeting-plugin-digitalocean", "*.pid"))
	if err != nil || len(files) != 1 {
		return 0, fmt.Errorf("the plugin's process: %v, %w", files, err)
	}
	pid, err := os.ReadFile(files[0])
	if err != nil {
		return 0, err
	}
	status, err := os.ReadFile(filepath.Join("/proc", string(pid), "status"))
	if err != nil {
		return rssByPS(string(pid)) // not Linux
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.Atoi(fields[1])
			return float64(kib) / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in the status of process %s", pid)
}

func rssByPS(pid string) (float64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", pid).Output()
	if err != nil {
		return 0, err
	}
	kib, err := strconv.Atoi(strings.TrimSpace(string(out)))
	return float64(kib) / 1024, err
}
