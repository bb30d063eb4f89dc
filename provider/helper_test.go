package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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
	g, _ := logged(t, sim, o)
	return g
}

// logged is start, and what is logged.
func logged(t *testing.T, sim *dosim.Sim, o options) (*InstanceGroup, *logBook) {
	t.Helper()
	g := configured(t, sim, o)
	_, book, err := tryInit(t, g)
	if err != nil {
		t.Fatal(err)
	}
	return g, book
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

// shows fails the test unless the next Update shows so many instances, all in a state.
func shows(t *testing.T, g *InstanceGroup, n int, state provider.State) {
	t.Helper()
	want := slices.Repeat([]provider.State{state}, n)
	equal(t, "shown", want, slices.AppendSeq([]provider.State{}, maps.Values(states(t, g))))
}

// logBook is a log that a test can read.
type logBook struct{ bytes.Buffer }

// lines returns those lines that contain what.
func (l *logBook) lines(what string) (found []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, what) {
			found = append(found, line)
		}
	}
	return found
}

func (l *logBook) logger() hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: l})
}

// equal fails the test unless what is as it is to be.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// fails fails the test unless err says all of the words.
func fails(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("error %v, want %q", err, w)
		}
	}
}

// file makes a file of a test, in path or else in a directory of its own.
func file(t *testing.T, path, content string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "file")
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Error(err)
	}
	return path
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
