package inventory

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

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
	// A token has 250 requests a minute, and the runner that shares it needs the other half. A
	// Droplet takes three: it is read, deleted, and read again.
	pace  = time.Minute / 140
	burst = 10

	// While a Droplet does not go it is looked at more and more seldom.
	pollFirst, pollMost = time.Second, 20 * time.Second

	// A deletion that was accepted and is not carried out, or was refused, is repeated
	// after a pause that doubles up to five times: hammering got accounts blocked.
	acceptedPause, refusedPause = time.Minute, 5 * time.Second

	// What is not found, though it was listed and not deleted, has to be missing for so long:
	// somebody else deletes it, or the answer lags.
	missingFor = 10 * time.Second

	// stepBound is what reading and deleting may take together. So what is deleted was read just before.
	stepBound = 30 * time.Second
)

// Delete deletes Droplets of groups of one account, and repeats that until DigitalOcean
// does not have them any more. progress is called now and then, one call at a time, with those
// that it may still have.
//
// It returns when all are gone, when the rest is left alone, when ctx ends, or when the
// token may not do it; the last two are its error. What remains may still be on its way
// out then.
//
// Invariant: before each deletion the Droplet is read again, and left alone if it has
// left its group or a person keeps it. (TestDeleteLeavesAlone)
func Delete(ctx context.Context, api *digitalocean.Client, droplets []instancegroup.Droplet, progress func([]Remaining)) ([]Remaining, error) {
	var all []*target
	for _, d := range droplets {
		all = append(all, &target{Droplet: d})
	}
	var mu sync.Mutex // guards gone and why
	remaining := func() (left []Remaining) {
		for _, t := range all {
			if !t.gone {
				left = append(left, Remaining{t.Droplet, t.why})
			}
		}
		return left
	}
	limit := rate.NewLimiter(rate.Every(pace), burst)
	group, deleting := errgroup.WithContext(ctx) // what is permanent for one is so for all
	for _, t := range all {
		group.Go(func() error {
			for began := time.Now(); ; {
				requests := 1
				if t.due() {
					requests = 2
				}
				if err := sleep(deleting, limit.ReserveN(time.Now(), requests).Delay()); err != nil {
					return err
				}
				gone, why := t.step(deleting, api, requests == 2)
				if deleting.Err() != nil {
					return deleting.Err() // which is all that is wrong
				}
				mu.Lock()
				t.gone, t.why = gone, why
				progress(remaining())
				mu.Unlock()
				switch {
				case gone, LeftAlone(why):
					return nil
				case Permanent(why):
					return why
				}
				pause := max(pollFirst, min(pollMost, time.Since(began)/10))
				if !t.missing.IsZero() {
					pause = max(pause, missingFor)
				}
				if err := sleep(deleting, pause); err != nil {
					return err
				}
			}
		})
	}
	err := group.Wait()
	left := remaining()
	for i := range left {
		if left[i].Why == nil && Permanent(err) {
			left[i].Why = err
		}
	}
	progress(left)
	return left, err
}

// target is one Droplet that is to be deleted, as it was chosen.
type target struct {
	instancegroup.Droplet
	gone bool
	why  error // of the last request about it that failed, or why it is left alone

	tries   int       // deletions
	next    time.Time // none is asked for before then
	missing time.Time // since when it is not found; zero = it was there
}

func (t *target) due() bool { return !time.Now().Before(t.next) }

// step reads a Droplet, and deletes it if that is to be.
func (t *target) step(ctx context.Context, api *digitalocean.Client, due bool) (gone bool, why error) {
	ctx, cancel := context.WithTimeout(ctx, stepBound)
	defer cancel()
	now, err := api.Get(digitalocean.Once(ctx), t.ID)
	if !errors.Is(err, instancegroup.ErrNotFound) {
		t.missing = time.Time{}
	} else if t.missing.IsZero() {
		t.missing = time.Now()
	}
	switch group := instancegroup.GroupOf(t.Droplet); {
	case !t.missing.IsZero() && (t.tries > 0 || time.Since(t.missing) >= missingFor):
		return true, nil
	case err != nil:
		return false, err
	case group == "" || instancegroup.GroupOf(now) != group:
		return false, errForeign
	case instancegroup.Kept(now):
		return false, errKept
	case !due:
		return false, t.why
	}
	_, err = api.Delete(ctx, t.ID)
	pause := refusedPause
	if err == nil {
		pause = acceptedPause
	}
	t.next = time.Now().Add(pause << min(t.tries, 5))
	t.tries++
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
	return errors.Is(err, instancegroup.ErrUnauthorized) || errors.Is(err, instancegroup.ErrForbidden) || errors.Is(err, instancegroup.ErrOtherAccount)
}
