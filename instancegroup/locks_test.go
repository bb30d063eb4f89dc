package instancegroup

import (
	"sync"
	"testing"
	"time"
)

// counted counts how often it is taken.
type counted struct {
	sync.Mutex
	taken int
}

func (c *counted) Lock() {
	c.Mutex.Lock()
	c.taken++
}

// TestLocks holds the calls to few moments at which the group's state can change.
func TestLocks(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.Save = func(map[string]int64) {} }), func(r *runner) {
		mu := &counted{}
		r.Group.mu = mu
		names := r.up(150)
		for _, c := range []struct {
			what string
			most int
			call func()
		}{
			{"a quiet Update", 4, func() { r.update() }},
			{"Increase(1)", 4, func() { r.want(1) }},
			{"Decrease(100)", 6, func() { r.decrease(names[:100]...) }},
		} {
			time.Sleep(2 * time.Second) // a list is due
			before := mu.taken
			c.call()
			if n := mu.taken - before; n < 1 || n > c.most {
				t.Errorf("%s takes the lock %d times, want at most %d", c.what, n, c.most)
			}
		}
	})
}

// TestSave: what the next process needs to know is written down whenever it
// changes, before the call returns that changed it, and at no other time.
func TestSave(t *testing.T) {
	var saved map[string]int64
	calls := 0
	s := spec(func(s *Settings) {
		s.Save = func(ids map[string]int64) { saved, calls = ids, calls+1 }
	})
	scenario(t, s, func(r *runner) {
		check := func(what string, want int) {
			t.Helper()
			truth := map[string]int64{}
			for _, m := range r.machine {
				if m.lives() && !m.foreign && !Kept(m.Droplet) {
					truth[m.Name] = m.ID
				}
			}
			equal(t, what, truth, saved)
			equal(t, what+": calls", want, calls)
			calls = 0
		}
		r.add(machine{Droplet: Droplet{Name: "by-hand", Tags: []string{CommonTag, GroupTag("ci")}}, foreign: true})
		r.want(12)
		check("Increase", 1)
		r.run(time.Minute)
		check("quiet Updates", 0)

		r.script("create", fault{applied: true, err: unconfirmed})
		r.want(1)
		r.run(3 * time.Second)
		check("a list has what was not confirmed", 1)

		names := r.in(Running)
		r.vanish(names[0])
		r.run(10 * time.Second)
		check("one vanished", 1)

		r.decrease(names[1])
		calls = 0 // it lives, or may
		r.run(10 * time.Second)
		check("one is gone", 1)

		r.keep(r.only(names[2]).ID)
		r.run(4 * time.Second)
		check("a person keeps one", 1)
	})

	one, duplicate := &instance{name: "a", id: 1}, &instance{name: "a", id: 2, hidden: true}
	for _, all := range [][]*instance{{one, duplicate}, {duplicate, one}} {
		equal(t, "saved of a name that two Droplets have", map[string]int64{"a": 1}, (&instances{all: all}).ids())
	}
}
