package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A hundred Droplets are ten requests of ten names, all at once: one round trip.
// Not more than ten are under way at once: an eleventh waits.
func TestIncreaseSendsBatchesAtOnce(t *testing.T) {
	for n, want := range map[int]struct{ requests, roundTrips int }{1: {1, 1}, 10: {1, 1}, 11: {2, 1}, 100: {10, 1}, 101: {11, 2}} {
		scenario(t, spec(nil), func(r *runner) {
			r.latency = time.Second
			began := time.Now()
			r.want(n)
			if took := time.Since(began); took != time.Duration(want.roundTrips)*r.latency {
				t.Errorf("Increase(%d) took %s, want %d round trips of %s", n, took, want.roundTrips, r.latency)
			}
			r.requests("create", want.requests)
		})
	}
}

// A create says everything that a Droplet of the group is to be.
func TestCreateRequest(t *testing.T) {
	s := spec(func(s *Settings) {
		s.Tags = []string{"team-a"}
		s.VPC = map[string]string{"nyc1": "vpc-1", "ams3": "vpc-2"}
		s.Subnet = map[string]string{"nyc1": "subnet-1"}
		s.Template = Template{PublicNetworking: true, IPv6: true, UserData: "#cloud-config\n"}
	})
	scenario(t, s, func(r *runner) {
		r.want(1)
		got := r.received("create")[0].CreateRequest
		if d := (Droplet{Name: got.Names[0], Tags: got.Tags}); !Owns("ci", d) || RunOf("ci", d.Name) != thisRun {
			t.Errorf("the group would not own what it creates: %s %v", d.Name, d.Tags)
		}
		got.Names = nil
		equal(t, "create request", CreateRequest{
			Region: "nyc1", Size: "s-1", Image: Image{Slug: "ubuntu-24-04-x64"}, SSHKeys: []string{"7"}, VPC: "vpc-1", Subnet: "subnet-1",
			Tags:     []string{"fleeting", "fleeting-group:ci", "team-a"},
			Template: s.Template,
		}, got)
	})
}

// max_instances counts everything that exists or may exist: also what is being
// deleted, which DigitalOcean still bills, and what another Increase has minted.
// Nothing is asked of DigitalOcean where nothing is wanted, or may be asked.
func TestIncreaseIsClampedToMaxInstances(t *testing.T) {
	s := spec(func(s *Settings) {
		s.MaxInstances = 5
		s.Keys = func(context.Context, bool) ([]string, error) {
			time.Sleep(time.Second) // between counting and minting
			return []string{"7"}, nil
		}
	})
	scenario(t, s, func(r *runner) {
		name := r.up(3)[0]
		r.wantOf(0, 0)
		r.wantOf(9, 2)
		r.deaf(1, name)
		r.decrease(name)
		r.wantOf(1, 0)
		r.run(70 * time.Second) // the second DELETE is carried out
		r.wantOf(9, 1)
		r.requests("create", 3) // there was room three times
	})
	scenario(t, s, func(r *runner) {
		both := concurrently([]int{4, 4}, func(n int) int {
			accepted, _ := r.Increase(ctx, n)
			return accepted
		})
		equal(t, "accepted by two Increases(4) at once", 5, both[0]+both[1])
	})
}

// max_creating bounds what is asked for and not running yet.
func TestIncreaseIsClampedToMaxCreating(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxCreating = 3 }), func(r *runner) {
		r.script("create", fault{applied: true, err: unconfirmed}) // perhaps being created
		r.wantOf(10, 3)
		r.wantOf(10, 0)
		r.run(r.boot + 5*time.Second)
		r.wantOf(10, 3)
	})
}

// If some batches are refused the count comes without an error, since gRPC would
// drop it, and the refusal is in the log.
func TestPartialRefusal(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: refusal(ErrRefused)}, fault{err: refusal(ErrForbidden)})
		r.wantOf(30, 10)
		r.says("ERROR", "Droplets were refused", "accepted=10", "refused=20", "next_in=5s", "request_id=req-42")
		equal(t, "instances shown", 10, len(r.update()))
		r.refused(20) // without asking DigitalOcean
		r.requests("create", 3)
	})
}

// Each attempt mints new names, whatever became of the old ones. That no name
// is sent twice is policed by the account in every test of this package.
func TestIncreaseNeverReusesAName(t *testing.T) {
	scenario(t, in(Placement{"s-1", "nyc1"}, Placement{"s-1", "ams3"}, Placement{"s-2", "nyc1"}), func(r *runner) {
		r.script("create",
			fault{err: refusal(ErrRefused)},      // next placement
			fault{err: refusal(ErrKey)},          // same placement again
			fault{err: refusal(ErrUnauthorized)}, // again, with the token that is in its file now
			fault{err: unconfirmed},              // accepted, perhaps
			fault{err: refusal(ErrForbidden)},    // next call
		)
		r.want(3)
		r.refused(3)
		time.Sleep(time.Minute)
		r.want(3)
		sent := map[string]bool{}
		for _, c := range r.received("create") {
			for _, name := range c.Names {
				sent[name] = true
			}
		}
		equal(t, "names sent in 6 attempts of 3", 18, len(sent))
		r.counts(6) // refused names are free
	})
}

// A refused token is tried once more, since the Cloud reads it again; then the
// runner is told.
func TestTokenRotated(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", slices.Repeat([]fault{{err: refusal(ErrUnauthorized)}}, 3)...)
		if _, err := r.increase(1); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("refused twice: %v", err)
		}
		r.requests("create", 2)
		time.Sleep(time.Minute)
		r.want(1)
		r.requests("create", 4)
	})
}

// Creates that the token cannot afford are no refusal: the group does not back
// off, the runner hears of no error, and the log of it once a minute.
func TestCreatesThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = 0
		spent := fault{err: later(ErrRateLimited, 20*time.Second)}
		r.script("create", spent, spent)
		r.wantOf(30, 10)
		r.says("WARN", "the token's rate limit is reached", "droplets=20", "next_in=20s")
		r.want(20) // at once
		r.breakOp("create", spent)
		for range 119 {
			r.wantOf(1, 0)
			time.Sleep(time.Second)
		}
		r.repeats(2, "WARN", "the token's rate limit is reached")
		r.says("the token's rate limit is reached", "times=61")
		r.repeats(0, "refused")
	})
}

// A create is refused as a whole where the account's limit has room for less. What
// the sums explain is asked for at once; what they do not is halved, down to one.
func TestQuota(t *testing.T) {
	for _, c := range []struct {
		name       string
		room, want int
		usage      *Usage // nil = the account cannot be read
		accepted   []int  // by one Increase after the other, until all backs off
		creates    []int  // by their size
	}{
		{"the sums explain it", 3, 5, &Usage{Limit: 10, Others: 7}, []int{3, 0}, []int{5, 3, 2}},
		{"there is no room", 0, 5, &Usage{Limit: 10, Others: 10}, []int{0}, []int{5}},
		{"there is less room than the sums say", 1, 5, &Usage{Limit: 10, Others: 7}, []int{1, 0}, []int{5, 3, 1, 4, 2, 1}},
		{"there is room for nothing, and the sums say otherwise", 0, 5, &Usage{Limit: 10, Others: 7}, []int{0}, []int{5, 3, 1}},
		{"the sums do not explain it", 3, 10, &Usage{Limit: 1000}, []int{2, 1, 0}, []int{10, 5, 2, 8, 4, 2, 1, 7, 3, 1}},
		{"the account cannot be read", 3, 10, nil, []int{2, 1, 0}, []int{10, 5, 2, 8, 4, 2, 1, 7, 3, 1}},
		{"the limit is unknown, and some of several creates fit", 25, 30, &Usage{}, []int{25, 0}, nil},
		{"one of two creates fits", 10, 20, &Usage{}, []int{10, 0}, []int{10, 10, 5, 2, 1, 10, 5, 2, 1}},
	} {
		story(t, c.name, spec(nil), func(r *runner) {
			r.room = new(c.room)
			u := Usage{}
			if c.usage != nil {
				u = *c.usage
				r.usage = u
			} else {
				r.breakOp("usage", fault{err: refusal(ErrForbidden)})
			}
			wanted := c.want
			for _, want := range c.accepted {
				n, err := r.increase(wanted)
				explained := u.Limit == 0 || strings.Contains(fmt.Sprint(err), fmt.Sprintf(
					"the account's Droplet limit is %d: this group has %d, and the account has %d others", u.Limit, r.Count(), u.Others))
				if n != want || want == 0 && (!errors.Is(err, ErrQuota) || !explained) {
					r.t.Errorf("Increase(%d) = %d, %v; want %d", wanted, n, err, want)
				}
				wanted -= n
				before := r.asked("create")
				r.refused(wanted) // at once: it backs off
				r.requests("create", before)
				time.Sleep(time.Minute)
			}
			var sizes []int
			for _, create := range r.received("create") {
				sizes = append(sizes, len(create.Names))
			}
			if c.creates != nil {
				equal(r.t, "names in each create", c.creates, sizes)
			}
			r.living(c.room)
		})
	}
}

// DigitalOcean may not know a key for seconds after its upload: that is waited
// out, within the call.
func TestUnknownKey(t *testing.T) {
	noScope := errors.New("no scope")
	for _, c := range []struct {
		name     string
		refusals int
		fails    int // the call of Keys that fails
		keys     int // that creates were tried with
		took     time.Duration
		err      error
		says     string
	}{
		{"known at last", 2, 0, 3, 3 * time.Second, nil, ""},
		{"never known", 99, 0, 4, 6 * time.Second, ErrKey, ""},
		{"cannot be uploaded again", 99, 2, 1, time.Second, ErrKey, "upload it again: no scope"},
		{"no key at all", 0, 1, 0, 0, noScope, "SSH key for new Droplets: no scope"},
	} {
		asked := 0
		s := spec(func(s *Settings) {
			s.Keys = func(_ context.Context, refused bool) ([]string, error) {
				asked++
				equal(t, "refused", asked > 1, refused)
				if asked == c.fails {
					return nil, noScope
				}
				return []string{fmt.Sprint(asked)}, nil
			}
		})
		story(t, c.name, s, func(r *runner) {
			r.latency = 0
			r.script("create", slices.Repeat([]fault{{err: refusal(ErrKey)}}, c.refusals)...)
			began := time.Now()
			n, err := r.increase(1)
			if (n == 1) != (c.err == nil) || !errors.Is(err, c.err) || !strings.Contains(fmt.Sprint(err), c.says) {
				r.t.Errorf("Increase = %d, %v", n, err)
			}
			equal(r.t, "it took", c.took, time.Since(began))
			r.requests("create", c.keys)
			for i, create := range r.received("create") {
				equal(r.t, "keys of a create", []string{fmt.Sprint(i + 1)}, create.SSHKeys)
			}
		})
	}
}

// After a refusal one request shows whether it is over, not one for every ten.
func TestOneRequestAfterRefusals(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.breakOp("create", fault{err: refusal(ErrRefused)})
		r.refused(100)
		r.requests("create", 10)
		time.Sleep(5 * time.Second)
		r.refused(100)
		r.requests("create", 11)
		r.heal("create")
		time.Sleep(10 * time.Second)
		r.wantOf(100, 10)
		r.run(30 * time.Second) // the first are active
		r.want(90)
		r.requests("create", 21)
	})
}

// What could not be sent is not claimed to be accepted: of eleven batches ten
// hang until the call's end, and the eleventh is never sent.
func TestUnsentBatchesAreNotAccepted(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.breakOp("create", fault{hang: true})
		r.wantOf(110, 100)
	})
}

// A create is not begun so late that it would be cut off.
func TestNoAttemptIsBegunTooLate(t *testing.T) {
	scenario(t, in(regions("nyc1", "ams3", "fra1")...), func(r *runner) {
		r.latency = 5 * time.Second
		r.breakOp("create", fault{err: refusal(ErrRefused)})
		r.refused(1)
		r.requests("create", 2) // a third would not end within 13 s
	})
}

// An answer that cannot be right says nothing of the names that it is wrong about,
// or leaves out: lists settle them.
func TestOddAnswer(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.creates = func(ctx context.Context, q CreateRequest, create creator) (Created, error) {
			c, err := create(ctx, q)
			ds := c.Droplets
			ds[0].ID, ds[2].ID, c.Droplets = 0, ds[1].ID, ds[:3]
			return c, err
		}
		for _, name := range r.up(4) {
			if d, err := r.Droplet(ctx, name); err != nil || d.ID != r.only(name).ID {
				t.Errorf("%s is Droplet %d for the group, and %d on the account (%v)", name, d.ID, r.only(name).ID, err)
			}
		}
		r.allTold(r.names(), Creating, Running)
	})
}

// Nothing that is remembered takes room for longer than the Droplets exist: a
// manager that is restarted again and again, and whose lists lag, creates at once
// each time, and knows what was made last.
func TestRestartsBlockNothing(t *testing.T) {
	for _, killed := range []bool{false, true} { // or stopped, and all deleted before the next start
		saved := map[string]int64{}
		s := spec(func(s *Settings) { s.MaxInstances, s.Save = 4, func(ids map[string]int64) { saved = ids } })
		left := 0
		if killed {
			s.MaxInstances, left = 40, 40
		}
		story(t, fmt.Sprint("killed: ", killed), s, func(r *runner) {
			r.createLag = 10 * time.Second
			for range 20 {
				r.want(2)
				r.run(6 * time.Second)
				if !killed {
					r.Shutdown(ctx)
					r.vanish(slices.Sorted(maps.Keys(r.states))...)
				}
				r = r.successor(saved)
			}
			if killed {
				r.wantOf(1, 0)
			}
			r.run(time.Minute)
			r.counts(left)
			r.living(left)
		})
	}
}
