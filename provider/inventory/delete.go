package inventory

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

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
	// A round looks up a batch and deletes a batch, each at once. The next one begins so
	// much later that the pace is kept: a token has 250 requests a minute, and the runner
	// that shares it needs the other half. So a Droplet takes a second. While none
	// goes they are looked at more and more seldom.
	batch                 = 10
	pace                  = time.Second / 2
	roundFirst, roundMost = time.Second, 20 * time.Second

	// A deletion that was accepted and is not carried out, or was refused, is repeated
	// after a pause that doubles up to five times: hammering got accounts blocked.
	acceptedPause, refusedPause = time.Minute, 5 * time.Second

	// roundBound is what a round may take. So a deletion follows soon after what was seen.
	roundBound = 30 * time.Second
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
	}
	for moved := time.Now(); ; {
		before := len(d.left)
		d.requests = 0
		err := d.round(ctx)
		if len(d.left) < before {
			moved = time.Now()
		}
		remaining := d.remaining()
		progress(remaining)
		switch {
		case ctx.Err() != nil:
			return remaining, ctx.Err()
		case Permanent(err):
			return remaining, err
		case len(d.left) == 0:
			return remaining, nil
		}
		wait := max(roundFirst, min(roundMost, time.Since(moved)/10), time.Duration(d.requests)*pace)
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
	requests int       // of this round
}

// target is one Droplet that is to be deleted, as it was chosen. Only one goroutine at a
// time has it.
type target struct {
	instancegroup.Droplet
	now  *instancegroup.Droplet // as this round saw it; nil = it did not
	gone bool
	why  error // of the last request about it that failed

	looked time.Time // when it was last looked up
	tries  int       // deletions
	next   time.Time // none is asked for before then
}

// round looks at what is left, and deletes what is due of it. Its error is a permanent
// one, or one that concerns all.
func (d *deletion) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundBound)
	defer cancel()
	err := d.look(ctx)
	d.left = slices.DeleteFunc(d.left, d.settled)
	if err != nil {
		return err
	}
	var due []*target
	for _, t := range d.left {
		if t.now != nil && !time.Now().Before(t.next) && len(due) < batch {
			due = append(due, t)
		}
	}
	return d.each(ctx, due, func(ctx context.Context, t *target) error {
		_, t.why = d.api.Delete(ctx, t.ID)
		pause := refusedPause
		if t.why == nil {
			pause = acceptedPause
		}
		t.next = time.Now().Add(pause << min(t.tries, 5))
		t.tries++
		return t.why
	})
}

// look finds out what there is. A list may be wrong, lack what has lost the tag, and has no
// GPU Droplets: what it lacks is looked up.
func (d *deletion) look(ctx context.Context) error {
	l, err := d.api.List(ctx, instancegroup.CommonTag, false)
	d.requests += max(1, l.Requests)
	listed := map[int64]*instancegroup.Droplet{}
	for i := range l.Droplets {
		listed[l.Droplets[i].ID] = &l.Droplets[i]
	}
	var unlisted []*target
	for _, t := range d.left {
		t.now = listed[t.ID]
		if err != nil {
			t.why = err
		} else if t.now == nil {
			unlisted = append(unlisted, t)
		}
	}
	if err != nil {
		return err
	}
	// Longest unlooked first, so that every one has its turn.
	slices.SortStableFunc(unlisted, func(a, b *target) int { return a.looked.Compare(b.looked) })
	return d.each(ctx, unlisted[:min(len(unlisted), batch)], func(ctx context.Context, t *target) error {
		t.looked = time.Now()
		found, err := d.api.Get(ctx, t.ID)
		switch {
		case err == nil:
			t.now = &found
		case errors.Is(err, instancegroup.ErrNotFound):
			t.gone = true
		default:
			t.why = err
		}
		return err
	})
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

// remaining returns what may still exist.
func (d *deletion) remaining() []Remaining {
	var out []Remaining
	for _, t := range slices.Concat(d.left, d.alone) {
		out = append(out, Remaining{t.Droplet, t.why})
	}
	return out
}

// each sends one request about each of some. Its error is a permanent one.
func (d *deletion) each(ctx context.Context, some []*target, send func(context.Context, *target) error) error {
	d.requests += len(some)
	var all errgroup.Group
	for _, t := range some {
		all.Go(func() error {
			if err := send(ctx, t); Permanent(err) {
				return err
			}
			return nil
		})
	}
	return all.Wait()
}

// Permanent reports whether err is one that time does not heal.
func Permanent(err error) bool {
	return errors.Is(err, instancegroup.ErrUnauthorized) || errors.Is(err, instancegroup.ErrForbidden) || errors.Is(err, instancegroup.ErrOtherAccount)
}
