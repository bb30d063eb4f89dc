package instancegroup

import (
	"testing"
	"time"
)

// spent is a request that the token could not afford.
var spent = &CloudError{Class: ErrSpent, Op: "OP", Message: "not sent", RetryAfter: 20 * time.Second}

// A list that cannot be afforded is no failure of DigitalOcean: the last one
// counts, and nobody is warned. After a minute it is one.
func TestListThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		before := len(r.received("list"))
		r.breakOp("list", fault{err: spent})
		began := r.listedAt
		for time.Since(began) < 58*time.Second {
			r.update()
		}
		if n := len(r.received("list")) - before; n > 4 {
			t.Errorf("asked %d times within a minute, though told to wait for 20 s each time", n)
		}
		if n := r.log.count("listing fails"); n != 0 {
			t.Errorf("warned %d times", n)
		}
		time.Sleep(20 * time.Second)
		if _, err := r.tryUpdate(); err == nil {
			t.Error("a list that is older than a minute is shown")
		}
		r.heal("list")
		time.Sleep(20 * time.Second)
		r.update()
		r.told(name, Creating, Running)
	})
}

// Deletes that cannot be afforded are sent as soon as they can be, not after the
// growing pauses that follow refusals.
func TestDeletesThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(30)
		r.breakOp("delete", fault{err: spent})
		r.decrease(names[0]) // no error: nobody refused it
		r.run(2 * time.Minute)
		if n := len(r.received("delete")); n > 7 {
			t.Errorf("%d attempts in two minutes, though told to wait for 20 s each time", n)
		}
		if n := r.log.count("WARN"); n != 0 {
			t.Errorf("%d warnings", n)
		}
		r.heal("delete")
		r.run(40 * time.Second)
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
}

// Creates that cannot be afforded are no refusal: the group does not rest, and
// what was accepted before is told.
func TestCreatesThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: spent}, fault{err: spent})
		if n, err := r.increase(30); n != 10 || err != nil {
			t.Errorf("Increase(30) = %d, %v; want the 10 that could be afforded", n, err)
		}
		r.want(20) // at once
		r.run(time.Minute)
		if n := r.billed(); n != 30 || r.log.count("refused") != 0 {
			t.Errorf("%d Droplets, want 30", n)
		}
	})
}
