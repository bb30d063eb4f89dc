package provider

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestKilledAndStartedAgain: the next plugin process knows at once what a killed one
// had made, though lists do not show it yet, and keeps to max_instances.
func TestKilledAndStartedAgain(t *testing.T) {
	onAccount(t, dosim.Options{ListLag: 10 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
		o := options{"max_instances": 5}
		first := start(t, sim, o)
		increase(t, first, 4)
		crash(first)
		second := configured(t, sim, o)
		_, book, err := tryInit(t, second)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := second.Increase(t.Context(), 5); n != 1 || err != nil {
			t.Errorf("Increase(5) = %d, %v; want 1", n, err)
		}
		if shown := states(t, second); len(shown) != 5 || len(sim.Droplets()) != 5 {
			t.Errorf("shown %v, and there are %d", shown, len(sim.Droplets()))
		}
		if len(book.lines("[INFO]  took over the Droplets of earlier plugin processes: ")) != 1 || len(book.lines("[WARN]")) > 0 {
			t.Error(book)
		}
		decrease(t, second, names(sim)...)
		time.Sleep(time.Minute)
		if err := second.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		nothingLeft(t, sim)
	})
}

// TestLateDropletOfAKilledProcess: what appears, or is even made, minutes after the
// kill is taken over. What a process makes that this host does not know is left alone.
func TestLateDropletOfAKilledProcess(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, nil)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Reset: true, Applied: true, Behaviour: dosim.LateToRise, For: 3 * time.Minute})
		increase(t, first, 1)
		crash(first)
		second := start(t, sim, nil)
		if shown := states(t, second); len(shown) != 0 {
			t.Errorf("at first: %v", shown)
		}
		time.Sleep(4 * time.Minute)
		tags := []string{"fleeting", "fleeting-group:ci"}
		sim.AddDroplet(dosim.Droplet{Name: "ci-" + instancegroup.RunOf("ci", names(sim)[0]) + "0late0", Tags: tags})
		ours := names(sim)
		foreign := sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: tags})
		if shown := slices.Sorted(maps.Keys(states(t, second))); !slices.Equal(shown, slices.Sorted(slices.Values(ours))) {
			t.Errorf("later: %q, want %q", shown, ours)
		}
		decrease(t, second, ours...)
		time.Sleep(time.Minute)
		states(t, second)
		_ = second.Shutdown(t.Context())
		if left := sim.Droplets(); len(left) != 1 || left[0].ID != foreign {
			t.Errorf("left: %q", names(sim))
		}
	})
}

// TestRestartsNeverBlockCreates: whatever ended the processes before, and
// deleted their Droplets, the next one may make as many as are allowed.
func TestRestartsNeverBlockCreates(t *testing.T) {
	onAccount(t, dosim.Options{ListLag: 4 * time.Second, PerMinute: -1, PerHour: -1}, func(t *testing.T, sim *dosim.Sim) {
		for i := range 20 {
			g := start(t, sim, options{"max_instances": 2})
			increase(t, g, 2)
			time.Sleep(time.Duration(i%4) * 20 * time.Second) // also before they run
			states(t, g)
			switch i % 3 {
			case 0:
				crash(g)
			case 1:
				_ = g.Shutdown(t.Context())
			case 2:
				decrease(t, g, names(sim)...)
				crash(g)
			}
			for _, d := range sim.Droplets() {
				sim.Destroy(d.ID) // rm --all
			}
			time.Sleep(10 * time.Second)
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
		var written struct{ Host string }
		if err := json.Unmarshal(content, &written); err != nil {
			t.Fatal(err)
		}
		copied := bytes.Replace(content, []byte(`"host":"`+written.Host+`"`), []byte(`"host":"machine-of-another"`), 1)
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
		if len(book.lines("[WARN]  ignoring what earlier plugin processes remembered")) != 1 {
			t.Error(book)
		}
		warned := book.lines("[WARN]  took over Droplets of plugin processes that this host does not know")
		if len(warned) != 1 || !strings.Contains(warned[0], "usd_per_hour=0.01786") || !containsAll(warned[0], names(sim)) {
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

func containsAll(s string, all []string) bool {
	return !slices.ContainsFunc(all, func(part string) bool { return !strings.Contains(s, part) })
}
