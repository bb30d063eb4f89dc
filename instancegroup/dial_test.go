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
		says("ci-nosuch0000", "instance ci-nosuch0000 is not in group ci")
		r.script("create", fault{err: unconfirmed})
		r.want(1)
		r.update()
		says(r.names()[0], "its create was not confirmed, so it has no address yet")
		r.run(70 * time.Second)

		r.want(1)
		r.update()
		name := r.in(Creating)[0]
		says(name, "is new and has no address yet")
		r.breakOp("get", fault{hang: true})
		says(name, "look up its address: OP: no answer in time")
		r.heal("get")
		time.Sleep(r.boot)
		for range 2 {
			if d, err := r.Droplet(ctx, name); err != nil || d.PublicIPv4 == "" || d.ID != r.only(name).ID {
				t.Errorf("when it is active: %+v, %v", d, err)
			}
			r.requests("get", 3)
			r.run(4 * time.Second) // lists have it
		}
		r.alter(func(m *machine) { m.Status, m.PublicIPv4, m.PrivateIPv4 = StatusActive, "", "" }, name)
		r.run(4 * time.Second)
		if d, err := r.Droplet(ctx, name); err != nil || d.PublicIPv4 == "" {
			t.Errorf("when an answer lacks its networks: %+v, %v", d, err)
		}

		r.want(1)
		r.update()
		name = r.in(Creating)[0]
		r.vanish(name)
		says(name, "look up its address: OP: 422 not found")
	})
}

// TestRunningWaitsForThePublicAddress: a Droplet that is active with its private
// address alone is not shown as running before it has the public one, which the
// runner would dial, for up to half a minute.
func TestRunningWaitsForThePublicAddress(t *testing.T) {
	for _, c := range []struct {
		what    string
		public  bool          // public_networking
		with    Droplet       // what it has first
		after   time.Duration // until it has all
		running time.Duration // from then on it is; from a list on that is 2 s later at most
	}{
		{"public, 10 s after the private one", true, Droplet{PrivateIPv4: "10.0.0.9"}, 10 * time.Second, 10 * time.Second},
		{"public, never", true, Droplet{PrivateIPv4: "10.0.0.9"}, time.Hour, 30 * time.Second},
		{"private, at once", false, Droplet{PrivateIPv4: "10.0.0.9"}, time.Hour, 0},
		{"private, after a public one that nobody asked for", false, Droplet{PublicIPv4: "192.0.2.9"}, 10 * time.Second, 10 * time.Second},
	} {
		s := spec(func(s *Settings) { s.Template.PublicNetworking = c.public })
		story(t, c.what, s, func(r *runner) {
			r.want(1)
			r.update()
			name := r.names()[0]
			began := time.Now()
			r.alter(func(m *machine) {
				m.Status = StatusActive
				m.PublicIPv4, m.PublicIPv6, m.PrivateIPv4 = c.with.PublicIPv4, c.with.PublicIPv6, c.with.PrivateIPv4
			}, name)
			for r.states[name] == Creating && time.Since(began) < 2*time.Minute {
				r.update()
				if time.Since(began) >= c.after {
					r.alter(func(m *machine) { m.PublicIPv4, m.PrivateIPv4 = "192.0.2.9", "10.0.0.9" }, name)
				}
				if r.states[name] == Creating {
					time.Sleep(2 * time.Second)
				}
			}
			if took := time.Since(began); took < c.running || took > c.running+5*time.Second {
				r.t.Errorf("running after %s, want %s", took, c.running)
			}
			r.told(name, Creating, Running)
			warned := r.log.count("WARN", "lacks the kind of address", name, "public_networking=true") == 1
			equal(r.t, "warned", c.after == time.Hour && c.public, warned)
			d, err := r.Droplet(ctx, name)
			if err != nil || c.after < time.Hour && (d.External() != "192.0.2.9" || d.PrivateIPv4 != "10.0.0.9") {
				r.t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

func TestExternal(t *testing.T) {
	for want, d := range map[string]Droplet{
		"192.0.2.1":   {PublicIPv4: "192.0.2.1", PublicIPv6: "2001:db8::1"},
		"2001:db8::1": {PublicIPv6: "2001:db8::1", PrivateIPv4: "10.0.0.1"},
		"":            {PrivateIPv4: "10.0.0.1"},
	} {
		equal(t, "external address", want, d.External())
	}
}

func TestHealth(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		before := len(r.calls)
		says := func(want string) {
			t.Helper()
			if err := r.Health(name); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		says("")
		if len(r.calls) != before {
			t.Error("Health asked DigitalOcean")
		}
		r.change(r.only(name).ID, func(m *machine) { m.Status = StatusOff })
		r.run(2 * time.Second)
		says("is powered off")
		r.run(32 * time.Second)
		says("is being deleted: powered off")
		r.run(10 * time.Second)
		says("is not in group ci")
	})
}
