package inventory

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Remaining is a Droplet that is not confirmed to be gone.
type Remaining struct {
	instancegroup.Droplet
	Why error // what went wrong last; nil = DigitalOcean accepted its deletion, and still has it
}

var (
	errKept    = errors.New("a person keeps it, by the tag " + instancegroup.KeepTag + ": it is left alone")
	errForeign = errors.New("it does not belong to the group any more, by its name and tags: it is left alone")
)

const (
	// few is how many Droplets are looked up and deleted one by one, at the same time.
	// More are listed, and deleted by a tag.
	few = 10

	// perRequest is the pace on average. A token has 250 requests a minute, and the
	// runner that shares it needs the other half. The Client waits after a 429.
	perRequest = time.Second / 2

	// A round of requests begins a second after the last one at the soonest, and
	// the later the longer it takes: 20 s after it in the end.
	roundFirst, roundMost = time.Second, 20 * time.Second

	// A deletion that was accepted and is not carried out is repeated after a
	// minute, then two, up to ten: hammering got accounts blocked. One that was not
	// accepted is tried again sooner.
	acceptedFirst, acceptedMost = time.Minute, 10 * time.Minute
	refusedFirst, refusedMost   = 5 * time.Second, 5 * time.Minute

	requestBound = 20 * time.Second // of each request
	cleanupBound = 5 * time.Second  // of taking the delete tags off the account
)

// Delete deletes Droplets of groups of one account, and repeats that until DigitalOcean
// does not have them any more. progress is called now and then with those that it may
// still have.
//
// It returns when all are gone, when the rest is left alone, when ctx ends, or when the
// token may not do it; the last two are its error. What remains may still be on its way
// out then.
//
// Invariant: before each deletion the Droplet is read again, and left alone if it has
// left its group or a person keeps it. (TestDeleteLeavesAlone)
func Delete(ctx context.Context, api *digitalocean.Client, droplets []instancegroup.Droplet, progress func([]Remaining)) ([]Remaining, error) {
	d := deletion{api: api}
	for _, x := range droplets {
		d.left = append(d.left, &target{Droplet: x})
		d.gpus = d.gpus || instancegroup.GPUSize(x.Size)
	}
	defer d.removeTags(ctx)
	for began := time.Now(); ; {
		d.requests = 0
		err := d.round(ctx)
		remaining := d.remaining()
		progress(remaining)
		switch {
		case ctx.Err() != nil:
			return remaining, ctx.Err()
		case permanent(err):
			return remaining, err
		case len(d.left) == 0:
			return remaining, nil
		}
		wait := max(roundFirst, min(roundMost, time.Since(began)/10), time.Duration(d.requests)*perRequest)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return remaining, ctx.Err()
		}
	}
}

// deletion is one Delete.
type deletion struct {
	api      *digitalocean.Client
	left     []*target
	alone    []*target // not to be deleted after all
	gpus     bool
	requests int      // of this round
	tags     []string // that it made to delete by
	noTag    bool     // deleting by tag has failed
}

// target is one Droplet that is to be deleted, as it was chosen. Only one goroutine at a
// time has it.
type target struct {
	instancegroup.Droplet
	now  *instancegroup.Droplet // as this round saw it; nil = it did not
	gone bool
	why  error // of the last request about it that failed

	accepted, refused int       // deletions, the latter since the last one that was accepted
	next              time.Time // none is asked for before then
}

// round looks at what is left, and deletes what is due of it. Its error is that of a
// request that concerns all.
func (d *deletion) round(ctx context.Context) error {
	for _, t := range d.left {
		t.now = nil
	}
	look := d.lookUp
	if len(d.left) > few {
		look = d.list
	}
	err := look(ctx, d.left)
	d.left = slices.DeleteFunc(d.left, d.settled)
	var due []*target
	for _, t := range d.left {
		if t.now != nil && !time.Now().Before(t.next) {
			due = append(due, t)
		}
	}
	switch {
	case err != nil && (permanent(err) || ctx.Err() != nil) || len(due) == 0:
		return err
	case len(due) > few && !d.noTag:
		return d.byTag(ctx, due[:min(len(due), instancegroup.MaxTagged)])
	}
	return d.byID(ctx, due[:min(len(due), few)])
}

// settled reports whether nothing is left to do about t.
func (d *deletion) settled(t *target) bool {
	group := instancegroup.GroupOf(t.Droplet)
	switch {
	case t.gone:
		return true
	case t.now == nil:
		return false
	case group == "" || instancegroup.GroupOf(*t.now) != group:
		t.why = errForeign
	case instancegroup.Kept(*t.now):
		t.why = errKept
	default:
		return false
	}
	d.alone = append(d.alone, t)
	return true
}

// sent notes how a deletion was answered.
func (t *target) sent(err error) {
	t.why = err
	if err == nil {
		t.accepted, t.refused = t.accepted+1, 0
		t.next = time.Now().Add(double(acceptedFirst, acceptedMost, t.accepted))
		return
	}
	t.refused++
	t.next = time.Now().Add(double(refusedFirst, refusedMost, t.refused))
}

// remaining returns what may still exist, in the order in which it was made.
func (d *deletion) remaining() []Remaining {
	var out []Remaining
	for _, t := range slices.Concat(d.left, d.alone) {
		out = append(out, Remaining{t.Droplet, t.why})
	}
	slices.SortFunc(out, func(a, b Remaining) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// double returns the n-th pause, each of which is twice as long as the one before.
func double(first, most time.Duration, n int) time.Duration {
	for ; n > 1 && first < most; n-- {
		first *= 2
	}
	return min(first, most)
}

// permanent reports whether err is one that time does not heal.
func permanent(err error) bool {
	return errors.Is(err, instancegroup.ErrUnauthorized) || errors.Is(err, instancegroup.ErrForbidden) || errors.Is(err, instancegroup.ErrOtherAccount)
}
