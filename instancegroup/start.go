package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Found is what a group has on the account before a Group begins.
type Found struct {
	first      listAnswer
	gpus       bool      // GPU Droplets could be listed
	remembered []Droplet // by the last process, under its names: what exists, or may exist
	unanswered []string  // its names that no create's answer came for
}

// Forget drops what the last process remembered: it is on another account.
func (f *Found) Forget() { f.remembered, f.unanswered = nil, nil }

// Remembers reports whether something exists, or may exist, that the last process remembered.
func (f *Found) Remembers() bool { return len(f.remembered)+len(f.unanswered) > 0 }

// findsAtOnce is how many Find looks up. Updates do the rest, some at a time.
const findsAtOnce = 50

// Find lists the Droplets that earlier plugin processes left, and looks up what the last
// one on this host remembered and lists lack: lists lag, and somebody may have deleted the
// group's tag. It changes nothing.
//
// GPU Droplets are listed too, since the sizes may have been others. Unless gpus is set the
// group does without them when that fails.
func Find(ctx context.Context, cloud Cloud, log Logger, group string, gpus bool, remembered map[string]int64) (Found, error) {
	f := Found{first: listAnswer{began: time.Now()}, gpus: true}
	tag := GroupTag(group)
	list, err := cloud.List(ctx, tag, true)
	if err != nil && !gpus && !errors.Is(err, ErrUnauthorized) {
		failed := err
		f.gpus = false
		if list, err = cloud.List(ctx, tag, false); err == nil {
			log.Warn("GPU Droplets cannot be listed: those of an earlier configuration are not seen",
				"request_id", requestID(failed), "err", failed)
		}
	}
	if err != nil {
		return Found{}, fmt.Errorf("list the Droplets with the tag %s: %w", tag, err)
	}
	names := map[int64]string{} // which somebody may have changed since
	for name, id := range remembered {
		if id == 0 {
			f.unanswered = append(f.unanswered, name)
			continue
		}
		names[id] = name
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Keys(names)), list.has)
	if len(missing) > 1 {
		if more, err := cloud.List(ctx, CommonTag, f.gpus); err == nil {
			list = join(list, more)
			missing = slices.DeleteFunc(missing, list.has)
		}
	}
	f.first.List = list
	unlisted := concurrently(missing, func(id int64) Droplet {
		if slices.Index(missing, id) < findsAtOnce {
			if d, err := cloud.Get(ctx, id); err == nil || errors.Is(err, ErrNotFound) {
				return d
			}
		}
		return Droplet{ID: id} // it may exist
	})
	for _, d := range slices.Concat(list.Droplets, unlisted) {
		if d.Name = names[d.ID]; d.ID != 0 && d.Name != "" && !Kept(d) {
			f.remembered = append(f.remembered, d)
		}
	}
	return f, nil
}

// Start makes a Group and takes over what Find found. It asks DigitalOcean nothing. What
// other runs make after Find is left alone, unless they are DeadRuns: they may be another
// manager's.
func Start(s Settings, cloud Cloud, log Logger, f Found) *Group {
	g := &Group{
		Settings:   s,
		cloud:      cloud,
		log:        log,
		serial:     serial{increase: make(ctxMutex, 1), update: make(ctxMutex, 1)},
		mu:         &sync.Mutex{},
		instances:  instances{byName: map[string]*instance{}, byID: map[int64]*instance{}, ended: map[int64]bool{}},
		placements: placements{order: s.Placements, cooling: map[Placement]backoff{}},
		limit:      logLimit{},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.listing.succeeded(&f.first)
	take := func(d Droplet) *instance {
		i := g.takeOver(d, now)
		i.listedSince, i.unresolved = time.Time{}, true // if lists lack it that proves nothing
		return i
	}
	var unseen []Droplet
	for _, d := range f.remembered { // first, since somebody may have renamed it
		if d.Status == "" {
			unseen = append(unseen, d)
			continue
		}
		g.apply(take(d), observation{byID: true, present: true, droplet: d, asked: f.first.began}, now)
	}
	for _, d := range f.first.Droplets {
		g.match(d, now)
	}
	for _, d := range unseen { // last, since it may not exist
		take(d)
	}
	g.logTakeOver(g.instances.all)
	f.unanswered = slices.DeleteFunc(f.unanswered, func(name string) bool { return g.instances.byName[name] != nil })
	for _, name := range f.unanswered { // as if this process had sent them (TestKilledInCreate)
		g.instances.add(instance{Droplet: Droplet{Name: name}, requested: now, confirmed: now})
	}
	if len(f.unanswered) > 0 {
		g.log.Warn(notConfirmed, "names", strings.Join(f.unanswered, " "), "by", "the last plugin process")
	}
	g.listed(&f.first, now)
	g.listing.started = f.first.began.Add(g.listing.skew)
	for _, i := range g.instances.all {
		g.GPUs = g.GPUs || f.gpus && GPUSize(i.Size)
	}
	for _, d := range g.listing.kept {
		g.GPUs = g.GPUs || f.gpus && GPUSize(d.Size)
	}
	return g
}

// logTakeOver logs which Droplets were taken over. Those of runs that this host
// does not know may be a living manager's.
func (g *Group) logTakeOver(is []*instance) {
	var known, unknown []Droplet
	for _, i := range is {
		switch {
		case i.hidden:
		case slices.Contains(g.DeadRuns, RunOf(g.Name, i.Name)):
			known = append(known, i.Droplet)
		default:
			unknown = append(unknown, i.Droplet)
		}
	}
	if len(known) > 0 {
		g.log.Info("took over the Droplets of earlier plugin processes", summary(known)...)
	}
	if len(unknown) > 0 {
		g.log.Warn("took over Droplets of plugin processes that this host does not know: if their manager is alive, stop one of the two "+
			"or give it a plugin_config.name of its own", summary(unknown)...)
	}
}
