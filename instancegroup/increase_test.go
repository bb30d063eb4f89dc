package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// A hundred Droplets are ten requests of ten names, all at once: one round trip.
// Not more than ten are under way at once: an eleventh waits.
func TestIncreaseSendsBatchesAtOnce(t *testing.T) {
	play(t, spec(nil), `
		= 1   | n=1,   creates=1,  takes=1s
		= 10  | n=10,  creates=1,  takes=1s
		= 11  | n=11,  creates=2,  takes=1s
		= 100 | n=100, creates=10, takes=1s
		= 101 | n=101, creates=11, takes=2s
			set latency 1s; mark; want $n; took $takes $takes; sent create $creates`)
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
		r.do("want 1")
		got := r.since("create")[0].CreateRequest
		equal(t, "its name's run", thisRun, RunOf("ci", got.Names[0]))
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
	play(t, spec(func(s *Settings) {
		s.MaxInstances = 5
		s.Keys = func(context.Context, bool) ([]string, error) {
			time.Sleep(time.Second) // between counting and minting
			return []string{"7"}, nil
		}
	}), `
		= one after the other
			up 3; want 0; want 2 of 9; deaf 1; decrease 1; want 0 of 1; run 70s; want 1 of 9; sent create 3
		= two at once
			go want 4; want 1 of 4; join`)
}

// max_creating bounds what is asked for and not running yet.
func TestIncreaseIsClampedToMaxCreating(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxCreating = 3 }), `
		want 1; next create done-lost; want 2 of 10; want 0 of 10; run 25s; want 3 of 10`)
}

// If some batches are refused the count comes without an error, since gRPC would
// drop it, and the refusal is in the log.
func TestPartialRefusal(t *testing.T) {
	play(t, spec(nil), `
		next create refused forbidden; want 10 of 30; update; shown 10
		says ERROR & Droplets were refused & accepted=10 & refused=20 & next_in=5s & request_id=req-42
		refused 20; sent create 3 # without asking DigitalOcean`)
}

// Each attempt mints new names, whatever became of the old ones. That no name
// is sent twice is policed by the account in every test of this package.
func TestIncreaseNeverReusesAName(t *testing.T) {
	play(t, in(Placement{"s-1", "nyc1"}, Placement{"s-1", "ams3"}, Placement{"s-2", "nyc1"}), `
		# in the next placement, with other keys, with the token that is in its file now, accepted perhaps, refused
		next create refused key unauthorized lost forbidden
		want 3; refused 3; sleep 1m; want 3; sent create 6; minted 18; counts 6 # refused names are free`)
}

// A refused token is tried once more, since the Cloud reads it again; then the
// runner is told.
func TestTokenRotated(t *testing.T) {
	play(t, spec(nil), `next create 3*unauthorized; refused 1 the token was refused; sent create 2; sleep 1m; want 1; sent create 4`)
}

// Creates that the token cannot afford are no refusal: the group does not back
// off, the runner hears of no error, and the log of it once a minute.
func TestCreatesThatCannotBeAfforded(t *testing.T) {
	play(t, spec(nil), `
		set latency 0s; next create 2*limited/20s; want 10 of 30; want 20 # at once
		says WARN & the token's rate limit is reached & droplets=20 & next_in=20s
		always create limited/20s; repeat 1s 119s want 0 of 1; says 2x WARN & the token's rate limit is reached
		says the token's rate limit is reached & times=61; says 0x refused`)
}

// A create is refused as a whole where the account's limit has room for less. What the
// sums explain is asked for at once; what they do not is halved, down to one. When
// nothing fits the group backs off.
func TestQuota(t *testing.T) {
	play(t, spec(nil), `
		= the sums explain it                  | room=3, others=7,  first=want 3 of 5; refused 2; sleep 1m, rest=2, ours=3, sizes=5 3 2
		= there is no room                     | room=0, others=10, first=, rest=5, ours=0, sizes=5
		= there is less than the sums say      | room=1, others=7,  first=want 1 of 5; refused 4; sleep 1m, rest=4, ours=1, sizes=5 3 1 4 2 1
		= there is none, whatever the sums say | room=0, others=7,  first=, rest=5, ours=0, sizes=5 3 1
			set room $room; set usage 10 $others; $first
			refused $rest the account's Droplet limit is 10: this group has $ours, and the account has $others others
			refused $rest the account's Droplet limit is reached; sizes $sizes; living $room
		= the sums do not explain it | usage=set usage 1000 0
		= the account cannot be read | usage=always usage forbidden
			set room 3; $usage; want 2 of 10; refused 8; sleep 1m; want 1 of 8; refused 7; sleep 1m; refused 7 this group has 3
			refused 7; sent usage 3; sizes 10 5 2 8 4 2 1 7 3 1; living 3
		= the limit is unknown, and some of several creates fit
			set room 25; set usage 0 0; want 25 of 30; refused 5; sleep 1m; refused 5 limit is reached; living 25
		= one of two creates fits
			set room 10; set usage 0 0; want 10 of 20; refused 10; sleep 1m; refused 10; sizes 10 10 5 2 1 10 5 2 1; living 10`)
}

// DigitalOcean may not know a key for seconds after its upload: that is waited
// out, within the call.
func TestUnknownKey(t *testing.T) {
	for _, c := range []struct {
		name     string
		refusals int
		fails    int // the call of Keys that fails
		keys     int // that creates were tried with
		script   string
	}{
		{"known at last", 2, 0, 3, "want 1; took 3s 3s"},
		{"never known", 99, 0, 4, "refused 1 an SSH key is not known; took 6s 6s"},
		{"cannot be uploaded again", 99, 2, 1, "refused 1 422 an SSH key is not known & upload it again: no scope; took 1s 1s"},
		{"no key at all", 0, 1, 0, "refused 1 SSH key for new Droplets: no scope; took 0s 0s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			scenario(t, spec(func(s *Settings) {
				s.Keys = func(_ context.Context, refused bool) ([]string, error) {
					asked++
					equal(t, "refused", asked > 1, refused)
					if asked == c.fails {
						return nil, errors.New("no scope")
					}
					return []string{fmt.Sprint(asked)}, nil
				}
			}), func(r *runner) {
				r.do(fmt.Sprintf("set latency 0s; next create %d*key; mark; %s; sent create %d", c.refusals, c.script, c.keys))
				for i, create := range r.since("create") {
					equal(r.t, "keys of a create", []string{fmt.Sprint(i + 1)}, create.SSHKeys)
				}
			})
		})
	}
}

// After a refusal one request shows whether it is over, not one for every ten.
func TestOneRequestAfterRefusals(t *testing.T) {
	play(t, spec(nil), `
		always create refused; refused 100; sent create 10; sleep 5s; refused 100; sent create 11
		heal create; sleep 10s; want 10 of 100; run 30s; want 90; sent create 21 # the first are active`)
}

// What could not be sent is not claimed to be accepted: of eleven batches ten
// hang until the call's end, and the eleventh is never sent. Nor is a create begun so
// late that it would be cut off.
func TestNoTimeForCreates(t *testing.T) {
	play(t, in(regions("nyc1", "ams3", "fra1")...), `
		= the eleventh batch
			always create hang; want 100 of 110
		= the third placement, with 3 s left of 13
			set latency 5s; always create refused; refused 1 no time was left for another attempt, after s-1 in nyc1; sent create 2`)
}

// An answer that cannot be right says nothing of the names that it is wrong about,
// or leaves out: lists settle them.
func TestOddAnswer(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.garble = func(ds []Droplet) []Droplet {
			ds[0].ID, ds[2].ID = 0, ds[1].ID
			return ds[:3]
		}
		r.do("up 4; dials 1; dials 2; dials 3; dials 4; told 1-4 cr")
	})
}

// Nothing that is remembered takes room for longer than the Droplets exist: a
// manager that is restarted again and again, and whose lists lag, creates at once
// each time, and knows what was made last.
func TestRestartsBlockNothing(t *testing.T) {
	twenty := func(steps string) string { return "set createlag 10s;" + strings.Repeat(steps, 20) }
	play(t, spec(func(s *Settings) { s.MaxInstances = 40 }), "= killed \n"+twenty("want 2; run 6s; takeover;")+
		"want 0 of 1; run 1m; counts 40; living 40")
	play(t, spec(func(s *Settings) { s.MaxInstances = 4 }), "= stopped, and all deleted before the next start \n"+
		twenty("want 2; run 6s; stop unclean; vanish all; takeover;")+"run 1m; counts 0; living 0")
}

// The pause between lists grows with the requests that a list takes, and with what
// creates, deletes, look-ups and other programs spend.
func TestListInterval(t *testing.T) {
	const most = 5000
	for _, c := range []struct {
		pages int
		b     Budget
		want  time.Duration
	}{
		{1, Budget{}, 1500 * time.Millisecond},
		{10, Budget{}, 15 * time.Second},
		{20, Budget{}, 30 * time.Second},
		{50, Budget{}, time.Minute},
		{1, Budget{Limit: most, Remaining: 100, Lists: 4900}, 1500 * time.Millisecond}, // its own do not slow them
		{1, Budget{Limit: most, Others: 2500}, 1600 * time.Millisecond},                // of 2,250 an hour
		{10, Budget{Limit: most, Others: 2500, Changes: 1350}, 40 * time.Second},       // of 900
		{10, Budget{Limit: most, Others: 2500, Changes: 1250, LookUps: 100}, 40 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 350, Recent: 104, LookUps: 102}, 40 * time.Second}, // 104 are 1,248
		{1, Budget{Limit: most, Others: 9000}, time.Minute},
	} {
		if got := (&listing{requests: c.pages, budget: c.b}).interval(); got != c.want {
			t.Errorf("%d requests, %+v: %s, want %s", c.pages, c.b, got, c.want)
		}
	}
}

// When half of the hour is spent, or will be at this pace, creates wait to become ten,
// until five seconds after the last.
func TestScarceCreatesGather(t *testing.T) {
	for scarce, bs := range map[bool][]Budget{
		false: {
			{}, {Remaining: -1, Others: 9000}, {Limit: 5000, Remaining: 2501, Others: 2500},
			{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 125},
		},
		true: {{Limit: 5000, Remaining: 2500}, {Limit: 5000, Remaining: 4000, Others: 1000, Recent: 126}},
	} {
		for _, b := range bs {
			equal(t, fmt.Sprintf("%+v is scarce", b), scarce, b.scarce())
		}
	}
	play(t, spec(nil), `
		set left 2000; sleep 2s; run 4s
		want 3; sleep 2s; want 0 of 3; sleep 3s; want 3; sleep 2s
		want 10 of 12; sleep 4s; want 0 of 2; sleep 1s; want 2 # ten are a whole request`)
}
