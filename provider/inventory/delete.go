package inventory

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Remaining is a Droplet that is to be deleted, as it was chosen, and is not confirmed to be gone.
type Remaining struct {
	instancegroup.Droplet
	Why error // what went wrong last, or why it is left alone; nil = DigitalOcean accepted its deletion, and still has it

	gone    bool
	tries   int       // deletions
	next    time.Time // none is asked for before then
	missing bool      // it was not found the last time
}

var (
	errKept    = errors.New("a person keeps it, by the tag " + instancegroup.KeepTag + ": it is left alone")
	errForeign = errors.New("it does not belong to the group any more, by its name and tags: it is left alone")
)

const (
	// A token has 250 requests a minute, and the runner that shares it needs the other half. A
	// Droplet takes three: it is read, deleted, and read again.
	pace  = time.Minute / 140
	burst = 10

	// While a Droplet does not go it is looked at more and more seldom.
	pollFirst, pollMost = time.Second, 20 * time.Second

	// A deletion that was accepted and is not carried out, or was refused, is repeated
	// after a pause that doubles up to five times: hammering got accounts blocked.
	acceptedPause, refusedPause = time.Minute, 5 * time.Second

	// What is not found, though it was listed and not deleted, is looked for once more after
	// so long: somebody else deletes it, or the answer lags.
	missingFor = 10 * time.Second

	// stepBound is what reading and deleting may take together. So what is deleted was read just before.
	stepBound = 30 * time.Second
)

// Delete deletes Droplets of groups of one account, and repeats that until DigitalOcean
// does not have them any more. progress is called now and then, one call at a time, with how
// many it may still have.
//
// It returns when all are gone, when the rest is left alone, when ctx ends, or when the
// token may not do it; the last two are its error. What remains may still be on its way
// out then.
//
// Invariant: before each deletion the Droplet is read again, and left alone if it has
// left its group or a person keeps it. (TestDeleteLeavesAlone)
func Delete(ctx context.Context, api *digitalocean.Client, droplets []instancegroup.Droplet, progress func(left int)) ([]Remaining, error) {
	all := make([]Remaining, len(droplets))
	left := len(all)
	var mu sync.Mutex // guards left
	limit := rate.NewLimiter(rate.Every(pace), burst)
	group, deleting := errgroup.WithContext(ctx) // what is permanent for one is so for all
	for i := range all {
		r := &all[i]
		r.Droplet = droplets[i]
		group.Go(func() error {
			err := r.delete(deleting, api, limit)
			if r.gone {
				mu.Lock()
				defer mu.Unlock()
				left--
				progress(left)
			}
			return err
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(all, func(r Remaining) bool { return r.gone }), err
}

// delete repeats step until the Droplet is gone or left alone. Its error says why it cannot go on.
func (r *Remaining) delete(ctx context.Context, api *digitalocean.Client, limit *rate.Limiter) error {
	for began := time.Now(); ; {
		due, requests := !time.Now().Before(r.next), 1
		if due {
			requests = 2
		}
		if err := sleep(ctx, limit.ReserveN(time.Now(), requests).Delay()); err != nil {
			return err
		}
		gone, why := r.step(ctx, api, due)
		if ctx.Err() != nil {
			return ctx.Err() // which is all that is wrong
		}
		r.gone, r.Why = gone, why
		switch {
		case gone, LeftAlone(why):
			return nil
		case Permanent(why):
			return why
		}
		pause := max(pollFirst, min(pollMost, time.Since(began)/10))
		if r.missing {
			pause = max(pause, missingFor)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// step reads a Droplet, and deletes it if that is due.
func (r *Remaining) step(ctx context.Context, api *digitalocean.Client, due bool) (gone bool, why error) {
	ctx, cancel := context.WithTimeout(ctx, stepBound)
	defer cancel()
	now, err := api.Get(digitalocean.Once(ctx), r.ID)
	before := r.missing
	r.missing = errors.Is(err, instancegroup.ErrNotFound)
	switch group := instancegroup.GroupOf(r.Droplet); {
	case r.missing && (before || r.tries > 0):
		return true, nil
	case err != nil:
		return false, err
	case group == "" || instancegroup.GroupOf(now) != group:
		return false, errForeign
	case instancegroup.Kept(now):
		return false, errKept
	case !due:
		return false, r.Why
	}
	_, err = api.Delete(ctx, r.ID)
	pause := refusedPause
	if err == nil {
		pause = acceptedPause
	}
	r.next = time.Now().Add(pause << min(r.tries, 5))
	r.tries++
	return false, err
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// LeftAlone reports whether err is that a Droplet is none to delete any more.
func LeftAlone(err error) bool { return errors.Is(err, errKept) || errors.Is(err, errForeign) }

// Permanent reports whether err is one that time does not heal.
func Permanent(err error) bool {
	return errors.Is(err, instancegroup.ErrUnauthorized) || errors.Is(err, instancegroup.ErrForbidden) ||
		errors.Is(err, instancegroup.ErrOtherAccount)
}
