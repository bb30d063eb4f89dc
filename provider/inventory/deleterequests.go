package inventory

import (
	"context"
	"errors"
	"slices"
	"sync"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// list looks at many. A list may be wrong, or lack what has lost the tag: what it lacks is
// gone if it was deleted, and if DigitalOcean does not know those of it either that were
// deleted last.
func (d *deletion) list(ctx context.Context, many []*target) error {
	bounded, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	l, err := d.api.List(bounded, instancegroup.CommonTag, d.gpus)
	d.requests += max(1, l.Requests)
	if err != nil {
		for _, t := range many {
			t.why = err
		}
		return err
	}
	listed := map[int64]*instancegroup.Droplet{}
	for i := range l.Droplets {
		listed[l.Droplets[i].ID] = &l.Droplets[i]
	}
	var deleted, others []*target // that it lacks
	for _, t := range many {
		switch t.now = listed[t.ID]; {
		case t.now != nil:
		case t.accepted > 0:
			deleted = append(deleted, t)
		default:
			others = append(others, t)
		}
	}
	sample := deleted[max(0, len(deleted)-few):]
	err = d.lookUp(ctx, slices.Concat(sample, others[:min(len(others), few)]))
	if !slices.ContainsFunc(sample, func(t *target) bool { return !t.gone }) {
		for _, t := range deleted {
			t.gone = true
		}
	}
	return err
}

// lookUp looks at a few.
func (d *deletion) lookUp(ctx context.Context, some []*target) error {
	return d.each(ctx, some, func(ctx context.Context, t *target) error {
		found, err := d.api.Get(ctx, t.ID)
		switch {
		case err == nil:
			t.now = &found
		case errors.Is(err, instancegroup.ErrNotFound):
			t.gone = true
			return nil
		default:
			t.why = err
		}
		return err
	})
}

// byID deletes a few by their ids. One that does not exist is seen to be gone next time.
func (d *deletion) byID(ctx context.Context, some []*target) error {
	return d.each(ctx, some, func(ctx context.Context, t *target) error {
		_, err := d.api.Delete(ctx, t.ID)
		t.sent(err)
		if errors.Is(err, instancegroup.ErrNotFound) {
			return nil
		}
		return err
	})
}

// byTag deletes many by a tag that was on nothing before, so that what a person keeps
// meanwhile does not go with the next ones. If that fails they go by their ids.
func (d *deletion) byTag(ctx context.Context, many []*target) error {
	bounded, cancel := context.WithTimeout(ctx, requestBound)
	defer cancel()
	tag := instancegroup.DeleteTag(instancegroup.GroupOf(many[0].Droplet)) + "-" + instancegroup.NewRun()
	d.tags = append(d.tags, tag)
	d.requests += 3 // it is made, put on, and deleted by
	var ids []int64
	for _, t := range many {
		ids = append(ids, t.ID)
	}
	err := d.api.TagDroplets(bounded, tag, ids)
	if err == nil {
		_, err = d.api.DeleteTagged(bounded, tag)
	}
	for _, t := range many {
		t.sent(err)
	}
	d.noTag = err != nil
	return nil
}

// removeTags takes the delete tags off the account, also when ctx has ended. One that
// stays costs nothing, and sweep finds it.
func (d *deletion) removeTags(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupBound)
	defer cancel()
	for _, tag := range d.tags {
		_ = d.api.RemoveTag(ctx, tag)
	}
}

// each sends one bounded request about each of some, at once. Its error is a permanent
// one if there is any.
func (d *deletion) each(ctx context.Context, some []*target, send func(context.Context, *target) error) error {
	d.requests += len(some)
	errs := make([]error, len(some))
	var wg sync.WaitGroup
	for i, t := range some {
		wg.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, requestBound)
			defer cancel()
			errs[i] = send(bounded, t)
		})
	}
	wg.Wait()
	var last error
	for _, err := range errs {
		if err != nil && !permanent(last) {
			last = err
		}
	}
	return last
}
