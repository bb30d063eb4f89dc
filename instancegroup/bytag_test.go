package instancegroup

import (
	"fmt"
	"slices"
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
func (r *runner) scarce(remaining int) {
	r.account.limit, r.remaining = 5000, remaining
	r.run(10 * time.Second)
}

// TestDeleteByTag: many Droplets are deleted by a tag of this process, a request
// for each 100 and one more; few by their ids. Nothing that lives is ever tagged.
func TestDeleteByTag(t *testing.T) {
	for _, c := range []struct {
		n, remaining int
		want         string
		deaf         int
	}{
		{10, 5000, "0 to tag, 0 by tag, 10 by id", 0},
		{11, 5000, "1 to tag, 1 by tag, 0 by id", 0},
		{101, 5000, "2 to tag, 1 by tag, 0 by id", 0},
		{2, 2500, "0 to tag, 0 by tag, 2 by id", 0},
		{3, 2500, "1 to tag, 1 by tag, 0 by id", 0},
		{20, 5000, "1 to tag, 1 by tag, 20 by id", 1}, // what was not carried out goes by id, after a minute
	} {
		story(t, fmt.Sprintf("%d of %d", c.n, c.remaining), spec(nil), func(r *runner) {
			names := r.up(c.n + 5)
			r.scarce(c.remaining)
			r.deaf(c.deaf, names[:c.n]...)
			r.decrease(names[:c.n]...)
			r.run(50 * time.Second)
			equal(r.t, "sent before a minute is over", c.deaf == 0, r.deletes() == c.want)
			r.run(40 * time.Second)
			r.deletedWith(c.want)
			if calls := r.received("tagging"); len(calls) == 2 && calls[1].at.Sub(calls[0].at) < r.latency {
				r.t.Errorf("the first request to tag makes the tag, and the second did not wait for it")
			}
			r.living(5)
			for _, call := range r.received("tagging") {
				for _, name := range names[c.n:] {
					equal(r.t, "to be deleted", false, slices.Contains(call.ids, r.only(name).ID))
				}
			}
			r.allTold(names[:c.n], Creating, Running, Deleting, Deleted)
		})
	}
}

// Whatever refuses the tag, or does not answer, all are deleted by id, in the same
// call, and the tag is not tried again for five minutes.
func TestDeleteByTagFallsBack(t *testing.T) {
	for _, c := range []struct {
		op string
		f  fault
	}{
		{"tagging", fault{err: refusal(ErrForbidden)}}, {"tagging", fault{hang: true}}, {"bulk", fault{err: refusal(ErrNotFound)}},
		{"bulk", fault{err: unconfirmed, applied: true}}, {"bulk", fault{hang: true}},
	} {
		story(t, fmt.Sprint(c.op, " ", c.f), spec(nil), func(r *runner) {
			names := r.up(36)
			r.breakOp(c.op, c.f)
			for i, step := range []struct {
				pause time.Duration
				tried int
			}{{0, 1}, {280 * time.Second, 1}, {20 * time.Second, 2}} {
				time.Sleep(step.pause)
				r.run(4 * time.Second)
				r.decrease(names[12*i : 12*i+12]...)
				r.requests(c.op, step.tried)
			}
			r.run(20 * time.Second)
			r.living(0)
			r.repeats(2, "WARN", "could not be deleted by one tag", "tag=fleeting-delete:ci ")
		})
	}
	story(t, "one of two requests to tag", spec(nil), func(r *runner) {
		names := r.up(150)
		r.script("tagging", fault{applied: true}, fault{err: unconfirmed})
		r.decrease(names...)
		r.deletedWith("2 to tag, 0 by tag, 150 by id")
		r.run(20 * time.Second)
		r.living(0)
	})
}

// When requests are scarce deletes wait for each other, and leave by one tag
// without another call of the runner: with the first Update 15 s after the first
// of them. With requests to spare each leaves at once.
func TestDeletesGather(t *testing.T) {
	story(t, "when requests are scarce", spec(nil), func(r *runner) {
		names := r.up(140)
		r.scarce(2500)
		for _, name := range names[:4] {
			r.deletedWith("0 to tag, 0 by tag, 0 by id")
			r.decrease(name)
			r.decrease(name) // asked again
			r.run(3 * time.Second)
		}
		r.run(3 * time.Second)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
		r.decrease(names[4:]...)
		r.run(14 * time.Second)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
		r.run(4 * time.Second)
		r.deletedWith("3 to tag, 2 by tag, 0 by id")
		r.run(20 * time.Second)
		r.living(0)
	})
	story(t, "with requests to spare", spec(nil), func(r *runner) {
		names := r.up(5)
		r.scarce(2501)
		r.decrease(names...)
		r.requests("delete", 5)
	})
	story(t, "a tag is of no use", spec(nil), func(r *runner) {
		names := r.up(20)
		r.breakOp("tagging", fault{err: refusal(ErrForbidden)})
		r.scarce(2500)
		r.decrease(names[:5]...)
		r.run(18 * time.Second) // the first find out
		r.decrease(names[5:7]...)
		r.deletedWith("1 to tag, 0 by tag, 7 by id")
	})
	story(t, "until Shutdown", spec(nil), func(r *runner) {
		r.scarce(2500)
		r.decrease(r.up(20)...)
		r.within(8*time.Second, "Shutdown", func() { r.stops(true) })
		r.living(0)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
	})
}

// Nothing is deleted by a tag that anything else has, and deletes do not wait for the
// list that shows it.
func TestDeleteTagOfStrangers(t *testing.T) {
	tag := DeleteTag("ci")
	for what, m := range map[string]machine{
		"a name of its own":   {Droplet: Droplet{Name: "ci-database", Tags: []string{CommonTag, GroupTag("ci"), tag}}},
		"only that tag":       {Droplet: Droplet{Name: "web", Tags: []string{tag}}},
		"another group's":     {Droplet: Droplet{Name: "big-" + thisRun + "aaaaa1", Tags: []string{CommonTag, GroupTag("big"), tag}}},
		"a person's, of ours": {Droplet: Droplet{Name: "ci-dead" + "aaaaa1", Tags: []string{CommonTag, GroupTag("ci"), tag, KeepTag}}},
	} {
		story(t, what, spec(nil), func(r *runner) {
			names := r.up(12)
			d := r.add(m)
			r.decrease(names...)
			r.deletedWith("0 to tag, 0 by tag, 12 by id")
			r.run(20 * time.Second)
			r.living(1)
			r.says("WARN", "could not be deleted by one tag", d.Name)
		})
	}
	story(t, "later", spec(nil), func(r *runner) {
		names := r.up(36)
		lists := r.asked("list")
		r.decrease(names[:12]...)
		r.decrease(names[12:24]...)
		r.requests("list", lists+1) // it is looked for once
		r.add(machine{Droplet: Droplet{Name: "ci-database", Tags: []string{CommonTag, GroupTag("ci"), tag}}})
		r.run(10 * time.Second)
		r.decrease(names[24:]...)
		r.run(20 * time.Second)
		r.deletedWith("2 to tag, 2 by tag, 12 by id")
		r.living(1)
	})
	story(t, "no request is left for a list", spec(nil), func(r *runner) {
		names := r.up(24)
		r.breakOp("list", fault{err: refusal(ErrRateLimited)})
		r.decrease(names[:12]...)
		r.deletedWith("1 to tag, 1 by tag, 0 by id")
		r.heal("list")
		r.add(machine{Droplet: Droplet{Name: "web", Tags: []string{tag}}})
		r.decrease(names[12:]...) // it is looked for now
		r.deletedWith("1 to tag, 1 by tag, 12 by id")
	})
}
