package instancegroup

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// Start takes over what earlier processes left, in whatever state, and shows it in
// the first Update without another list.
func TestStart(t *testing.T) {
	s := spec(func(s *Settings) { s.MaxInstances, s.DeadRuns = 6, []string{"dead", "dea2"} })
	unstarted(t, s, func(r *runner) {
		runs := r.add(owned("dead", "runni1"))
		r.change(runs.ID, func(m *machine) { m.PublicIPv4 = "" }) // how it was to be dialed nobody knows
		off, stuck, doomed := owned("dea2", "power1"), owned("othe", "stuck1"), owned("othe", "doome1")
		off.Status, stuck.stuck = StatusOff, true
		doomed.Tags = append(doomed.Tags, DeleteTag("ci")) // its DELETE may still be carried out, under a job
		for _, m := range []machine{off, stuck, doomed} {
			r.add(m)
		}
		time.Sleep(time.Hour)
		r.add(owned("dea2", "newbo1"))
		r.add(machine{Droplet: Droplet{Name: "web", Tags: []string{GroupTag("ci")}}, foreign: true})
		r.start(nil)
		r.counts(5)
		equal(t, "hourly", 0.05, r.Hourly())
		r.says("INFO", "took over the Droplets of earlier plugin processes", "droplets=3", "usd_per_hour=0.03",
			"ci-dea2newbo1 ci-dea2power1 ci-deadrunni1")
		r.says("WARN", "that this host does not know", "droplets=2", "usd_per_hour=0.02", "ci-othedoome1 ci-othestuck1")
		equal(t, "shown at first", 5, len(r.update()))
		equal(t, "requests of Find, Start and the first Update", []int{1, 1 + 2}, []int{r.asked("list"), len(r.calls)}) // two DELETEs
		r.wantOf(2, 1)
		r.run(45 * time.Second)
		r.told("ci-deadrunni1", Running)
		r.told("ci-dea2newbo1", Creating, Running)
		r.told("ci-dea2power1", Creating, Deleting, Deleted)
		r.allTold([]string{"ci-othestuck1", "ci-othedoome1"}, Deleting, Deleted) // new for an hour; tagged
		r.says("Droplet is active")                                              // the one that this process made
	})
}

// TestFindRemembered: the last process on this host was killed, and lists lack
// what it remembered. That is looked up by id, is the group's whatever its tags and
// name are now, and counts for max_instances. Its DELETE may be accepted and not
// carried out: that lists lack what was found by its id alone proves nothing then.
func TestFindRemembered(t *testing.T) {
	const n = 15
	for what, c := range map[string]struct {
		before      func(r *runner) // what happens while no process lives
		lists, gets int
	}{
		"nothing happened":            {func(*runner) {}, 1, 0},
		"the group's tag was deleted": {func(r *runner) { r.deleteTag(GroupTag("ci")) }, 2, 0},
		"all tags were deleted":       {func(r *runner) { r.deleteTag(GroupTag("ci")); r.deleteTag(CommonTag) }, 2, n},
		"renamed too": {func(r *runner) {
			for _, m := range r.machine {
				r.change(m.ID, func(m *machine) { m.Name, m.Tags = fmt.Sprint("web-", m.ID), []string{CommonTag} })
			}
		}, 2, 0},
		"lists lag behind a create": {func(r *runner) { r.createLag = time.Hour }, 2, n},
		"one of them is not listed": {func(r *runner) { r.change(1001, func(m *machine) { m.hidden = true }) }, 1, 1},
	} {
		saved := map[string]int64{}
		s := spec(func(s *Settings) { s.MaxInstances, s.Save = n+2, func(ids map[string]int64) { saved = ids } })
		story(t, what, s, func(r *runner) {
			names := r.up(n)
			r.deaf(1, names...)
			c.before(r)
			listed := r.asked("list")
			next := r.successor(saved)
			r.requests("list", listed+c.lists)
			r.requests("get", c.gets)
			next.counts(n)
			next.wantOf(5, 2)
			next.run(2 * time.Minute)
			next.allTold(names, Running)
			next.decrease(names...)
			next.run(3 * time.Minute)
			next.living(2)
			equal(r.t, "instances shown", 2, len(next.states))
		})
	}
}

// What is remembered and does not exist any more is dropped. What could not be
// looked up may exist: it counts, and is looked up later.
func TestFindRememberedIsGoneOrUnknown(t *testing.T) {
	for _, c := range []struct {
		what  string
		lives bool
		f     fault
		count int
		told  []State
	}{
		{"404", false, fault{applied: true}, 0, nil},
		{"failed, it lives", true, fault{err: unconfirmed}, 3, []State{Creating, Running}},
		{"failed, is gone", false, fault{err: refusal(ErrRateLimited)}, 3, []State{Creating, Deleted}},
		{"hangs, it lives", true, fault{hang: true}, 3, []State{Creating, Running}},
	} {
		unstarted(t, spec(func(s *Settings) { s.MaxInstances = 4 }), func(r *runner) {
			r.t.Log(c.what)
			remembered := map[string]int64{}
			for i := range 3 {
				m := owned("dead", fmt.Sprint("aaaaa", i))
				if m.hidden = true; !c.lives {
					m.gone = time.Now()
				}
				d := r.add(m)
				remembered[d.Name] = d.ID
			}
			time.Sleep(time.Minute)
			r.breakOp("get", c.f)
			r.start(remembered)
			r.counts(c.count)
			r.wantOf(4, 4-c.count)
			names := slices.Sorted(maps.Keys(remembered))
			if c.lives { // that lists lack it proves nothing of its DELETE
				r.deaf(1, names[0])
				r.decrease(names[0])
				names = names[1:]
			}
			r.run(10 * time.Second)
			r.heal("get")
			r.run(45 * time.Second) // lists alone would want a minute before they mean anything
			r.allTold(names, c.told...)
		})
	}
}

// Whatever becomes of the list of GPU Droplets, it keeps no group from starting
// that has no GPU size. It is logged once what that means.
func TestStartWithoutGPUList(t *testing.T) {
	for _, class := range []error{ErrRefused, ErrUnconfirmed, ErrRateLimited} {
		unstarted(t, spec(nil), func(r *runner) {
			r.noGPUs = &fault{err: refusal(class)}
			r.add(owned("dead", "aaaaa1"))
			if r.tryStart(true, nil) == nil {
				t.Error("with a GPU size it is needed")
			}
			r.start(nil)
			r.counts(1)
			r.run(time.Minute)
			r.says("WARN", "GPU Droplets cannot be listed")
		})
	}
}

// GPU Droplets of an earlier process stay visible although no size is a GPU size
// any more: a list without them would call them gone once they are deleted.
func TestGPUDropletsOfEarlierRun(t *testing.T) {
	for _, lag := range []time.Duration{0, 65 * time.Second} { // which is found by its id
		unstarted(t, spec(nil), func(r *runner) {
			m := owned("dead", "aaaaa1")
			m.Size, m.Region, m.deafTo = "gpu-h100x1-80gb", "nyc2", 1
			d := r.add(m)
			r.createLag = lag
			time.Sleep(time.Minute)
			r.start(map[string]int64{d.Name: d.ID})
			r.run(10 * time.Second)
			looked := r.asked("get")
			r.run(80 * time.Second)
			r.decrease(d.Name)
			r.run(30 * time.Second)
			r.told(d.Name, Running, Deleting)
			r.run(time.Minute)
			r.told(d.Name, Running, Deleting, Deleted)
			r.requests("get", looked) // lists can show it
		})
	}
}

// Lists lag: what was taken over and is gone may be in a later list again. It is
// not shown as a new instance.
func TestGoneIsNotTakenOverAgain(t *testing.T) {
	unstarted(t, spec(nil), func(r *runner) {
		name := r.add(owned("dead", "aaaaa1")).Name
		time.Sleep(time.Minute)
		r.start(nil)
		r.run(4 * time.Second)
		r.decrease(name)
		r.run(10 * time.Second)
		r.deleteLag = time.Minute // the list of another replica
		r.run(10 * time.Second)
		r.deleteLag = 0
		r.run(10 * time.Second)
		r.told(name, Running, Deleting, Deleted)
		r.counts(0)
	})
}

// TestForget: what the last process remembered turns out to be on another account.
func TestForget(t *testing.T) {
	unstarted(t, spec(nil), func(r *runner) {
		remembered := map[string]int64{}
		for i := range findsAtOnce + 10 { // more than Find looks up
			remembered[fmt.Sprintf("ci-dead%06d", i)] = int64(1000 + i)
		}
		f, err := Find(ctx, r.account, r.log, r.Name, false, remembered)
		equal(t, "error of Find", nil, err)
		equal(t, "unless it is forgotten", 10, Start(r.Settings, r.account, r.log, f).Count())
		f.Forget()
		equal(t, "forgotten", 0, Start(r.Settings, r.account, r.log, f).Count())
	})
}
