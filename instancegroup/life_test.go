package instancegroup

import (
	"sync"
	"testing"
	"time"
)

// A create that was not confirmed counts as accepted until lists settle
// it, and its names are never sent again.
func TestUnconfirmedCreate(t *testing.T) {
	play(t, spec(nil), `
		= 5xx, not applied | what=lost
		= timeout, not applied | what=hang
			next create $what; want 3; run 58s; told 1-3 c; run 10s; told 1-3 cx; counts 0; says 3x WARN & a Droplet was never created
		= 5xx, applied | what=done-lost
		= timeout, applied | what=done-hang
			set createlag 8s; next create $what; want 3; run 1m; living 3; told 1-3 cr
		= 5xx, to be destroyed | what=done-lost # the group destroys whatever appears of it
		= timeout, to be destroyed | what=done-hang
			set createlag 20s; next create $what; want 2; update; decrease 1-2; run 90s; told 1-2 cdx; living 0`)
}

// A list that is under way during a create may have its Droplets already, or
// not have them yet. Neither confuses anything.
func TestListDuringCreate(t *testing.T) {
	play(t, spec(nil), `
		= accepted | what=ok
		= lost | what=done-lost
		= refused | what=done-refused # lists have shown them
			sleep 10s; next create $what+4s; go want 2; run 3s; shown 0; join; run 30s; running 2; living 2`)
}

// What the runner was never told of is told as creating before it is deleted.
func TestAcceptedIsAlwaysShown(t *testing.T) {
	play(t, spec(func(s *Settings) { s.Project = "p-1" }), `
		= failed before the first Update
			want 1; vanish 1; sleep 2m; run 2m; told 1 cx
		= listed by an Update that nobody waited for, and gone by the next
			set deletelag 0s; run 2s; want 1; always project hang; cancelled; sent project 1 # which is done to what a list has
			vanish 1; sleep 10s; update; told 1 cx`)
}

// When nobody waits for an Update any more, what it had to tell is kept, and it
// says nothing of DigitalOcean.
func TestCancelledUpdate(t *testing.T) {
	play(t, spec(nil), `
		up 1; vanish 1; sleep 5s; next list done-hang; cancelled; sleep 12s; next get done-hang; cancelled; sleep 12s
		says 0x listing fails; run 2s; told 1 crx`)
}

// A name that was given up, and rises: destroyed at once, and never shown. It counts
// for max_instances until it is gone.
func TestLateRiser(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances = 1 }), `
		next create lost; want 1; run 70s; left 1 deaf; run 6s; want 0 of 1; run 70s; living 0; told 1 cx
		says Droplet will be deleted & it appeared after it was given up; want 1`)
}

// TestKept: a Droplet with the tag fleeting-keep is a person's. The runner is told
// that it is gone; it is never deleted, and still counts for max_instances. The
// account polices that no DELETE reaches it.
func TestKept(t *testing.T) {
	play(t, spec(func(s *Settings) { s.MaxInstances = 3 }), `
		= when it is new | age=0s, told=cx
		= when it runs | age=1m, told=crx
			want 2; run $age; keep 1; repeat 1s 1m run 2s + counts 2; told 1 $told
			says WARN & a person keeps a Droplet & usd_per_hour=0.01; want 1 of 3; decrease 1 # as if the runner still knew it
			sleep 50m; run 10s; sleep 20m; run 10s # once an hour
			says 2x WARN & Droplets are kept by the tag fleeting-keep & droplets=1 & usd_per_hour=0.01
			decrease 2-3; run 10s; stop clean; living 1; says WARN & kept by a person, and billed & usd_per_hour=0.01
		= before the start
			left ci-deadaaaaa1 keep; left ci-deadaaaaa2; sleep 1m; remember ci-deadaaaaa1; start; counts 2; run 1m; want 1 of 3
			told ci-deadaaaaa1 -; says WARN & Droplets are kept & ci-deadaaaaa1
			unkeep ci-deadaaaaa1; run 1m; told ci-deadaaaaa1 -; says WARN & Droplet will be deleted & it appeared after it was given up
		= before the start, and in no list
			left ci-deadaaaaa1 keep hide; remember ci-deadaaaaa1; start; run 1m; told ci-deadaaaaa1 -
		= while its create is under way
			next create ok+4s; go want 1; sleep 1s; keep 1; run 2s; join; run 4s; told 1 cx; counts 1
		= of a GPU size that no size is now
			left ci-deadaaaaa1 gpu keep; sleep 1m; start; counts 1; run 10s; counts 1
		= a list that is not believed lacks it too
			up 3; keep 1; run 10s; counts 3; next list empty empty; relist; counts 3
		= an Update has seen it that nobody waited for
			up 2; always delete hang; attempt decrease 2; keep 1; sleep 10s; cancelled; heal delete; sleep 5s; update; counts 2
		= the tag is taken off again
			up 1; keep 1; run 1m; unkeep 1; run 1m; told 1 crx; says Droplet will be deleted & it appeared after it was given up
			living 0; counts 0`)
	// The DELETE that was accepted before was not carried out.
	play(t, spec(nil), `
		= while it is one of two that are being deleted, by id | n=2, all=17, rest=3-17
		= while it is one of many that are being deleted, by the tag that it still has | n=15, all=30, rest=16-30
			up $all; deaf 1; decrease 1-$n; run 4s; keep 1; run 20s; told 1 crdx; decrease $rest; run 3m; living 1; counts 1`)
}

// What is shown as running is dialed without a request.
func TestDroplet(t *testing.T) {
	play(t, spec(nil), `
		undialed ci-nosuch0000 instance ci-nosuch0000 is not in group ci
		want 1; update; undialed 1 has no address yet: it is creating
		run 30s; both 1; run 4s; blank 1; run 4s; dials 1; private 1; run 4s; dials 1 192.0.2.9; sent get 0 # answers lack networks`)
	equal(t, "external address", "2001:db8::1", Droplet{PublicIPv6: "2001:db8::1", PrivateIPv4: "10.0.0.1"}.External())
}

// TestRunningWaitsForThePublicAddress: a Droplet that is active with its private
// address alone is not shown as running before it has the public one, which the
// runner would dial, for up to half a minute.
func TestRunningWaitsForThePublicAddress(t *testing.T) {
	play(t, spec(nil), `
		= public, 10 s after the private one
			want 1; update; private 1; run 10s; told 1 c; both 1; run 4s; told 1 cr; dials 1; sent get 0; says 0x WARN
		= public, never
			want 1; update; private 1; run 28s; told 1 c; run 6s; told 1 cr
			says WARN & lacks the kind of address & public_networking=true; dials 1`)
	play(t, spec(func(s *Settings) { s.Template.PublicNetworking = false }), `
		= private, at once
			want 1; update; private 1; run 4s; told 1 cr; says 0x WARN
		= private, after a public one that nobody asked for
			want 1; update; public 1; run 10s; told 1 c; both 1; run 4s; told 1 cr`)
}

func TestHealth(t *testing.T) {
	play(t, spec(nil), `
		up 1; mark; healthy 1; sent list 0 get 0; off 1; run 2s; unhealthy 1 is powered off
		run 32s; unhealthy 1 is being deleted: powered off; run 10s; unhealthy 1 is not in group ci`)
}

// Droplets are assigned to the project once lists show them, a hundred at once.
func TestProject(t *testing.T) {
	play(t, spec(func(s *Settings) { s.Project = "p-1" }), `
		= assigned
			set createlag 3s; next create done-lost; up 120; sent project 2; assigned 120 # also what lists must find
		= failing at it warns, and fails nothing
			always project forbidden; up 2; sent project 1; says WARN & could not be assigned to the project & request_id=req-42
		= tried again after a 5xx | what=lost
		= tried again after a 429 | what=limited
		= tried again after none was sent | what=unsent
			always project $what; up 2; run 10s; sent project 1; heal project; run 1m; sent project 2; says 0x WARN
		= one that does not answer holds up one Update a minute, for seconds
			always project hang; want 1; mark; update; update; update; update; update; took 5s 10s; sent project 1`)
}

// What needs to be known by the next process is handed over before the call returns that
// changed it.
func TestSave(t *testing.T) {
	var saved map[string]int64
	s := spec(func(s *Settings) { s.Save = func(ids map[string]int64) { saved = ids } })
	scenario(t, s, func(r *runner) {
		for _, script := range []string{
			"stranger by-hand fleeting fleeting-group:ci; want 12", "run 1m", "next create done-lost; want 1; run 3s",
			"vanish 1; run 10s", "decrease 2; run 10s", "keep 3; run 4s",
		} {
			r.do(script)
			truth := map[string]int64{}
			for _, m := range r.machine {
				if m.lives() && !m.foreign && !Kept(m.Droplet) {
					truth[m.Name] = m.ID
				}
			}
			equal(t, script, truth, saved)
		}
	})
	one, duplicate := &instance{Droplet: Droplet{ID: 1, Name: "a"}}, &instance{Droplet: Droplet{ID: 2, Name: "a"}, hidden: true}
	for _, all := range [][]*instance{{one, duplicate}, {duplicate, one}} {
		equal(t, "saved of a name that two Droplets have", map[string]int64{"a": 1}, (&instances{all: all}).ids())
	}
}

// DigitalOcean may take longer for an answer than an Update has for its actions
// beside a list. What was deleted from outside is found out all the same, deletes
// are sent and proved, and lists are not older than a minute because of it, which
// await sees to.
func TestActsThoughAnswersAreSlow(t *testing.T) {
	play(t, spec(nil), `
		= 2.2 s | latency=2200ms
		= 4.3 s | latency=4300ms
		= 6 s | latency=6s
			up 4; run 1m; set latency $latency; vanish 1; await 1m 1 x; attempt decrease 2; await 1m 2 x; sent delete 1
			off 3; await 2m 3 x; sent delete 2; want 1; await 1m 5 r
		= all are deleted, 5 s | latency=5s # a list shows none, so that it takes a second one, and a look-up is cut off
		= all are deleted, 7 s | latency=7s
			up 3; set latency $latency; decrease 1-3; await 2m 1-3 x
		= an Update that had no time for its actions is followed by one that acts before it lists
			up 1; vanish 1; run 2s; sleep 2s; set latency 7s; mark # lists show it still
			update; update; sent list 2 # 9 s for lists, of which the second has not enough, and 4 s for a look-up that takes 7 s`)
}

// counted counts how often it is taken.
type counted struct {
	sync.Mutex
	taken int
}

func (c *counted) Lock() {
	c.Mutex.Lock()
	c.taken++
}

// TestLocks holds the calls to few moments at which the group's state can change.
func TestLocks(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		mu := &counted{}
		r.Group.mu = mu
		r.do("up 150")
		for step, most := range map[string]int{"update": 4, "want 1": 4, "decrease 1-100": 6} {
			time.Sleep(2 * time.Second) // a list is due
			before := mu.taken
			r.do(step)
			if n := mu.taken - before; n < 1 || n > most {
				t.Errorf("%s takes the lock %d times, want at most %d", step, n, most)
			}
		}
	})
}
