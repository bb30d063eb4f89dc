package instancegroup

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// remove removes n Droplets of group ci from an account that has others too, until
// 30 minutes are over.
func remove(t *testing.T, n int, prepare func(a *account, ds []Droplet), check func(a *account, left []Droplet, err error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		tags := []string{CommonTag, GroupTag("ci"), RunTag(thisRun)}
		var ds []Droplet
		for range n {
			ds = append(ds, a.add(machine{Droplet: Droplet{Name: "ci-" + NewSuffix(), Tags: tags}}))
		}
		// What a manager would judge, and this is not to: it stays as it is.
		a.add(machine{Droplet: Droplet{Name: "ci-" + NewSuffix(), Tags: tags, Status: StatusOff}, foreign: true})
		a.add(machine{Droplet: Droplet{Name: "ci-by-hand", Tags: tags}, foreign: true})
		a.add(machine{Droplet: Droplet{Name: "ci-" + NewSuffix(), Tags: tags}, stuck: true, foreign: true})
		prepare(a, ds)
		ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
		defer cancel()
		log := &journal{}
		left, err := Remove(ctx, a, log, "ci", ds, nil)
		if n := log.count("manager") + log.count("left alone"); n > 0 {
			t.Errorf("it looked at what it was not given: %v", log.lines)
		}
		check(a, left, err)
	})
}

// Few go by id, many by a tag that is taken off the account again; nothing else of
// the group is touched, and it returns when all are proved to be gone.
func TestRemove(t *testing.T) {
	for _, n := range []int{1, 10, 11, 250} {
		remove(t, n, func(*account, []Droplet) {}, func(a *account, left []Droplet, err error) {
			if err != nil || len(left) > 0 || a.billed() > 0 {
				t.Errorf("of %d: %d left, %d billed, %v", n, len(left), a.billed(), err)
			}
			if b, gone := len(a.received("bulk")), a.received("tag"); (n > 10) != (b == 1) || len(gone) != b || b > 0 && !IsBulkTag(gone[0].tag) {
				t.Errorf("%d went by %d tags, of which %v were removed", n, b, gone)
			}
		})
	}
}

// What has lost the group's tag goes too, few or many, and is proved to be gone although
// no list has had it: also what DigitalOcean accepts to destroy, and does not.
func TestRemoveAdrift(t *testing.T) {
	for _, n := range []int{1, 30} {
		remove(t, n, func(a *account, ds []Droplet) {
			for i := range ds {
				ds[i].Tags = []string{CommonTag, RunTag(thisRun)}
				a.change(ds[i].ID, func(m *machine) { m.Tags = ds[i].Tags })
			}
			a.change(ds[n-1].ID, func(m *machine) { m.deafTo = 1 })
			a.breakOp("get", fault{err: unclear}) // look-ups prove it, and lists must not meanwhile
			time.AfterFunc(10*time.Second, func() { a.heal("get") })
		}, func(a *account, left []Droplet, err error) {
			if err != nil || len(left) > 0 || a.billed() > 0 {
				t.Errorf("of %d: %d left, %d billed, %v", n, len(left), a.billed(), err)
			}
		})
	}
}

// Whatever fails for a while is waited out.
func TestRemoveThroughFaults(t *testing.T) {
	for name, break_ := range map[string]func(a *account, ds []Droplet){
		"deletes are not carried out": func(a *account, ds []Droplet) {
			a.change(ds[0].ID, func(m *machine) { m.deafTo = 2 })
		},
		"lists fail for minutes": func(a *account, _ []Droplet) {
			a.breakOp("list", fault{err: unclear})
			time.AfterFunc(3*time.Minute, func() { a.heal("list") })
		},
		"deletes are refused for minutes": func(a *account, _ []Droplet) {
			a.breakOp("delete", fault{err: refusal(ErrPending)})
			time.AfterFunc(3*time.Minute, func() { a.heal("delete") })
		},
		"one is gone already": func(a *account, ds []Droplet) { a.change(ds[0].ID, a.destroyed) },
	} {
		t.Run(name, func(t *testing.T) {
			remove(t, 3, break_, func(a *account, left []Droplet, err error) {
				if err != nil || len(left) > 0 || a.billed() > 0 {
					t.Errorf("%d left, %d billed, %v", len(left), a.billed(), err)
				}
			})
		})
	}
}

// A token that may not destroy is told at once, and whoever stops waiting is told
// what is left.
func TestRemoveGivesUp(t *testing.T) {
	for _, op := range []string{"delete", "list"} {
		for _, class := range []error{ErrForbidden, ErrUnauthorized} {
			remove(t, 3, func(a *account, _ []Droplet) { a.breakOp(op, fault{err: refusal(class)}) },
				func(a *account, left []Droplet, err error) {
					if !errors.Is(err, class) || len(left) != 3 {
						t.Errorf("%s: %v, %d left", op, err, len(left))
					}
				})
		}
	}
	remove(t, 12, func(a *account, ds []Droplet) {
		a.change(ds[1].ID, func(m *machine) { m.deafTo = 100 })
	}, func(a *account, left []Droplet, err error) {
		if !errors.Is(err, context.DeadlineExceeded) || len(left) != 1 || a.billed() != 1 {
			t.Errorf("stopped: %v, %d left, %d billed", err, len(left), a.billed())
		}
		if tags := a.received("tag"); len(tags) != 1 || !IsBulkTag(tags[0].tag) {
			t.Errorf("the tag to destroy by stays: %v", tags)
		}
	})
}

// What is not the group's stops it before anything is sent.
func TestRemoveOnlyWhatIsOwned(t *testing.T) {
	for _, d := range []Droplet{
		{ID: 1, Name: "ci-7k2m9qxa"},                                                 // no tag
		{ID: 1, Name: "ci-database", Tags: []string{CommonTag}},                      // nor a run's
		{ID: 1, Name: "ci-big-7k2m9qxa", Tags: []string{CommonTag, RunTag(thisRun)}}, // adrift from another
		{ID: 1, Name: "ci-7k2m9qxa", Tags: []string{CommonTag, GroupTag("big")}},     // another group's
		{ID: 1, Name: "ci-big-7k2m9qxa", Tags: []string{CommonTag, GroupTag("ci")}},
		{ID: 1, Name: "ci-db", Tags: []string{CommonTag, GroupTag("ci")}},
		{ID: 1, Name: "ci-database", Tags: []string{GroupTag("ci")}},
	} {
		remove(t, 0, func(*account, []Droplet) {}, func(a *account, _ []Droplet, _ error) {
			before := len(a.calls)
			good := a.add(machine{Droplet: Droplet{Name: "ci-7k2m9qxb", Tags: []string{CommonTag, GroupTag("ci")}}})
			left, err := Remove(ctx, a, &journal{}, "ci", []Droplet{good, d}, nil)
			if err == nil || !strings.Contains(err.Error(), "nothing was destroyed") || len(left) != 2 || len(a.calls) != before {
				t.Errorf("%+v: %v, %d left, %d requests", d, err, len(left), len(a.calls)-before)
			}
		})
	}
}

// It tells how far it is.
func TestRemoveTellsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		var ds []Droplet
		for i := range 3 {
			m := machine{Droplet: Droplet{Name: "ci-" + NewSuffix(), Tags: []string{CommonTag, GroupTag("ci")}}, deafTo: i}
			ds = append(ds, a.add(m))
		}
		var told []int
		if _, err := Remove(ctx, a, &journal{}, "ci", ds, func(left int) { told = append(told, left) }); err != nil {
			t.Fatal(err)
		}
		if told = slices.Compact(told); !slices.Equal(told, []int{3, 2, 1, 0}) {
			t.Errorf("told of %v left", told)
		}
	})
}
