package instancegroup

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Start takes over what earlier processes left, in whatever state, and shows it in
// the first Update without another list.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.add(owned("dead", "runni1"))
		off := owned("dea2", "power1")
		off.Status = StatusOff
		a.add(off)
		stuck := owned("othe", "stuck1")
		stuck.stuck = true
		a.add(stuck)
		doomed := owned("othe", "doome1")
		doomed.Tags = append(doomed.Tags, DeleteTag("ci")) // its DELETE may still be carried out, under a job
		a.add(doomed)
		time.Sleep(time.Hour)
		a.add(owned("dea2", "newbo1"))
		a.add(machine{Droplet: Droplet{Name: "web", Tags: []string{GroupTag("ci")}}, foreign: true})
		r := newRunner(t, spec(func(s *Settings) { s.MaxInstances, s.DeadRuns = 6, []string{"dead", "dea2"} }), a)
		r.start()
		if n := r.Count(); n != 5 || r.Hourly() != 0.05 {
			t.Errorf("Count = %d, Hourly = %v; want 5, 0.05", n, r.Hourly())
		}
		r.says("INFO", "took over the Droplets of earlier plugin processes", "droplets=3", "usd_per_hour=0.03", "ci-dea2newbo1 ci-dea2power1 ci-deadrunni1")
		r.says("WARN", "that this host does not know", "droplets=2", "usd_per_hour=0.02", "ci-othedoome1 ci-othestuck1")
		if n := len(a.calls); n != 1 {
			t.Errorf("Find and Start made %d requests, want 1", n)
		}
		if shown := r.update(); len(shown) != 5 || r.asked("list") != 1 {
			t.Errorf("first Update: %q, %d lists", shown, r.asked("list"))
		}
		r.want(1) // there is room for one more
		if n, err := r.increase(1); n != 0 || err != nil {
			t.Errorf("Increase beyond max_instances = %d, %v", n, err)
		}
		r.run(45 * time.Second)
		r.told("ci-deadrunni1", Running)
		r.told("ci-dea2newbo1", Creating, Running)
		r.told("ci-dea2power1", Creating, Deleting, Deleted)
		r.told("ci-othestuck1", Deleting, Deleted) // new for an hour
		r.told("ci-othedoome1", Deleting, Deleted)
		if n := r.log.count("Droplet is active"); n != 1 {
			t.Errorf("%d Droplets are logged as become active, want the one that this process made", n)
		}
	})
}

func TestFindFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.breakOp("list", fault{err: unconfirmed})
		_, err := Find(ctx, a, &journal{}, "ci", false, nil)
		if err == nil || err.Error() != "list the Droplets with the tag fleeting-group:ci: OP: 502 bad gateway" {
			t.Errorf("Find: %v", err)
		}
	})
}

// TestFindRemembered: the last process on this host was killed, and lists lack
// what it remembered. That is looked up by id, is the group's whatever its tags and
// name are now, and counts for max_instances.
func TestFindRemembered(t *testing.T) {
	const n = 15
	lists := func(a *account) int { return len(a.received("list")) }
	for what, c := range map[string]struct {
		before func(r *runner) // what happens while no process lives
		lists  int
		gets   int
	}{
		"nothing happened": {func(*runner) {}, 1, 0},
		"the group's tag was deleted": {func(r *runner) {
			r.deleteTag(GroupTag("ci"))
		}, 2, 0},
		"all tags were deleted": {func(r *runner) {
			r.deleteTag(GroupTag("ci"))
			r.deleteTag(CommonTag)
		}, 2, n},
		"renamed too": {func(r *runner) {
			for _, m := range r.machine {
				r.change(m.ID, func(m *machine) { m.Name, m.Tags = fmt.Sprint("web-", m.ID), []string{CommonTag} })
			}
		}, 2, 0},
		"lists lag behind a create": {func(r *runner) { r.createLag = time.Hour }, 2, n},
		"one of them is not listed": {func(r *runner) {
			r.change(1001, func(m *machine) { m.hidden = true })
		}, 1, 1},
	} {
		t.Run(what, func(t *testing.T) {
			saved := map[string]int64{}
			s := spec(func(s *Settings) {
				s.MaxInstances, s.Save = n+2, func(ids map[string]int64) { saved = ids }
			})
			scenario(t, s, func(r *runner) {
				names := r.up(n)
				c.before(r)
				listed := lists(r.account)
				next := newRunner(t, spec(func(s *Settings) { s.Run, s.MaxInstances, s.DeadRuns = "run1", n+2, []string{thisRun} }), r.account)
				next.start(saved)
				if l, g := lists(r.account)-listed, r.asked("get"); l != c.lists || g != c.gets {
					t.Errorf("%d lists, %d look-ups; want %d, %d", l, g, c.lists, c.gets)
				}
				if next.Count() != n {
					t.Errorf("it takes over %d of %d", next.Count(), n)
				}
				if got, err := next.increase(5); got != 2 || err != nil {
					t.Errorf("Increase(5) = %d, %v; there is room for 2", got, err)
				}
				next.run(2 * time.Minute)
				for _, name := range names {
					next.told(name, Running)
				}
				next.decrease(names...)
				next.run(3 * time.Minute)
				if left := r.billed(); left != 2 || len(next.states) != 2 {
					t.Errorf("%d live, %v; want the two new ones", left, next.states)
				}
			})
		})
	}
}

// A DELETE may be accepted and not carried out. That lists lack what was found by
// its id alone proves nothing then.
func TestFoundByIDIsNotProvenGoneByLists(t *testing.T) {
	for _, lose := range []func(r *runner){
		func(r *runner) { r.createLag = 10 * time.Minute },
		func(r *runner) { r.deleteTag(GroupTag("ci")); r.deleteTag(CommonTag) },
	} {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			id := r.only(name).ID
			r.change(id, func(m *machine) { m.deafTo = 1 })
			lose(r)
			next := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns = "run1", []string{thisRun} }), r.account)
			next.start(map[string]int64{name: id})
			next.update()
			next.decrease(name)
			next.run(30 * time.Second)
			next.told(name, Running, Deleting)
			next.run(2 * time.Minute)
			next.told(name, Running, Deleting, Deleted)
		})
	}
}

// What is remembered and does not exist any more is dropped. What could not be
// looked up may exist: it counts, and is looked up later.
func TestFindRememberedIsGoneOrUnknown(t *testing.T) {
	for what, c := range map[string]struct {
		lives bool
		f     fault
		count int
		told  []State
	}{
		"404":              {false, fault{applied: true}, 0, nil},
		"failed, it lives": {true, fault{err: unconfirmed}, 3, []State{Creating, Running}},
		"failed, is gone":  {false, fault{err: refusal(ErrRateLimited)}, 3, []State{Creating, Deleted}},
		"hangs, it lives":  {true, fault{hang: true}, 3, []State{Creating, Running}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				remembered := map[string]int64{}
				for i := range 3 {
					m := owned("dead", fmt.Sprint("aaaaa", i))
					d := a.add(m)
					a.change(d.ID, func(m *machine) {
						if m.hidden = true; !c.lives {
							m.gone = time.Now()
						}
					})
					remembered[d.Name] = d.ID
				}
				time.Sleep(time.Minute)
				a.breakOp("get", c.f)
				r := newRunner(t, spec(func(s *Settings) { s.MaxInstances = 4 }), a)
				bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				found, err := Find(bounded, a, r.log, "ci", false, remembered)
				if err != nil {
					t.Fatal(err)
				}
				r.Group = Start(r.Settings, a, r.log, found)
				if n := r.Count(); n != c.count {
					t.Errorf("%d are counted, want %d", n, c.count)
				}
				if n, err := r.increase(4); n != 4-c.count || err != nil {
					t.Errorf("Increase(4) = %d, %v", n, err)
				}
				r.run(10 * time.Second)
				a.heal("get")
				r.run(45 * time.Second) // lists alone would want a minute before they mean anything
				for _, name := range slices.Sorted(maps.Keys(remembered)) {
					r.told(name, c.told...)
				}
				if n := r.asked("delete"); n != 0 {
					t.Errorf("%d DELETEs", n)
				}
			})
		})
	}
}

// Whatever becomes of the list of GPU Droplets, it keeps no group from starting
// that has no GPU size. It is logged once what that means.
func TestStartWithoutGPUList(t *testing.T) {
	for name, f := range map[string]fault{
		"refused": {err: refusal(ErrInvalid)}, "unconfirmed": {err: unconfirmed}, "rate limit": {err: refusal(ErrRateLimited)}, "no answer": {hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.add(owned("dead", "aaaaa1"))
				r := newRunner(t, spec(nil), a)
				find := func(gpus bool) (Found, error) {
					bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
					defer cancel()
					return Find(bounded, noGPUs{a, f}, r.log, "ci", gpus, nil)
				}
				found, err := find(false)
				if err != nil {
					t.Fatal(err)
				}
				if r.Group = Start(r.Settings, noGPUs{a, f}, r.log, found); r.Count() != 1 {
					t.Errorf("it takes over %d Droplets", r.Count())
				}
				r.run(time.Minute)
				r.says("WARN", "GPU Droplets cannot be listed")
				if _, err := find(true); err == nil {
					t.Error("with a GPU size it is needed")
				}
			})
		})
	}
}

// noGPUs cannot list GPU Droplets.
type noGPUs struct {
	*account
	f fault
}

func (n noGPUs) List(ctx context.Context, tag string, gpus bool) (List, error) {
	if gpus {
		n.script("list", n.f)
	}
	return n.account.List(ctx, tag, gpus)
}

// GPU Droplets of an earlier process stay visible although no size is a GPU size
// any more: a list without them would call them gone once they are deleted.
func TestGPUDropletsOfEarlierRun(t *testing.T) {
	for _, lag := range []time.Duration{0, 65 * time.Second} { // which is found by its id
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			m := owned("dead", "aaaaa1")
			m.Size, m.Region, m.deafTo = "gpu-h100x1-80gb", "nyc2", 1
			d := a.add(m)
			a.createLag = lag
			time.Sleep(time.Minute)
			r := newRunner(t, spec(nil), a)
			r.start(map[string]int64{d.Name: d.ID})
			r.run(10 * time.Second)
			looked := r.asked("get")
			r.run(80 * time.Second)
			r.decrease(d.Name)
			r.run(30 * time.Second)
			r.told(d.Name, Running, Deleting)
			r.run(time.Minute)
			r.told(d.Name, Running, Deleting, Deleted)
			if n := r.asked("get") - looked; n != 0 {
				t.Errorf("%d look-ups of what lists can show", n)
			}
		})
	}
}

// A group without GPU Droplets does not ask for them: that is a request more.
func TestNoGPUDropletsAreListed(t *testing.T) {
	for _, gpus := range []bool{false, true} {
		scenario(t, spec(func(s *Settings) { s.GPUs = gpus }), func(r *runner) {
			r.add(machine{Droplet: Droplet{Name: "big-aaaaaaaaa1", Size: "gpu-h100x1-80gb", Tags: []string{CommonTag}}, foreign: true})
			r.start(map[string]int64{"ci-deadaaaaa1": 1, "ci-deadaaaaa2": 2}) // so that it lists all groups
			before := r.asked("list")
			r.run(10 * time.Second)
			for _, c := range r.received("list")[before:] {
				if c.gpus != gpus {
					t.Errorf("GPU Droplets are listed: %v, want %v", c.gpus, gpus)
				}
			}
		})
	}
}

// Lists lag: what was taken over and is gone may be in a later list again. It is
// not shown as a new instance.
func TestGoneIsNotTakenOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		d := a.add(owned("dead", "aaaaa1"))
		time.Sleep(time.Minute)
		r := newRunner(t, spec(nil), a)
		r.start()
		r.run(4 * time.Second)
		r.decrease(d.Name)
		r.run(10 * time.Second)
		r.told(d.Name, Running, Deleting, Deleted)
		a.deleteLag = time.Minute // the list of another replica
		r.run(10 * time.Second)
		a.deleteLag = 0
		r.run(10 * time.Second)
		r.told(d.Name, Running, Deleting, Deleted)
		if cs := a.received("delete"); !slices.ContainsFunc(cs, func(c call) bool { return c.id == d.ID }) || r.Count() != 0 {
			t.Errorf("DELETEs %v, counted %d", cs, r.Count())
		}
	})
}
