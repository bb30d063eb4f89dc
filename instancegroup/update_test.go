package instancegroup

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Some runners call Update without any pause. An Update begins 500 ms after the
// last one ended, and lists are 1.5 s apart at the least. A group to which nothing
// happens asks for nothing else.
func TestUpdateIsPaced(t *testing.T) {
	play(t, spec(func(s *Settings) { s.Project = "p-1" }), `
		up 20; decrease 1-15; run 5m; set latency 0s; mark; updates 121; took 1m 1m; sent list 41 get 0 project 0
		# When all is being deleted there is no list before DELETEs can have been carried out.
		sleep 2s; mark; decrease 16-20; run 2s; sent list 0; run 4s; shown 0`)
}

// While lists fail the last one is shown, for a minute; then Update fails, which
// stops the runner from provisioning blindly. Nothing is called deleted for it,
// and deletes go on. The pause between lists that fail grows to 10 s.
func TestListFails(t *testing.T) {
	play(t, spec(nil), `
		= 5xx                 | what=lost,         shown=57s, then=4s,  says=DigitalOcean did not confirm,     lists=14-21, lines=2-4
		= hangs               | what=hang,         shown=49s, then=12s, says=no answer in time,                lists=9-12,  lines=3-4
		= 429                 | what=limited,      shown=57s, then=4s,  says=the token's rate limit is reached, lists=15-200, lines=1-2
		# Nobody is warned within the first minute of what the token cannot afford.
		= 429, and to wait    | what=limited/20s,  shown=57s, then=24s, says=the token's rate limit is reached, lists=8-10,  lines=2-3
		# What does not heal with time is told at once.
		= 401                 | what=unauthorized, shown=0s,  then=2s,  says=the token was refused,            lists=14-21, lines=2-4
		= 403                 | what=forbidden,    shown=0s,  then=2s,  says=the token lacks a scope,          lists=14-21, lines=2-4
		= another account     | what=another,      shown=0s,  then=2s,  says=the token is another account's,   lists=14-21, lines=2-4
			up 2; always delete lost; undecreased 2; always list $what; mark; repeat 1s $shown update; repeat 1s $then attempt update
			repeat 1s 30s update fails list the Droplets with the tag fleeting-group:ci & $says
			heal delete; repeat 1s 80s update fails $says
			sent list $lists; living 1; heal list; sleep 20s; run 4s; told 1 cr; says listing works again; says ${lines}x listing fails`)
}

// TestRetryAfterIsBounded: DigitalOcean's wish to wait is honoured, for up to a
// minute: then one request tries.
func TestRetryAfterIsBounded(t *testing.T) {
	play(t, spec(nil), `
		= list, 429, 30 s   | op=list,   what=limited/30s, step=attempt update,     at=0s 30s 1m0s
		= list, 429, 1 h    | op=list,   what=limited/1h,  step=attempt update,     at=0s 1m0s
		= list, 5xx, 30 s   | op=list,   what=lost/30s,    step=attempt update,     at=0s 30s 1m0s
		= list, 5xx, 1 h    | op=list,   what=lost/1h,     step=attempt update,     at=0s 1m0s
		= create, 30 s      | op=create, what=refused/30s, step=attempt increase 1, at=0s 30s 1m0s
		= create, 1 h       | op=create, what=refused/1h,  step=attempt increase 1, at=0s 1m0s
		= delete, 429, 30 s | op=delete, what=limited/30s, step=attempt decrease 1, at=0s 30s 1m0s
		= delete, 429, 1 h  | op=delete, what=limited/1h,  step=attempt decrease 1, at=0s 1m0s
		= delete, 5xx, 30 s | op=delete, what=lost/30s,    step=attempt decrease 1, at=0s 30s 1m0s
		= delete, 5xx, 1 h  | op=delete, what=lost/1h,     step=attempt decrease 1, at=0s 1m0s
			up 1; sleep 2s; always $op $what; mark; repeat 1s 1m8s $step + attempt update
			times $op/10s $at`)
}

// TestGroupTagDeleted: somebody deletes the group's tag from the account, which
// takes it off every Droplet. A list by the tag of all groups finds them: no job
// dies of it, and lists go by that tag until none lacks the group's.
func TestGroupTagDeleted(t *testing.T) {
	play(t, spec(nil), `
		= one that is being deleted, by a DELETE that is not carried out
			up 1; run 1m; deaf 1; decrease 1; lose fleeting-group:ci; run 3m; told 1 crdx; living 0
		= one  | n=1,   next=2
		= two  | n=2,   next=3
		= many | n=150, next=151
			stranger big-aaaaaaaaa1 fleeting fleeting-group:big; up $n; sleep 2s; mark; lose fleeting-group:ci; run 1m
			sent get 0; listed fleeting-group:ci 1; listed fleeting 30; says WARN & have lost its tag & tag=fleeting-group:ci
			want 1; run 1m; running $next; told 1-$n cr; decrease 1-$n; run 20s; living 1; running 1
			mark; run 4s; listed fleeting 0; listed fleeting-group:ci 2 # nothing lacks the group's any more`)
}

// TestEmptyListIsNotBelieved: lists may lack everything that lives, for want of
// every tag or because DigitalOcean answers wrongly. Nothing is called deleted, nor
// deleted: each is looked up, twenty in one Update, and rarely once it was found.
func TestEmptyListIsNotBelieved(t *testing.T) {
	play(t, spec(nil), `
		= all tags are deleted  | what=lose fleeting-group:ci; lose fleeting
		= lists are empty       | what=hide all
		= the second list fails | what=hide all; next list ok lost
			up 51; run 1m; mark; deaf 1; decrease 1; $what; update; sent get 20 # that lists lack it does not prove its DELETE
			run 40s; told 1 crd; run 140s; told 1 crdx; told 2-51 cr; counts 50; sent get 150-204 # in three minutes: one a minute for each
			sent tagging 0 bulk 0 delete 2; want 1; run 40s; running 51`)
}

// TestVanishTogether: one 404 is not believed of Droplets that vanish together; a
// second one half a minute later is, and the first of one that vanishes alone. Together
// is within that time.
func TestVanishTogether(t *testing.T) {
	play(t, spec(nil), `
		= one after another, and they do not live | what=vanish, last=crx
		= one after another, though they live     | what=hide,   last=cr
			up 5; vanish 2; run 5s; $what 3; next get missing; run 5s; $what 4; next get missing; run 5s; $what 5; next get missing
			run 10s; told 3-5 cr; run 1m; told 3-5 $last
		= one wrong answer each | lists=2, gets=5
		= for 20 s              | lists=22, gets=100
			up 5; next list $lists*empty; next get $gets*missing; run 20s; heal get; sent get 5; run 2m; told 1-5 cr; sent delete 0
		= one of five | n=1, more=2, gets=1, then=cr
			up 5; vanish 1; run 10s; told 1 crx; told 2-5 cr; sent get 1 delete 0; says WARN & a Droplet vanished
		= two of five | n=2, rest=3, gets=4
		= four of five | n=4, rest=5, gets=8
			up 5; vanish 1-$n; run 30s; told 1-5 cr; run 10s; told 1-$n crx; told $rest cr; sent get $gets delete 0
			says ${n}x WARN & a Droplet vanished`)
}

// An entry can slip between the pages of a list. What was deleted is called gone
// after the second list without it.
func TestPagedListTakesTwoToProve(t *testing.T) {
	play(t, spec(nil), `
		set perpage 1; set deletelag 0s; up 3; run 90s; deaf 1; decrease 1; hide 1; mark # a younger one would be looked up
		relist; unhide 1; run 30s; told 1 crd; run 1m; told 1 crdx`)
}

// Concurrent calls of everything, for the race detector and the oracles.
func TestConcurrentCalls(t *testing.T) {
	saving := 0
	s := spec(func(s *Settings) {
		s.Project, s.MaxInstances = "p-1", 30
		s.Save = func(map[string]int64) { saving++ } // calls do not overlap
	})
	scenario(t, s, func(r *runner) {
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for range 30 {
					accepted, ierr := r.Increase(ctx, 1+n)
					var names []string
					uerr := r.Update(ctx, func(name string, s State) {
						if s == Running {
							names = append(names, name)
							_ = r.Health(name)
						}
					})
					for _, name := range names {
						_, _ = r.Droplet(name)
					}
					_, derr := r.Decrease(ctx, names[len(names)/2:])
					if err := errors.Join(ierr, uerr, derr); err != nil || accepted > 1+n || r.billed() > 30 {
						t.Errorf("accepted %d of %d, %d live: %v", accepted, 1+n, r.billed(), err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// Every call returns within its bound when DigitalOcean answers nothing at all,
// and none leaves a goroutine (the bubble would not end).
func TestBoundsWhenDigitalOceanHangs(t *testing.T) {
	s := spec(func(s *Settings) {
		s.Project, s.DeadRuns, s.MaxInstances = "p-1", []string{"dead"}, 1000
		s.Keys = func(ctx context.Context, refused bool) ([]string, error) { return []string{"1"}, ctx.Err() }
	})
	scenario(t, s, func(r *runner) {
		r.do("up 30; sleep 10m; update")
		for _, op := range []string{"list", "get", "create", "delete", "tagging", "bulk", "tag", "project", "usage"} {
			r.do("always " + op + " hang")
		}
		began := time.Now()
		for range 4 {
			if n, err := r.increase(150); n == 0 && err == nil {
				t.Error("Increase of an account that hangs: 0 and no error")
			}
			r.do("attempt decrease 1-15; attempt update")
		}
		// A call that has to wait for another one does not take longer for it.
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { r.within(15*time.Second, "Update", func() { _ = r.Update(ctx, func(string, State) {}) }) })
			wg.Go(func() { r.within(15*time.Second, "Increase", func() { _, _ = r.Increase(ctx, 1) }) })
			time.Sleep(100 * time.Millisecond)
		}
		wg.Wait()
		r.do("stop unclean")
		if total := time.Since(began); total < time.Minute {
			t.Errorf("the calls took %s together: they did not hang", total)
		}
	})
}
