package instancegroup

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// keep is what a person does to keep a Droplet, and unkeep ends it.
func (r *runner) keep(id int64) {
	r.change(id, func(m *machine) { m.Tags = append(slices.Clone(m.Tags), "Fleeting-Keep") })
}

func (r *runner) unkeep(id int64) {
	r.change(id, func(m *machine) {
		m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(t string) bool { return t == "Fleeting-Keep" })
	})
}

// TestKept: a Droplet with the tag fleeting-keep is a person's. The runner is told
// that it is gone; it is never deleted, and still counts for max_instances. The
// account polices that no DELETE reaches it.
func TestKept(t *testing.T) {
	s := spec(func(s *Settings) { s.MaxInstances = 3 })
	for what, c := range map[string]struct {
		boot time.Duration // since its create, when it is kept
		told []State
	}{
		"at once": {0, []State{Creating, Deleted}}, "creating": {5 * time.Second, []State{Creating, Deleted}}, "running": {time.Minute, []State{Creating, Running, Deleted}},
	} {
		t.Run(what, func(t *testing.T) {
			scenario(t, s, func(r *runner) {
				r.want(2)
				var ids []int64
				for id := range r.machine {
					ids = append(ids, id)
				}
				kept := r.machine[slices.Min(ids)]
				if c.boot > 0 {
					r.run(c.boot)
				}
				r.keep(kept.ID)
				for range 30 {
					if r.run(2 * time.Second); r.Count() != 2 {
						t.Fatalf("Count = %d", r.Count())
					}
				}
				r.told(kept.Name, c.told...)
				r.says("WARN", "a person keeps a Droplet", kept.Name, "usd_per_hour=0.01")
				if r.Hourly() != 0.02 {
					t.Errorf("Hourly = %v", r.Hourly())
				}
				if n, err := r.increase(3); n != 1 || err != nil {
					t.Errorf("Increase(3) = %d, %v; there is room for one", n, err)
				}
				r.decrease(kept.Name) // as if the runner still knew it
				r.run(50 * time.Minute)
				hourly := []string{"WARN", "Droplets are kept by the tag fleeting-keep", "droplets=1", "usd_per_hour=0.01", kept.Name}
				r.says(hourly...)
				r.run(20 * time.Minute)
				if n := r.log.count(hourly...); n != 2 {
					t.Errorf("named %d times after more than an hour", n)
				}

				r.decrease(r.in(Running)...)
				r.run(10 * time.Second)
				if !r.shutdown() || r.billed() != 1 {
					t.Errorf("not clean, or %d live", r.billed())
				}
				r.says("WARN", "kept by a person, and billed", "usd_per_hour=0.01", kept.Name)
			})
		})
	}

	t.Run("before the start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			kept := a.add(owned("dead", "aaaaa1"))
			a.add(owned("dead", "aaaaa2"))
			time.Sleep(time.Minute)
			r := newRunner(t, s, a)
			r.keep(kept.ID)
			r.start(map[string]int64{kept.Name: kept.ID})
			if n := r.Count(); n != 2 {
				t.Errorf("Count = %d", n)
			}
			r.run(time.Minute)
			if n, err := r.increase(3); n != 1 || err != nil {
				t.Errorf("Increase(3) = %d, %v; there is room for one", n, err)
			}
			r.run(time.Minute)
			if h := r.history[kept.Name]; h != nil {
				t.Errorf("the runner was told of it: %v", h)
			}
			r.says("WARN", "Droplets are kept", kept.Name)
			r.unkeep(kept.ID) // then it is one that an earlier process left
			r.run(time.Minute)
			r.told(kept.Name, Running)
		})
	})

	// By id and by tag; the DELETE that was accepted before was not carried out.
	for _, n := range []int{2, 15} {
		t.Run(fmt.Sprintf("while it is one of %d that are being deleted", n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(n + 15)
				kept := r.only(names[0])
				r.change(kept.ID, func(m *machine) { m.deafTo = 1 })
				r.decrease(names[:n]...)
				r.run(4 * time.Second)
				r.keep(kept.ID)
				r.run(20 * time.Second)
				r.told(kept.Name, Creating, Running, Deleting, Deleted)
				r.decrease(names[n:]...) // by the tag that it may still carry
				r.run(10 * time.Minute)
				if r.billed() != 1 || r.Count() != 1 {
					t.Errorf("%d live, %d are counted; want the kept one", r.billed(), r.Count())
				}
			})
		})
	}

	t.Run("the tag is taken off again", func(t *testing.T) {
		for _, run := range []string{thisRun, "dead"} {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				r := newRunner(t, s, a)
				id, name := int64(0), ""
				if run == thisRun {
					r.start()
					name = r.up(1)[0]
					id = r.only(name).ID
				} else {
					d := a.add(owned(run, "aaaaa1"))
					id, name = d.ID, d.Name
					time.Sleep(time.Minute)
					r.start()
					r.run(10 * time.Second)
				}
				r.keep(id)
				r.run(time.Minute)
				told := slices.Clone(r.history[name])
				r.unkeep(id)
				r.run(time.Minute)
				r.told(name, told...)
				r.says("Droplet will be deleted", name, "it appeared after it was given up")
				if r.billed() != 0 || r.Count() != 0 {
					t.Errorf("%d live, %d are counted", r.billed(), r.Count())
				}
			})
		}
	})

	t.Run("what the runner never hears of", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			m := owned(thisRun, "aaaaa1")
			m.deafTo = 1
			id := r.add(m).ID
			r.run(4 * time.Second) // its DELETE is accepted
			r.keep(id)
			r.run(5 * time.Minute)
			if r.billed() != 1 || r.Count() != 1 || len(r.states) != 0 {
				t.Errorf("%d live, %d are counted, shown: %v", r.billed(), r.Count(), r.states)
			}
		})
	})
}
