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

// A hundred Droplets are ten requests of ten names, all at once: one round trip.
func TestIncreaseSendsBatchesAtOnce(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = time.Second
		began := time.Now()
		r.want(100)
		if took := time.Since(began); took != r.latency {
			t.Errorf("Increase(100) took %s, want one round trip of %s", took, r.latency)
		}
		creates := r.received("create")
		if len(creates) != 10 {
			t.Errorf("%d create requests, want 10", len(creates))
		}
		for _, c := range creates {
			if len(c.names) != 10 {
				t.Errorf("a create of %d names, want 10", len(c.names))
			}
		}
	})
}

// Not more than ten requests are under way at once: an eleventh batch waits.
func TestIncreaseBoundsConcurrency(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.latency = time.Second
		began := time.Now()
		r.want(101)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Increase(101) took %s, want two round trips", took)
		}
	})
}

// A create says everything that a Droplet of the group is to be.
func TestCreateRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		rec := &recorder{account: a}
		s := spec(func(s *Settings) {
			s.Tags = []string{"team-a"}
			s.VPC = map[string]string{"nyc1": "vpc-1", "ams3": "vpc-2"}
			s.Template = Template{PublicNetworking: true, IPv6: true, UserData: "#cloud-config\n"}
		})
		g := New(s, rec, &journal{})
		if err := g.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if n, err := g.Increase(ctx, 1); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		got := rec.request
		if !Owns("ci", Droplet{Name: got.Names[0], Tags: got.Tags}) {
			t.Errorf("the group would not own what it creates: %s %v", got.Names[0], got.Tags)
		}
		got.Names = nil
		want := CreateRequest{
			Region: "nyc1", Size: "s-1", Image: Image{Slug: "ubuntu-24-04-x64"}, SSHKeys: []string{"7"}, VPC: "vpc-1",
			Tags:     []string{"fleeting", "fleeting-group:ci", "fleeting-run:run00000", "team-a"},
			Template: s.Template,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("create request (-want +got):\n%s", d)
		}
	})
}

// recorder keeps the last create request.
type recorder struct {
	*account
	request CreateRequest
}

func (r *recorder) Create(ctx context.Context, q CreateRequest) (Created, error) {
	r.request = q
	return r.account.Create(ctx, q)
}

// max_instances counts everything that exists or may exist: also what is being
// destroyed, which DigitalOcean still bills.
func TestIncreaseIsClampedToMaxInstances(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxInstances = 5 }), func(r *runner) {
		names := r.up(3)
		if n, err := r.increase(9); n != 2 || err != nil {
			t.Errorf("Increase with room for two = %d, %v", n, err)
		}
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[0])
		if n, err := r.increase(1); n != 0 || err != nil {
			t.Errorf("Increase while one is being destroyed = %d, %v; want 0 and no error", n, err)
		}
		r.run(70 * time.Second) // the second DELETE destroys it
		if n, err := r.increase(9); n != 1 || err != nil {
			t.Errorf("Increase after it is gone = %d, %v", n, err)
		}
		if n := len(r.received("create")); n != 3 {
			t.Errorf("%d create requests, want 3: there was room three times", n)
		}
	})
}

// max_creating bounds what is asked for and not running yet.
func TestIncreaseIsClampedToMaxCreating(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxCreating = 3 }), func(r *runner) {
		r.script("create", fault{applied: true, err: unclear}) // perhaps being created
		if n, err := r.increase(10); n != 3 || err != nil {
			t.Errorf("Increase(10) = %d, %v; want 3", n, err)
		}
		if n, err := r.increase(10); n != 0 || err != nil {
			t.Errorf("Increase while three are created = %d, %v; want 0 and no error", n, err)
		}
		r.run(r.boot + 5*time.Second)
		if n, err := r.increase(10); n != 3 || err != nil {
			t.Errorf("Increase when they run = %d, %v; want 3", n, err)
		}
	})
}

func TestIncreaseOfNothingAsksNothing(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		for _, n := range []int{0, -1} {
			if got, err := r.Increase(ctx, n); got != 0 || err != nil {
				t.Errorf("Increase(%d) = %d, %v", n, got, err)
			}
		}
		if cs := r.received("create"); len(cs) != 0 {
			t.Errorf("create requests: %v", cs)
		}
	})
}

// Of two Increases at once the second counts what the first has minted.
func TestConcurrentIncreasesShareTheRoom(t *testing.T) {
	scenario(t, spec(func(s *Settings) {
		s.MaxInstances = 5
		s.Keys = func(context.Context, bool) ([]string, error) {
			time.Sleep(time.Second) // between counting and minting
			return []string{"7"}, nil
		}
	}), func(r *runner) {
		got := make(chan int)
		for range 2 {
			go func() {
				n, _ := r.Increase(ctx, 4)
				got <- n
			}()
		}
		if n := <-got + <-got; n != 5 {
			t.Errorf("two Increases(4) accepted %d, max_instances is 5", n)
		}
	})
}

// If some batches are refused the count comes without an error, since gRPC would
// drop it, and the refusal is in the log.
func TestPartialRefusal(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: refusal(ErrInvalid)}, fault{err: refusal(ErrThrottled)})
		if n, err := r.increase(30); n != 10 || err != nil {
			t.Errorf("Increase(30) = %d, %v; want 10 and no error", n, err)
		}
		r.says("ERROR", "Droplets were refused", "accepted=10", "refused=20", "next_in=5s", "request_id=req-42")
		if _, err := r.tryUpdate(); err != nil || len(r.in(Creating)) != 10 {
			t.Errorf("%d instances are shown, want the 10 that were accepted (%v)", len(r.in(Creating)), err)
		}
		if _, err := r.increase(20); err == nil {
			t.Error("asked again at once, it asked DigitalOcean again")
		}
	})
}

// Each attempt mints new names, whatever became of the old ones. That no name
// is sent twice is policed by the account in every test of this package.
func TestIncreaseNeverReusesAName(t *testing.T) {
	scenario(t, spec(func(s *Settings) {
		s.Placements = []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-2", "nyc1"}}
	}), func(r *runner) {
		r.script("create",
			fault{err: refusal(ErrCapacity)},     // next place
			fault{err: refusal(ErrKey)},          // same place again
			fault{err: refusal(ErrUnauthorized)}, // again, with the token that is in its file now
			fault{err: unclear},                  // accepted, perhaps
			fault{err: refusal(ErrQuota)},        // next call
		)
		r.want(3)
		r.refused(3)
		time.Sleep(time.Minute)
		r.want(3)
		sent := map[string]int{}
		for _, c := range r.received("create") {
			for _, name := range c.names {
				sent[name]++
			}
		}
		if len(sent) != 6*3 {
			t.Errorf("6 attempts of 3 sent %d names, want 18: %v", len(sent), sent)
		}
		if n := r.Count(); n != 6 {
			t.Errorf("%d Droplets may exist, want 6: refused names are free", n)
		}
	})
}

// Places are tried in the order given, sizes outside and regions inside; a place
// that refused rests for a minute, doubling to a quarter of an hour.
func TestCapacity(t *testing.T) {
	places := []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	tried := func(r *runner, since int) (got []Placement) {
		for _, c := range r.received("create")[since:] {
			got = append(got, c.place)
		}
		return got
	}
	none := fault{err: refusal(ErrCapacity)}
	s := spec(func(s *Settings) { s.Placements = places })

	t.Run("next place", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.script("create", none, none)
			r.want(1)
			if d := cmp.Diff(places[:3], tried(r, 0)); d != "" {
				t.Errorf("places tried (-want +got):\n%s", d)
			}
			r.says("no capacity", "size=s-1", "region=nyc1", "rests=1m0s")
		})
	})
	t.Run("a place rests", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.script("create", none)
			r.want(1)
			time.Sleep(59 * time.Second)
			r.want(1)
			if got := tried(r, 2); !slices.Equal(got, places[1:2]) {
				t.Errorf("while %s rests: %v", places[0], got)
			}
			time.Sleep(2 * time.Second)
			r.want(1)
			if got := tried(r, 3); !slices.Equal(got, places[:1]) {
				t.Errorf("after its rest: %v", got)
			}
		})
	})
	t.Run("part of a call", func(t *testing.T) {
		// What the first place had no room for is asked for in the second.
		scenario(t, s, func(r *runner) {
			r.script("create", none)
			r.want(20)
			if n := len(r.received("create")); n != 3 {
				t.Errorf("%d requests, want two, and one for the rest", n)
			}
		})
	})
	t.Run("all refuse, then all rest", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.breakOp("create", none)
			_, err := r.increase(1)
			if !errors.Is(err, ErrCapacity) || !strings.Contains(err.Error(), "s-1 in nyc1") || !strings.Contains(err.Error(), "s-2 in ams3") {
				t.Errorf("error %v, want one that names all places", err)
			}
			time.Sleep(10 * time.Second)
			before := len(r.received("create"))
			r.refused(1)
			if got := tried(r, before); !slices.Equal(got, places[:1]) {
				t.Errorf("while all rest %v are tried, want only the one that rests longest", got)
			}
			r.heal("create")
			time.Sleep(time.Minute)
			r.want(1)
		})
	})
	t.Run("rests double", func(t *testing.T) {
		p := placements{order: places, rests: map[Placement]rest{}}
		var got []time.Duration
		for range 6 {
			got = append(got, p.refused(places[0], time.Now()))
		}
		p.worked(places[0])
		got = append(got, p.refused(places[0], time.Now()))
		const m = time.Minute
		if d := cmp.Diff([]time.Duration{m, 2 * m, 4 * m, 8 * m, 15 * m, 15 * m, m}, got); d != "" {
			t.Errorf("rests (-want +got):\n%s", d)
		}
	})
}

// A region that does not answer clearly may have created, so its names count; but it
// does not get the next creates, until a list shows that it did, or its rest is over.
func TestUnclearPlaceRests(t *testing.T) {
	places := []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}}
	for name, f := range map[string]fault{"5xx": {err: unclear}, "hangs": {hang: true}, "5xx, applied": {err: unclear, applied: true}} {
		t.Run(name, func(t *testing.T) {
			var noted []int
			s := spec(func(s *Settings) {
				s.Placements = places
				s.NoteRests = func(rests map[Placement]time.Time) { noted = append(noted, len(rests)) }
			})
			scenario(t, s, func(r *runner) {
				ask := func() Placement {
					r.want(1)
					calls := r.received("create")
					return calls[len(calls)-1].place
				}
				r.script("create", f)
				if at := ask(); at != places[0] {
					t.Fatalf("first in %s", at)
				}
				r.says("WARN", "does not answer creates clearly", "then=the next place is tried", "size=s-1", "region=nyc1", "rests=1m0s")
				if at := ask(); at != places[1] {
					t.Errorf("then in %s", at)
				}
				r.run(20 * time.Second)
				want := places[1]
				if f.applied {
					want = places[0]
				}
				if at := ask(); at != want {
					t.Errorf("after lists in %s, want %s", at, want)
				}
				r.run(time.Minute)
				if f.applied {
					if d := cmp.Diff([]int{1, 0}, noted); d != "" {
						t.Errorf("places at rest (-want +got):\n%s", d)
					}
					return
				}
				r.script("create", f)
				if at := ask(); at != places[0] {
					t.Errorf("after its rest in %s", at)
				}
				r.says("WARN", "does not answer creates clearly", "rests=2m0s")
			})
		})
	}
	t.Run("part of a call", func(t *testing.T) {
		scenario(t, spec(func(s *Settings) { s.Placements = places }), func(r *runner) {
			r.script("create", fault{err: unclear})
			r.want(20)
			if r.log.count("it rests") != 0 {
				t.Error("it answered another create of the same call")
			}
		})
	})
	t.Run("of one place", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.script("create", fault{err: unclear})
			r.want(1)
			r.want(1)
			if n := len(r.received("create")); n != 2 || r.log.count("it rests") != 0 {
				t.Errorf("%d creates; there is no other place", n)
			}
		})
	})
}

// A refused Increase is asked again every second or two, for ever. It asks
// DigitalOcean after 5 s, 10 s, 20 s, 40 s, and then every minute.
func TestRefusedIncreaseIsThrottled(t *testing.T) {
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
		r.heal("create")
		time.Sleep(time.Minute)
		r.want(1)
		r.breakOp("create", fault{err: refusal(ErrInvalid)})
		r.refused(1)
		r.heal("create")
		time.Sleep(5 * time.Second)
		r.want(1) // success forgot the row of refusals
	})
}

// Retry-After lengthens the pause.
func TestThrottledIncreaseHonoursRetryAfter(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.script("create", fault{err: &CloudError{Class: ErrThrottled, Status: 429, RetryAfter: 90 * time.Second}})
		r.refused(1)
		time.Sleep(89 * time.Second)
		if _, err := r.increase(1); err == nil {
			t.Error("asked before the 90 s that DigitalOcean asked for")
		}
		time.Sleep(2 * time.Second)
		r.want(1)
	})
}

// A refusal for the account's limit is explained with its numbers.
func TestQuota(t *testing.T) {
	full := fault{err: refusal(ErrQuota)}
	t.Run("explained", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.want(2)
			r.usage = Usage{Limit: 10, Others: 8}
			r.script("create", full)
			_, err := r.increase(1)
			want := "create 1 Droplets: OP: 422 the account's Droplet limit is reached (request id req-42); " +
				"the account's limit is 10 Droplets: this group has 2, and there are 8 others on the account. " +
				"Ask DigitalOcean to raise the limit, or lower max_instances; next attempt in 5s"
			if fmt.Sprint(err) != want {
				t.Errorf("error\n%v\nwant\n%s", err, want)
			}
			if n := len(r.received("create")); n != 2 {
				t.Errorf("%d creates, want 2: nothing fits", n)
			}
		})
	})
	t.Run("what fits is asked for", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.usage = Usage{Limit: 10, Others: 7}
			r.script("create", full)
			if n, err := r.increase(5); n != 3 || err != nil {
				t.Errorf("Increase(5) with room for 3 = %d, %v", n, err)
			}
			r.says("ERROR", "accepted=3", "refused=2", "limit is 10 Droplets")
			if _, err := r.increase(2); err == nil {
				t.Error("asked for more at once although the account is full")
			}
		})
	})
	t.Run("what fits is refused too", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.usage = Usage{Limit: 10, Others: 7}
			r.breakOp("create", full)
			if n, err := r.increase(5); n != 0 || !errors.Is(err, ErrQuota) {
				t.Errorf("Increase = %d, %v", n, err)
			}
			if n := len(r.received("create")); n != 2 {
				t.Errorf("%d creates, want 2", n)
			}
		})
	})
	t.Run("account unreadable", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.breakOp("create", full)
			r.breakOp("usage", fault{err: refusal(ErrForbidden)})
			_, err := r.increase(5)
			if !errors.Is(err, ErrQuota) || !strings.Contains(err.Error(), "the group has 0 Droplets (the account's limit could not be read: OP: 422") {
				t.Errorf("error %v", err)
			}
		})
	})
}

// DigitalOcean may not know a key for seconds after its upload: that is waited
// out, within the call.
func TestUnknownKey(t *testing.T) {
	keys := func(asked *[]bool, err error) func(context.Context, bool) ([]string, error) {
		return func(_ context.Context, refused bool) ([]string, error) {
			*asked = append(*asked, refused)
			if refused && err != nil {
				return nil, err
			}
			return []string{fmt.Sprint(len(*asked))}, nil
		}
	}
	unknown := fault{err: refusal(ErrKey)}
	t.Run("known at last", func(t *testing.T) {
		var asked []bool
		scenario(t, spec(func(s *Settings) { s.Keys = keys(&asked, nil) }), func(r *runner) {
			r.script("create", unknown, unknown)
			began := time.Now()
			r.want(1)
			if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
				t.Errorf("it took %s, want pauses of 1 s and 2 s", took)
			}
			if d := cmp.Diff([]bool{false, true, true}, asked); d != "" {
				t.Errorf("Keys(refused) (-want +got):\n%s", d)
			}
			if cs := r.received("create"); !slices.Equal(cs[2].keys, []string{"3"}) {
				t.Errorf("created with keys %v, want those that Keys returned last", cs[2].keys)
			}
		})
	})
	t.Run("never known", func(t *testing.T) {
		var asked []bool
		scenario(t, spec(func(s *Settings) { s.Keys = keys(&asked, nil) }), func(r *runner) {
			r.breakOp("create", unknown)
			if _, err := r.increase(1); !errors.Is(err, ErrKey) {
				t.Errorf("error %v, want the refusal", err)
			}
		})
	})
	t.Run("cannot be uploaded again", func(t *testing.T) {
		var asked []bool
		scenario(t, spec(func(s *Settings) { s.Keys = keys(&asked, errors.New("no scope")) }), func(r *runner) {
			r.breakOp("create", unknown)
			if _, err := r.increase(1); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "upload it again: no scope") {
				t.Errorf("error %v", err)
			}
		})
	})
	t.Run("no key at all", func(t *testing.T) {
		s := spec(func(s *Settings) {
			s.Keys = func(context.Context, bool) ([]string, error) { return nil, errors.New("no key") }
		})
		scenario(t, s, func(r *runner) {
			if _, err := r.increase(1); err == nil || len(r.received("create")) != 0 {
				t.Errorf("error %v, %d creates", err, len(r.received("create")))
			}
		})
	})
}

// What could not be sent is not claimed to be accepted: of eleven batches ten
// hang until the call's end, and the eleventh is never sent.
func TestUnsentBatchesAreNotAccepted(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.breakOp("create", fault{hang: true})
		if n, err := r.increase(110); n != 100 || err != nil {
			t.Errorf("Increase(110) = %d, %v; want the 100 whose creates were sent", n, err)
		}
		r.heal("create")
		r.run(2 * time.Minute)
		if len(r.states) != 0 {
			t.Errorf("%d instances are still shown", len(r.states))
		}
	})
}

// A create is not begun so late that it would be cut off.
func TestNoAttemptIsBegunTooLate(t *testing.T) {
	scenario(t, spec(func(s *Settings) {
		s.Placements = []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-1", "fra1"}}
	}), func(r *runner) {
		r.latency = 5 * time.Second
		r.breakOp("create", fault{err: refusal(ErrCapacity)})
		if _, err := r.increase(1); !errors.Is(err, ErrCapacity) {
			t.Errorf("error %v", err)
		}
		if n := len(r.received("create")); n != 2 {
			t.Errorf("%d attempts of 5 s, want 2: a third would not end within 13 s", n)
		}
	})
}

func TestIncreaseAfterShutdown(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.Shutdown(ctx)
		if _, err := r.increase(1); !errors.Is(err, errClosed) || len(r.received("create")) != 0 {
			t.Errorf("error %v, %d creates", err, len(r.received("create")))
		}
	})
}
