package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Some runners call Update without any pause. An Update begins 500 ms after the
// last one ended, and lists are 1.5 s apart at the least.
func TestUpdateIsPaced(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		began := time.Now()
		updates := 0
		for time.Since(began) < time.Minute {
			r.update()
			updates++
		}
		if updates != 121 {
			t.Errorf("%d Updates in a minute, want one at once and then two a second", updates)
		}
		if n := len(r.received("list")) - 1; n != 40 {
			t.Errorf("%d lists in a minute, want 40", n)
		}
	})
}

// The pause between lists grows with the requests that a list takes, and with what
// creates, destroys and other programs spend.
func TestListInterval(t *testing.T) {
	const most = 5000
	for _, c := range []struct {
		pages int
		b     Budget
		want  time.Duration
	}{
		{0, Budget{}, 1500 * time.Millisecond},
		{1, Budget{}, 1500 * time.Millisecond},
		{5, Budget{}, 7500 * time.Millisecond},
		{10, Budget{}, 15 * time.Second},
		{25, Budget{}, 30 * time.Second},
		{50, Budget{}, time.Minute},
		{1, Budget{Limit: most, Remaining: most}, 1500 * time.Millisecond},
		{1, Budget{Limit: most, Remaining: 100, Lists: 4900}, 1500 * time.Millisecond}, // its own do not slow them
		{1, Budget{Limit: most, Others: 2500}, 1600 * time.Millisecond},                // of 2,250 an hour
		{10, Budget{Limit: most, Others: 2500}, 16 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 1350}, 40 * time.Second}, // of 900
		{10, Budget{Limit: most, Others: 2500, Changes: 1250, Settles: 100}, 40 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 350, Recent: 104, Settles: 102}, 40 * time.Second}, // 104 are 1,248
		{10, Budget{Limit: most, Others: 9000}, time.Minute},
		{1, Budget{Limit: most, Others: 9000}, time.Minute},
	} {
		if got := listInterval(List{Requests: c.pages, Budget: c.b}); got != c.want {
			t.Errorf("%d requests, %+v: %s, want %s", c.pages, c.b, got, c.want)
		}
	}
}

// When half of the hour is spent creates wait for five seconds to become ten.
func TestGather(t *testing.T) {
	now := time.Now()
	scarce := Budget{Limit: 5000, Remaining: 2500}
	for _, c := range []struct {
		n     int
		b     Budget
		since time.Time
		take  int
		waits time.Time
	}{
		{3, Budget{}, time.Time{}, 3, time.Time{}},
		{3, Budget{Limit: 5000, Remaining: 2501, Others: 2500}, time.Time{}, 3, time.Time{}},
		{3, Budget{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 125}, time.Time{}, 3, time.Time{}},
		{3, Budget{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 126}, time.Time{}, 0, now},
		{0, scarce, now.Add(-time.Second), 0, time.Time{}},
		{3, scarce, time.Time{}, 0, now},
		{3, scarce, now.Add(-4 * time.Second), 0, now.Add(-4 * time.Second)},
		{3, scarce, now.Add(-5 * time.Second), 3, time.Time{}},
		{10, scarce, time.Time{}, 10, time.Time{}},
		{23, scarce, time.Time{}, 20, now},
		{23, scarce, now.Add(-4 * time.Second), 20, now},
		{23, scarce, now.Add(-5 * time.Second), 23, time.Time{}},
	} {
		if take, waits := gather(c.n, c.b, c.since, now); take != c.take || !waits.Equal(c.waits) {
			t.Errorf("%d of %+v since %s: %d, %s; want %d, %s", c.n, c.b, c.since, take, waits, c.take, c.waits)
		}
	}
}

func TestListsFollowTheBudget(t *testing.T) {
	lists := func(r *runner) int {
		before := len(r.received("list"))
		r.run(time.Minute)
		return len(r.received("list")) - before
	}
	scenario(t, spec(nil), func(r *runner) {
		r.perPage = 2
		r.up(10) // five pages
		if n := lists(r); n < 7 || n > 8 {
			t.Errorf("%d lists of five requests in a minute of Updates each 2 s, want one each 8 s", n)
		}
		r.limit, r.remaining = 5000, 950
		r.run(10 * time.Second)
		if n := lists(r); n != 2 {
			t.Errorf("%d lists in a minute of a scarce budget, want one each 26 s", n)
		}
	})
}

// Between lists Update shows what happened since the last one.
func TestUpdateBetweenLists(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(2)
		r.limit, r.remaining = 5000, 600 // lists are 10 s apart
		r.run(10 * time.Second)
		before := len(r.received("list"))
		for len(r.received("list")) == before {
			r.update()
		}
		before++
		r.decrease(names[0])
		r.want(10)
		r.run(2 * time.Second)
		if n := len(r.received("list")); n != before {
			t.Fatalf("%d lists; the test wants none", n-before)
		}
		r.told(names[0], Creating, Running, Deleting)
		if got := r.in(Creating); len(got) != 10 {
			t.Errorf("creating: %v", got)
		}
	})
}

// Instances are shown in the order in which they appeared.
func TestUpdateOrder(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		var want []string
		for range 5 {
			r.want(1)
			for _, m := range r.machine {
				if line := m.Name + " creating"; !slices.Contains(want, line) {
					want = append(want, line)
				}
			}
		}
		got := r.update()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("shown (-want +got):\n%s", d)
		}
	})
}

// While lists fail the last one is shown, for a minute; then Update fails, which
// stops the runner from provisioning blindly. Nobody is buried by it.
func TestListFails(t *testing.T) {
	for name, f := range map[string]fault{"5xx": {err: unclear}, "429": {err: refusal(ErrThrottled)}, "hangs": {hang: true}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(1)
				r.breakOp("list", f)
				last := r.listedAt
				for time.Since(last) < 3*time.Minute {
					_, err := r.tryUpdate()
					switch stale := time.Since(last); {
					case stale <= 60*time.Second && err != nil:
						t.Errorf("%s after the last list: %v", stale, err)
					case stale > 61*time.Second && err == nil:
						t.Errorf("%s after the last list it is still shown", stale)
					}
					time.Sleep(time.Second)
				}
				// Counted, once a minute.
				if n := r.log.count("listing fails"); n != 3 && n != 4 {
					t.Errorf("%d lines in three minutes of failure", n)
				}
				r.heal("list")
				time.Sleep(2 * time.Second)
				r.run(4 * time.Second)
				r.told(names[0], Creating, Running)
				r.says("listing works again")
			})
		})
	}
}

// A refused token does not heal with time: Update says so at once.
func TestListRefused(t *testing.T) {
	for _, class := range []error{ErrUnauthorized, ErrForbidden} {
		scenario(t, spec(nil), func(r *runner) {
			r.up(1)
			time.Sleep(2 * time.Second)
			r.breakOp("list", fault{err: refusal(class)})
			for range 3 {
				if _, err := r.tryUpdate(); !errors.Is(err, class) {
					t.Errorf("Update: %v, want %v", err, class)
				}
			}
		})
	}
}

// A list is not asked for again before DigitalOcean wants it.
func TestListHonoursRetryAfter(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.up(1)
		time.Sleep(2 * time.Second)
		r.script("list", fault{err: &CloudError{Class: ErrThrottled, Status: 429, RetryAfter: 30 * time.Second}})
		before := len(r.received("list"))
		r.run(29 * time.Second)
		if n := len(r.received("list")) - before; n != 1 {
			t.Errorf("%d lists within the 30 s of Retry-After, want the one that was refused", n)
		}
		r.run(4 * time.Second)
		if n := len(r.received("list")) - before; n < 2 {
			t.Error("not listed again after Retry-After")
		}
	})
}

// A list that lacks what lives buries nobody: everyone is looked up, twenty in
// one Update.
func TestShortListBuriesNobody(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		names := r.up(50)
		for _, m := range r.machine {
			r.change(m.ID, func(m *machine) { m.hidden = true })
		}
		time.Sleep(2 * time.Second)
		r.update()
		if n := len(r.received("get")); n != 20 {
			t.Errorf("%d look-ups in one Update, want 20", n)
		}
		r.run(30 * time.Second)
		looked := map[int]int{}
		for _, c := range r.received("get") {
			looked[c.id]++
		}
		if len(looked) != 50 {
			t.Errorf("%d of 50 were looked up", len(looked))
		}
		for id, n := range looked {
			if n > 4 {
				t.Errorf("%d was looked up %d times in half a minute", id, n)
			}
		}
		for _, name := range names {
			r.told(name, Creating, Running)
		}
	})
}

// A look-up that fails proves nothing.
func TestLookUpFails(t *testing.T) {
	for _, f := range []fault{{err: unclear}, {hang: true}, {err: refusal(ErrForbidden)}, {err: refusal(ErrThrottled)}} {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.breakOp("get", f)
			r.change(r.only(name).ID, r.destroyed)
			for range 20 {
				r.update()
				time.Sleep(time.Second)
			}
			r.told(name, Creating, Running)
			r.heal("get")
			r.run(12 * time.Second)
			r.told(name, Creating, Running, Deleted)
		})
	}
}

// An entry can slip between the pages of a list. What was destroyed is called
// gone after the second list without it.
func TestPagedListTakesTwoToBury(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.perPage, r.deleteLag = 1, 0
		names := r.up(3)
		r.run(90 * time.Second) // a younger one would be looked up
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[0])
		id := r.only(names[0]).ID
		r.change(id, func(m *machine) { m.hidden = true })
		lists := len(r.received("list"))
		for len(r.received("list")) == lists {
			r.update()
		}
		r.told(names[0], Creating, Running, Deleting)
		r.change(id, func(m *machine) { m.hidden = false })
		r.run(30 * time.Second)
		r.told(names[0], Creating, Running, Deleting)
		r.run(60 * time.Second)
		r.told(names[0], Creating, Running, Deleting, Deleted)
	})
}

// When nobody waits for an Update any more, what it had to tell is kept, and it
// says nothing of DigitalOcean.
func TestCancelledUpdate(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.change(r.only(name).ID, r.destroyed)
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
		if n := r.log.count("listing fails"); n != 0 {
			t.Error("a cancelled list was logged as a failure")
		}
		r.run(2 * time.Second)
		r.told(name, Creating, Running, Deleted)
	})
}

// Concurrent calls of everything, for the race detector and the oracles.
func TestConcurrentCalls(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.Project, s.MaxInstances = "p", 30 }), func(r *runner) {
		quiet := newRunner(t, r.Settings, r.account)
		quiet.Group = r.Group
		done := make(chan bool)
		for i := range 4 {
			go func() {
				defer func() { done <- true }()
				for k := range 30 {
					if n, err := r.Increase(ctx, 1+i); n > 1+i || n > 0 && err != nil {
						t.Errorf("Increase = %d, %v", n, err)
					}
					var names []string
					err := r.Update(ctx, func(name string, s State) {
						if s == Running {
							names = append(names, name)
						}
					})
					if err != nil {
						t.Errorf("Update: %v", err)
					}
					for _, name := range names {
						_ = r.Health(name)
						_, _ = r.Droplet(ctx, name)
					}
					if len(names) > 0 {
						if _, err := r.Decrease(ctx, names[k%len(names):]); err != nil {
							t.Errorf("Decrease: %v", err)
						}
					}
					if n := r.billed(); n > 30 {
						t.Errorf("%d Droplets, max_instances is 30", n)
					}
				}
			}()
		}
		for range 4 {
			<-done
		}
	})
}

// Every call returns within its bound when DigitalOcean answers nothing at all,
// and none leaves a goroutine (the bubble would not end).
func TestBoundsWhenDigitalOceanHangs(t *testing.T) {
	s := spec(func(s *Settings) {
		s.ImageTag, s.Project, s.DeadRuns, s.MaxInstances = "golden", "p", []string{"dead0000"}, 1000
		s.Keys = func(ctx context.Context, refused bool) ([]string, error) { return []string{"1"}, ctx.Err() }
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.images = []TaggedImage{{ID: 1, Regions: []string{"nyc1"}}}
		r := newRunner(t, s, a)
		r.start()
		names := r.up(30)
		time.Sleep(10 * time.Minute) // the image is due again
		r.update()
		r.hangAll()
		began := time.Now()
		for range 4 {
			n, err := r.increase(150)
			if n == 0 && err == nil {
				t.Error("Increase of an account that hangs: 0 and no error")
			}
			_, _ = r.tryDecrease(names[:15]...)
			_, _ = r.tryUpdate()
		}
		r.within(18*time.Second, "Shutdown", func() {
			ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
			defer cancel()
			if r.Shutdown(ctx) {
				t.Error("Shutdown says that nothing is left")
			}
		})
		if total := time.Since(began); total < time.Minute {
			t.Errorf("the calls took %s together: they did not hang", total)
		}
	})
}

// A call that has to wait for another one does not take longer for it.
func TestBoundOfWaitingCalls(t *testing.T) {
	calls := map[string]func(r *runner){
		"Update":   func(r *runner) { _ = r.Update(ctx, func(string, State) {}) },
		"Increase": func(r *runner) { _, _ = r.Increase(ctx, 1) },
	}
	for name, call := range calls {
		scenario(t, spec(nil), func(r *runner) {
			r.undestroyable(r.up(1)[0])
			time.Sleep(6 * time.Second)
			r.hangAll()
			done := make(chan bool)
			for range 3 {
				go func() {
					r.within(15*time.Second, name, func() { call(r) })
					done <- true
				}()
				time.Sleep(100 * time.Millisecond)
			}
			for range 3 {
				<-done
			}
		})
	}
}

// Init and the first Update share the runner's minute: the first Update lists
// nothing, and gives its deletes and chores four seconds.
func TestFirstUpdateIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		r := newRunner(t, spec(nil), a)
		for i := range 30 {
			m := owned(fmt.Sprintf("old%05d", i), "dead0000")
			m.stuck, m.Created = true, time.Now().Add(-time.Hour)
			a.add(m)
		}
		r.start()
		time.Sleep(20 * time.Second) // the rest of Init
		r.hangAll()
		r.within(4*time.Second, "the first Update", func() { r.update() })
		if n := len(r.received("list")); n != 1 {
			t.Errorf("%d lists, want only Start's", n)
		}
		if got := r.in(Deleting); len(got) != 30 {
			t.Errorf("deleting: %d, want the 30 that are new for an hour", len(got))
		}
	})
}
