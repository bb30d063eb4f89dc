package instancegroup

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
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

// tries fails the test unless the creates of f go to these placements.
func (r *runner) tries(when string, f func(), want ...Placement) {
	r.t.Helper()
	before := r.asked("create")
	f()
	var got []Placement
	for _, c := range r.received("create")[before:] {
		got = append(got, Placement{c.Size, c.Region})
	}
	equal(r.t, when+": placements tried", want, got)
}

// goesTo fails the test unless one Droplet is created by trying these placements.
func (r *runner) goesTo(when string, want ...Placement) {
	r.t.Helper()
	r.tries(when, func() { r.want(1) }, want...)
}

// Placements are tried in the order given, sizes outside and regions inside; one
// that has no capacity cools down for a minute, doubling to a quarter of an hour.
func TestCapacity(t *testing.T) {
	ps := []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	none := fault{err: refusal(ErrRefused)}
	story(t, "next placement", in(ps...), func(r *runner) {
		r.script("create", none, none)
		r.goesTo("two have no capacity", ps[:3]...)
		r.says("WARN", "a placement cools down", "it refused", "size=s-1", "region=nyc1", "cooldown=1m0s")
		time.Sleep(59 * time.Second)
		r.script("create", none)
		r.goesTo("while they cool down", ps[2], ps[3])
		r.goesTo("while three cool down", ps[3])
		time.Sleep(2 * time.Second)
		r.goesTo("afterwards", ps[0])
		r.script("create", none)
		r.tries("a part of a call", func() { r.want(20) }, ps[0], ps[0], ps[1])
	})
	story(t, "those that cool down come last", in(ps[:2]...), func(r *runner) {
		r.script("create", none)
		r.goesTo("one cools down", ps[:2]...)
		r.script("create", none)
		r.goesTo("the other has none left", ps[1], ps[0])
	})
	story(t, "all refuse, and cool down", in(ps...), func(r *runner) {
		r.breakOp("create", none)
		_, err := r.increase(1)
		for _, p := range ps {
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), p.String()) {
				r.t.Errorf("error %v, want one that names %s", err, p)
			}
		}
		r.repeats(4, "WARN", "a placement cools down")
		time.Sleep(10 * time.Second)
		r.tries("while all cool down", func() { r.refused(1) }, ps...) // none is left out
		r.heal("create")
		time.Sleep(time.Minute)
		r.want(1)
	})
	t.Run("cooldowns double", func(t *testing.T) {
		p := placements{order: ps, cooling: map[Placement]cooldown{}}
		now := epoch
		fails := func(at Placement, sent time.Time, want time.Duration) {
			t.Helper()
			equal(t, "cooldown in minutes", want, p.failed(at, sent, now)/time.Minute)
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 15, 15} {
			now = now.Add(time.Second)
			fails(ps[0], now, want)
		}
		fails(ps[0], now, 0)                   // known with the last
		fails(ps[0], now.Add(-time.Second), 0) // before the last
		p.worked(ps[0], now.Add(-time.Second)) // created before the failure, so that it ends nothing
		equal(t, "failures", 6, p.cooling[ps[0]].failures)
		p.worked(ps[0], now)
		fails(ps[0], now, 1)
		fails(ps[1], now, 1)
	})
}

// A refusal that is not known to be the placement's may be all the same: each of
// the others is tried once, and only when all refuse does the group back off.
func TestUnknownRefusalTriesAllPlacements(t *testing.T) {
	ps := regions("nyc1", "ams3", "fra1")
	refuse := func(word string) fault {
		return fault{err: &CloudError{Class: ErrRefused, Op: "POST", Status: 422, Message: "odd " + word}}
	}
	story(t, "with a 404", in(ps...), func(r *runner) {
		r.script("create", fault{err: refusal(ErrNotFound)})
		r.goesTo("one refuses", ps[:2]...)
		r.goesTo("while it cools down", ps[1])
	})
	story(t, "one accepts", in(ps...), func(r *runner) {
		r.script("create", refuse("one"), refuse("two"))
		r.goesTo("two refuse", ps...)
		for _, region := range []string{"nyc1", "ams3"} {
			r.says("WARN", "a placement cools down", "it refused", "region="+region, "cooldown=1m0s")
		}
		r.repeats(0, "Droplets were refused")
		r.goesTo("while they cool down", ps[2])
		time.Sleep(time.Minute)
		r.goesTo("afterwards", ps[0])
	})
	story(t, "all refuse", in(ps...), func(r *runner) {
		r.script("create", refuse("one"), refuse("two"), refuse("three"))
		r.tries("at first", func() {
			_, err := r.increase(1)
			equal(r.t, "error", "create Droplets: s-1 in nyc1: POST: 422 odd one; s-1 in ams3: POST: 422 odd two; "+
				"s-1 in fra1: POST: 422 odd three; next attempt in 5s", fmt.Sprint(err))
		}, ps...)
		r.tries("at once again", func() { r.refused(1) })
		time.Sleep(5 * time.Second)
		r.goesTo("after the backoff", ps[0])
	})
}

// A limit of the account for a kind of size holds in all regions: the next size is
// tried at once.
func TestSizeLimit(t *testing.T) {
	ps := []Placement{{"gpu-1", "nyc1"}, {"gpu-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	limit := fault{err: refusal(ErrSizeLimit)}
	scenario(t, in(ps...), func(r *runner) {
		r.script("create", limit)
		r.goesTo("the first size is limited", ps[0], ps[2])
		r.script("create", limit, limit)
		r.tries("both are", func() {
			_, err := r.increase(1)
			if !errors.Is(err, ErrSizeLimit) || !strings.Contains(err.Error(), "gpu-1 in nyc1") || !strings.Contains(err.Error(), "s-2 in nyc1") {
				t.Errorf("error %v, want one that names both sizes", err)
			}
		}, ps[0], ps[2])
		r.tries("at once again", func() { r.refused(1) }) // it backs off
	})
}

// A region that does not confirm creates may have carried them out, so its names
// count; but it does not get the next creates.
func TestUnconfirmedPlacementCoolsDown(t *testing.T) {
	ps := regions("nyc1", "ams3")
	for name, f := range map[string]fault{
		"5xx": {err: unconfirmed}, "hangs": {hang: true}, "5xx, applied": {err: unconfirmed, applied: true},
	} {
		story(t, name, in(ps...), func(r *runner) {
			r.script("create", f)
			r.goesTo("at first", ps[0])
			r.says("WARN", "a placement cools down", "does not confirm creates", "region=nyc1", "cooldown=1m0s")
			r.goesTo("then", ps[1])
			r.run(30 * time.Second)
			if f.applied {
				r.goesTo("once its Droplet runs", ps[0])
				return
			}
			r.goesTo("within the minute", ps[1])
			r.run(45 * time.Second)
			r.script("create", f)
			r.goesTo("after the minute, in which its Droplet never appeared", ps[0])
			r.says("WARN", "does not confirm creates", "cooldown=2m0s")
		})
	}
	for name, s := range map[string]Settings{"another create of the call is confirmed": in(ps...), "the only placement": in(ps[0])} {
		story(t, name, s, func(r *runner) {
			r.script("create", fault{err: unconfirmed})
			r.want(20)
			r.want(1)
			r.repeats(0, "cools down")
		})
	}
}

// A refused Increase is asked again every second or two, for ever. It asks
// DigitalOcean after 5 s, 10 s, 20 s, 40 s, and then every minute.
func TestRefusedIncreaseBacksOff(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		r.breakOp("create", fault{err: refusal(ErrForbidden)})
		began := time.Now()
		for time.Since(began) < 4*time.Minute {
			if _, err := r.increase(1); !errors.Is(err, ErrForbidden) {
				t.Fatalf("Increase: %v; want the refusal, also between attempts", err)
			}
			time.Sleep(time.Second)
		}
		equal(t, "attempts", "0s 5s 15s 35s 1m15s 2m15s 3m15s", r.times("create", began, 1))
		r.repeats(4, "ERROR", "Droplets were refused") // once a minute
		r.heal("create")
		time.Sleep(time.Minute)
		r.want(1)
		r.script("create", fault{err: refusal(ErrForbidden)})
		r.refused(1)
		time.Sleep(5 * time.Second)
		r.want(1) // success forgot the row of refusals
	})
}

// What a placement accepts and then loses counts against it as a refusal does,
// once for all that were lost together: the next creates go elsewhere.
func TestPlacementThatLosesCoolsDown(t *testing.T) {
	s := in(regions("nyc1", "nyc3")...)
	s.CreateTimeout = 30 * time.Second
	for _, neverBoot := range []bool{false, true} {
		story(t, fmt.Sprint("they never boot: ", neverBoot), s, func(r *runner) {
			r.loses, r.neverBoot = "nyc1", neverBoot
			for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(2 * time.Second) {
				if missing := 20 - len(r.states); missing > 0 {
					r.want(missing) // it is never refused: there is another placement
				}
				r.update()
			}
			creates := map[string]int{}
			for _, c := range r.received("create") {
				creates[c.Region] += len(c.Names)
			}
			equal(r.t, "created in each region", map[string]int{"nyc1": 20, "nyc3": 20}, creates)
			r.running(20)
			r.says("a placement cools down")
			r.says("WARN", "what it accepted never ran", "region=nyc1", "cooldown=1m0s")
		})
	}
}

// A placement that loses and is the only one backs off as one that refuses does. A
// Droplet that runs ends both.
func TestGroupThatLosesBacksOff(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency, r.loses = 0, "nyc1"
		lose := func(wait string) {
			r.want(1)
			r.run(6 * time.Second)
			_, err := r.increase(1)
			if err == nil || !strings.HasSuffix(err.Error(), "next attempt in "+wait) || !strings.Contains(err.Error(), "never ran") {
				t.Errorf("after a loss: %v; want the next attempt in %s", err, wait)
			}
			time.Sleep(backoffMost)
		}
		for _, wait := range []string{"3s", "8s", "18s", "38s"} { // 2 s after it was found out
			lose(wait)
		}
		r.loses = ""
		r.want(1) // it boots while another is lost, which it says nothing of
		r.loses = "nyc1"
		r.want(1)
		r.run(6*time.Second + r.boot)
		r.running(1)
		r.refused(1)
		time.Sleep(backoffMost)
		r.loses = ""
		r.want(1)
		r.run(r.boot + 10*time.Second)
		r.running(2)
		r.loses = "nyc1"
		lose("3s") // the pauses begin anew
	})
}

// What the runner takes away, or a person keeps, or what has run, says nothing of
// where it was created; nor does what another process made. What a person deletes
// before it ran does not differ from a loss.
func TestWhatCountsAsALoss(t *testing.T) {
	powerOff := func(r *runner, name string) { r.alter(func(m *machine) { m.Status = StatusOff }, name) }
	vanish := func(r *runner, name string) { r.vanish(name) }
	for name, c := range map[string]struct {
		age      time.Duration
		takeAway func(r *runner, name string)
		cools    int
	}{
		"deleted by the runner":              {0, func(r *runner, name string) { r.decrease(name) }, 0},
		"kept":                               {0, func(r *runner, name string) { r.keep(r.only(name).ID) }, 0},
		"deleted from outside":               {0, vanish, 1},
		"deleted from outside, after it ran": {time.Minute, vanish, 0},
		"powered off before it ran":          {0, powerOff, 1},
		"powered off after it ran":           {time.Minute, powerOff, 0},
		"taken over": {0, func(r *runner, name string) {
			next := r.successor(map[string]int64{name: r.only(name).ID})
			r.vanish(name)
			next.run(time.Minute)
			next.told(name, Creating, Deleted)
			next.repeats(0, "a placement cools down")
		}, 0},
	} {
		story(t, name, in(regions("nyc1", "ams3")...), func(r *runner) {
			r.want(1)
			r.update()
			r.run(c.age)
			c.takeAway(r, r.names()[0])
			r.run(time.Minute)
			r.repeats(c.cools, "a placement cools down")
		})
	}
}
