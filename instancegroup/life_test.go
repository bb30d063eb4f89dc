package instancegroup

import (
	"context"
	"strings"
	"testing"
	"time"
)

// A create that was not confirmed counts as accepted until lists settle
// it, and its names are never sent again.
func TestUnconfirmedCreate(t *testing.T) {
	for name, f := range map[string]fault{"5xx": {err: unconfirmed}, "timeout": {hang: true}} {
		story(t, name+", not applied", spec(nil), func(r *runner) {
			r.script("create", f)
			r.want(3)
			r.run(58 * time.Second)
			r.allTold(r.names(), Creating)
			r.run(10 * time.Second)
			r.allTold(r.names(), Creating, Deleted)
			r.says("WARN", "a Droplet was never created", r.names()[0])
			r.counts(0)
		})
		f.applied = true
		story(t, name+", applied", spec(nil), func(r *runner) {
			r.createLag = 8 * time.Second
			r.script("create", f)
			r.want(3)
			r.run(time.Minute)
			r.living(3)
			r.allTold(r.names(), Creating, Running)
		})
		// Asked to destroy such a name, the group destroys whatever appears of it.
		story(t, name+", applied, and to be destroyed", spec(nil), func(r *runner) {
			r.createLag = 20 * time.Second
			r.script("create", f)
			r.want(2)
			r.update()
			r.decrease(r.names()...)
			r.run(90 * time.Second)
			r.allTold(r.names(), Creating, Deleting, Deleted)
			r.living(0)
		})
	}
}

// A list that is under way during a create may have its Droplets already, or
// not have them yet. Neither confuses anything.
func TestListDuringCreate(t *testing.T) {
	for _, fails := range []error{nil, unconfirmed, refusal(ErrRefused)} {
		scenario(t, spec(nil), func(r *runner) {
			time.Sleep(10 * time.Second)
			r.answersLate(4*time.Second, fails)
			r.wantDuring(2, func() { // as lists have shown
				r.run(3 * time.Second) // lists have the Droplets, the answer is not there
				equal(t, "shown before Increase has returned", 0, len(r.states))
			})
			r.run(30 * time.Second)
			r.running(2)
			r.living(2)
		})
	}
}

// What the runner was never told of is told as creating before it is deleted.
func TestAcceptedIsAlwaysShown(t *testing.T) {
	story(t, "failed before the first Update", spec(nil), func(r *runner) {
		r.want(1)
		name := r.received("create")[0].Names[0]
		r.vanish(name)
		time.Sleep(2 * time.Minute)
		r.run(2 * time.Minute)
		r.told(name, Creating, Deleted)
	})
	story(t, "listed by an Update that nobody waited for, and gone by the next", spec(func(s *Settings) { s.Project = "p" }), func(r *runner) {
		r.deleteLag = 0
		r.run(2 * time.Second)
		r.want(1)
		name := r.received("create")[0].Names[0]
		r.breakOp("project", fault{hang: true}) // which is done to what a list has
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		_ = r.Update(canceled, func(id string, s State) { r.t.Errorf("%s was shown as %s to nobody", id, s) })
		r.requests("project", 1)
		r.vanish(name)
		time.Sleep(10 * time.Second)
		equal(r.t, "shown in one Update", []string{name + " creating", name + " deleted"}, r.update())
	})
}

// A name that was given up, and rises: destroyed at once, and never shown. It counts
// for max_instances until it is gone.
func TestLateRiser(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxInstances = 1 }), func(r *runner) {
		r.script("create", fault{err: unconfirmed})
		r.want(1)
		r.run(70 * time.Second)
		name := r.names()[0]
		m := owned(thisRun, strings.TrimPrefix(name, "ci-"+thisRun))
		m.deafTo = 1
		r.add(m)
		r.run(6 * time.Second)
		r.wantOf(1, 0)
		r.run(70 * time.Second)
		r.living(0)
		r.told(name, Creating, Deleted)
		r.says("Droplet will be deleted", "it appeared after it was given up")
		r.want(1)
	})
}
