package inventory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// deleting is a Delete of n Droplets of the groups ci and big, on an account with others.
type deletion struct {
	sim      *dosim.Sim
	api      *digitalocean.Client
	items    []*Item
	stop     time.Duration // when its caller does not wait any longer
	took     time.Duration
	progress int // what is gone

	left []*Item
}

// runDelete deletes, for 30 minutes at most, and sees to it that nothing else is touched.
func runDelete(t *testing.T, n int, prepare, check func(*deletion)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d := &deletion{sim: dosim.New(dosim.Options{DropletLimit: 2000}), stop: 30 * time.Minute}
		defer d.sim.Close()
		for i := range n {
			group := []string{"ci", "big"}[i%2]
			name := fmt.Sprintf("%s-x7k2%06d", group, i)
			tags := []string{instancegroup.CommonTag, instancegroup.GroupTag(group)}
			x := dosim.Droplet{Name: name, Tags: tags}
			if i == 5 { // no list has it
				x.Size, x.Region = "gpu-h100x1-80gb", "nyc3"
			}
			id := d.sim.AddDroplet(x)
			d.items = append(d.items, NewItem(instancegroup.Droplet{ID: int64(id), Name: name, Tags: tags}))
		}
		d.sim.AddDroplet(dosim.Droplet{Name: "ci-x7k2others", Tags: []string{"fleeting", "fleeting-group:ci"}})
		d.sim.AddDroplet(dosim.Droplet{Name: "database"})
		prepare(d)
		ctx, cancel := context.WithTimeout(t.Context(), d.stop)
		defer cancel()
		began := time.Now()
		d.api = client(t, d.sim)
		Delete(ctx, d.api, d.items, func(gone, _ int) { d.progress = gone })
		d.took = time.Since(began)
		d.left = slices.DeleteFunc(slices.Clone(d.items), func(i *Item) bool { return i.Deleted })
		check(d)
		for _, name := range []string{"ci-x7k2others", "database"} {
			if !slices.Contains(d.lives(), name) {
				t.Errorf("%s is gone", name)
			}
		}
		if v := d.sim.Violations(); len(v) > 0 {
			t.Errorf("violations: %q", v)
		}
	})
}

func (d *deletion) lives() (names []string) {
	for _, x := range d.sim.Droplets() {
		names = append(names, x.Name)
	}
	return names
}

// gone fails unless all are gone, in time, and only then were said to be.
func (d *deletion) gone(t *testing.T, what string) {
	t.Helper()
	if len(d.left) > 0 || len(d.lives()) != 2 || d.took > 15*time.Minute || d.progress != len(d.items) {
		t.Errorf("%s: left %v, really %v, progress %v", what, d.left, d.lives(), d.progress)
	}
}

// atPace fails if a runner on the same token had less than 100 of its 250 requests a minute.
func (d *deletion) atPace(t *testing.T, what string) {
	t.Helper()
	requests := d.sim.Requests()
	for i := range max(0, len(requests)-150) {
		if took := requests[i+150].Time.Sub(requests[i].Time); took < time.Minute {
			t.Fatalf("%s: more than 150 requests within %s", what, took)
		}
	}
}

// Each is deleted once; a runner on the same token keeps 100 of 250 requests a minute; and
// it takes no longer than it must.
func TestDelete(t *testing.T) {
	for n, within := range map[int]time.Duration{0: 0, 1: 10 * time.Second, 10: 20 * time.Second, 200: 5 * time.Minute} {
		runDelete(t, n, func(*deletion) {}, func(d *deletion) {
			d.gone(t, fmt.Sprint(n))
			if deletions := d.sim.RequestCounts()["DELETE /v2/droplets/{id}"]; deletions != n || d.took > within {
				t.Errorf("%d Droplets took %d deletions and %s", n, deletions, d.took)
			}
			d.atPace(t, fmt.Sprint(n))
		})
	}
}

// Lists show what is gone for a while; whoever lists after a Delete sees it no more, unless that takes too long.
func TestDeleteWaitsForLists(t *testing.T) {
	for lag, took := range map[time.Duration][2]time.Duration{0: {0, 10 * time.Second}, 20 * time.Second: {20 * time.Second, 30 * time.Second},
		50 * time.Second: {30 * time.Second, 40 * time.Second}} {
		runDelete(t, 4, func(d *deletion) {
			time.Sleep(time.Minute)
			d.sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.ListLags, For: lag, Times: -1})
		}, func(d *deletion) {
			l, err := d.api.List(context.Background(), instancegroup.CommonTag, false)
			if shown := len(l.Droplets) != 1; err != nil || shown != (lag == 50*time.Second) || d.took < took[0] || d.took > took[1] {
				t.Errorf("%s late: %d in lists after %s, %v", lag, len(l.Droplets), d.took, err)
			}
			d.gone(t, "lists that lag")
		})
	}
}

// Whatever fails for a while is waited out.
func TestDeleteThroughFaults(t *testing.T) {
	for name, faults := range map[string][]string{
		"not carried out":     {"DELETE *: delete-ignored times 2"},
		"pending events":      {"DELETE *: pending-event times 7"},
		"look-ups fail":       {"GET /v2/droplets/{id}: 503 times 40"},
		"deletions time out":  {"DELETE *: hang times 3"},
		"the answer is lost":  {"DELETE *: reset applied times 3"},
		"the token is spent":  {"GET *: 429 header Retry-After=30 times 3"},
		"a proxy answers 404": {"GET /v2/droplets/{id}: 404 html times 5"},
		"not found at first":  {"GET /v2/droplets/{id}: 404 times 10"},
		"nothing answers":     {"GET /v2/droplets/{id}: reset times 200"},
	} {
		runDelete(t, 12, func(d *deletion) {
			inject(t, d.sim, faults...)
			d.sim.Destroy(int(d.items[0].Droplet.ID)) // some may be gone already
			d.sim.Destroy(int(d.items[11].Droplet.ID))
		}, func(d *deletion) {
			d.gone(t, name)
			d.atPace(t, name)
		})
	}
}

// What a person keeps, or takes from its group, is left alone: before the first deletion,
// and between one that was not carried out and the next.
func TestDeleteLeavesAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		do  func(*dosim.Sim, int)
		why error
	}{
		"kept":            {func(sim *dosim.Sim, id int) { sim.Tag(id, "fleeting-keep") }, errKept},
		"renamed":         {func(sim *dosim.Sim, id int) { sim.Rename(id, "ci-database") }, errForeign},
		"without the tag": {func(sim *dosim.Sim, id int) { sim.Untag(id, "fleeting-group:ci") }, errForeign},
		"without either":  {func(sim *dosim.Sim, id int) { sim.Untag(id, "fleeting") }, errForeign},
		"and not to be read": {func(sim *dosim.Sim, id int) {
			sim.Untag(id, "fleeting")
			inject(t, sim, "GET /v2/droplets/{id}: 503 times 20")
		}, errForeign},
		"never of this group": {func(*dosim.Sim, int) {}, errForeign},
		"never of any":        {func(sim *dosim.Sim, id int) { sim.Rename(id, "database2") }, errForeign},
	} {
		for _, after := range []time.Duration{0, 20 * time.Second} {
			runDelete(t, 6, func(d *deletion) {
				switch name {
				case "never of this group":
					*d.items[0] = *NewItem(instancegroup.Droplet{ID: d.items[0].Droplet.ID, Name: d.items[0].Name, Tags: []string{"fleeting-group:other"}})
				case "never of any":
					*d.items[0] = *NewItem(instancegroup.Droplet{ID: d.items[0].Droplet.ID, Name: "database2"})
				}
				if after > 0 {
					inject(t, d.sim, "DELETE *: delete-ignored first 1 times forever")
					time.AfterFunc(after+time.Minute, d.sim.ClearFaults)
				}
				time.AfterFunc(after, func() { tt.do(d.sim, int(d.items[0].Droplet.ID)) })
				synctest.Wait()
			}, func(d *deletion) {
				if len(d.left) != 1 || d.left[0] != d.items[0] || !errors.Is(d.left[0].Why, tt.why) || !d.left[0].LeftAlone() || len(d.lives()) != 3 {
					t.Errorf("%s, after %s: left %v, really %v", name, after, d.left, d.lives())
				}
			})
		}
	}
}

// A token that may not delete ends it at once.
func TestDeleteGivesUp(t *testing.T) {
	for fault, class := range map[string]error{
		"DELETE *: 403 times forever":              instancegroup.ErrForbidden,
		"DELETE *: 401 times forever":              instancegroup.ErrUnauthorized,
		"GET /v2/droplets/{id}: 403 times forever": instancegroup.ErrForbidden,
	} {
		runDelete(t, 10, func(d *deletion) { inject(t, d.sim, fault) }, func(d *deletion) {
			for _, i := range d.items {
				if i.Deleted || !errors.Is(i.Why, class) || d.took > 10*time.Second {
					t.Errorf("%s: %s: %v after %s", fault, i, i.Why, d.took)
				}
			}
		})
	}
}

// Whoever stops waiting is told what is left and why; nothing is hammered meanwhile.
func TestDeleteStops(t *testing.T) {
	for _, tt := range []struct {
		fault, why string
		most       int // deletions
	}{
		{"DELETE *: delete-ignored times forever", "deadline exceeded", 5},
		{"DELETE *: pending-event times forever", "pending event", 16},
	} {
		runDelete(t, 1, func(d *deletion) { inject(t, d.sim, tt.fault) }, func(d *deletion) {
			why := d.items[0].Why
			if !errors.Is(why, context.DeadlineExceeded) || len(d.left) != 1 || !strings.Contains(why.Error(), tt.why) || len(d.lives()) != 3 {
				t.Errorf("%s: %v, left %v", tt.fault, why, d.left)
			}
			if n := d.sim.RequestCounts()["DELETE /v2/droplets/{id}"]; n > tt.most || len(d.sim.Requests()) > 250 {
				t.Errorf("%s: in half an hour %d deletions of %d requests", tt.fault, n, len(d.sim.Requests()))
			}
		})
	}
	for _, fault := range []string{"GET *: hang times forever", "DELETE *: hang times forever"} {
		runDelete(t, 12, func(d *deletion) {
			inject(t, d.sim, fault)
			d.stop = time.Second
		}, func(d *deletion) {
			if !errors.Is(d.items[11].Why, context.DeadlineExceeded) || len(d.left) != 12 || d.took != d.stop {
				t.Errorf("%s: %v after %s, left %d", fault, d.items[11].Why, d.took, len(d.left))
			}
		})
	}
}

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) { return a(req) }

// Keys are gone when their group's Droplets are, which may need them. One whose deletion is not answered keeps the
// next one waiting for 20 s, not for as long as its caller waits.
func TestDeleteRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := func(req *http.Request) (*http.Response, error) {
			status := http.StatusNoContent
			switch req.URL.Path {
			case "/v2/account/keys/hangs":
				<-req.Context().Done()
				return nil, req.Context().Err()
			case "/v2/droplets/1":
				status = http.StatusForbidden
			case "/v2/account/keys/gone":
				status = http.StatusNotFound
			}
			return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(`{"id":"x","message":"x"}`)), Request: req,
				Header: http.Header{"Content-Type": {"application/json"}}}, nil
		}
		api, err := digitalocean.New(digitalocean.Options{URL: "https://none.example", Token: func() (string, error) { return dosim.DefaultToken, nil },
			Transport: answers(answer)})
		if err != nil {
			t.Fatal(err)
		}
		items := []*Item{NewItem(instancegroup.Droplet{ID: 1, Name: "big-x7k2m9qxab", Tags: []string{"fleeting", "fleeting-group:big"}}),
			{Kind: KeyKind, Name: "waits", Group: "big", fingerprint: "waits"}, {Kind: KeyKind, Name: "hangs", Group: "ci", fingerprint: "hangs"},
			{Kind: KeyKind, Name: "gone", Group: "ci", fingerprint: "gone"}, {Kind: KeyKind, Name: "key", Group: "ci", fingerprint: "f"}}
		began := time.Now()
		Delete(t.Context(), api, items, func(int, int) {})
		var deleted []string
		for _, i := range items {
			if i.Deleted {
				deleted = append(deleted, i.String())
			}
		}
		if !slices.Equal(deleted, []string{"key gone", "key key"}) || items[2].Why == nil || items[1].Why != nil || time.Since(began) != restBound {
			t.Errorf("deleted %q after %s; %v", deleted, time.Since(began), items[2].Why)
		}
	})
}
