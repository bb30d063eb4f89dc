package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// options are keys of plugin_config, besides those that every group needs.
type options map[string]any

// configured makes a plugin process for the account of sim, and configures it as
// the runner does.
func configured(t *testing.T, sim *dosim.Sim, o options) *InstanceGroup {
	t.Helper()
	c := options{"name": "ci", "token": dosim.DefaultToken, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-13-x64"}
	maps.Copy(c, o)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	g := &InstanceGroup{transport: sim.Transport()}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	return g
}

// start makes one and lets its Init succeed.
func start(t *testing.T, sim *dosim.Sim, o options) *InstanceGroup {
	t.Helper()
	g := configured(t, sim, o)
	if _, err := g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{}); err != nil {
		t.Fatal(err)
	}
	return g
}

// crash ends a plugin as kill -9 does: it says nothing to anybody.
func crash(g *InstanceGroup) { g.running.Load().state.Drop() }

// states is what one Update shows.
func states(t *testing.T, g *InstanceGroup) map[string]provider.State {
	t.Helper()
	shown := map[string]provider.State{}
	if err := g.Update(t.Context(), func(id string, s provider.State) { shown[id] = s }); err != nil {
		t.Fatal("Update:", err)
	}
	return shown
}

// count returns how many instances are in a state.
func count(shown map[string]provider.State, state provider.State) int {
	n := 0
	for _, s := range shown {
		if s == state {
			n++
		}
	}
	return n
}

// logBook is a log that a test can read.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines returns those lines that contain what.
func (l *logBook) lines(what string) []string {
	var found []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, what) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logBook) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: io.Writer(l)})
}

// took returns how long f takes.
func took(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// ownState keeps the state of a test to itself, as that of a host that nobody shares.
func ownState(t *testing.T) {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", t.TempDir())
}

// onAccount runs f in a bubble with a state directory and an account of its own,
// on which nothing may be done that a well-behaved plugin never does.
func onAccount(t *testing.T, o dosim.Options, f func(t *testing.T, sim *dosim.Sim)) {
	t.Helper()
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(o)
		defer sim.Close()
		f(t, sim)
		if v := sim.Violations(); len(v) > 0 {
			t.Errorf("violations: %q", v)
		}
	})
}

// tryInit is Init, and what it logs.
func tryInit(t *testing.T, g *InstanceGroup) (provider.ProviderInfo, *logBook, error) {
	t.Helper()
	var book logBook
	info, err := g.Init(t.Context(), book.logger(), provider.Settings{})
	return info, &book, err
}

// increase must be accepted whole.
func increase(t *testing.T, g *InstanceGroup, n int) {
	t.Helper()
	if got, err := g.Increase(t.Context(), n); got != n || err != nil {
		t.Fatalf("Increase(%d) = %d, %v", n, got, err)
	}
}

// decrease must be accepted whole.
func decrease(t *testing.T, g *InstanceGroup, names ...string) {
	t.Helper()
	got, err := g.Decrease(t.Context(), names)
	if slices.Sort(got); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Fatalf("Decrease(%q) = %q, %v", names, got, err)
	}
}

// names returns the names of the Droplets that live.
func names(sim *dosim.Sim) []string {
	var all []string
	for _, d := range sim.Droplets() {
		all = append(all, d.Name)
	}
	return all
}

// nothingLeft: no Droplet, no key, no delete tag.
func nothingLeft(t *testing.T, sim *dosim.Sim) {
	t.Helper()
	if d, k, left := sim.Droplets(), sim.Keys(), leftovers(sim); len(d)+len(k)+len(left) > 0 {
		t.Errorf("left: Droplets %v, keys %v, and of those the plugin's: %q", d, k, left)
	}
}

// leftovers is what is on an account that nobody needs.
func leftovers(sim *dosim.Sim) []string {
	var left []string
	for _, d := range sim.Droplets() {
		if slices.Contains(d.Tags, "fleeting") && !slices.Contains(d.Tags, "fleeting-keep") {
			left = append(left, fmt.Sprintf("Droplet %d %s %s %v", d.ID, d.Name, d.Status, d.Tags))
		}
	}
	for _, k := range sim.Keys() {
		if strings.HasPrefix(k.Name, "fleeting-") {
			left = append(left, "key "+k.Name)
		}
	}
	for _, tag := range sim.Tags() {
		if instancegroup.IsDeleteTag(tag) {
			left = append(left, "tag "+tag)
		}
	}
	return left
}
