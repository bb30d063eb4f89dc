// Package instancegroup decides what happens to a group of Droplets: which are
// created where, what the runner is told of them, which are deleted, and what
// is left alone. It knows DigitalOcean through the interface Cloud and the
// runner not at all, and uses the standard library only.
//
// What must hold, whatever DigitalOcean answers:
//
//   - No create is sent twice for one name; only a definite refusal frees it.
//     (TestIncreaseNeverReusesAName)
//   - What Increase accepted is shown by Update until it is gone.
//     (TestAcceptedIsAlwaysShown)
//   - A Droplet that lives is never shown as deleted, unless a person keeps it.
//     (TestDecide, FuzzDecide)
//   - A Droplet of somebody else is never touched. (TestOwnership)
//   - There are never more Droplets than MaxInstances, except for the seconds of
//     one that appears after it was given up, and is deleted.
//     (TestIncreaseIsClampedToMaxInstances, TestLateRiser)
//   - No call takes longer than its bound, and none leaves a goroutine.
//     (TestBoundsWhenDigitalOceanHangs)
//
// TestAnything holds all of them together against random histories.
//
// Read on in reconcile.go: Update is the loop that everything else serves.
package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Settings is what a Group is made of. It is not changed after Start.
type Settings struct {
	Name string // the group's
	Run  string // this process's, from NewRun

	// DeadRuns are earlier runs of this group and host that are known to have
	// ended: their Droplets are taken over whenever they appear.
	DeadRuns []string

	Placements    []Placement // in the order they are tried
	Image         Image       // unless ImageTag
	ImageTag      string
	VPC           map[string]string // by region; none = the default VPC
	Subnet        map[string]string // by region; none = the VPC's default subnet
	Tags          []string          // the user's own
	Project       string            // "" = the account's default project
	Template      Template
	GPUs          bool // a size is a GPU size: its Droplets need a list of their own
	MaxInstances  int  // > 0
	MaxCreating   int  // 0 = no limit
	CreateTimeout time.Duration

	// Keys returns the SSH keys to create with. refused says that
	// DigitalOcean just did not know them: Keys then sees to it that it will.
	// It honours ctx. Increase calls it, one at a time.
	Keys func(ctx context.Context, refused bool) ([]string, error)

	// Save, unless it is nil, writes down the group's Droplets, by name, for the
	// next process: whenever ids came or went, before Increase returns. Calls do
	// not overlap.
	Save func(droplets map[string]int64)
}

// Logger is the part of hclog.Logger that a Group uses.
type Logger interface {
	Debug(msg string, args ...any)
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// Group is one group of Droplets. All methods may be called concurrently. No
// goroutine outlives a call.
type Group struct {
	Settings
	cloud Cloud
	log   Logger

	turns turns // who may increase, update or save: held over requests

	mu         mutex // guards all that follows; never held over a request
	closed     bool  // Shutdown has begun
	instances  instances
	listing    listing
	placements placements
	deletions  deletions
	limit      logLimit
}

// instances are the Droplets of the group, and what is known to have been one.
//
// Invariant: an instance whose id is known is in byID, under that id alone, until
// the runner was told that it is gone. (TestOwnership)
type instances struct {
	byName  map[string]*instance // what the runner sees, and creates that are in flight
	byID    map[int64]*instance  // also what is hidden from it
	seq     int
	ended   map[int64]bool // Droplets of earlier runs that are gone: lists lag
	unsaved bool           // ids came or went since the last Save
}

// all yields what the runner sees and what is hidden.
func (is *instances) all() func(func(*instance) bool) {
	return func(yield func(*instance) bool) {
		for _, i := range is.byName {
			if !yield(i) {
				return
			}
		}
		for _, i := range is.byID {
			if i.hidden && !yield(i) {
				return
			}
		}
	}
}

// add makes an instance.
func (is *instances) add(i instance) *instance {
	is.seq++
	i.seq = is.seq
	if !i.hidden {
		is.byName[i.name] = &i
	}
	if i.id != 0 {
		is.identify(&i, i.id)
	}
	return &i
}

// identify attaches DigitalOcean's id to an instance.
func (is *instances) identify(i *instance, id int64) {
	i.id = id
	is.byID[id] = i
	is.unsaved = true
}

// forget drops an instance that is gone.
func (is *instances) forget(i *instance) {
	if is.byName[i.name] == i {
		delete(is.byName, i.name)
	}
	if is.byID[i.id] == i {
		delete(is.byID, i.id)
	}
}

// living returns how many exist or may exist.
func (is *instances) living() int {
	n := 0
	for i := range is.all() {
		if i.phase != gone {
			n++
		}
	}
	return n
}

// ids returns what exists or may exist, and has an id.
func (is *instances) ids() map[string]int64 {
	ids := map[string]int64{}
	for i := range is.all() {
		if i.phase != gone && i.id != 0 && (ids[i.name] == 0 || !i.hidden) {
			ids[i.name] = i.id
		}
	}
	return ids
}

// Found is what a group has on the account before a Group begins.
type Found struct {
	list       List
	began      time.Time
	gpus       bool             // GPU Droplets could be listed
	names      map[int64]string // what the last process remembered, which somebody may have renamed
	remembered []Droplet        // of these, what lists lack and may exist
}

// Find lists the Droplets that earlier plugin processes left, and looks up what
// the last one on this host remembered and lists lack: lists lag behind a create
// of seconds ago, and somebody may have deleted the group's tag. It changes
// nothing.
//
// GPU Droplets are listed whatever the sizes are now, which may have been others.
// Unless gpus is set the group does without them when that fails.
func Find(ctx context.Context, cloud Cloud, log Logger, group string, gpus bool, remembered map[string]int64) (Found, error) {
	f := Found{began: time.Now(), names: map[int64]string{}}
	var err error
	if f.list, f.gpus, err = firstList(ctx, cloud, log, GroupTag(group), gpus); err != nil {
		return Found{}, fmt.Errorf("list the Droplets with the tag %s: %w", GroupTag(group), err)
	}
	for name, id := range remembered {
		f.names[id] = name
	}
	listed := func(id int64) bool {
		return slices.ContainsFunc(f.list.Droplets, func(d Droplet) bool { return d.ID == id })
	}
	missing := slices.DeleteFunc(slices.Sorted(maps.Values(remembered)), listed)
	if len(missing) > 1 {
		if l, err := cloud.List(ctx, CommonTag, f.gpus); err == nil {
			f.list = join(f.list, l)
			missing = slices.DeleteFunc(missing, listed)
		}
	}
	f.remembered = each(missing[:min(len(missing), findsAtOnce)], func(id int64) Droplet {
		d, err := cloud.Get(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound):
			return Droplet{}
		case err != nil: // it may exist
			return Droplet{ID: id}
		}
		return d
	})
	for _, id := range missing[len(f.remembered):] {
		f.remembered = append(f.remembered, Droplet{ID: id})
	}
	return f, nil
}

// findsAtOnce is how many Find looks up. Updates do the rest, some at a time.
const findsAtOnce = 50

// firstList also reports whether it has GPU Droplets, for which it gives half of
// the time if it may do without.
func firstList(ctx context.Context, cloud Cloud, log Logger, tag string, must bool) (List, bool, error) {
	first := ctx
	if deadline, ok := ctx.Deadline(); ok && !must {
		var cancel context.CancelFunc
		first, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	l, failed := cloud.List(first, tag, true)
	if failed == nil || must || errors.Is(failed, ErrUnauthorized) || ctx.Err() != nil {
		return l, true, failed
	}
	l, err := cloud.List(ctx, tag, false)
	if err == nil {
		log.Warn("GPU Droplets cannot be listed; no size is one, so the group does without: what an earlier configuration left of them is neither seen nor deleted",
			"request_id", requestID(failed), "err", failed)
	}
	return l, false, err
}

// Start makes a Group and takes over what Find found. It asks DigitalOcean
// nothing. The list of Find is what the first Update shows.
//
// That a run left Droplets does not say that it has ended: it may be another
// manager's. What it makes after Find is therefore left alone, unless it is one
// of DeadRuns.
func Start(s Settings, cloud Cloud, log Logger, f Found) *Group {
	g := &Group{
		Settings:   s,
		cloud:      cloud,
		log:        log,
		turns:      newTurns(),
		instances:  instances{byName: map[string]*instance{}, byID: map[int64]*instance{}, ended: map[int64]bool{}},
		listing:    listing{gpus: s.GPUs},
		placements: placements{order: s.Placements, cooling: map[Placement]cooldown{}},
		limit:      logLimit{},
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.listing.noteClock(f.list, f.began)
	g.listing.started = f.began.Add(g.listing.skew)
	for _, d := range f.list.Droplets {
		if name := f.names[d.ID]; name != "" {
			d.Name = name
		} else if !Owns(g.Name, d) {
			continue
		}
		g.listing.gpus = g.listing.gpus || f.gpus && GPUSize(d.Size)
		if !Kept(d) {
			g.takeOver(d, now)
		}
	}
	for _, d := range f.remembered {
		if d.Name = f.names[d.ID]; d.ID == 0 || Kept(d) {
			continue
		}
		g.listing.gpus = g.listing.gpus || f.gpus && GPUSize(d.Size)
		i := g.takeOver(d, now)
		i.listed, i.unresolved = false, true // that lists lack it proves nothing
		if d.Status != "" {
			g.apply(i, observation{source: lookUp, present: true, droplet: d, asked: f.began}, now)
		}
	}
	g.merge(sighting{list: f.list, began: f.began}, now)
	g.listing.fresh = true
	g.logTakeOver(slices.Collect(g.instances.all())...)
	return g
}

// logTakeOver tells of the Droplets that were taken over. Those of runs that this
// host does not know may be a living manager's.
func (g *Group) logTakeOver(is ...*instance) {
	var known, unknown summary
	for _, i := range is {
		if slices.Contains(g.DeadRuns, RunOf(g.Name, i.name)) {
			known.add(i.name, i.droplet)
		} else {
			unknown.add(i.name, i.droplet)
		}
	}
	if len(known.names) > 0 {
		g.log.Info("took over the Droplets of earlier plugin processes", known.fields()...)
	}
	if len(unknown.names) > 0 {
		g.log.Warn("took over Droplets of plugin processes that this host does not know: if their manager is alive, stop one of the two "+
			"or give it a plugin_config.name of its own", unknown.fields()...)
	}
}

// Count returns how many Droplets the group has now, as far as it knows, with
// those that a person keeps.
func (g *Group) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count()
}

func (g *Group) count() int { return g.instances.living() + len(g.listing.kept) }

// Hourly returns what the group costs an hour, in USD, as far as it is known.
func (g *Group) Hourly() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var usd float64
	for i := range g.instances.all() {
		if i.phase != gone {
			usd += i.droplet.PriceHourly
		}
	}
	for _, d := range g.listing.kept {
		usd += d.PriceHourly
	}
	return Cents(usd)
}

// Cents takes the noise of a sum off it; DigitalOcean's prices an hour have five
// decimals.
func Cents(usd float64) float64 { return math.Round(usd*1e5) / 1e5 }

// Droplet returns what is known of an instance, so that it can be dialed. It
// asks DigitalOcean only if no list has had its addresses yet, for as long as
// ctx lets it.
func (g *Group) Droplet(ctx context.Context, name string) (Droplet, error) {
	g.mu.Lock()
	i, err := g.shownAs(name)
	if err != nil {
		g.mu.Unlock()
		return Droplet{}, err
	}
	id, d := i.id, i.droplet
	g.mu.Unlock()
	if g.addressed(d) {
		return d, nil
	}
	if id == 0 {
		return Droplet{}, fmt.Errorf("instance %s: its create was not confirmed, so it has no address yet; "+
			"lists will show whether it exists", name)
	}

	fresh, err := g.cloud.Get(ctx, id)
	switch {
	case err == nil && reachable(fresh):
	case reachable(d): // what we have is not all, but can be dialed
		return d, nil
	case err != nil:
		return Droplet{}, fmt.Errorf("instance %s: look up its address: %w", name, err)
	default:
		return Droplet{}, fmt.Errorf("instance %s: Droplet %d is %s and has no address yet", name, id, fresh.Status)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !reachable(i.droplet) { // no list has shown more meanwhile
		i.droplet = fresh
	}
	return fresh, nil
}

// Health returns nil for an instance that, as far as the last list shows, lives
// or is about to. It asks nobody.
func (g *Group) Health(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	i, err := g.shownAs(name)
	switch {
	case err != nil:
		return err
	case i.phase == deleting:
		return fmt.Errorf("instance %s is being deleted: %s", name, i.reason)
	case !i.off.IsZero():
		return fmt.Errorf("instance %s: Droplet %d is powered off", name, i.id)
	}
	return nil
}

// shownAs returns the instance of that name that is not gone.
func (g *Group) shownAs(name string) (*instance, error) {
	i := g.instances.byName[name]
	if i == nil || i.inFlight {
		return nil, fmt.Errorf("instance %s is not in group %s", name, g.Name)
	}
	if i.phase == gone {
		return nil, fmt.Errorf("instance %s is gone: %s", name, i.reason)
	}
	return i, nil
}

// addressed reports whether d has the kind of address that the group's Droplets
// are created with and dialed by.
func (g *Group) addressed(d Droplet) bool {
	if g.Template.PublicNetworking {
		return d.PublicIPv4 != ""
	}
	return d.PrivateIPv4 != ""
}

// commit runs f with mu held, and lets Settings.Save write down the ids if any
// came or went. Once Shutdown has begun only its own commits, which are final, are
// saved.
func (g *Group) commit(final bool, f func()) {
	_ = g.turns.save.lock(context.Background()) // not for longer than a file takes
	defer g.turns.save.unlock()
	g.mu.Lock()
	f()
	unsaved := g.instances.unsaved && g.Save != nil && (final || !g.closed)
	g.instances.unsaved = false
	var ids map[string]int64
	if unsaved {
		ids = g.instances.ids()
	}
	g.mu.Unlock()
	if unsaved {
		g.Save(ids)
	}
}

// errClosed is what a Group answers once Shutdown has begun.
var errClosed = errors.New("the group is shut down")
