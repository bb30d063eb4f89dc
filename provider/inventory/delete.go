package inventory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

var (
	errKept    = errors.New("a person keeps it, by the tag " + instancegroup.KeepTag + ": it is left alone")
	errForeign = errors.New("it does not belong to the group any more, by its name and tags: it is left alone")
)

// LeftAlone reports whether Delete did not delete it because it is none to delete.
func (i *Item) LeftAlone() bool { return errors.Is(i.Why, errKept) || errors.Is(i.Why, errForeign) }

const (
	// Of a token's 250 requests a minute the runner needs the other half. A Droplet takes three: read, delete, read.
	pace, burst = time.Minute / 140, 10

	pollFirst, pollMost = time.Second, 20 * time.Second // while a Droplet does not go, more and more seldom

	// Pauses after a deletion that was accepted, or refused; they double up to five times: hammering got accounts blocked.
	acceptedPause, refusedPause = time.Minute, 5 * time.Second

	missingFor = 10 * time.Second // what is not found and was not deleted is looked for again: lists lag
	stepBound  = 30 * time.Second // of reading and deleting: what is deleted was read just before
	restBound  = 20 * time.Second // of one key: the others, and a manager that wants to start, wait for it
	lagBound   = 30 * time.Second // of waiting for lists
)

// Delete deletes items of one account, and notes at each that it is deleted, or why not: Droplets first, all at once, repeated
// until each is gone, ctx ends or the token may not; then keys of groups whose Droplets are all gone. progress is called now
// and then, one call at a time.
//
// Invariant: before each deletion the Droplet is read again, and left alone if it has
// left its group or a person keeps it. (TestDeleteLeavesAlone)
func Delete(ctx context.Context, api *digitalocean.Client, items []*Item, progress func(gone, of int)) {
	droplets := slices.DeleteFunc(slices.Clone(items), func(i *Item) bool { return i.Kind != DropletKind })
	var mu sync.Mutex // guards gone
	gone := 0
	if len(droplets) > 0 {
		progress(0, len(droplets))
	}
	limit := rate.NewLimiter(rate.Every(pace), burst)
	group, deleting := errgroup.WithContext(ctx) // what is permanent for one is so for all
	for _, i := range droplets {
		group.Go(func() error {
			err := i.deleteDroplet(deleting, api, limit)
			switch {
			case i.Deleted:
				mu.Lock()
				defer mu.Unlock()
				gone++
				progress(gone, len(droplets))
			case i.LeftAlone():
			case i.Why != nil && ctx.Err() != nil: // what went wrong last
				i.Why = fmt.Errorf("%w: %w", err, i.Why)
			default:
				i.Why = err
			}
			return err
		})
	}
	_ = group.Wait() // each has its own
	leaveLists(ctx, api, droplets)
	left := map[string]bool{} // groups
	for _, i := range droplets {
		left[i.Group] = left[i.Group] || !i.Deleted
	}
	for _, i := range items {
		if i.Kind == DropletKind || left[i.Group] {
			continue
		}
		one, cancel := context.WithTimeout(ctx, restBound)
		i.Why = api.DeleteKey(one, i.fingerprint)
		cancel()
		switch {
		case i.Why == nil, errors.Is(i.Why, instancegroup.ErrNotFound):
			i.Deleted, i.Why = true, nil
		case ctx.Err() != nil:
			i.Why = context.Cause(ctx) // what failed is its doing
		}
	}
}

// leaveLists waits until lists do not show any more what is gone: they lag, and a runner that starts meanwhile would take it
// over, and find no room for others. (TestDeleteWaitsForLists)
func leaveLists(ctx context.Context, api *digitalocean.Client, droplets []*Item) {
	ctx, cancel := context.WithTimeout(ctx, lagBound)
	defer cancel()
	gone := map[int64]bool{}
	for _, i := range droplets {
		if i.Deleted {
			gone[i.Droplet.ID] = true
		}
	}
	for len(gone) > 0 {
		l, err := api.List(ctx, instancegroup.CommonTag, true)
		shown := slices.ContainsFunc(l.Droplets, func(d instancegroup.Droplet) bool { return gone[d.ID] })
		if err != nil || !shown || sleep(ctx, pollFirst) != nil {
			return
		}
	}
}

// deleteDroplet repeats a deletion until the Droplet is gone or left alone. Its error says why it cannot go on: for ctx's
// cause, or because the token may not do it.
func (i *Item) deleteDroplet(ctx context.Context, api *digitalocean.Client, limit *rate.Limiter) error {
	began, next := time.Now(), time.Now() // no deletion before next
	deletions, missing := 0, false        // missing: the last answer was that it is not there
	for {
		due, requests := !time.Now().Before(next), 1
		if due {
			requests = 2
		}
		if err := sleep(ctx, limit.ReserveN(time.Now(), requests).Delay()); err != nil {
			return err
		}
		sent, err := i.attempt(ctx, api, due)
		if ctx.Err() != nil {
			return context.Cause(ctx) // which is all that is wrong
		}
		if sent || err != nil { // else what went wrong last still holds
			i.Why = err
		}
		if sent {
			pause := acceptedPause
			if err != nil {
				pause = refusedPause
			}
			next = time.Now().Add(pause << min(deletions, 5))
			deletions++
		}
		pause := max(pollFirst, min(pollMost, time.Since(began)/10))
		switch {
		case i.LeftAlone():
			return nil
		case errors.Is(err, instancegroup.ErrUnauthorized), errors.Is(err, instancegroup.ErrForbidden),
			errors.Is(err, instancegroup.ErrOtherAccount):
			return err
		case sent || !errors.Is(err, instancegroup.ErrNotFound):
			missing = false
		case deletions > 0 || missing:
			i.Deleted = true
			return nil
		default:
			missing = true
			pause = max(pause, missingFor)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// attempt reads the Droplet, and then asks for its deletion if one is due and nothing is against it. It reports whether it did.
func (i *Item) attempt(ctx context.Context, api *digitalocean.Client, due bool) (sent bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stepBound)
	defer cancel()
	now, err := api.Get(digitalocean.Once(ctx), i.Droplet.ID)
	switch {
	case err != nil:
		return false, err
	case i.Group == "" || instancegroup.GroupOf(now) != i.Group:
		return false, errForeign
	case instancegroup.Kept(now):
		return false, errKept
	case !due:
		return false, nil
	}
	_, err = api.Delete(ctx, i.Droplet.ID)
	return true, err
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
