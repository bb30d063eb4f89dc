package instancegroup

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestAnything does anything in any order: what a runner does, what can befall a
// request, and what people do to Droplets. The runner and the account hold every
// step against what must always be so; when all faults are over the group must
// come to rest, with nothing lost and nothing left.
func TestAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// rapid keeps real time, and fails a check by a panic: the bubble is
		// inside of it, and hands the panic out.
		var failed any
		synctest.Test(t, func(*testing.T) {
			defer func() { failed = recover() }()
			anything(rt)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func anything(rt *rapid.T) {
	const most = MaxNames // one create a call, so that a run can be repeated
	a := newAccount(rt)
	a.createLag = time.Duration(rapid.IntRange(0, 15).Draw(rt, "createLag")) * time.Second
	a.perPage = rapid.SampledFrom([]int{3, 200}).Draw(rt, "perPage")
	for _, suffix := range []string{"aaaaa1", "bbbbb2"}[:rapid.IntRange(0, 2).Draw(rt, "left over")] {
		a.add(owned("dead", suffix))
	}
	stranger := a.add(machine{Droplet: Droplet{Name: "ci-web-aaaaaaaaa1", Tags: []string{CommonTag, GroupTag("ci")}}, foreign: true})
	time.Sleep(time.Minute)
	r := newRunner(rt, spec(func(s *Settings) {
		s.MaxInstances, s.Project, s.Placements = most, "p", []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}}
	}), a)
	r.start()

	some := func(ids []int64) int64 {
		if len(ids) == 0 {
			rt.Skip("no Droplet")
		}
		return rapid.SampledFrom(ids).Draw(rt, "Droplet")
	}
	ours := func() []int64 {
		var ids []int64
		for id, m := range a.machine {
			if m.gone.IsZero() && !m.foreign {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	const nobody = "nobody could know it then: its create was not answered, and no list has had it"
	known := func(id int64) bool { return r.instances.byID[id] != nil }
	rt.Repeat(map[string]func(*rapid.T){
		"increase": func(rt *rapid.T) { _, _ = r.increase(rapid.IntRange(1, most).Draw(rt, "n")) },
		"decrease": func(rt *rapid.T) {
			if names := r.shown(); len(names) > 0 {
				_, _ = r.tryDecrease(rapid.SampledFrom(names).Draw(rt, "instance"))
			}
		},
		"decrease many": func(rt *rapid.T) {
			names := r.shown()
			_, _ = r.tryDecrease(names[:rapid.IntRange(0, len(names)).Draw(rt, "n")]...)
		},
		"update": func(rt *rapid.T) { _, _ = r.tryUpdate() },
		"wait": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 60).Draw(rt, "seconds")) * time.Second)
		},
		"fault": func(rt *rapid.T) {
			op := rapid.SampledFrom([]string{"list", "get", "create", "delete", "project", "tagging"}).Draw(rt, "op")
			a.script(op, rapid.SampledFrom([]fault{
				{err: unconfirmed}, {err: unconfirmed, applied: true}, {hang: true}, {hang: true, applied: true},
				{err: refusal(ErrRateLimited)}, {err: refusal(ErrUnsent)}, {err: refusal(ErrCapacity)}, {err: refusal(ErrInvalid)},
			}).Draw(rt, "fault"))
		},
		"ignore deletes": func(rt *rapid.T) { a.change(some(ours()), func(m *machine) { m.deafTo = 2 }) },
		"destroy":        func(rt *rapid.T) { a.change(some(ours()), a.destroyed) },
		"power off":      func(rt *rapid.T) { a.change(some(ours()), func(m *machine) { m.Status = StatusOff }) },
		"power on":       func(rt *rapid.T) { a.change(some(ours()), func(m *machine) { m.Status = "" }) },
		"never boot":     func(rt *rapid.T) { a.change(some(ours()), func(m *machine) { m.stuck = true }) },
		"rename": func(rt *rapid.T) {
			id := some(ours())
			if !known(id) {
				rt.Skip(nobody)
			}
			a.change(id, func(m *machine) { m.Name = "renamed" })
		},
		"delete the group's tag": func(rt *rapid.T) {
			if slices.ContainsFunc(ours(), func(id int64) bool { return !known(id) || r.instances.byID[id].phase == deleting }) {
				rt.Skip(nobody + "; and of what is being deleted a list proves as much as ever")
			}
			a.deleteTag(GroupTag("ci"))
			stranger.Tags = []string{CommonTag}
			a.heal("list") // a list has to show it before a delete is believed by one
			a.heal("get")
			for range 2 { // the first Update of all asks for none
				time.Sleep(longList)
				_, _ = r.tryUpdate()
			}
		},
		"": func(rt *rapid.T) {
			if n := a.billed(); n > most {
				rt.Fatalf("%d Droplets, max_instances is %d", n, most)
			}
		},
	})

	for _, op := range []string{"list", "get", "create", "delete", "project", "tagging"} {
		a.heal(op)
	}
	time.Sleep(time.Minute)
	r.run(2 * time.Minute)
	for range 20 {
		_, _ = r.tryDecrease(r.shown()...)
		for range 10 {
			time.Sleep(10 * time.Second)
			r.update()
		}
	}
	if len(r.states) != 0 || a.billed() != 0 || r.Count() != 0 {
		rt.Fatalf("left after all was destroyed: shown %v, billed %d, counted %d", r.states, a.billed(), r.Count())
	}
	if !r.Shutdown(ctx) {
		rt.Fatalf("Shutdown says that something is left")
	}
	if m := a.machine[stranger.ID]; !m.gone.IsZero() || !slices.Equal(m.Tags, stranger.Tags) {
		rt.Fatalf("the stranger was touched: %+v", m)
	}
}

// shown returns the names of the living, in the order in which they appeared.
func (r *runner) shown() (names []string) {
	for _, i := range r.instances.all {
		if s := r.states[i.name]; !i.hidden && (s == Creating || s == Running) {
			names = append(names, i.name)
		}
	}
	return names
}
