package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// deleting is a Delete of n Droplets of the groups ci and big, on an account with others.
type deleting struct {
	sim      *dosim.Sim
	droplets []instancegroup.Droplet
	started  time.Time
	progress []int

	left []Remaining
	err  error
}

// runDelete deletes until 30 minutes are over, and sees to it that nothing else is touched.
func runDelete(t *testing.T, n int, prepare func(*deleting), check func(*deleting)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &deleting{sim: dosim.New(dosim.Options{DropletLimit: 2000}), started: time.Now()}
		defer d.sim.Close()
		for i := range n {
			group := []string{"ci", "big"}[i%2]
			name := fmt.Sprintf("%s-x7k2%06d", group, i)
			tags := []string{instancegroup.CommonTag, instancegroup.GroupTag(group)}
			id := d.sim.AddDroplet(dosim.Droplet{Name: name, Tags: tags})
			d.droplets = append(d.droplets, instancegroup.Droplet{ID: int64(id), Name: name, Tags: tags})
		}
		d.sim.AddDroplet(dosim.Droplet{Name: "ci-x7k2others", Tags: []string{"fleeting", "fleeting-group:ci"}})
		d.sim.AddDroplet(dosim.Droplet{Name: "database"})
		prepare(d)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		d.left, d.err = Delete(ctx, client(t, d.sim), d.droplets, func(left []Remaining) { d.progress = append(d.progress, len(left)) })
		check(d)
		for _, name := range []string{"ci-x7k2others", "database"} {
			if !slices.Contains(d.lives(), name) {
				t.Errorf("%s is gone", name)
			}
		}
		if v := d.sim.Violations(); len(v) > 0 {
			t.Errorf("violations: %q", v)
		}
		if i := slices.IndexFunc(d.sim.Tags(), instancegroup.IsDeleteTag); i >= 0 {
			t.Errorf("the tag %s stays on the account", d.sim.Tags()[i])
		}
	})
}

// fault injects faults, as dosim writes them.
func (d *deleting) fault(t *testing.T, faults ...string) {
	t.Helper()
	for _, text := range faults {
		f, err := dosim.ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		d.sim.Inject(f)
	}
}

func (d *deleting) lives() (names []string) {
	for _, x := range d.sim.Droplets() {
		names = append(names, x.Name)
	}
	return names
}

// gone fails unless all are gone, and only then were said to be.
func (d *deleting) gone(t *testing.T, what string) {
	t.Helper()
	if d.err != nil || len(d.left) > 0 || len(d.lives()) != 2 || d.progress[len(d.progress)-1] != 0 {
		t.Errorf("%s: %v; left %v, really %v, progress %v", what, d.err, d.left, d.lives(), d.progress)
	}
}

// Few go by their ids, many by tags; a runner on the same token keeps 100 of 250
// requests a minute; and it takes no longer than it must.
func TestDelete(t *testing.T) {
	for n, within := range map[int]time.Duration{0: 0, 1: 10 * time.Second, 10: 40 * time.Second, 11: time.Minute, 400: 2 * time.Minute} {
		runDelete(t, n, func(*deleting) {}, func(d *deleting) {
			d.gone(t, fmt.Sprint(n))
			if took := time.Since(d.started); took > within {
				t.Errorf("%d Droplets took %s", n, took)
			}
			counts := d.sim.RequestCounts()
			if batches := counts["DELETE /v2/droplets"]; batches != map[bool]int{true: (n + 99) / 100}[n > few] {
				t.Errorf("%d Droplets went by %d tags", n, batches)
			}
			if byID := counts["DELETE /v2/droplets/{id}"]; byID != map[bool]int{true: n}[n <= few] {
				t.Errorf("%d Droplets took %d deletions by id", n, byID)
			}
			var last []time.Time
			for _, r := range d.sim.Requests() {
				last = append(last, r.Time)
				if i := len(last) - 1 - 150; i >= 0 && r.Time.Sub(last[i]) < time.Minute {
					t.Errorf("%d Droplets: more than 150 requests within %s", n, r.Time.Sub(last[i]))
					break
				}
			}
		})
	}
}

// Whatever fails for a while is waited out.
func TestDeleteThroughFaults(t *testing.T) {
	for name, faults := range map[string][]string{
		"not carried out":     {"DELETE /v2/droplets/{id}: delete-ignored times 2", "DELETE /v2/droplets: delete-ignored times 1"},
		"pending events":      {"DELETE /v2/droplets/{id}: pending-event times 7"},
		"lists fail":          {"GET /v2/droplets: 503 times 40"},
		"look-ups fail":       {"GET /v2/droplets/{id}: 503 times 40"},
		"deletions time out":  {"DELETE *: hang times 3"},
		"tags are not to be":  {"POST /v2/tags: 403 times forever"},
		"tagging fails":       {"POST /v2/tags/{tag}/resources: 503 times 1"},
		"deleting by it":      {"DELETE /v2/droplets: 500 times 1"},
		"the answer is lost":  {"DELETE *: reset applied times 3"},
		"the token is spent":  {"GET *: 429 header Retry-After=30 times 3"},
		"an empty list":       {"GET /v2/droplets: list-empty times 2"},
		"empty while ignored": {"DELETE /v2/droplets: delete-ignored times 1", "GET /v2/droplets: list-empty skip 1 times 1"},
		"lists are behind":    {"GET /v2/droplets: list-lags for 1h times 2"},
		"a proxy answers 404": {"GET /v2/droplets/{id}: 404 html times 5"},
	} {
		for _, n := range []int{3, 25} {
			runDelete(t, n, func(d *deleting) { d.fault(t, faults...) }, func(d *deleting) { d.gone(t, fmt.Sprint(name, " with ", n)) })
		}
	}
}

// Some of it may be gone already.
func TestDeleteWhatIsGone(t *testing.T) {
	for _, n := range []int{3, 25} {
		runDelete(t, n, func(d *deleting) {
			d.sim.Destroy(int(d.droplets[0].ID))
			d.sim.Destroy(int(d.droplets[2].ID))
			time.Sleep(time.Minute)
		}, func(d *deleting) { d.gone(t, fmt.Sprint(n)) })
	}
}

// What a person keeps, or takes from its group, is left alone: before the first deletion,
// and between one that was not carried out and the next.
func TestDeleteLeavesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		do  func(*dosim.Sim, int)
		why error
	}{
		"kept":                {func(sim *dosim.Sim, id int) { sim.Tag(id, "fleeting-keep") }, errKept},
		"renamed":             {func(sim *dosim.Sim, id int) { sim.Rename(id, "ci-database") }, errForeign},
		"without the tag":     {func(sim *dosim.Sim, id int) { sim.Untag(id, "fleeting-group:ci") }, errForeign},
		"without either":      {func(sim *dosim.Sim, id int) { sim.Untag(id, "fleeting") }, errForeign},
		"never of this group": {func(*dosim.Sim, int) {}, errForeign},
	} {
		for _, n := range []int{3, 120} {
			for _, after := range []time.Duration{0, time.Second, 20 * time.Second} {
				runDelete(t, n, func(d *deleting) {
					if name == "never of this group" {
						d.droplets[0].Tags = []string{"fleeting-group:other"}
					}
					if after > 0 {
						d.fault(t, "DELETE /v2/droplets: delete-ignored first 1 times forever", "DELETE /v2/droplets/{id}: delete-ignored first 1 times forever")
						time.AfterFunc(after+time.Minute, d.sim.ClearFaults)
					}
					time.AfterFunc(after, func() { tt.do(d.sim, int(d.droplets[0].ID)) })
					synctest.Wait()
				}, func(d *deleting) {
					if d.err != nil || len(d.left) != 1 || d.left[0].ID != d.droplets[0].ID || !errors.Is(d.left[0].Why, tt.why) || len(d.lives()) != 3 {
						t.Errorf("%s, with %d, after %s: %v, left %v, really %v", name, n, after, d.err, d.left, d.lives())
					}
				})
			}
		}
	}
}

// What belongs to no group is left alone, whatever its caller thinks.
func TestDeleteForeign(t *testing.T) {
	runDelete(t, 1, func(d *deleting) {
		for _, x := range d.sim.Droplets() {
			if x.Name == "database" {
				d.droplets = append(d.droplets, instancegroup.Droplet{ID: int64(x.ID), Name: x.Name})
			}
		}
	}, func(d *deleting) {
		if d.err != nil || len(d.left) != 1 || !errors.Is(d.left[0].Why, errForeign) || len(d.lives()) != 2 {
			t.Errorf("%v, left %v, really %v", d.err, d.left, d.lives())
		}
	})
}

// A token that may not delete ends it at once, and says why of each.
func TestDeleteGivesUp(t *testing.T) {
	for faults, class := range map[[2]string]error{
		{"DELETE /v2/droplets: 403 times forever", "DELETE /v2/droplets/{id}: 403 times forever"}: instancegroup.ErrForbidden,
		{"DELETE /v2/droplets: 401 times forever", "DELETE /v2/droplets/{id}: 401 times forever"}: instancegroup.ErrUnauthorized,
		{"GET /v2/droplets: 403 times forever", "GET /v2/droplets/{id}: 403 times forever"}:       instancegroup.ErrForbidden,
	} {
		for _, n := range []int{3, 25} {
			runDelete(t, n, func(d *deleting) { d.fault(t, faults[:]...) }, func(d *deleting) {
				if !errors.Is(d.err, class) || len(d.left) != n || !errors.Is(d.left[0].Why, class) || time.Since(d.started) > 30*time.Second {
					t.Errorf("%s, with %d: %v after %s, left %d", faults, n, d.err, time.Since(d.started), len(d.left))
				}
			})
		}
	}
}

// Whoever stops waiting is told what is left and why; no DELETE is hammered meanwhile.
func TestDeleteStops(t *testing.T) {
	for _, n := range []int{1, 25} {
		runDelete(t, n, func(d *deleting) { d.fault(t, "DELETE *: delete-ignored times forever") }, func(d *deleting) {
			if !errors.Is(d.err, context.DeadlineExceeded) || len(d.left) != n || d.left[0].Why != nil || len(d.lives()) != n+2 {
				t.Errorf("%d: %v, left %v", n, d.err, d.left)
			}
			counts := d.sim.RequestCounts()
			if counts["DELETE /v2/droplets/{id}"]+counts["DELETE /v2/droplets"] > 6 || len(d.sim.Requests()) > 250 {
				t.Errorf("in half an hour %v", counts)
			}
		})
		runDelete(t, n, func(d *deleting) {
			d.fault(t, "DELETE /v2/droplets/{id}: pending-event times forever", "POST /v2/tags: 403 times forever")
		}, func(d *deleting) {
			if !errors.Is(d.err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(d.left[0].Why), "pending event") {
				t.Errorf("%d: %v, left %v", n, d.err, d.left)
			}
		})
	}
	for fault, n := range map[string]int{"GET *: hang times forever": 3, "DELETE *: hang times forever": 12, "POST *: hang times forever": 12} { // Ctrl-C meanwhile
		synctest.Test(t, func(t *testing.T) {
			_, api, groups := many(t, n, fault)
			var droplets []instancegroup.Droplet
			for i, group := range groups {
				droplets = append(droplets, instancegroup.Droplet{ID: int64(512_000_001 + i), Name: group + "-x7k2m9qxab", Tags: []string{"fleeting", instancegroup.GroupTag(group)}})
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			began := time.Now()
			left, err := Delete(ctx, api, droplets, func([]Remaining) {})
			if took := time.Since(began); !errors.Is(err, context.Canceled) || len(left) != n || took > time.Second+cleanupBound {
				t.Errorf("%s: %v after %s, left %d", fault, err, took, len(left))
			}
		})
	}
}
