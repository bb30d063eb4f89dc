package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
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
				if calls := r.received("tagging"); len(calls) == 2 && calls[1].at.Sub(calls[0].at) < r.latency {
					t.Error("the first request to tag makes the tag, and the second did not wait for it")
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

// The tag by which Droplets were destroyed is removed when lists show them gone, and
// it is not needed for a minute; the next that are destroyed together make it anew.
func TestBulkTagIsRetired(t *testing.T) {
	removed := func(r *runner) (n int) {
		for _, c := range r.received("tag") {
			if c.tag == BulkTag(thisRun) {
				n++
			}
		}
		return n
	}
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(60)
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[:20]...)
		r.run(50 * time.Second)
		r.decrease(names[20:40]...)
		r.run(50 * time.Second)
		if n := removed(r); n != 0 {
			t.Error("removed less than a minute after it was used")
		}
		r.run(3 * time.Minute)
		if n := removed(r); n != 1 {
			t.Errorf("removed %d times, want once", n)
		}
		r.decrease(names[40:]...)
		r.run(10 * time.Second)
		if n, bulk := r.billed(), len(r.received("bulk")); n != 0 || bulk != 3 {
			t.Errorf("%d Droplets are left after %d requests by tag", n, bulk)
		}
	})
	t.Run("not while one lives", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(20)
			r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 100 })
			r.decrease(names...)
			r.run(5 * time.Minute)
			if n := removed(r); n != 0 {
				t.Error("removed while a Droplet lives that carries it")
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.breakOp("tag", fault{err: refusal(ErrForbidden)})
			r.decrease(r.up(20)...)
			r.run(30 * time.Minute)
			if n := removed(r); n != 1 {
				t.Errorf("tried %d times within an hour", n)
			}
		})
	})
}

// The token's budget, and DigitalOcean's own, make deletes wait, by tag or by id.
func TestBulkWaits(t *testing.T) {
	for _, err := range []error{spent, &CloudError{Class: ErrThrottled, Status: 429, RetryAfter: 20 * time.Second}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(30)
			r.breakOp("tagging", fault{err: err})
			refused := err
			if got, err := r.tryDecrease(names...); (err == nil) != errors.Is(refused, ErrSpent) || err == nil && len(got) != 30 {
				t.Errorf("%v: Decrease of 30 = %d, %v; want an error if DigitalOcean refused them", refused, len(got), err)
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

// When requests are scarce deletes wait for each other, and leave by one tag
// without another call: 15 s after the first of them, or once they are 100.
func TestDeletesGather(t *testing.T) {
	t.Run("half of the hour is spent", func(t *testing.T) { deletesGather(t, 2500, 0) })
	t.Run("it would be, at this pace", func(t *testing.T) { deletesGather(t, 5000, 209) })
	t.Run("it would be, with what others spend", func(t *testing.T) { deletesGather(t, 4000, 126) })
}

func deletesGather(t *testing.T, remaining, recent int) {
	scenario(t, spec(func(s *Settings) { s.MaxInstances = 200 }), func(r *runner) {
		names := r.up(140)
		r.limit, r.remaining, r.recent = 5000, remaining, recent
		r.run(2 * time.Minute)
		sent := func() (tagging, bulk, byID int) {
			return len(r.received("tagging")), len(r.received("bulk")), len(r.received("delete"))
		}
		for i := range 4 {
			r.decrease(names[i])
			time.Sleep(4 * time.Second) // 16 s in all
			if a, b, d := sent(); i < 3 && a+b+d != 0 {
				t.Fatalf("after %d s: %d requests to tag, %d by tag, %d by id", 4*i+4, a, b, d)
			}
		}
		if a, b, d := sent(); a != 1 || b != 1 || d != 0 {
			t.Errorf("after 16 s: %d requests to tag, %d by tag, %d by id; want 1, 1, 0", a, b, d)
		}
		r.decrease(names[4:14]...)
		r.decrease(names[14:104]...)
		time.Sleep(time.Second)
		if a, b, d := sent(); a != 2 || b != 2 || d != 0 {
			t.Errorf("once they are 100: %d requests to tag, %d by tag, %d by id; want 2, 2, 0", a, b, d)
		}
		r.run(20 * time.Second)
		if n := r.billed(); n != 36 {
			t.Errorf("%d Droplets live, want 36", n)
		}
	})
}

// With requests to spare each delete leaves at once.
func TestDeletesDoNotGather(t *testing.T) {
	for _, b := range []struct{ remaining, recent int }{{2501, 0}, {5000, 208}, {4000, 125}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(5)
			r.limit, r.remaining, r.recent = 5000, b.remaining, b.recent
			r.run(time.Minute)
			r.decrease(names...)
			if n := len(r.received("delete")); n != 5 {
				t.Errorf("%+v: %d DELETEs, want 5 at once", b, n)
			}
		})
	}
}

// What waits when the group is shut down is sent at once, and by nobody else.
func TestShutdownSendsWhatGathers(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		r.limit, r.remaining = 5000, 2500
		r.run(time.Minute)
		r.decrease(names...)
		began := time.Now()
		if !r.Shutdown(ctx) || time.Since(began) > 5*time.Second {
			t.Errorf("Shutdown is not clean, or took %s", time.Since(began))
		}
		time.Sleep(time.Minute)
		if a, b, d := len(r.received("tagging")), len(r.received("bulk")), len(r.received("delete")); a != 1 || b != 1 || d != 0 {
			t.Errorf("%d requests to tag, %d by tag, %d by id; want 1, 1, 0", a, b, d)
		}
	})
}

// Nor does what has left, and hangs, outlive Shutdown.
func TestShutdownEndsDeparture(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		r.limit, r.remaining = 5000, 2500
		r.run(time.Minute)
		r.decrease(names...)
		r.hangAll()
		time.Sleep(16 * time.Second)
		began := time.Now()
		sctx, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		r.Shutdown(sctx)
		synctest.Wait()
		if took := time.Since(began); took > 9*time.Second || len(r.departs) != 0 {
			t.Errorf("after %s: %d departures under way", took, len(r.departs))
		}
	})
}

// Deletes do not wait while a tag is of no use.
func TestDeletesDoNotGatherForIds(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		r.breakOp("tagging", fault{err: refusal(ErrForbidden)})
		r.limit, r.remaining = 5000, 2500
		r.run(time.Minute)
		r.decrease(names[:5]...)
		time.Sleep(16 * time.Second) // the first find out
		r.decrease(names[5:7]...)
		if n := len(r.received("delete")); n != 7 {
			t.Errorf("%d DELETEs by id, want 7 at once", n)
		}
	})
}

// An accepted DELETE is not repeated because lists are far between: only what was
// seen long after it has ignored it.
func TestAcceptedIsNotRepeatedUnseen(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(12)
		r.perPage = 1                   // it takes two lists to believe that a Droplet is gone
		r.limit, r.remaining = 5000, 50 // and there is one a minute
		r.run(3 * time.Minute)
		r.decrease(names[:5]...)
		r.run(4 * time.Minute)
		if b, d := len(r.received("bulk")), len(r.received("delete")); b != 1 || d != 0 {
			t.Errorf("%d by tag, %d by id; want 1, 0", b, d)
		}
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
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
