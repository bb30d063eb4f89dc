package instancegroup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// removeMost is the longest that Remove waits between two looks.
const removeMost = 20 * time.Second

// Remove destroys Droplets of a group for a person, whether a manager is at work on
// it or not: as a Group does it, many by one tag, again and again until lists prove
// that they are gone. Nothing else of the group is touched or judged.
//
// progress, unless it is nil, is told now and then how many are left. Remove returns
// when none is, when ctx ends, or when the token may not do it; left are then those
// that are not proved to be gone, and may be on their way out. An error before
// anything was sent says so.
//
// Invariant: only what the group owns is destroyed, or made and lost.
// (TestRemoveOnlyWhatIsOwned)
func Remove(ctx context.Context, cloud Cloud, log Logger, group string, doomed []Droplet, progress func(left int)) (left []Droplet, err error) {
	g := New(Settings{Name: group, Run: NewSuffix()}, cloud, log)
	g.chosen, g.bill.since = true, time.Now()
	for _, d := range doomed {
		adrift := AdriftFrom(d) == group
		if !Owns(group, d) && !adrift {
			return doomed, fmt.Errorf("Droplet %d (%s) is not of group %s; nothing was destroyed", d.ID, d.Name, group)
		}
		m := g.takeStray(d, time.Now())
		m.phase, m.reason = deleting, "a person asked for it"
		m.lookedUp = adrift // no list has it, so that none proves that it is gone
		g.gpus = g.gpus || GPUSize(d.Size)
	}
	began := time.Now()
	for len(g.strays) > 0 && err == nil {
		// What takes long is asked for less and less often: the token is the runner's.
		if err = pause(ctx, min(removeMost, time.Since(began)/10)); err != nil {
			break
		}
		err = g.Update(ctx, func(string, State) {})
		switch refused := g.refusedDeletes.err; {
		case ctx.Err() != nil:
			err = ctx.Err()
		case hopeless(err):
		case hopeless(refused):
			err = refused
		default:
			err = nil // time heals it; what fails has been logged
		}
		if progress != nil {
			progress(len(g.strays))
		}
	}
	for _, m := range g.strays {
		left = append(left, m.droplet)
	}
	slices.SortFunc(left, func(a, b Droplet) int { return cmp.Compare(a.ID, b.ID) })
	if g.bulk {
		g.dropBulkTag(ctx)
	}
	g.endLife()
	return left, err
}

// dropBulkTag takes the tag off the account that Remove destroyed by, also when ctx
// has ended: nothing else does.
func (g *Group) dropBulkTag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), bulkBound)
	defer cancel()
	if err := g.cloud.DeleteTag(ctx, BulkTag(g.Run)); err != nil {
		g.log.Warn("a tag stays on the account, on nothing that lives", "tag", BulkTag(g.Run), "err", err)
	}
}
