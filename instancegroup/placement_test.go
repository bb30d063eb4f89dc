package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Placements are tried in the order given, sizes outside and regions inside; one
// that has no capacity cools down for a minute, doubling to a quarter of an hour.
func TestCapacity(t *testing.T) {
	ps := []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}, {"s-2", "nyc1"}, {"s-2", "ams3"}}
	play(t, in(ps...), `
		= next placement
			next create 2*refused; want 1; tried nyc1 ams3 s-2/nyc1
			says WARN & a placement cools down & it refused & size=s-1 & region=nyc1 & cooldown=1m0s
			sleep 59s; next create refused; want 1; tried s-2/nyc1 s-2/ams3; want 1; tried s-2/ams3 # three cool down
			sleep 2s; want 1; tried nyc1; next create refused; want 20; tried nyc1 nyc1 ams3
		= those that cool down come last, the one that is over first before the others
			next create 3*refused; want 1; sleep 1m; next create refused; want 1; tried nyc1 ams3 s-2/nyc1 s-2/ams3 nyc1 ams3
			next create 3*refused; want 1; tried ams3 s-2/nyc1 s-2/ams3 nyc1; want 1; tried s-2/ams3
		= all refuse, and cool down
			always create refused
			refused 1 s-1 in nyc1: OP: 422 the request was refused (request id req-42) & s-1 in ams3: OP: 422
			says 4x WARN & a placement cools down; sleep 10s; mark; refused 1; tried nyc1 ams3 s-2/nyc1 s-2/ams3 # none is left out
			heal create; sleep 1m; want 1`)
	p := placements{order: ps, cooling: map[Placement]backoff{}}
	now := epoch
	fails := func(at Placement, sent time.Time, want time.Duration) {
		t.Helper()
		equal(t, "cooldown in minutes", want, p.failed(at, errors.New("x"), sent, now)/time.Minute)
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
}

// A refusal that is not known to be the placement's may be all the same: each of
// the others is tried once, and only when all refuse does the group back off.
func TestUnknownRefusalTriesAllPlacements(t *testing.T) {
	play(t, in(regions("nyc1", "ams3", "fra1")...), `
		= with a 404
			next create missing; want 1; tried nyc1 ams3; want 1; tried ams3
		= one accepts
			next create 2*refused; want 1; tried nyc1 ams3 fra1; says 2x WARN & a placement cools down & it refused & cooldown=1m0s
			says 0x Droplets were refused; want 1; tried fra1; sleep 1m; want 1; tried nyc1
		= all refuse
			next create refused missing refused
			refused 1 s-1 in ams3: OP: 422 not found; tried nyc1 ams3 fra1
			refused 1 next attempt in 5s; tried; sleep 5s; want 1; tried nyc1`)
}

// A limit of the account for a kind of size holds in all regions: the next size is
// tried at once.
func TestSizeLimit(t *testing.T) {
	play(t, in(Placement{"gpu-1", "nyc1"}, Placement{"gpu-1", "ams3"}, Placement{"s-2", "nyc1"}, Placement{"s-2", "ams3"}), `
		next create size; want 1; tried gpu-1/nyc1 s-2/nyc1
		next create 2*size; refused 1 kind of size is reached (request id req-42) & s-2 in nyc1: OP
		tried gpu-1/nyc1 s-2/nyc1; refused 1; tried # it backs off`)
}

// A region that does not confirm creates may have carried them out, so its names
// count; but it does not get the next creates.
func TestUnconfirmedPlacementCoolsDown(t *testing.T) {
	play(t, in(regions("nyc1", "ams3")...), `
		= 5xx, applied
			next create done-lost; want 1; want 1; tried nyc1 ams3; run 30s; want 1; tried nyc1 # once its Droplet runs
		= 5xx | what=lost
		= hangs | what=hang
			next create $what; want 1; says WARN & a placement cools down & does not confirm creates & region=nyc1 & cooldown=1m0s
			want 1; run 30s; want 1; tried nyc1 ams3 ams3
			run 45s; next create $what; want 1; tried nyc1; says WARN & does not confirm creates & cooldown=2m0s # it never appeared
		= another create of the call is confirmed
			next create lost; want 20; want 1; says 0x cools down`)
	play(t, spec(nil), `next create lost; want 1; want 1; says 0x cools down # the only placement`)
}

// A refused Increase is asked again every second or two, for ever. It asks
// DigitalOcean after 5 s, 10 s, 20 s, 40 s, and then every minute.
func TestRefusedIncreaseBacksOff(t *testing.T) {
	play(t, spec(nil), `
		set latency 0s; always create forbidden; mark; repeat 1s 4m refused 1 the token lacks a scope
		times create 0s 5s 15s 35s 1m15s 2m15s 3m15s; says 4x ERROR & Droplets were refused # once a minute
		heal create; sleep 1m; want 1; next create forbidden; refused 1; sleep 5s; want 1 # success forgot the row of refusals`)
}

// What a placement accepts and then loses counts against it as a refusal does,
// once for all that were lost together: the next creates go elsewhere.
func TestPlacementThatLosesCoolsDown(t *testing.T) {
	play(t, spec(func(s *Settings) { s.Placements, s.CreateTimeout = regions("nyc1", "nyc3"), 30*time.Second }), `
		= they are gone at once | lost=set loses nyc1; want 20
		= they never boot       | lost=want 20; stuck 1-20
			$lost; run 1m20s; want 20; tried nyc1 nyc1 nyc3 nyc3; run 40s; running 20; living 20 # it is never refused
			says a placement cools down; says WARN & what it accepted never ran & region=nyc1 & cooldown=1m0s`)
}

// A placement that loses and is the only one backs off as one that refuses does. A
// Droplet that runs ends both.
func TestGroupThatLosesBacksOff(t *testing.T) {
	lose := func(wait string) string { // 2 s after it was found out
		return "set loses nyc1; want 1; run 6s; refused 1 never ran; refused 1 next attempt in " + wait + "; sleep 1m; set loses none;"
	}
	play(t, spec(nil), "set latency 0s;"+lose("3s")+lose("8s")+lose("18s")+lose("38s")+`
		want 1; set loses nyc1; want 1; run 26s; running 1; refused 1 # it boots while another is lost, which it says nothing of
		sleep 1m; set loses none; want 1; run 30s; running 2;`+lose("3s")+"# the pauses begin anew")
}

// What the runner takes away, or a person keeps, or what has run, says nothing of
// where it was created; nor does what another process made. What a person deletes
// before it ran does not differ from a loss.
func TestWhatCountsAsALoss(t *testing.T) {
	play(t, in(regions("nyc1", "ams3")...), `
		= deleted by the runner              | age=0s, what=decrease 1, cools=0
		= kept                               | age=0s, what=keep 1, cools=0
		= deleted from outside               | age=0s, what=vanish 1, cools=1
		= deleted from outside, after it ran | age=1m, what=vanish 1, cools=0
		= powered off before it ran          | age=0s, what=off 1, cools=1
		= powered off after it ran           | age=1m, what=off 1, cools=0
		= taken over                         | age=0s, what=takeover; vanish 1, cools=0
			want 1; update; run $age; $what; run 1m; says ${cools}x a placement cools down`)
}

// A placement whose region has no image is passed over. After a refusal the next call
// says so, since the image may have been deleted.
func TestImages(t *testing.T) {
	s := in(regions("nyc1", "ams3")...)
	image, asked, failure := map[string]Image{"nyc1": {ID: 1}}, "", error(nil)
	s.Images = func(_ context.Context, refused bool) (map[string]Image, error) {
		asked += fmt.Sprint(refused, " ")
		return image, failure
	}
	scenario(t, s, func(r *runner) {
		r.do("want 1; tried nyc1")
		image = map[string]Image{"ams3": {ID: 2}}
		r.do("want 1")
		equal(t, "image", Image{ID: 2}, r.since("create")[0].Image)
		r.do("tried ams3; next create refused; refused 1; sleep 5s; want 1; want 1")
		equal(t, "told of a refusal", "false false false true false ", asked)
		failure = errors.New("no such image")
		r.do("refused 1 create Droplets: image for new Droplets: no such image")
	})
}
