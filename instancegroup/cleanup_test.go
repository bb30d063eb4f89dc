package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// Droplets are assigned to the project once lists show them, a hundred at once.
func TestProject(t *testing.T) {
	s := spec(func(s *Settings) { s.Project = "p-1" })
	story(t, "assigned", s, func(r *runner) {
		r.createLag = 3 * time.Second
		r.script("create", fault{applied: true, err: unconfirmed}) // also what lists must find
		r.up(120)
		assigned := 0
		for _, c := range r.received("project") {
			equal(r.t, "project", "p-1", c.tag)
			for _, id := range c.ids {
				assigned++
				equal(r.t, "assigned before any list had it", false, c.at.Sub(r.machine[id].born) < r.createLag)
			}
		}
		equal(r.t, "assigned", 120, assigned)
	})
	story(t, "failing at it warns, and fails nothing", s, func(r *runner) {
		r.breakOp("project", fault{err: refusal(ErrForbidden)})
		r.up(2)
		r.requests("project", 1)
		r.says("WARN", "could not be assigned to the project", "request_id=req-42")
	})
	for _, err := range []error{unconfirmed, refusal(ErrRateLimited), refusal(ErrUnsent)} {
		story(t, fmt.Sprint("tried again: ", err), s, func(r *runner) {
			r.breakOp("project", fault{err: err})
			r.up(2)
			r.run(10 * time.Second)
			r.requests("project", 1) // for a minute
			r.heal("project")
			r.run(time.Minute)
			r.requests("project", 2)
			r.repeats(0, "WARN")
		})
	}
	story(t, "one that does not answer holds up one Update a minute, for seconds", s, func(r *runner) {
		r.breakOp("project", fault{hang: true})
		r.want(1)
		r.within(10*time.Second, "five Updates", func() {
			for range 5 {
				r.update()
			}
		})
		r.requests("project", 1)
	})
}
