package instancegroup

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What lists have had is dialed without a request; an address that no list has
// had yet is looked up.
func TestDroplet(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		says := func(name, want string) {
			t.Helper()
			short, cancel := context.WithTimeout(ctx, 9*time.Second)
			defer cancel()
			if _, err := r.Droplet(short, name); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		next := func() string {
			r.want(1)
			r.update()
			return r.in(Creating)[0]
		}
		says("ci-nosuch0000", "instance ci-nosuch0000 is not in group ci")
		r.script("create", fault{err: unconfirmed})
		says(next(), "its create was not confirmed, so it has no address yet")
		r.run(70 * time.Second)

		name := next()
		says(name, "is new and has no address yet")
		r.breakOp("get", fault{hang: true})
		says(name, "look up its address: OP: no answer in time")
		r.heal("get")
		time.Sleep(r.boot)
		dials := func(when string) {
			t.Helper()
			if d, err := r.Droplet(ctx, name); err != nil || d.PublicIPv4 == "" || d.ID != r.only(name).ID {
				t.Errorf("%s: %+v, %v", when, d, err)
			}
		}
		dials("when it is active")
		r.run(4 * time.Second)
		dials("when lists have it")
		r.requests("get", 3)
		r.alter(func(m *machine) { m.Status, m.PublicIPv4, m.PrivateIPv4 = StatusActive, "", "" }, name)
		r.run(4 * time.Second)
		dials("when an answer lacks its networks")

		name = next()
		r.vanish(name)
		says(name, "look up its address: OP: 422 not found")
	})
}

// TestRunningWaitsForThePublicAddress: a Droplet that is active with its private
// address alone is not shown as running before it has the public one, which the
// runner would dial, for up to half a minute.
func TestRunningWaitsForThePublicAddress(t *testing.T) {
	const public, private = "192.0.2.9", "10.0.0.9"
	for _, c := range []struct {
		what             string
		public           bool          // public_networking
		first            Droplet       // what it has first
		after, runsAfter time.Duration // until it has both; until it is running, or up to 5 s more: 2 s between lists
	}{
		{"public, 10 s after the private one", true, Droplet{PrivateIPv4: private}, 10 * time.Second, 10 * time.Second},
		{"public, never", true, Droplet{PrivateIPv4: private}, time.Hour, 30 * time.Second},
		{"private, at once", false, Droplet{PrivateIPv4: private}, time.Hour, 0},
		{"private, after a public one that nobody asked for", false, Droplet{PublicIPv4: public}, 10 * time.Second, 10 * time.Second},
	} {
		story(t, c.what, spec(func(s *Settings) { s.Template.PublicNetworking = c.public }), func(r *runner) {
			r.want(1)
			r.update()
			name := r.names()[0]
			has := func(d Droplet) {
				r.alter(func(m *machine) { m.Status, m.PublicIPv4, m.PrivateIPv4 = StatusActive, d.PublicIPv4, d.PrivateIPv4 }, name)
			}
			has(c.first)
			began := time.Now()
			for r.states[name] == Creating && time.Since(began) < 2*time.Minute {
				if r.update(); time.Since(began) >= c.after {
					has(Droplet{PublicIPv4: public, PrivateIPv4: private})
				}
				if r.states[name] == Creating {
					time.Sleep(2 * time.Second)
				}
			}
			if took := time.Since(began); took < c.runsAfter || took > c.runsAfter+5*time.Second {
				r.t.Errorf("running after %s, want %s", took, c.runsAfter)
			}
			r.told(name, Creating, Running)
			warned := r.log.count("WARN", "lacks the kind of address", name, "public_networking=true") == 1
			equal(r.t, "warned", c.after == time.Hour && c.public, warned)
			d, err := r.Droplet(ctx, name)
			if err != nil || c.after < time.Hour && (d.External() != public || d.PrivateIPv4 != private) {
				r.t.Errorf("%+v, %v", d, err)
			}
		})
	}
	equal(t, "external address", "2001:db8::1", Droplet{PublicIPv6: "2001:db8::1", PrivateIPv4: private}.External())
}

func TestHealth(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		before := len(r.calls)
		equal(t, "healthy", nil, r.Health(name))
		equal(t, "requests for it", 0, len(r.calls)-before)
		r.alter(func(m *machine) { m.Status = StatusOff }, name)
		for _, c := range []struct {
			after time.Duration
			says  string
		}{{2, "is powered off"}, {32, "is being deleted: powered off"}, {10, "is not in group ci"}} {
			r.run(c.after * time.Second)
			if err := r.Health(name); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		}
	})
}
