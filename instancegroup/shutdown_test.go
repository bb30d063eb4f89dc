package instancegroup

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestShutdown(t *testing.T) {
	play(t, in(regions("nyc1", "ams3")...), `
		# The runner does not delete Droplets when it stops, unless it is configured to. They stay, and the next process finds them.
		= Droplets stay
			up 3; next create done-lost; want 1; stop unclean; living 4 # a name that was not confirmed is looked for
			says WARN & Droplets stay, and are billed & droplets=4 & usd_per_hour=0.04 & delete_instances_on_shutdown
			takeover blank; run 30s; running 4; decrease 1-4; run 10s; stop clean; living 0
		= owed deletes are sent, whatever pause is due, and sent again if they are refused; what was accepted is not
			up 4; decrease 4; always delete refused/1h; undecreased 1-3; heal delete; mark; next delete lost; stop clean
			living 0; sent delete 4; says 0x WARN & stay
		= a delete that is under way, and hangs
			up 1; next delete hang; go attempt decrease 1; sleep 1s; stop clean; join; sent delete 2; living 0
		= deletes that are refused for good
			up 2; always delete forbidden; undecreased 1-2; mark; stop unclean; sent delete 6 # three for each
			says WARN & did not accept the deletion of Droplets: they stay & droplets=2 & usd_per_hour=0.02 & rm --all --group ci
			says 0x until the next start takes them over # the hint would be what the runner has asked for
		# Shutdown looks whether a name exists that was not confirmed, and deletes it if the runner has asked for that.
		= unconfirmed names, applied | what=done-lost, end=clean, saved=0
		= unconfirmed names, not applied | what=lost, end=unclean, saved=2 # the next process looks for them
			set createlag 2s; next create $what; want 2; update; decrease 1-2; stop $end; living 0; saved $saved
		= during an Update that hangs
			up 2; always delete lost; undecreased 1-2; heal delete; always list hang; sleep 3s
			go update fails; sleep 1s; stop unclean; living 0; join # no list has shown it, and nothing is shown
		# An Increase that is under way ends first, and makes no further attempt.
		= during an Increase that is refused
			next create refused; go attempt increase 1; always list unsent; stop clean; join; sent create 1
		= during an Increase that is accepted
			next create ok+2900ms; go attempt increase 1; always list unsent; stop unclean; join; sent create 1
			says WARN & Droplets stay, and are billed & droplets=1; saved 1 # the next process knows it, whatever lists lack
		# A DELETE that is under way has time for its answer.
		= deletes are under way, each by its id
			up 3; always delete ok+1s; go attempt decrease 1-3; sleep 100ms; stop clean; join; says 0x WARN; sent delete 3
		= deletes are under way, by their tag
			up 15; next bulk ok+1s; go attempt decrease 1-15; sleep 1s; stop clean; join; says 0x WARN; sent bulk 1`)
	scenario(t, spec(nil), func(r *runner) {
		r.do("mark; stop clean; took 0s 0s; sent list 0 tag 0; stop clean; took 0s 0s") // the second does nothing
		_, increase := r.Increase(ctx, 1)
		_, decrease := r.Decrease(ctx, []string{"ci-nosuch0000"})
		for _, err := range []error{r.Update(ctx, func(string, State) {}), increase, decrease} {
			equal(r.t, "refused", true, errors.Is(err, errClosed))
		}
	})
}

// TestShutdownWaitsForProof: an accepted DELETE proves nothing. While a Droplet may
// live the delete tag stays, and the group is not clean.
func TestShutdownWaitsForProof(t *testing.T) {
	play(t, spec(nil), `
		= by id, in time  | n=3,  tags=0
		= by tag, in time | n=15, tags=1
			up $n; set deletelag 7s; decrease 1-$n; mark; always tag lost; stop clean; took 7s 14s; sent tag $tags
			says ${tags}x WARN & the delete tag stays on the account & tag=fleeting-delete:ci; says ${n}x Droplet is gone
		= by id, they live on  | n=3,  rest=2,  next=running 2; decrease 2-3
		= by tag, they live on | n=15, rest=14, next=running 0 # what went by tag carries it still, and is never offered to a job
			up $n; deaf 2-$n; decrease 1-$n; stop unclean; sent tag 0; says WARN & no list confirms it yet & droplets=$rest & ls --group ci
			takeover blank; run 1m; $next; run 10m; living 0; mark; stop clean; sent tag 1 # which a killed one may have left
		= what lists lack is looked up | what=living 1, end=clean
		= and lives on                 | what=deaf 1,   end=unclean
			up 1; lose fleeting-group:ci; lose fleeting; run 10s; $what; decrease 1; stop $end`)
}

// Lists that hang do not take the time that an orphan process has for the rest.
func TestShutdownIsBoundedByItsContext(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		r.do("up 15; decrease 1-15; always list hang")
		ctx, cancel := context.WithTimeout(ctx, 9*time.Second)
		defer cancel()
		r.within(6*time.Second, "Shutdown", func() { equal(t, "clean", false, r.shutdown(ctx)) }) // tagTime is left
		r.do("sent tag 0")
	})
}
