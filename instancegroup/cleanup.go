package instancegroup

import (
	"errors"
	"slices"
	"time"
)

// cleanup is what keeps the console in order. Failing at it stops nothing.
// Guarded by Group.mu.
type cleanup struct {
	project map[int64]int // new Droplets that are not in the project yet: attempts to assign each
}

// assignTries is how often assigning a Droplet to the project is tried.
const assignTries = 3

// toAssign returns the new Droplets to assign to the project now. A Droplet is
// assigned once lists show it: before that DigitalOcean may not know its URN.
// Called with mu held.
func (g *Group) toAssign() []int64 {
	var ids []int64
	for id := range g.cleanup.project {
		if i := g.instances.byID[id]; i != nil && i.listed && i.phase < deleting && len(ids) < MaxAssign {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (g *Group) recordAssigned(ids []int64, err error) {
	if len(ids) == 0 || errors.Is(err, ErrRateLimited) { // not tried
		return
	}
	first := false
	for _, id := range ids {
		tries := g.cleanup.project[id] + 1
		first = first || tries == 1
		g.cleanup.project[id] = tries
		if err == nil || tries >= assignTries {
			delete(g.cleanup.project, id)
		}
	}
	switch {
	case err == nil:
		g.log.Debug("Droplets assigned to the project", "project", g.Project, "count", len(ids))
	case first:
		g.log.Warn("Droplets could not be assigned to the project; it is tried twice more, then they stay in the default one",
			"project", g.Project, "ids", ids, "request_id", requestID(err), "err", err)
	}
}

// recordTagRemoved notes whether the idle delete tag is off the account. A token
// that may not remove it never will.
func (g *Group) recordTagRemoved(err error) {
	if err == nil || errors.Is(err, ErrNotFound) {
		g.deletions.tagged, g.deletions.noTag = false, time.Time{}
		return
	}
	if errors.Is(err, ErrForbidden) {
		g.deletions.tagged = false
		g.log.Warn("the delete tag stays on the account, on nothing that lives", "tag", DeleteTag(g.Name, g.Run),
			"request_id", requestID(err), "err", err)
	}
}
