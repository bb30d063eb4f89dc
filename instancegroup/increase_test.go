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
			creates := r.received("create")
			if len(creates) != want.requests {
				t.Errorf("Increase(%d) sent %d requests, want %d", n, len(creates), want.requests)
			}
			for _, c := range creates {
				if len(c.names) != min(n, MaxNames) && len(c.names) != n%MaxNames {
					t.Errorf("Increase(%d) sent a create of %d names", n, len(c.names))
				}
			}
		})
	}
}

// A create says everything that a Droplet of the group is to be.
func TestCreateRequest(t *testing.T) {
	s := spec(func(s *Settings) {
		s.Tags = []string{"team-a"}
		s.VPC = map[string]string{"nyc1": "vpc-1", "ams3": "vpc-2"}
		s.Template = Template{PublicNetworking: true, IPv6: true, UserData: "#cloud-config\n"}
	})
	scenario(t, s, func(r *runner) {
		rec := &recorder{account: r.account}
		r.cloud = rec
		r.want(1)
		got := rec.request
		if d := (Droplet{Name: got.Names[0], Tags: got.Tags}); !Owns("ci", d) || RunOf("ci", d.Name) != thisRun {
			t.Errorf("the group would not own what it creates: %s %v", d.Name, d.Tags)
		}
		got.Names = nil
		want := CreateRequest{
			Region: "nyc1", Size: "s-1", Image: Image{Slug: "ubuntu-24-04-x64"}, SSHKeys: []string{"7"}, VPC: "vpc-1",
			Tags:     []string{"fleeting", "fleeting-group:ci", "team-a"},
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
// deleted, which DigitalOcean still bills.
func TestIncreaseIsClampedToMaxInstances(t *testing.T) {
	scenario(t, spec(func(s *Settings) { s.MaxInstances = 5 }), func(r *runner) {
		names := r.up(3)
		if n, err := r.increase(9); n != 2 || err != nil {
			t.Errorf("Increase with room for two = %d, %v", n, err)
		}
		r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
		r.decrease(names[0])
		if n, err := r.increase(1); n != 0 || err != nil {
			t.Errorf("Increase while one is being deleted = %d, %v; want 0 and no error", n, err)
		}
		r.run(70 * time.Second) // the second DELETE is carried out
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
		r.script("create", fault{applied: true, err: unconfirmed}) // perhaps being created
		for _, c := range []struct {
			want int
			then time.Duration
		}{{3, 0}, {0, r.boot + 5*time.Second}, {3, 0}} {
			if n, err := r.increase(10); n != c.want || err != nil {
				t.Errorf("Increase(10) = %d, %v; want %d and no error", n, err, c.want)
			}
			r.run(c.then)
		}
	})
}

// Nothing is asked of DigitalOcean where nothing is wanted, or may be asked.
func TestIncreaseAsksNothing(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		for _, n := range []int{0, -1} {
			if got, err := r.Increase(ctx, n); got != 0 || err != nil {
				t.Errorf("Increase(%d) = %d, %v", n, got, err)
			}
		}
		r.Shutdown(ctx)
		if _, err := r.increase(1); !errors.Is(err, errClosed) {
			t.Errorf("after Shutdown: %v", err)
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
		r.script("create", fault{err: refusal(ErrInvalid)}, fault{err: refusal(ErrForbidden)})
		if n, err := r.increase(30); n != 10 || err != nil {
			t.Errorf("Increase(30) = %d, %v; want 10 and no error", n, err)
		}
		r.says("ERROR", "Droplets were refused", "accepted=10", "refused=20", "next_in=5s", "request_id=req-42")
		if _, err := r.tryUpdate(); err != nil || len(r.in(Creating)) != 10 {
			t.Errorf("%d instances are shown, want the 10 that were accepted (%v)", len(r.in(Creating)), err)
		}
		r.refused(20) // without asking DigitalOcean
		if n := len(r.received("create")); n != 3 {
			t.Errorf("%d creates, want 3", n)
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
			fault{err: refusal(ErrCapacity)},     // next placement
			fault{err: refusal(ErrKey)},          // same placement again
			fault{err: refusal(ErrUnauthorized)}, // again, with the token that is in its file now
			fault{err: unconfirmed},              // accepted, perhaps
			fault{err: refusal(ErrForbidden)},    // next call
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

// A refused token is tried once more, since the Cloud reads it again; then the
// runner is told.
func TestTokenRotated(t *testing.T) {
	for refusals, want := range map[int]int{1: 1, 2: 0} {
		scenario(t, spec(nil), func(r *runner) {
			r.script("create", slices.Repeat([]fault{{err: refusal(ErrUnauthorized)}}, refusals)...)
			if n, err := r.increase(1); n != want || errors.Is(err, ErrUnauthorized) == (want == 1) {
				t.Errorf("refused %d times: Increase = %d, %v", refusals, n, err)
			}
			if n := len(r.received("create")); n != 2 {
				t.Errorf("refused %d times: %d creates, want 2", refusals, n)
			}
		})
	}
}

// Creates that the token cannot afford are no refusal: the group does not back
// off, the runner hears of no error, and the log of it once a minute.
func TestCreatesThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		spent := fault{err: &CloudError{Class: ErrRateLimited, Op: "OP", Message: "not sent", RetryAfter: 20 * time.Second}}
		r.script("create", spent, spent)
		if n, err := r.increase(30); n != 10 || err != nil {
			t.Errorf("Increase(30) = %d, %v; want the 10 that could be afforded", n, err)
		}
		r.want(20) // at once
		r.run(time.Minute)
		if n := r.billed(); n != 30 || r.log.count("refused") != 0 {
			t.Errorf("%d Droplets, want 30", n)
		}
		r.says("WARN", "the token's requests are spent", "droplets=20", "next_in=20s")

		r.latency = 0
		r.breakOp("create", spent)
		for range 119 {
			if n, err := r.increase(1); n != 0 || err != nil {
				t.Fatalf("Increase = %d, %v; want 0 and no error", n, err)
			}
			time.Sleep(time.Second)
		}
		if n := r.log.count("WARN", "the token's requests are spent"); n != 1+2 {
			t.Errorf("logged %d times, want once a minute", n)
		}
		r.says("the token's requests are spent", "times=60")
	})
}

// limited is an account with room for so many Droplets. One create is carried out
// or refused as a whole.
type limited struct {
	*account
	room int
}

func (l *limited) Create(ctx context.Context, r CreateRequest) (Created, error) {
	l.mu.Lock()
	full := len(r.Names) > l.room
	if full {
		l.scripts["create"] = append(l.scripts["create"], fault{err: refusal(ErrQuota)})
	} else {
		l.room -= len(r.Names)
	}
	l.mu.Unlock()
	return l.account.Create(ctx, r)
}

// A create is refused as a whole where the account's limit has room for less. What
// the sums explain is asked for at once; what they do not is halved, down to one.
func TestQuota(t *testing.T) {
	unreadable := Usage{Limit: -1}
	for _, c := range []struct {
		name       string
		room, want int
		usage      Usage
		accepted   []int // by one Increase after the other, until all backs off
		creates    []int // by their size
	}{
		{"the sums explain it", 3, 5, Usage{Limit: 10, Others: 7}, []int{3, 0}, []int{5, 3, 2}},
		{"there is no room", 0, 5, Usage{Limit: 10, Others: 10}, []int{0}, []int{5}},
		{"there is less room than the sums say", 1, 5, Usage{Limit: 10, Others: 7}, []int{1, 0}, []int{5, 3, 1, 4, 2, 1}},
		{"there is room for nothing, and the sums say otherwise", 0, 5, Usage{Limit: 10, Others: 7}, []int{0}, []int{5, 3, 1}},
		{"the sums do not explain it", 3, 10, Usage{Limit: 1000}, []int{2, 1, 0}, []int{10, 5, 2, 8, 4, 2, 1, 7, 3, 1}},
		{"the account cannot be read", 3, 10, unreadable, []int{2, 1, 0}, []int{10, 5, 2, 8, 4, 2, 1, 7, 3, 1}},
		{"the limit is unknown", 3, 10, Usage{}, []int{2, 1, 0}, []int{10, 5, 2, 8, 4, 2, 1, 7, 3, 1}},
		{"some of several creates fit", 25, 30, Usage{}, []int{25, 0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				r.cloud = &limited{account: r.account, room: c.room}
				r.usage = c.usage
				if c.usage == unreadable {
					r.breakOp("usage", fault{err: refusal(ErrForbidden)})
				}
				wanted := c.want
				for _, want := range c.accepted {
					n, err := r.increase(wanted)
					if n != want || errors.Is(err, ErrQuota) != (want == 0) {
						t.Errorf("Increase(%d) = %d, %v; want %d", wanted, n, err, want)
					}
					wanted -= n
					before := len(r.received("create"))
					r.refused(wanted) // at once: it backs off
					if n := len(r.received("create")); n != before {
						t.Errorf("%d creates while it backs off", n-before)
					}
					time.Sleep(time.Minute)
				}
				var sizes []int
				for _, create := range r.received("create") {
					sizes = append(sizes, len(create.names))
				}
				if d := cmp.Diff(c.creates, sizes); c.creates != nil && d != "" {
					t.Errorf("names in each create (-want +got):\n%s", d)
				}
				if n := r.billed(); n != c.room {
					t.Errorf("%d Droplets, want %d", n, c.room)
				}
			})
		})
	}
}

// A refusal for the account's limit is explained with its numbers.
func TestQuotaIsExplained(t *testing.T) {
	const refused = "create 1 Droplets: OP: 422 the account's Droplet limit is reached (request id req-42); "
	const advice = " Ask DigitalOcean to raise the limit, or lower max_instances; next attempt in 5s"
	for want, f := range map[string]*fault{
		"the account's limit is 10 Droplets: this group has 2, and there are 8 others on the account.": nil,
		"this group has 2 Droplets.": {err: refusal(ErrForbidden)},
	} {
		scenario(t, spec(nil), func(r *runner) {
			r.want(2)
			r.usage = Usage{Limit: 10, Others: 8}
			if f != nil {
				r.breakOp("usage", *f)
			}
			r.breakOp("create", fault{err: refusal(ErrQuota)})
			if _, err := r.increase(1); fmt.Sprint(err) != refused+want+advice {
				t.Errorf("error\n%v\nwant\n%s", err, refused+want+advice)
			}
		})
	}
}

// DigitalOcean may not know a key for seconds after its upload: that is waited
// out, within the call.
func TestUnknownKey(t *testing.T) {
	const always = 99
	noScope := errors.New("no scope")
	for _, c := range []struct {
		name      string
		refusals  int
		noKey     bool  // there is none, to begin with
		again     error // of uploading it again
		accepted  int
		keys      []string // of each create
		took      time.Duration
		err       error
		errorSays string
	}{
		{name: "known at last", refusals: 2, accepted: 1, keys: []string{"1", "2", "3"}, took: 3 * time.Second},
		{name: "never known", refusals: always, keys: []string{"1", "2", "3", "4"}, took: 10 * time.Second, err: ErrKey},
		{name: "cannot be uploaded again", refusals: always, again: noScope, keys: []string{"1"}, took: time.Second, err: ErrKey, errorSays: "upload it again: no scope"},
		{name: "no key at all", noKey: true, err: noScope, errorSays: "SSH key for new Droplets: no scope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			s := spec(func(s *Settings) {
				s.Keys = func(_ context.Context, refused bool) ([]string, error) {
					asked++
					switch {
					case refused != (asked > 1):
						t.Errorf("asked the %d. time: refused = %t", asked, refused)
					case refused && c.again != nil:
						return nil, c.again
					case c.noKey:
						return nil, noScope
					}
					return []string{fmt.Sprint(asked)}, nil
				}
			})
			scenario(t, s, func(r *runner) {
				r.latency = 0
				r.script("create", slices.Repeat([]fault{{err: refusal(ErrKey)}}, c.refusals)...)
				began := time.Now()
				n, err := r.increase(1)
				if n != c.accepted || !errors.Is(err, c.err) || !strings.Contains(fmt.Sprint(err), c.errorSays) {
					t.Errorf("Increase = %d, %v", n, err)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
				var keys []string
				for _, create := range r.received("create") {
					keys = append(keys, create.keys...)
				}
				if d := cmp.Diff(c.keys, keys); d != "" {
					t.Errorf("keys of the creates (-want +got):\n%s", d)
				}
			})
		})
	}
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

// Nothing is created after Shutdown has begun, or when the keys took the time for
// it: the runner is told so.
func TestCreateComesTooLate(t *testing.T) {
	for _, shutdown := range []bool{true, false} {
		scenario(t, spec(func(s *Settings) {
			s.Keys = func(context.Context, bool) ([]string, error) {
				time.Sleep(callBound - enoughTime - time.Second)
				if !shutdown {
					time.Sleep(time.Second)
				}
				return []string{"7"}, nil
			}
		}), func(r *runner) {
			done := make(chan error)
			go func() {
				_, err := r.Increase(ctx, 1)
				done <- err
			}()
			time.Sleep(time.Second)
			if shutdown {
				r.Shutdown(ctx) // it does not wait for so long
			}
			if err := <-done; err == nil || !strings.Contains(err.Error(), "no time was left") || len(r.received("create")) != 0 {
				t.Errorf("shut down = %t: error %v, %d creates", shutdown, err, len(r.received("create")))
			}
		})
	}
}

// odd is an account whose answers to creates name one id twice, and one not at all.
type odd struct{ *account }

func (o odd) Create(ctx context.Context, r CreateRequest) (Created, error) {
	c, err := o.account.Create(ctx, r)
	if len(c.Droplets) == 3 {
		c.Droplets[0].ID, c.Droplets[2].ID = 0, c.Droplets[1].ID
	}
	return c, err
}

// An answer that cannot be right says nothing of the names that it is wrong about:
// lists settle them.
func TestOddAnswer(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.cloud = odd{r.account}
		r.up(3)
		for _, name := range r.names() {
			if i := r.instances.byName[name]; i.id != r.only(name).ID {
				t.Errorf("%s is Droplet %d for the group, and %d on the account", name, i.id, r.only(name).ID)
			}
			r.told(name, Creating, Running)
		}
	})
}

// When requests are scarce creates wait for five seconds to become ten.
func TestScarceCreatesGather(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.account.limit, r.remaining = 5000, 2000
		time.Sleep(2 * time.Second)
		r.run(4 * time.Second)
		for _, c := range []struct {
			ask, want int
			then      time.Duration
		}{
			{3, 0, 4 * time.Second},
			{12, 10, 0},             // ten are a whole request; two begin to wait
			{2, 0, 5 * time.Second}, // the runner asks again for what it did not get
			{2, 2, 0},
		} {
			if n, err := r.increase(c.ask); n != c.want || err != nil {
				t.Errorf("Increase(%d) = %d, %v; want %d", c.ask, n, err, c.want)
			}
			time.Sleep(c.then)
		}
	})
}

// A process that starts seconds after the one before it was killed finds by their
// ids what that one made last, though lists do not show it yet.
func TestIncreaseAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.createLag = 20 * time.Second
		var saved map[string]int64
		first := newRunner(t, spec(func(s *Settings) {
			s.MaxInstances, s.Save = 10, func(ids map[string]int64) { saved = ids }
		}), a)
		first.start()
		first.want(8)
		if len(saved) != 8 {
			t.Fatalf("remembered %v when Increase returned, want 8", saved)
		}

		second := newRunner(t, spec(func(s *Settings) { s.Run, s.MaxInstances, s.DeadRuns = "run1", 10, []string{thisRun} }), a)
		second.start(saved) // the first is never heard of again
		for _, want := range []int{2, 0} {
			if n, err := second.increase(10); n != want || err != nil {
				t.Errorf("Increase(10) = %d, %v; want %d", n, err, want)
			}
		}
		second.run(40 * time.Second)
		if n := a.billed(); n != 10 || len(second.in(Running)) != 10 {
			t.Errorf("%d Droplets are billed, %d shown as running; want 10", n, len(second.in(Running)))
		}
	})
}

// Nothing that is remembered takes room for longer than the Droplets exist: a
// manager that is restarted again and again creates at once each time.
func TestRestartsBlockNothing(t *testing.T) {
	for _, c := range []struct {
		name           string
		orderly, clean bool // Shutdown is called; its Droplets are deleted before the next start
		most, restarts int
	}{
		{"stopped, and all deleted", true, true, 4, 20},
		{"killed, and all deleted", false, true, 4, 20},
		{"stopped", true, false, 40, 20},
		{"killed", false, false, 40, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.createLag = 10 * time.Second
				saved := map[string]int64{}
				var dead []string
				for n := range c.restarts {
					r := newRunner(t, spec(func(s *Settings) {
						s.Run, s.DeadRuns, s.MaxInstances = fmt.Sprintf("r%03d", n), slices.Clone(dead), c.most
						s.Save = func(ids map[string]int64) { saved = ids }
					}), a)
					r.start(saved)
					r.want(2)
					r.run(6 * time.Second)
					if c.orderly {
						r.Shutdown(ctx)
					}
					if c.clean {
						for _, m := range a.machine {
							if m.gone.IsZero() {
								a.change(m.ID, a.destroyed)
							}
						}
					}
					dead = append(dead, r.Run)
				}
				last := newRunner(t, spec(func(s *Settings) { s.Run, s.DeadRuns, s.MaxInstances = "last", dead, c.most }), a)
				last.start(saved)
				last.run(time.Minute)
				if n, billed := last.Count(), a.billed(); n != billed || c.clean != (billed == 0) {
					t.Errorf("the last one counts %d Droplets, %d are billed", n, billed)
				}
			})
		})
	}
}
