package provider

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestKilledAndStartedAgain: the next plugin process knows at once what a killed one
// had made, though lists do not show it yet, and keeps to max_instances. What appears
// minutes after the kill is taken over too; what a process makes that this host does
// not know is left alone.
func TestKilledAndStartedAgain(t *testing.T) {
	onAccount(t, dosim.Options{ListLag: 10 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
		o := options{"max_instances": 7}
		first := start(t, sim, o)
		increase(t, first, 4)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Reset: true, Applied: true, Behaviour: dosim.LateToRise, For: 3 * time.Minute})
		increase(t, first, 1)
		crash(first)
		second := configured(t, sim, o)
		_, book, err := tryInit(t, second)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := second.Increase(t.Context(), 1); n != 1 || err != nil {
			t.Errorf("Increase(1) = %d, %v", n, err)
		}
		if shown := states(t, second); len(shown) != 5 {
			t.Errorf("at first: %v", shown)
		}
		time.Sleep(4 * time.Minute)
		tags := []string{"fleeting", "fleeting-group:ci"}
		sim.AddDroplet(dosim.Droplet{Name: "ci-" + instancegroup.RunOf("ci", names(sim)[0]) + "0late0", Tags: tags}) // made late, too
		ours := names(sim)
		foreign := sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: tags})
		time.Sleep(15 * time.Second)
		if shown := slices.Sorted(maps.Keys(states(t, second))); len(ours) != 7 || !slices.Equal(shown, slices.Sorted(slices.Values(ours))) {
			t.Errorf("later: %q, want %q", shown, ours)
		}
		if n, err := second.Increase(t.Context(), 1); n != 0 || err != nil {
			t.Errorf("Increase(1) = %d, %v; there is no room", n, err)
		}
		if len(book.lines("[INFO]  took over the Droplets of earlier plugin processes: ")) != 3 || len(book.lines("[WARN]")) > 0 {
			t.Error(book)
		}
		decrease(t, second, ours...)
		time.Sleep(time.Minute)
		states(t, second)
		_ = second.Shutdown(t.Context())
		if left := sim.Droplets(); len(left) != 1 || left[0].ID != foreign || len(sim.Keys()) > 0 {
			t.Errorf("left: %q, keys %v", names(sim), sim.Keys())
		}
	})
}

// TestCopiedManager: of another host's state.json nothing is believed. Droplets are
// taken over all the same, with a warning, and a key that may be a living manager's stays.
func TestCopiedManager(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, nil)
		increase(t, first, 2)
		crash(first)
		files, err := filepath.Glob(filepath.Join(os.Getenv("XDG_STATE_HOME"), "*", "ci-*.json"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		copied := regexp.MustCompile(`"host":"[^"]*"`).ReplaceAll(content, []byte(`"host":"machine-of-another"`))
		if bytes.Equal(copied, content) {
			t.Fatalf("no host in %s", content)
		}
		if err := os.WriteFile(files[0], copied, 0o600); err != nil {
			t.Fatal(err)
		}

		second := configured(t, sim, nil)
		_, book, err := tryInit(t, second)
		if err != nil {
			t.Fatal(err)
		}
		if len(book.lines("[WARN]  the state file is not used")) != 1 {
			t.Error(book)
		}
		warned := book.lines("[WARN]  took over Droplets of plugin processes that this host does not know")
		if len(warned) != 1 || !strings.Contains(warned[0], "usd_per_hour=0.01786") ||
			slices.ContainsFunc(names(sim), func(name string) bool { return !strings.Contains(warned[0], name) }) {
			t.Errorf("warned %q of %q", warned, names(sim))
		}
		if shown := states(t, second); len(shown) != 2 {
			t.Errorf("shown %v", shown)
		}
		run := instancegroup.RunOf("ci", names(sim)[0])
		if !slices.ContainsFunc(sim.Keys(), func(k dosim.Key) bool {
			of, _ := instancegroup.RunOfKey("ci", k.Name)
			return of == run
		}) {
			t.Errorf("the key of run %s was deleted: %v", run, sim.Keys())
		}
		_ = second.Shutdown(t.Context())
	})
}
