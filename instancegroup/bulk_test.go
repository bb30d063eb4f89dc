package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// Many Droplets are destroyed by a tag of the run, a request for each 100 and one
// more; few by their ids. Nothing that lives is ever tagged.
func TestBulk(t *testing.T) {
	for _, c := range []struct{ n, tagging, bulk, byID int }{
		{1, 0, 0, 1}, {10, 0, 0, 10}, {11, 1, 1, 0}, {100, 1, 1, 0}, {101, 2, 1, 0}, {190, 2, 1, 0},
	} {
		t.Run(fmt.Sprint(c.n), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(c.n + 5)
				r.decrease(names[:c.n]...)
				if a, b, d := len(r.received("tagging")), len(r.received("bulk")), len(r.received("delete")); a != c.tagging || b != c.bulk || d != c.byID {
					t.Errorf("%d requests to tag, %d by tag, %d by id; want %+v", a, b, d, c)
				}
				r.run(30 * time.Second)
				if n := r.billed(); n != 5 {
					t.Errorf("%d Droplets are left, want 5", n)
				}
				for _, m := range r.machine {
					if m.gone.IsZero() && hasTag(m.Droplet, BulkTag(thisRun)) {
						t.Errorf("%s lives and is tagged to be destroyed", m.Name)
					}
				}
				for _, name := range names[:c.n] {
					r.told(name, Creating, Running, Deleting, Deleted)
				}
			})
		})
	}
}

// Whatever refuses the tag, or does not answer, all are destroyed by id, in the
// same call, and the tag is not tried again for a while.
func TestBulkFallsBack(t *testing.T) {
	for _, op := range []string{"tagging", "bulk"} {
		for name, f := range map[string]fault{
			"forbidden": {err: refusal(ErrForbidden)}, "not found": {err: refusal(ErrNotFound)}, "5xx": {err: unclear},
			"5xx, applied": {err: unclear, applied: true}, "unsent": {err: refusal(ErrUnsent)}, "hangs": {hang: true},
		} {
			t.Run(op+" "+name, func(t *testing.T) {
				scenario(t, spec(nil), func(r *runner) {
					names := r.up(60)
					r.breakOp(op, f)
					r.decrease(names[:30]...)
					r.run(10 * time.Second)
					r.decrease(names[30:]...)
					if n := len(r.received(op)); n != 1 {
						t.Errorf("tried %d times", n)
					}
					r.run(20 * time.Second)
					if n := r.billed(); n != 0 {
						t.Errorf("%d Droplets are left", n)
					}
					r.says("WARN", "could not be destroyed by one tag")
				})
			})
		}
	}
}

// One request to tag that fails does not hold up the others.
func TestBulkPartly(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(150)
		r.script("tagging", fault{err: unclear})
		r.decrease(names...)
		a, b, d := len(r.received("tagging")), len(r.received("bulk")), len(r.received("delete"))
		if a != 2 || b != 1 || d != 50 && d != 100 {
			t.Errorf("%d requests to tag, %d by tag, %d by id", a, b, d)
		}
		r.run(20 * time.Second)
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// What was destroyed by tag and lives goes by id, at the pace of what is not
// carried out.
func TestBulkNotCarriedOut(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		for _, name := range names {
			r.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
		}
		r.decrease(names...)
		r.run(50 * time.Second)
		if n := len(r.received("delete")); n != 0 {
			t.Errorf("%d DELETEs within a minute", n)
		}
		r.run(20 * time.Second)
		if b, d := len(r.received("bulk")), len(r.received("delete")); b != 1 || d != 20 {
			t.Errorf("%d by tag, %d by id; want 1 and then 20", b, d)
		}
		r.run(20 * time.Second)
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// The token's budget, and DigitalOcean's own, make deletes wait, by tag or by id.
func TestBulkWaits(t *testing.T) {
	for _, err := range []error{spent, &CloudError{Class: ErrThrottled, Status: 429, RetryAfter: 20 * time.Second}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(30)
			r.breakOp("tagging", fault{err: err})
			if _, err := r.tryDecrease(names...); err == nil {
				t.Error("Decrease succeeded")
			}
			r.run(15 * time.Second)
			if a, d := len(r.received("tagging")), len(r.received("delete")); a != 1 || d != 0 {
				t.Errorf("%d requests to tag and %d by id while there is no room", a, d)
			}
			r.heal("tagging")
			r.run(40 * time.Second)
			if n := r.billed(); n != 0 {
				t.Errorf("%d Droplets are left", n)
			}
		})
	}
}

func TestIsBulkTag(t *testing.T) {
	for tag, want := range map[string]bool{
		BulkTag("7k2m9qxa"): true, "fleeting-delete:": false, "fleeting-delete:7k2m9qx": false, "fleeting-delete:7k2m9qxa2": false,
		"fleeting": false, "fleeting-group:7k2m9qxa": false, "fleeting-run:7k2m9qxa": false, "": false, "Fleeting-delete:7k2m9qxa": false,
	} {
		if IsBulkTag(tag) != want {
			t.Errorf("%q is one: %t", tag, !want)
		}
	}
}
