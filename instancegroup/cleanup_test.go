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
