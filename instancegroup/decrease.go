package instancegroup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Decrease deletes instances and returns all but those that DigitalOcean refused to
// delete and never accepted. It does not wait until they are gone. What is not accepted
// yet, or waits for others or for the token's next request, stays marked and is sent by a
// later Update, even if the runner forgets it. An error means that there is none to
// return. It returns within callBound. Asked again for an instance it sends nothing before
// the pause is over that the last DELETE began.
func (g *Group) Decrease(ctx context.Context, names []string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	b, err := g.mark(names)
	if err != nil {
		return nil, err
	}
	record := g.send(ctx, b)
	g.mu.Lock()
	defer g.mu.Unlock()
	record(time.Now())
	succeeded := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		i := g.instances.byName[name]
		return i != nil && i.phase != gone && i.deletion.accepts == 0 && i.deletion.refusals > 0
	})
	if len(succeeded) == 0 && len(names) > 0 {
		return nil, fmt.Errorf("delete %d Droplets: DigitalOcean accepted none yet; the plugin goes on trying "+
			"(each failure is in the log)", len(names))
	}
	return succeeded, nil
}

// mark marks instances for deletion, and claims those whose DELETE is due.
func (g *Group) mark(names []string) (batch, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return batch{}, errClosed
	}
	now := time.Now()
	var marked []*instance
	for _, name := range names {
		if i := g.instances.byName[name]; i != nil && i.phase != gone {
			*i = i.toDelete("the runner asked for it")
			if g.listing.budget.scarce() && !now.Before(g.deletions.noTag) && i.deletion == (deletion{}) { // it leaves with others
				if !now.Before(g.deletions.flush) {
					g.deletions.flush = now.Add(batchDeletesFor)
				}
				i.deletion.next = g.deletions.flush
			}
			marked = append(marked, i)
		}
	}
	return g.claim(marked, now), nil
}

// deletion is what became of an instance's deletion.
type deletion struct {
	accepts  int       // DELETE requests that DigitalOcean accepted
	refusals int       // and that it did not, since the last that it did
	accepted time.Time // when it last accepted one; zero = never
	next     time.Time // none is sent before then
}

const (
	// An accepted DELETE that is not carried out is repeated after a minute,
	// then two, up to ten: hammering got accounts blocked. And not before it was
	// seen ignoredAfter it.
	acceptedFirst, acceptedMost = 60 * time.Second, 10 * time.Minute
	ignoredAfter                = 30 * time.Second
	// A refused one is tried again sooner, since nothing has been asked yet.
	refusedFirst, refusedMost = 5 * time.Second, 5 * time.Minute
)

// sent returns the deletion after one more DELETE, which was accepted or not.
// wait is how long DigitalOcean asked to wait, or 0.
func (d deletion) sent(accepted bool, wait time.Duration, now time.Time) deletion {
	var pause time.Duration
	if accepted {
		d.accepts, d.refusals, d.accepted = d.accepts+1, 0, now
		pause = double(acceptedFirst, acceptedMost, d.accepts)
	} else {
		d.refusals++
		pause = double(refusedFirst, refusedMost, d.refusals)
	}
	d.next = now.Add(max(pause, wait))
	return d
}

// deletions is how the group deletes. Guarded by Group.mu.
//
// Invariant: the delete tag is put only on what is to be deleted, and nothing is
// deleted by it while a list shows it on anything else: what a person keeps, or a
// Droplet that is not the group's. That is looked for before each batch, once when
// requests are scarce. (TestDeleteByTag, TestKept, TestDeleteTagOnOthers)
type deletions struct {
	tagged bool      // the delete tag may be on the account, until Shutdown
	looked bool      // for what else has it, there was nothing, and no list has shown anything since
	flush  time.Time // when the deletes that wait for others are sent, if that is to come
	noTag  time.Time // nothing is deleted by it before then
}

const (
	// byTagFrom is how many Droplets are deleted by one tag rather than each by its id,
	// which takes a single round trip too for fewer. When requests are scarce the tag's
	// two are worth it sooner.
	byTagFrom, byTagFromScarce = concurrency + 1, 3

	// batchDeletesFor is the most that deletes wait for others when requests are
	// scarce: Droplets are billed by the second, so that costs next to nothing.
	batchDeletesFor = 15 * time.Second

	// deletionTakes is how long a Droplet stays in lists after its DELETE was
	// accepted: some seconds.
	deletionTakes = 3 * time.Second

	// byTagBound leaves time to send by id what could not be deleted by tag, and noTagFor
	// is how long no tag is tried after it failed.
	byTagBound, noTagFor = 5 * time.Second, 5 * time.Minute
)

// batch is DELETEs that are claimed: nobody else sends them meanwhile.
type batch struct {
	byTag, byID []Droplet
	look        bool // for what else has the tag
}

// claim takes those of is whose DELETE is due. Called with mu held.
//
// Invariant: no DELETE for a Droplet that is not ours. What is in byID was made by
// this process or taken over, and ids are never used twice. (TestOwnership)
func (g *Group) claim(is []*instance, now time.Time) batch {
	scarce := g.listing.budget.scarce()
	b := batch{look: !g.deletions.looked || !scarce} // lists have none to spare then (make bench)
	for _, i := range is {
		if g.instances.byID[i.ID] != i || !i.removable(now) {
			continue
		}
		if i.deletion.accepts == 0 {
			b.byTag = append(b.byTag, i.Droplet)
		} else {
			b.byID = append(b.byID, i.Droplet)
		}
		i.deletion.next = now.Add(callBound)
	}
	from := byTagFrom
	if scarce {
		from = byTagFromScarce
	}
	if len(b.byTag) < from || now.Before(g.deletions.noTag) {
		return batch{byID: append(b.byTag, b.byID...)}
	}
	g.deletions.tagged = true
	return b
}

// send sends a batch, what cannot be deleted by tag by its id.
func (g *Group) send(ctx context.Context, b batch) record {
	var request string
	var looked bool
	var noTag error
	if len(b.byTag) > 0 {
		if request, looked, noTag = g.sendByTag(ctx, b); noTag != nil {
			b = batch{byID: append(b.byTag, b.byID...)}
		}
	}
	all := concurrently(b.byID, func(d Droplet) answer {
		a := answer{Droplet: d, err: cmp.Or(ctx.Err(), noTag)}
		if ctx.Err() == nil && !errors.Is(noTag, ErrRateLimited) { // by id there are more to send
			a.requestID, a.err = g.cloud.Delete(ctx, d.ID)
		}
		return a
	})
	for _, d := range b.byTag {
		all = append(all, answer{Droplet: d, requestID: request})
	}
	return func(now time.Time) {
		g.recordDeletes(ctx, all, now)
		g.deletions.looked = g.deletions.looked || looked
		if noTag != nil && !errors.Is(noTag, ErrRateLimited) {
			g.deletions.noTag = now.Add(noTagFor)
			g.warnFailed("many Droplets could not be deleted by one tag; each is deleted by its id", noTag, 1, now, "tag", DeleteTag(g.Name))
		}
	}
}

// sendByTag deletes Droplets by the delete tag: a request to tag each 100 of them, the
// first of which makes the tag, and one to delete what carries it; before all a list of
// what has it already, if need be. It reports whether that showed nothing else. An error
// means that each is to be deleted by its id.
func (g *Group) sendByTag(ctx context.Context, b batch) (request string, looked bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, byTagBound)
	defer cancel()
	tag := DeleteTag(g.Name)
	if b.look {
		tagged, err := g.cloud.List(ctx, tag, g.GPUs)
		if err != nil && !errors.Is(err, ErrRateLimited) { // lists come last, and deletes do not wait for them
			return "", false, err
		}
		if i := slices.IndexFunc(tagged.Droplets, g.mistagged); i >= 0 {
			d := tagged.Droplets[i]
			return "", false, fmt.Errorf("Droplet %s (%d) has the tag %s, and is not to be deleted", d.Name, d.ID, tag)
		}
		looked = err == nil
	}
	put := func(ds []Droplet) error {
		var ids []int64
		for _, d := range ds {
			ids = append(ids, d.ID)
		}
		return g.cloud.TagDroplets(ctx, tag, ids)
	}
	hundreds := slices.Collect(slices.Chunk(b.byTag, MaxTagged))
	if err := put(hundreds[0]); err != nil {
		return "", false, err
	}
	if err := errors.Join(concurrently(hundreds[1:], put)...); err != nil {
		return "", false, err
	}
	request, err = g.cloud.DeleteTagged(ctx, tag)
	return request, looked, err
}

// mistagged reports whether d has the delete tag and is not to be deleted.
func (g *Group) mistagged(d Droplet) bool {
	return HasTag(d, DeleteTag(g.Name)) && (!Owns(g.Name, d) || Kept(d))
}

// recordDeletes notes what became of DELETEs. Called with mu held.
func (g *Group) recordDeletes(ctx context.Context, all []answer, now time.Time) {
	var failed, limited []answer
	for _, a := range all {
		i := g.instances.byID[a.ID]
		if i == nil || i.phase != deleting {
			continue
		}
		switch {
		case a.err == nil, errors.Is(a.err, ErrNotFound): // as good as accepted: lists will prove it
			g.accepted(i, a.requestID, now)
		case errors.Is(a.err, ErrRateLimited):
			i.deletion.next = now.Add(max(time.Second, retryAfter(a.err)))
			limited = append(limited, a)
		case ctx.Err() != nil && unsent(a.err):
			i.deletion.next = now
		default:
			i.deletion = i.deletion.sent(false, retryAfter(a.err), now)
			failed = append(failed, a)
		}
	}
	if l := &g.listing; g.instances.count(running) == 0 && len(failed)+len(limited) < len(all) {
		l.notBefore = now.Add(max(deletionTakes, l.notBefore.Sub(now))) // lists would only show that this takes its time
	}
	g.warnAll("DigitalOcean did not delete Droplets; each is tried again until it does", failed, now)
	g.warnAll("the token's rate limit is reached; deletes wait", limited, now)
}

// accepted notes that DigitalOcean accepted i's deletion. Called with mu held.
func (g *Group) accepted(i *instance, requestID string, now time.Time) {
	i.deletion = i.deletion.sent(true, 0, now)
	if i.deletion.accepts == 1 {
		g.log.Info("Droplet is being deleted", g.fields(i, now, "request_id", requestID)...)
		return
	}
	g.log.Warn("DigitalOcean accepted the deletion of a Droplet and did not carry it out; it was asked again",
		g.fields(i, now, "try", i.deletion.accepts, "next_in", i.deletion.next.Sub(now).Round(time.Second), "request_id", requestID)...)
}
