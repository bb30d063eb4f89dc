package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Some runners call Update without any pause. An Update begins 500 ms after the
// last one ended, and lists are 1.5 s apart at the least. A group to which nothing
// happens asks for nothing else.
func TestUpdateIsPaced(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.Project = "p" }), func(r *runner) {
		r.decrease(r.up(20)[:15]...)
		r.run(5 * time.Minute)
		r.latency = 0
		before, lists, updates := len(r.calls), r.asked("list"), 0
		for began := time.Now(); time.Since(began) < time.Minute && updates < 1000; updates++ {
			r.update()
		}
		equal(t, "Updates, requests and lists in a minute", []int{121, 41, 41}, []int{updates, len(r.calls) - before, r.asked("list") - lists})

		// When all is being deleted there is none before DELETEs can have been carried out.
		time.Sleep(2 * time.Second)
		lists = r.asked("list")
		r.decrease(r.in(Running)...)
		r.run(2 * time.Second)
		r.requests("list", lists)
		r.run(4 * time.Second)
		equal(t, "shown", 0, len(r.states))
	})
}

// While lists fail the last one is shown, for a minute; then Update fails, which
// stops the runner from provisioning blindly. Nothing is called deleted for it,
// and deletes go on.
func TestListFails(t *testing.T) {
	for name, c := range map[string]struct {
		f     fault
		shown time.Duration
		lines int // in three minutes, or one less
	}{
		"5xx":   {fault{err: unconfirmed}, 61 * time.Second, 4},
		"hangs": {fault{hang: true}, 61 * time.Second, 4},
		"429":   {fault{err: refusal(ErrRateLimited)}, 61 * time.Second, 2},
		// What does not heal with time is told at once.
		"401":             {fault{err: refusal(ErrUnauthorized)}, 2 * time.Second, 4},
		"403":             {fault{err: refusal(ErrForbidden)}, 2 * time.Second, 4},
		"another account": {fault{err: refusal(ErrOtherAccount)}, 2 * time.Second, 4},
		// Nobody is warned within the first minute of what the token cannot afford.
		"429, and to wait": {fault{err: later(ErrRateLimited, 20*time.Second)}, 81 * time.Second, 2},
	} {
		story(t, name, spec(nil), func(r *runner) {
			names := r.up(2)
			r.breakOp("delete", fault{err: unconfirmed})
			r.undestroyed(names[1])
			lists := r.received("list")
			last := lists[len(lists)-1].at
			r.breakOp("list", c.f)
			for time.Since(last) < 3*time.Minute {
				_, err := r.tryUpdate()
				stale := time.Since(last)
				early, late := stale <= min(60*time.Second, c.shown-time.Second), stale > c.shown
				if early && err != nil || late && (err == nil || c.f.err != nil && !errors.Is(err, c.f.err)) {
					r.t.Errorf("%s after the last list: %v", stale, err)
				}
				if stale > 90*time.Second {
					r.heal("delete")
				}
				time.Sleep(time.Second)
			}
			if n := r.log.count("listing fails"); n != c.lines && n != c.lines-1 { // counted, once a minute
				r.t.Errorf("%d lines in three minutes of failure", n)
			}
			r.living(1)
			// The pause between lists that fail grows to 10 s.
			if tried := r.asked("list") - len(lists); errors.Is(c.f.err, unconfirmed) && (tried < 15 || tried > 21) {
				r.t.Errorf("%d lists in three minutes of failure", tried)
			}
			r.heal("list")
			time.Sleep(20 * time.Second)
			r.run(4 * time.Second)
			r.told(names[0], Creating, Running)
			r.says("listing works again")
		})
	}
}

// TestRetryAfterIsBounded: DigitalOcean's wish to wait is honoured, for up to a
// minute: then one request tries.
func TestRetryAfterIsBounded(t *testing.T) {
	for _, c := range []struct {
		op    string
		class error
	}{{"list", ErrRateLimited}, {"list", ErrUnconfirmed}, {"create", ErrRefused}, {"delete", ErrRateLimited}, {"delete", ErrUnconfirmed}} {
		for asks, want := range map[time.Duration]time.Duration{30 * time.Second: 30 * time.Second, time.Hour: time.Minute} {
			story(t, fmt.Sprint(c, " ", asks), spec(nil), func(r *runner) {
				name := r.up(1)[0]
				time.Sleep(2 * time.Second)
				r.breakOp(c.op, fault{err: later(c.class, asks)})
				before := r.asked(c.op)
				for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(time.Second) {
					switch c.op {
					case "create":
						_, _ = r.Increase(ctx, 1)
					case "delete":
						_, _ = r.tryDecrease(name)
					}
					_, _ = r.tryUpdate()
				}
				calls := r.received(c.op)[before:]
				if d := calls[1].at.Sub(calls[0].at); d < want-2*time.Second || d > want+5*time.Second {
					r.t.Errorf("asked again after %s, want %s", d, want)
				}
			})
		}
	}
}

// TestGroupTagDeleted: somebody deletes the group's tag from the account, which
// takes it off every Droplet. A list by the tag of all groups finds them: no job
// dies of it, and lists go by that tag until none lacks the group's.
func TestGroupTagDeleted(t *testing.T) {
	for _, n := range []int{1, 2, 150} {
		story(t, fmt.Sprint(n), spec(nil), func(r *runner) {
			r.add(machine{Droplet: Droplet{Name: "big-aaaaaaaaa1", Tags: []string{CommonTag, GroupTag("big")}}, foreign: true})
			names := r.up(n)
			time.Sleep(2 * time.Second)
			before := r.asked("list")
			r.deleteTag(GroupTag("ci"))
			r.run(time.Minute)
			lists := r.received("list")[before:]
			byGroup := slices.DeleteFunc(slices.Clone(lists), func(c call) bool { return c.tag != GroupTag("ci") })
			if len(lists) > 31 || len(byGroup) != 1 {
				r.t.Errorf("%d lists, %d by the group's tag", len(lists), len(byGroup))
			}
			r.requests("get", 0)
			r.says("WARN", "have lost its tag", "tag=fleeting-group:ci")

			r.want(1)
			r.run(time.Minute)
			r.running(n + 1)
			for _, name := range r.in(Running) {
				if d := r.only(name).Droplet; !slices.Contains(names, name) && !Owns("ci", d) {
					r.t.Errorf("the new Droplet has not the group's tags: %v", d.Tags)
				}
			}
			r.allTold(names, Creating, Running)

			r.decrease(names...)
			r.run(20 * time.Second)
			r.living(1)
			r.running(1)
			lists = r.received("list")
			equal(r.t, "the tag of lists, when nothing lacks the group's", GroupTag("ci"), lists[len(lists)-1].tag)
		})
	}
}

// TestEmptyListIsNotBelieved: lists may lack everything that lives, for want of
// every tag or because DigitalOcean answers wrongly. Nothing is called deleted, nor
// deleted: each is looked up, twenty in one Update, and rarely once it was found.
func TestEmptyListIsNotBelieved(t *testing.T) {
	empty := func(r *runner) {
		for _, m := range r.machine {
			r.change(m.ID, func(m *machine) { m.hidden = true })
		}
	}
	for what, lose := range map[string]func(r *runner){
		"all tags are deleted": func(r *runner) { r.deleteTag(GroupTag("ci")); r.deleteTag(CommonTag) },
		"lists are empty":      empty,
		"the second list fails": func(r *runner) {
			empty(r)
			r.script("list", fault{applied: true}, fault{err: unconfirmed})
		},
	} {
		story(t, what, spec(nil), func(r *runner) {
			names := r.up(51)
			r.run(time.Minute)
			// That lists lack it does not prove that an accepted DELETE was carried out.
			deaf, names := names[0], names[1:]
			r.deaf(1, deaf)
			r.decrease(deaf)
			lose(r)
			r.update()
			r.requests("get", 20)
			r.run(40 * time.Second)
			r.told(deaf, Creating, Running, Deleting)
			r.run(140 * time.Second)
			r.told(deaf, Creating, Running, Deleting, Deleted)
			r.allTold(names, Creating, Running)
			if n := r.asked("get"); n < 3*50 || n > 4*51 {
				r.t.Errorf("%d look-ups in three minutes, want one a minute for each of 50", n)
			}
			r.counts(50)
			r.deletedWith("0 to tag, 0 by tag, 2 by id")
			r.want(1)
			r.run(40 * time.Second)
			r.running(51)
		})
	}
}

// TestVanishTogether: one 404 is not believed of Droplets that vanish together; a
// second one half a minute later is, and the first of one that vanishes alone.
func TestVanishTogether(t *testing.T) {
	for name, wrong := range map[string]struct{ lists, gets int }{"one wrong answer each": {2, 5}, "for 20 s": {22, 100}} {
		story(t, name, spec(nil), func(r *runner) {
			names := r.up(5)
			r.script("list", make([]fault, wrong.lists)...) // not carried out, and no error
			r.script("get", make([]fault, wrong.gets)...)
			r.run(20 * time.Second)
			r.heal("get")
			r.requests("get", 5)
			r.run(2 * time.Minute)
			r.allTold(names, Creating, Running)
			r.requests("delete", 0)
		})
	}
	for n, c := range map[int]struct {
		within time.Duration
		gets   int
	}{1: {10 * time.Second, 1}, 2: {40 * time.Second, 4}, 5: {40 * time.Second, 10}} {
		story(t, fmt.Sprintf("%d of 5 are gone", n), spec(nil), func(r *runner) {
			names := r.up(5)
			r.vanish(names[:n]...)
			if n > 1 {
				r.run(30 * time.Second)
				r.allTold(names, Creating, Running)
			}
			r.run(10 * time.Second)
			r.allTold(names[:n], Creating, Running, Deleted)
			r.allTold(names[n:], Creating, Running)
			r.requests("get", c.gets)
			r.requests("delete", 0)
			r.repeats(n, "WARN", "a Droplet vanished")
		})
	}
}

// An entry can slip between the pages of a list. What was deleted is called gone
// after the second list without it.
func TestPagedListTakesTwoToProve(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.perPage, r.deleteLag = 1, 0
		name := r.up(3)[0]
		r.run(90 * time.Second) // a younger one would be looked up
		r.deaf(1, name)
		r.decrease(name)
		r.alter(func(m *machine) { m.hidden = true }, name)
		for lists := r.asked("list"); r.asked("list") == lists; {
			r.update()
		}
		r.alter(func(m *machine) { m.hidden = false }, name)
		r.run(30 * time.Second)
		r.told(name, Creating, Running, Deleting)
		r.run(time.Minute)
		r.told(name, Creating, Running, Deleting, Deleted)
	})
}

// When nobody waits for an Update any more, what it had to tell is kept, and it
// says nothing of DigitalOcean.
func TestCancelledUpdate(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.vanish(name)
		time.Sleep(5 * time.Second)
		for _, op := range []string{"list", "get"} {
			r.script(op, fault{applied: true, hang: true})
			canceled, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			err := r.Update(canceled, func(id string, s State) { t.Errorf("%s was shown as %s to nobody", id, s) })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Update: %v", err)
			}
			time.Sleep(12 * time.Second)
		}
		r.repeats(0, "listing fails")
		r.run(2 * time.Second)
		r.told(name, Creating, Running, Deleted)
	})
}

// Concurrent calls of everything, for the race detector and the oracles.
func TestConcurrentCalls(t *testing.T) {
	saving := 0
	s := spec(func(s *Settings) {
		s.Project, s.MaxInstances = "p", 30
		s.Save = func(map[string]int64) { saving++ } // calls do not overlap
	})
	scenario(t, s, func(r *runner) {
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for range 30 {
					accepted, ierr := r.Increase(ctx, 1+n)
					var names []string
					uerr := r.Update(ctx, func(name string, s State) {
						if s == Running {
							names = append(names, name)
							_ = r.Health(name)
						}
					})
					for _, name := range names {
						_, _ = r.Droplet(ctx, name)
					}
					_, derr := r.Decrease(ctx, names[len(names)/2:])
					if err := errors.Join(ierr, uerr, derr); err != nil || accepted > 1+n || r.billed() > 30 {
						t.Errorf("accepted %d of %d, %d live: %v", accepted, 1+n, r.billed(), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// Every call returns within its bound when DigitalOcean answers nothing at all,
// and none leaves a goroutine (the bubble would not end).
func TestBoundsWhenDigitalOceanHangs(t *testing.T) {
	s := spec(func(s *Settings) {
		s.Project, s.DeadRuns, s.MaxInstances = "p", []string{"dead"}, 1000
		s.Keys = func(ctx context.Context, refused bool) ([]string, error) { return []string{"1"}, ctx.Err() }
	})
	scenario(t, s, func(r *runner) {
		names := r.up(30)
		time.Sleep(10 * time.Minute)
		r.update()
		for _, op := range []string{"list", "get", "create", "delete", "tagging", "bulk", "tag", "project", "usage"} {
			r.breakOp(op, fault{hang: true})
		}
		began := time.Now()
		for range 4 {
			if n, err := r.increase(150); n == 0 && err == nil {
				t.Error("Increase of an account that hangs: 0 and no error")
			}
			_, _ = r.tryDecrease(names[:15]...)
			_, _ = r.tryUpdate()
			r.within(9*time.Second, "Droplet", func() {
				ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
				defer cancel()
				_, _ = r.Droplet(ctx, r.in(Creating)[0])
			})
		}
		// A call that has to wait for another one does not take longer for it.
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.within(15*time.Second, "Update", func() { _ = r.Update(ctx, func(string, State) {}) }) })
			wg.Go(func() { r.within(15*time.Second, "Increase", func() { _, _ = r.Increase(ctx, 1) }) })
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		r.stops(false)
		if total := time.Since(began); total < time.Minute {
			t.Errorf("the calls took %s together: they did not hang", total)
		}
	})
}
