package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// regions are placements of one size.
func regions(slugs ...string) (ps []Placement) {
	for _, slug := range slugs {
		ps = append(ps, Placement{"s-1", slug})
	}
	return ps
}

// in makes a group of these placements.
func in(ps ...Placement) Settings { return spec(func(s *Settings) { s.Placements = ps }) }

// placesAfter returns where the creates went, but for the first so many.
func (r *runner) placesAfter(n int) (ps []Placement) {
	for _, c := range r.received("create")[n:] {
		ps = append(ps, c.place)
	}
	return ps
}

// places returns where the creates went since it was called last.
func (r *runner) places(seen *int) []Placement {
	ps := r.placesAfter(*seen)
	*seen += len(ps)
	return ps
}

// goesTo fails the test unless one Droplet is created by trying these placements.
func (r *runner) goesTo(seen *int, when string, want ...Placement) {
	r.t.Helper()
	r.want(1)
	if d := cmp.Diff(want, r.places(seen)); d != "" {
		r.t.Errorf("%s: placements tried (-want +got):\n%s", when, d)
	}
}

// Placements are tried in the order given, sizes outside and regions inside; one
// that has no capacity cools down for a minute, doubling to a quarter of an hour.
func TestCapacity(t *testing.T) {
	ps := []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	none := fault{err: refusal(ErrCapacity)}
	t.Run("next placement", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			seen := 0
			r.script("create", none, none)
			r.goesTo(&seen, "two have no capacity", ps[:3]...)
			r.says("WARN", "a placement cools down", "no capacity", "then=the next placement is tried", "size=s-1", "region=nyc1", "cooldown=1m0s")
			time.Sleep(59 * time.Second)
			r.goesTo(&seen, "while they cool down", ps[2])
			time.Sleep(2 * time.Second)
			r.goesTo(&seen, "afterwards", ps[0])
		})
	})
	t.Run("part of a call", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			r.script("create", none)
			r.want(20)
			if n := len(r.received("create")); n != 3 {
				t.Errorf("%d requests, want two, and one for the rest", n)
			}
		})
	})
	t.Run("all refuse, and cool down", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			r.breakOp("create", none)
			_, err := r.increase(1)
			for _, p := range ps {
				if !errors.Is(err, ErrCapacity) || !strings.Contains(err.Error(), p.String()) {
					t.Errorf("error %v, want one that names %s", err, p)
				}
			}
			r.says("WARN", "a placement cools down", "then=no other placement is left", "size=s-2", "region=ams3")
			time.Sleep(10 * time.Second)
			before := len(r.received("create"))
			r.refused(1)
			if got := r.placesAfter(before); !slices.Equal(got, ps[:1]) {
				t.Errorf("while all cool down %v are tried, want only the one that is over first", got)
			}
			r.heal("create")
			time.Sleep(time.Minute)
			r.want(1)
		})
	})
	t.Run("cooldowns double", func(t *testing.T) {
		p := placements{order: ps, cooling: map[Placement]cooldown{}}
		now := epoch
		var got []time.Duration
		fail := func(at Placement, sent time.Time) { got = append(got, p.failed(at, sent, now)) }
		for range 6 {
			now = now.Add(time.Second)
			fail(ps[0], now)
		}
		fail(ps[0], now)                   // known with the last
		fail(ps[0], now.Add(-time.Second)) // before the last
		p.worked(ps[0])
		fail(ps[0], now)
		fail(ps[1], now)
		const m = time.Minute
		if d := cmp.Diff([]time.Duration{m, 2 * m, 4 * m, 8 * m, 15 * m, 15 * m, 0, 0, m, m}, got); d != "" {
			t.Errorf("cooldowns (-want +got):\n%s", d)
		}
	})
}

// A refusal that is not known to be the placement's may be all the same: each of
// the others is tried once, and only when all refuse does the group back off.
func TestUnknownRefusalTriesAllPlacements(t *testing.T) {
	ps := regions("nyc1", "ams3", "fra1")
	refuse := func(word string) fault {
		return fault{err: &CloudError{Class: ErrInvalid, Op: "POST", Status: 422, Message: "odd " + word}}
	}
	t.Run("one accepts", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			seen := 0
			r.script("create", refuse("one"), refuse("two"))
			r.goesTo(&seen, "two refuse", ps...)
			for _, region := range []string{"nyc1", "ams3"} {
				r.says("WARN", "a placement cools down", "another placement takes what it refused", "region="+region, "cooldown=1m0s")
			}
			if n := r.log.count("Droplets were refused"); n != 0 {
				t.Errorf("backed off %d times", n)
			}
			r.goesTo(&seen, "while they cool down", ps[2])
			time.Sleep(time.Minute)
			r.goesTo(&seen, "afterwards", ps[0])
		})
	})
	t.Run("all refuse", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			r.script("create", refuse("one"), refuse("two"), refuse("three"))
			_, err := r.increase(1)
			const want = "create 1 Droplets: s-1 in nyc1: POST: 422 odd one; s-1 in ams3: POST: 422 odd two; s-1 in fra1: POST: 422 odd three; next attempt in 5s"
			if fmt.Sprint(err) != want {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			r.refused(1)
			if got := r.placesAfter(0); !slices.Equal(got, ps) {
				t.Errorf("tried %v, want each once", got)
			}
			if n := r.log.count("a placement cools down"); n != 0 {
				t.Error("it may be the request: no placement is to cool down")
			}
			time.Sleep(5 * time.Second)
			seen := len(ps)
			r.goesTo(&seen, "after the backoff", ps[0])
		})
	})
	t.Run("two of the others accept a part", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			r.script("create", refuse("one"), refuse("one"), fault{err: refusal(ErrCapacity)})
			r.want(20)
			if got := r.placesAfter(2); !slices.Equal(got, []Placement{ps[1], ps[1], ps[2]}) {
				t.Errorf("tried %v", got)
			}
			r.says("a placement cools down", "region=nyc1") // once
		})
	})
	t.Run("the others do not confirm", func(t *testing.T) { // that says nothing of the first
		scenario(t, in(ps...), func(r *runner) {
			r.script("create", refuse("one"), fault{err: unconfirmed})
			r.want(1)
			if n := r.log.count("a placement cools down", "nyc1"); n != 0 {
				t.Error("the refusal counts for the placement, though no other took the request")
			}
		})
	})
}

// A limit of the account for a kind of size holds in all regions: the next size is
// tried at once.
func TestSizeLimit(t *testing.T) {
	ps := []Placement{{"gpu-1", "nyc1"}, {"gpu-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	limit := fault{err: refusal(ErrSizeLimit)}
	scenario(t, in(ps...), func(r *runner) {
		seen := 0
		r.script("create", limit)
		r.goesTo(&seen, "the first size is limited", ps[0], ps[2])
		r.script("create", limit, limit)
		_, err := r.increase(1)
		if !errors.Is(err, ErrSizeLimit) || !strings.Contains(err.Error(), "gpu-1 in nyc1") || !strings.Contains(err.Error(), "s-2 in nyc1") {
			t.Errorf("error %v, want one that names both sizes", err)
		}
		if got := r.places(&seen); !slices.Equal(got, []Placement{ps[0], ps[2]}) {
			t.Errorf("tried %v", got)
		}
		r.refused(1) // it backs off
		if got := r.places(&seen); got != nil {
			t.Errorf("at once again: %v", got)
		}
	})
}

// A region that does not confirm creates may have carried them out, so its names
// count; but it does not get the next creates.
func TestUnconfirmedPlacementCoolsDown(t *testing.T) {
	ps := regions("nyc1", "ams3")
	for name, f := range map[string]fault{"5xx": {err: unconfirmed}, "hangs": {hang: true}, "5xx, applied": {err: unconfirmed, applied: true}} {
		t.Run(name, func(t *testing.T) {
			scenario(t, in(ps...), func(r *runner) {
				seen := 0
				r.script("create", f)
				r.goesTo(&seen, "at first", ps[0])
				r.says("WARN", "a placement cools down", "does not confirm creates", "then=the next placement is tried", "region=nyc1", "cooldown=1m0s")
				r.goesTo(&seen, "then", ps[1])
				r.run(30 * time.Second)
				if f.applied {
					r.goesTo(&seen, "once its Droplet runs", ps[0])
					return
				}
				r.goesTo(&seen, "within the minute", ps[1])
				r.run(45 * time.Second)
				r.script("create", f)
				r.goesTo(&seen, "after the minute, in which its Droplet never appeared", ps[0])
				r.says("WARN", "does not confirm creates", "cooldown=2m0s")
			})
		})
	}
	t.Run("part of a call", func(t *testing.T) {
		scenario(t, in(ps...), func(r *runner) {
			r.script("create", fault{err: unconfirmed})
			r.want(20)
			if r.log.count("cools down") != 0 {
				t.Error("it confirmed another create of the same call")
			}
		})
	})
	t.Run("of one placement", func(t *testing.T) {
		scenario(t, in(ps[0]), func(r *runner) {
			r.script("create", fault{err: unconfirmed})
			r.want(1)
			r.want(1)
			if n := len(r.received("create")); n != 2 || r.log.count("cools down") != 0 {
				t.Errorf("%d creates; there is no other placement", n)
			}
		})
	})
}

// A refused Increase is asked again every second or two, for ever. It asks
// DigitalOcean after 5 s, 10 s, 20 s, 40 s, and then every minute.
func TestRefusedIncreaseBacksOff(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		r.breakOp("create", fault{err: refusal(ErrInvalid)})
		began := time.Now()
		for time.Since(began) < 4*time.Minute {
			if n, err := r.increase(1); n != 0 || !errors.Is(err, ErrInvalid) {
				t.Fatalf("Increase = %d, %v; want the refusal, also between attempts", n, err)
			}
			time.Sleep(time.Second)
		}
		var at []string
		for _, c := range r.received("create") {
			at = append(at, fmt.Sprint(c.at.Sub(began)))
		}
		if d := cmp.Diff([]string{"0s", "5s", "15s", "35s", "1m15s", "2m15s", "3m15s"}, at); d != "" {
			t.Errorf("attempts (-want +got):\n%s", d)
		}
		if n := r.log.count("ERROR", "Droplets were refused"); n != 4 {
			t.Errorf("logged %d times in four minutes, want once a minute", n)
		}
		r.heal("create")
		time.Sleep(time.Minute)
		r.want(1)
		r.script("create", fault{err: refusal(ErrInvalid)})
		r.refused(1)
		time.Sleep(5 * time.Second)
		r.want(1) // success forgot the row of refusals
	})
}

// loser is an account that accepts every create, and loses what it accepted in
// some regions: the Droplets are gone when booting began, or never boot.
type loser struct {
	*account
	in    []string
	stuck bool
}

func (l *loser) Create(ctx context.Context, r CreateRequest) (Created, error) {
	c, err := l.account.Create(ctx, r)
	for _, d := range c.Droplets {
		if slices.Contains(l.in, r.Region) {
			l.change(d.ID, func(m *machine) {
				m.stuck = true
				if !l.stuck {
					m.gone = time.Now()
				}
			})
		}
	}
	return c, err
}

// losing runs a group whose Droplets are lost in these regions.
func losing(t *testing.T, s Settings, l loser, f func(*runner, *loser)) {
	s.CreateTimeout = 30 * time.Second
	scenario(t, s, func(r *runner) {
		l.account = r.account
		r.cloud = &l
		f(r, &l)
	})
}

// keepAsking does what a runner does that wants n instances and gets fewer. It
// returns how often it was refused.
func (r *runner) keepAsking(n int, d time.Duration) (refusals int) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Second) {
		if missing := n - len(r.states); missing > 0 {
			if _, err := r.increase(missing); err != nil {
				refusals++
			}
		}
		r.update()
	}
	return refusals
}

// What a placement accepts and then loses counts against it as a refusal does,
// once for all that were lost together: the next creates go elsewhere.
func TestPlacementThatLosesCoolsDown(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(map[bool]string{false: "gone", true: "new until create_timeout"}[stuck], func(t *testing.T) {
			losing(t, in(regions("nyc1", "nyc3")...), loser{in: []string{"nyc1"}, stuck: stuck}, func(r *runner, _ *loser) {
				if n := r.keepAsking(20, 2*time.Minute); n != 0 {
					t.Errorf("refused %d times: there is another placement", n)
				}
				creates := map[string]int{}
				for _, c := range r.received("create") {
					creates[c.place.Region] += len(c.names)
				}
				if len(r.in(Running)) != 20 || creates["nyc1"] != 20 || creates["nyc3"] != 20 {
					t.Errorf("%d are running; created: %v; want 20 in each region", len(r.in(Running)), creates)
				}
				r.says("WARN", "a placement cools down", "what it accepted never ran", "then=the next placement is tried", "region=nyc1", "cooldown=1m0s")
				if n := r.log.count("a placement cools down"); n != 1 {
					t.Errorf("it cools down %d times: what was lost together counts once", n)
				}
			})
		})
	}
}

// A placement that loses and is the only one, or one of several that all lose,
// backs off as one that refuses does. A Droplet that runs ends both.
func TestGroupThatLosesBacksOff(t *testing.T) {
	for _, c := range []struct {
		name    string
		regions []string
		creates int // at most, in 100 s
	}{
		{"one placement", []string{"nyc1"}, 5},
		{"all of two", []string{"nyc1", "ams3"}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			losing(t, in(regions(c.regions...)...), loser{in: c.regions}, func(r *runner, l *loser) {
				r.keepAsking(1, 100*time.Second)
				if n := len(r.received("create")); n < 3 || n > c.creates {
					t.Errorf("%d creates in 100 s, want 3 to %d", n, c.creates)
				}
				if n := r.log.count("a placement cools down", "no other placement is left"); n == 0 {
					t.Error("nothing is said of it")
				}
				l.in = nil
				r.keepAsking(1, 100*time.Second)
				if len(r.in(Running)) != 1 {
					t.Fatalf("shown: %v", r.states)
				}
				if p := r.placements; p.backoff != (backoff{}) || len(p.cooling) == len(c.regions) {
					t.Errorf("after a Droplet has run: backoff %v, cooling down %v", p.backoff, p.cooling)
				}
				r.want(1)
			})
		})
	}
	t.Run("until when", func(t *testing.T) {
		losing(t, in(regions("nyc1")...), loser{in: []string{"nyc1"}}, func(r *runner, _ *loser) {
			r.latency = 0
			for _, want := range []string{"5s", "10s", "20s", "40s", "1m0s", "1m0s"} {
				r.want(1)
				time.Sleep(2 * time.Second)
				for len(r.states) > 0 || r.pending > 0 {
					r.update()
				}
				_, err := r.increase(1)
				if err == nil || !strings.HasSuffix(err.Error(), "next attempt in "+want) || !strings.Contains(err.Error(), "never ran") {
					t.Errorf("after a loss: %v; want the next attempt in %s", err, want)
				}
				time.Sleep(backoffMost)
			}
		})
	})
}

// What the runner takes away, or a person keeps, or what has run, says nothing of
// where it was created. What a person deletes before it ran does not differ from a
// loss.
func TestWhatCountsAsALoss(t *testing.T) {
	for name, c := range map[string]struct {
		age      time.Duration
		takeAway func(r *runner, name string)
		cools    int
	}{
		"deleted by the runner": {0, func(r *runner, name string) { r.decrease(name) }, 0},
		"kept": {0, func(r *runner, name string) {
			r.change(r.only(name).ID, func(m *machine) { m.Tags, m.foreign = append(slices.Clone(m.Tags), KeepTag), true })
		}, 0},
		"deleted from outside":               {0, func(r *runner, name string) { r.change(r.only(name).ID, r.destroyed) }, 1},
		"deleted from outside, after it ran": {time.Minute, func(r *runner, name string) { r.change(r.only(name).ID, r.destroyed) }, 0},
		"powered off before it ran":          {0, func(r *runner, name string) { r.change(r.only(name).ID, func(m *machine) { m.Status = StatusOff }) }, 1},
		"powered off after it ran":           {time.Minute, func(r *runner, name string) { r.change(r.only(name).ID, func(m *machine) { m.Status = StatusOff }) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, in(regions("nyc1", "ams3")...), func(r *runner) {
				r.want(1)
				r.update()
				r.run(c.age)
				c.takeAway(r, r.names()[0])
				r.run(time.Minute)
				if n := r.log.count("a placement cools down"); n != c.cools {
					t.Errorf("a placement cools down %d times, want %d", n, c.cools)
				}
			})
		})
	}
	t.Run("taken over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			m := owned("dead", "aaaaa1")
			m.stuck = true
			d := a.add(m)
			r := newRunner(t, in(regions("nyc1", "ams3")...), a)
			r.start()
			r.update()
			r.change(d.ID, r.destroyed)
			r.run(10 * time.Second)
			r.told(d.Name, Creating, Deleted)
			if n := r.log.count("a placement cools down"); n != 0 {
				t.Error("another process made it")
			}
		})
	})
}
