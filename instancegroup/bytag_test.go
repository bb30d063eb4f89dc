package instancegroup

import (
	"fmt"
	"testing"
	"time"
)

// deletes returns how many requests deleted something, by kind.
func (r *runner) deletes() string {
	return fmt.Sprintf("%d to tag, %d by tag, %d by id", r.asked("tagging"), r.asked("bulk"), r.asked("delete"))
}

func (r *runner) deletedWith(want string) {
	r.t.Helper()
	if got := r.deletes(); got != want {
		r.t.Errorf("%s; want %s", got, want)
	}
}

// scarce leaves so much of the token's hour.
func (r *runner) scarce(remaining, recent int) {
	r.account.limit, r.remaining, r.recent = 5000, remaining, recent
	r.run(2 * time.Minute)
}

// TestDeleteByTag: many Droplets are deleted by a tag of this process, a request
// for each 100 and one more; few by their ids. Nothing that lives is ever tagged.
func TestDeleteByTag(t *testing.T) {
	for _, c := range []struct {
		n         int
		remaining int
		want      string
	}{
		{1, 5000, "0 to tag, 0 by tag, 1 by id"}, {10, 5000, "0 to tag, 0 by tag, 10 by id"}, {11, 5000, "1 to tag, 1 by tag, 0 by id"},
		{100, 5000, "1 to tag, 1 by tag, 0 by id"}, {101, 5000, "2 to tag, 1 by tag, 0 by id"}, {190, 5000, "2 to tag, 1 by tag, 0 by id"},
		{2, 2500, "0 to tag, 0 by tag, 2 by id"}, {3, 2500, "1 to tag, 1 by tag, 0 by id"},
	} {
		t.Run(fmt.Sprintf("%d of %d", c.n, c.remaining), func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				stranger := machine{Droplet: Droplet{Name: "ci-web", Tags: []string{CommonTag, GroupTag("ci")}}, foreign: true}
				r.add(stranger)
				names := r.up(c.n + 5)
				r.scarce(c.remaining, 0)
				r.decrease(names[:c.n]...)
				r.run(20 * time.Second)
				r.deletedWith(c.want)
				if calls := r.received("tagging"); len(calls) == 2 && calls[1].at.Sub(calls[0].at) < r.latency {
					t.Error("the first request to tag makes the tag, and the second did not wait for it")
				}
				r.run(70 * time.Second)
				if n := r.billed(); n != 5 {
					t.Errorf("%d Droplets are left, want 5", n)
				}
				for _, m := range r.machine {
					if m.gone.IsZero() && HasTag(m.Droplet, DeleteTag("ci")) {
						t.Errorf("%s lives and is tagged to be deleted", m.Name)
					}
				}
				for _, name := range names[:c.n] {
					r.told(name, Creating, Running, Deleting, Deleted)
				}
			})
		})
	}
}

// Whatever refuses the tag, or does not answer, all are deleted by id, in the same
// call, and the tag is not tried again for a minute, or for an hour if it is
// definite.
func TestDeleteByTagFallsBack(t *testing.T) {
	for _, op := range []string{"tagging", "bulk"} {
		for name, c := range map[string]struct {
			f    fault
			long bool
		}{
			"forbidden": {fault{err: refusal(ErrForbidden)}, true}, "not found": {fault{err: refusal(ErrNotFound)}, true},
			"5xx": {fault{err: unconfirmed}, false}, "5xx, applied": {fault{err: unconfirmed, applied: true}, false},
			"unsent": {fault{err: refusal(ErrUnsent)}, true}, "hangs": {fault{hang: true}, false},
		} {
			t.Run(op+" "+name, func(t *testing.T) {
				scenario(t, spec(nil), func(r *runner) {
					names := r.up(120)
					r.breakOp(op, c.f)
					short := 1
					if c.long {
						short = 0
					}
					for i, step := range []struct {
						pause time.Duration
						tried int
					}{{0, 1}, {50 * time.Second, 1}, {20 * time.Second, 1 + short}, {time.Hour, 2 + short}} {
						time.Sleep(step.pause)
						r.run(4 * time.Second)
						r.decrease(names[30*i : 30*i+30]...)
						if n := r.asked(op); n != step.tried {
							t.Errorf("step %d: tried %d times, want %d", i, n, step.tried)
						}
					}
					r.run(20 * time.Second)
					if n := r.billed(); n != 0 {
						t.Errorf("%d Droplets are left", n)
					}
					if n := r.log.count("WARN", "could not be deleted by one tag", "tag=fleeting-delete:ci ", "droplets=30"); n != 2+short {
						t.Errorf("logged %d times", n)
					}
				})
			})
		}
	}
}

// One request to tag that fails does not hold up the others.
func TestDeleteByTagPartly(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(150)
		r.script("tagging", fault{err: unconfirmed})
		r.decrease(names...)
		if r.deletes() != "2 to tag, 1 by tag, 50 by id" {
			r.deletedWith("2 to tag, 1 by tag, 100 by id")
		}
		r.says("WARN", "could not be deleted by one tag", "droplets=150")
		r.run(20 * time.Second)
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// What was deleted by tag and lives goes by id, at the pace of what is not carried
// out.
func TestDeleteByTagNotCarriedOut(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		for _, name := range names {
			r.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
		}
		r.decrease(names...)
		r.run(50 * time.Second)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
		r.run(20 * time.Second)
		r.deletedWith("1 to tag, 1 by tag, 20 by id")
		r.run(20 * time.Second)
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// When requests are scarce deletes wait for each other, and leave by one tag
// without another call of the runner: with the first Update 15 s after the first
// of them, or once they are 100.
func TestDeletesGather(t *testing.T) {
	for what, b := range map[string]struct{ remaining, recent int }{
		"half of the hour is spent": {2500, 0}, "it would be, at this pace": {5000, 209}, "it would be, with what others spend": {4000, 126},
	} {
		t.Run(what, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(140)
				r.scarce(b.remaining, b.recent)
				for _, name := range names[:4] {
					r.deletedWith("0 to tag, 0 by tag, 0 by id")
					r.decrease(name)
					r.decrease(name) // asked again
					r.run(3 * time.Second)
				}
				r.run(3 * time.Second)
				r.deletedWith("1 to tag, 1 by tag, 0 by id")
				r.decrease(names[4:14]...)
				r.decrease(names[14:103]...)
				r.deletedWith("1 to tag, 1 by tag, 0 by id")
				r.decrease(names[103])
				r.deletedWith("2 to tag, 2 by tag, 0 by id")
				r.run(20 * time.Second)
				if n := r.billed(); n != 36 {
					t.Errorf("%d Droplets live, want 36", n)
				}
			})
		})
	}
}

// With requests to spare, or while a tag is of no use, each delete leaves at once.
func TestDeletesDoNotGather(t *testing.T) {
	for _, b := range []struct{ remaining, recent int }{{2501, 0}, {5000, 208}, {4000, 125}} {
		scenario(t, spec(nil), func(r *runner) {
			names := r.up(5)
			r.scarce(b.remaining, b.recent)
			r.decrease(names...)
			r.deletedWith("0 to tag, 0 by tag, 5 by id")
		})
	}
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(20)
		r.breakOp("tagging", fault{err: refusal(ErrForbidden)})
		r.scarce(2500, 0)
		r.decrease(names[:5]...)
		r.run(18 * time.Second) // the first find out
		r.decrease(names[5:7]...)
		r.deletedWith("1 to tag, 0 by tag, 7 by id")
	})
}

// An accepted DELETE is not repeated because lists are far between: only what was
// seen long after it has ignored it.
func TestAcceptedIsNotRepeatedUnseen(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(12)
		r.perPage = 1   // it takes two lists to believe that a Droplet is gone
		r.scarce(50, 0) // and there is one a minute
		r.run(time.Minute)
		r.decrease(names[:5]...)
		r.run(4 * time.Minute)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
}
