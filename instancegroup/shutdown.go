package instancegroup

import (
	"context"
	"errors"
	"time"
)

const (
	// settleBound is how long Shutdown waits for calls that are under way. They
	// end by themselves when the runner's connection breaks.
	settleBound = 3 * time.Second

	// goneBound is how long Shutdown sends deletes and waits for lists to prove them, and
	// goneEvery how often it asks. tagTime is what that leaves for the delete tag.
	goneBound, goneEvery = 12 * time.Second, 2 * time.Second
	tagTime              = 3 * time.Second

	// shutdownTries is how often Shutdown sends a DELETE that is refused.
	shutdownTries = 3
)

// Shutdown sends the deletes that were asked for and not yet accepted, looks for some
// seconds whether Droplets are gone, removes the delete tag if they all are, and logs what
// stays and what that costs. It is bounded by ctx, and called once. Once it has begun every
// method that changes anything fails.
//
// Invariant: the delete tag is removed only when all that were to be deleted are
// confirmed gone: an accepted DELETE is not always carried out.
// (TestShutdownWaitsForProof)
func (g *Group) Shutdown(ctx context.Context) {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	settle, cancel := context.WithTimeout(ctx, settleBound)
	defer cancel()
	for _, m := range []ctxMutex{g.serial.increase, g.serial.update} {
		if m.lock(settle) == nil {
			defer m.unlock()
		}
	}
	l := g.finish(ctx)
	g.commitAndSave(true, func() {}) // what an Increase that was under way has made (TestShutdown)
	if len(l.owed)+len(l.deleting) == 0 && (l.tagged || len(g.DeadRuns) > 0) {
		g.removeTag(ctx, l.tagged)
	}
	g.logLeft(l)
}

// finish goes on as Update does until what is to be deleted is gone, or there is no more
// time. It returns what is left.
func (g *Group) finish(ctx context.Context) leftovers {
	bound := goneBound
	if end, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(end)-tagTime)
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	for try := 0; ; try++ {
		l := g.left(try > 0 && try <= shutdownTries) // what a Decrease has under way has time for its answer
		if l.done() || try > 0 && pause(ctx, goneEvery) != nil {
			return l
		}
		// Whether unconfirmed names exist decides whether there is something to
		// delete, or to warn of. Otherwise deletes come first.
		var a *listAnswer
		if try > 0 || l.unconfirmed > 0 {
			a = g.observe(ctx, true)
		}
		_ = g.reconcile(ctx, a, nil) // what is left says more
	}
}

// removeTag takes the delete tag off the account, which nothing can carry any more:
// that of this process, or of one that was killed.
func (g *Group) removeTag(ctx context.Context, tagged bool) {
	if err := g.cloud.RemoveTag(ctx, DeleteTag(g.Name)); err != nil && !errors.Is(err, ErrNotFound) && tagged {
		g.log.Warn("the delete tag stays on the account; no Droplet has it", "tag", DeleteTag(g.Name),
			"request_id", requestID(err), "err", err)
	}
}

// leftovers is what a group leaves.
type leftovers struct {
	stay, owed, deleting, kept, foreign []Droplet
	unconfirmed                         int  // names whose create was not confirmed, and that no list has shown yet
	tagged                              bool // the delete tag may be on the account
}

// done reports whether nothing that is to be deleted can be left.
func (l leftovers) done() bool { return len(l.owed)+len(l.deleting)+l.unconfirmed == 0 }

// left returns what the group leaves. hurry makes the deletes due that DigitalOcean
// has not accepted yet.
func (g *Group) left(hurry bool) leftovers {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := leftovers{kept: g.listing.kept, foreign: g.listing.foreign, tagged: g.deletions.tagged}
	for _, i := range g.instances.all {
		switch {
		case i.phase == gone:
		case i.ID == 0:
			l.unconfirmed++
		case i.phase != deleting:
			l.stay = append(l.stay, i.Droplet)
		case i.deletion.accepts > 0:
			l.deleting = append(l.deleting, i.Droplet)
		default:
			l.owed = append(l.owed, i.Droplet)
			if hurry {
				i.deletion.next = time.Time{}
			}
		}
	}
	return l
}

// logLeft logs what stays, and what that costs.
func (g *Group) logLeft(l leftovers) {
	warn := func(ds []Droplet, msg, hint string) {
		if len(ds) > 0 {
			g.log.Warn(msg, append(summary(ds), "hint", hint)...)
		}
	}
	warn(l.stay, "Droplets stay, and are billed, until the next start takes them over",
		"delete_instances_on_shutdown = true makes the runner delete them when it stops")
	warn(l.owed, "DigitalOcean did not accept the deletion of Droplets: they stay, and are billed",
		"fleeting-plugin-digitalocean rm --all --group "+g.Name+" deletes them")
	warn(l.deleting, "DigitalOcean accepted the deletion of Droplets, and no list confirms it yet: they may still be billed",
		"fleeting-plugin-digitalocean ls --group "+g.Name+" shows whether they are gone")
	warn(l.kept, "Droplets are kept by a person, and billed", "delete them when nobody needs them any more")
	warn(l.foreign, "Droplets of another plugin process stay, and are billed", "fleeting-plugin-digitalocean ls --group "+g.Name+" shows them")
}
