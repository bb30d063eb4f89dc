package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Found is what a group has on the account before a Group begins.
type Found struct {
	list       List
	began      time.Time
	gpus       bool             // GPU Droplets could be listed
	names      map[int64]string // what the last process remembered, which somebody may have renamed
	remembered []Droplet        // of these, what lists lack and may exist
}

// Forget drops what the last process remembered: it is on another account.
func (f *Found) Forget() { f.names, f.remembered = nil, nil }

// findsAtOnce is how many Find looks up. Updates do the rest, some at a time.
const findsAtOnce = 50

// Find lists the Droplets that earlier plugin processes left, and looks up what
// the last one on this host remembered and lists lack: lists lag behind a create
// of seconds ago, and somebody may have deleted the group's tag. It changes
// nothing.
//
// GPU Droplets are listed whatever the sizes are now, which may have been others.
// Unless gpus is set the group does without them when that fails.
func Find(ctx context.Context, cloud Cloud, log Logger, group string, gpus bool, remembered map[string]int64) (Found, error) {
	f := Found{began: time.Now(), gpus: true, names: map[int64]string{}}
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
	f.list = list
	for name, id := range remembered {
		f.names[id] = name
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Values(remembered)), f.list.has)
	if len(missing) > 1 {
		if more, err := cloud.List(ctx, CommonTag, f.gpus); err == nil {
			f.list = join(f.list, more)
			missing = slices.DeleteFunc(missing, f.list.has)
		}
	}
	f.remembered = concurrently(missing, func(id int64) Droplet {
		if slices.Index(missing, id) < findsAtOnce {
			if d, err := cloud.Get(ctx, id); err == nil || errors.Is(err, ErrNotFound) {
				return d
			}
		}
		return Droplet{ID: id} // it may exist
	})
	return f, nil
}

// Start makes a Group and takes over what Find found. It asks DigitalOcean
// nothing.
//
// That a run left Droplets does not say that it has ended: it may be another
// manager's. What it makes after Find is therefore left alone, unless it is one
// of DeadRuns.
func Start(s Settings, cloud Cloud, log Logger, f Found) *Group {
	g := &Group{
		Settings:   s,
		cloud:      cloud,
		log:        log,
		serial:     serial{increase: make(ctxMutex, 1), update: make(ctxMutex, 1)},
		mu:         &sync.Mutex{},
		instances:  instances{byName: map[string]*instance{}, byID: map[int64]*instance{}, ended: map[int64]bool{}},
		listing:    listing{gpus: s.GPUs},
		placements: placements{order: s.Placements, cooling: map[Placement]cooldown{}},
		limit:      logLimit{},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	first := &listAnswer{List: f.list, began: f.began}
	g.listing.succeeded(first)
	g.listing.started = f.began.Add(g.listing.skew)
	take := func(d Droplet) *instance {
		g.listing.gpus = g.listing.gpus || f.gpus && GPUSize(d.Size)
		return g.takeOver(d, now)
	}
	for _, d := range f.list.Droplets {
		ours := Owns(g.Name, d)
		if name := f.names[d.ID]; name != "" {
			d.Name, ours = name, true
		}
		if ours && !Kept(d) {
			take(d)
		}
	}
	for _, d := range f.remembered {
		if d.ID == 0 || Kept(d) {
			continue
		}
		d.Name = f.names[d.ID]
		i := take(d)
		i.listedSince, i.unresolved = time.Time{}, true // that lists lack it proves nothing
		if d.Status != "" {
			g.apply(i, observation{byID: true, present: true, droplet: d, asked: f.began}, now)
		}
	}
	g.listed(first, now)
	g.logTakeOver(g.instances.all)
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
