package instancegroup

import (
	"testing"
	"time"
)

// Droplets are assigned to the project once lists show them, a hundred at once.
func TestProject(t *testing.T) {
	s := spec(func(s *Settings) { s.Project = "p-1" })
	t.Run("assigned", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.createLag = 3 * time.Second
			r.script("create", fault{applied: true, err: unconfirmed}) // also what lists must find
			r.up(120)
			assigned := map[int64]int{}
			for _, c := range r.received("project") {
				if c.tag != "p-1" {
					t.Errorf("project %s", c.tag)
				}
				for _, id := range c.ids {
					assigned[id]++
					if c.at.Sub(r.machine[id].born) < r.createLag {
						t.Errorf("%d was assigned before any list had it", id)
					}
				}
			}
			if len(assigned) != 120 {
				t.Errorf("%d Droplets were assigned, want 120", len(assigned))
			}
			for id, n := range assigned {
				if n != 1 {
					t.Errorf("%d was assigned %d times", id, n)
				}
			}
		})
	})
	t.Run("failing at it warns, and fails nothing", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.breakOp("project", fault{err: refusal(ErrForbidden)})
			r.up(2)
			if n := r.asked("project"); n != 3 {
				t.Errorf("%d attempts, want 3", n)
			}
			r.says("WARN", "could not be assigned to the project", "request_id=req-42")
		})
	})
	t.Run("a rate limit is no attempt", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.breakOp("project", fault{err: refusal(ErrRateLimited)})
			r.up(2)
			before := r.asked("project")
			r.heal("project")
			r.run(10 * time.Second)
			if n := r.asked("project") - before; n != 1 || r.log.count("WARN") != 0 {
				t.Errorf("%d attempts afterwards, want one; %d warnings", n, r.log.count("WARN"))
			}
		})
	})
	t.Run("no project", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.up(1)
			if n := r.asked("project"); n != 0 {
				t.Errorf("%d assignments", n)
			}
		})
	})
}

// The delete tag is removed when lists show that what carried it is gone, and it
// was not needed for a minute; the next that are deleted together make it anew.
func TestDeleteTagIsRemoved(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(80)
		removed := func(want int) {
			t.Helper()
			for _, c := range r.received("tag") {
				if c.tag != DeleteTag("ci", thisRun) {
					t.Errorf("%s was removed", c.tag)
				}
			}
			if n := r.asked("tag"); n != want {
				t.Errorf("removed %d times, want %d", n, want)
			}
		}
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 3 })
		r.decrease(names[:20]...)
		r.run(50 * time.Second)
		r.decrease(names[20:40]...)
		r.run(2 * time.Minute)
		removed(0) // one lives, and carries it
		r.run(5 * time.Minute)
		removed(1)

		r.decrease(names[40:60]...)
		r.run(50 * time.Second)
		removed(1)
		r.run(20 * time.Second)
		removed(2)
		r.deletedWith("3 to tag, 3 by tag, 2 by id")

		r.breakOp("tag", fault{err: refusal(ErrForbidden)})
		r.decrease(names[60:]...)
		r.run(30 * time.Minute)
		removed(3) // a token that may not is not asked again
		r.says("WARN", "the delete tag stays on the account")
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// Nothing is deleted by the tag while it is being removed: what would be tagged
// then would lose it again.
func TestNoDeleteByTagWhileItIsRemoved(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(40)
		r.decrease(names[:20]...)
		r.run(50 * time.Second)
		r.breakOp("tag", fault{hang: true, applied: true})
		done := make(chan bool)
		go func() {
			for r.asked("tag") == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			r.decrease(names[20:]...)
			close(done)
		}()
		r.run(30 * time.Second)
		<-done
		r.deletedWith("1 to tag, 1 by tag, 20 by id")
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}
