// Package instancegroup decides what happens to a group of Droplets: which are
// created where, what the runner is told of them, which are deleted, and what
// is left alone. It uses the standard library only.
//
// What must hold, whatever DigitalOcean answers:
//
//   - No create is sent twice for one name; only a definite refusal frees it, and
//     lists settle it otherwise. (TestIncreaseNeverReusesAName, TestUnconfirmedCreate)
//   - What Increase accepted is shown by Update until it is gone, and as creating
//     before it is shown as Deleted: only that tells the runner that its request
//     was answered. (TestAcceptedIsAlwaysShown)
//   - A Droplet that lives is never shown as deleted, unless a person keeps it.
//     (TestDecide, FuzzDecide)
//   - A Droplet of somebody else is never touched. (TestOwnership)
//   - There are never more Droplets than MaxInstances, except for those that
//     DigitalOcean denied as the process began, and for the seconds of one that
//     appears after it was given up, and is deleted.
//     (TestIncreaseIsClampedToMaxInstances, TestLateRiser)
//   - No call takes longer than its bound, and none leaves a goroutine.
//     (TestBoundsWhenDigitalOceanHangs)
//
// TestAnythingThroughTheProvisioner of package provider holds all of them together
// against random histories.
//
// Read on in reconcile.go: Update is the loop that everything else serves.
package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Settings is what a Group is made of. It is not changed after Start.
type Settings struct {
	Name string // the group's
	Run  string // this process's, from NewRun

	// DeadRuns are earlier runs of this group and host that are known to have
	// ended: their Droplets are taken over whenever they appear.
	DeadRuns []string

	Placements    []Placement       // in the order they are tried
	VPC           map[string]string // by region; none = the default VPC
	Subnet        map[string]string // by region; none = the VPC's default subnet
	Tags          []string          // the user's own
	Project       string            // "" = the account's default project
	Template      Template
	GPUs          bool // a size is a GPU size, or a Droplet that was found has one: these need a list of their own
	MaxInstances  int  // > 0
	MaxCreating   int  // 0 = no limit
	CreateTimeout time.Duration

	// Images returns what to boot, by region, and Keys the SSH keys to create with.
	// refused says that a create was refused since the last call, when an image may have
	// been deleted, or that DigitalOcean does not know the keys: Keys then sees to it that
	// it will. Both honour ctx. One Increase at a time calls them.
	Images func(ctx context.Context, refused bool) (map[string]Image, error)
	Keys   func(ctx context.Context, refused bool) ([]string, error)

	// Save writes down the group's Droplets, by name, for the next process, if any came or
	// went: after each Update, before a create is sent, when the ids are 0, and before
	// Increase returns. Calls do not overlap.
	Save func(droplets map[string]int64)
}

// Logger is the part of hclog.Logger that a Group uses.
type Logger interface {
	Debug(msg string, args ...any)
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// Group is one group of Droplets, made by Start. All methods may be called
// concurrently. No goroutine outlives a call.
type Group struct {
	Settings
	cloud  Cloud
	log    Logger
	serial serial

	mu         sync.Locker // guards all that follows; never held over a request or a write
	closed     bool        // Shutdown has begun
	instances  instances
	listing    listing
	placements placements
	deletions  deletions
	limit      logLimit
}

// serial is held over requests, by one call of a kind at a time.
type serial struct {
	increase, update ctxMutex
	save             sync.Mutex
	lastUpdate       time.Time // end of the last Update; owned by the holder of update
	createRefused    bool      // since images were asked for; owned by the holder of increase
}

// Count returns how many Droplets the group has now, as far as it knows, with
// those that a person keeps.
func (g *Group) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count()
}

func (g *Group) count() int { return g.instances.count(deleting) + len(g.listing.kept) }

// Cents rounds a sum to the five decimals that DigitalOcean's prices an hour have.
func Cents(usd float64) float64 { return math.Round(usd*1e5) / 1e5 }

// Cost returns in USD what a Droplet costs that is deleted at that age. DigitalOcean
// bills by the second, 60 s or a cent at least.
func Cost(usdPerHour float64, age time.Duration) float64 {
	return max(0.01, usdPerHour*max(age, time.Minute).Hours())
}

// Droplet returns what the last list showed of an instance, so that it can be dialed: what
// is shown as running has an address.
func (g *Group) Droplet(name string) (Droplet, error) {
	i, err := g.shownAs(name)
	if err == nil && !reachable(i.Droplet) {
		err = fmt.Errorf("instance %s has no address yet: it is %s", name, i.phase.state())
	}
	return i.Droplet, err
}

// Health returns nil for an instance that, as far as the last list shows, lives
// or is about to. It asks nobody.
func (g *Group) Health(name string) error {
	i, err := g.shownAs(name)
	switch {
	case err != nil:
		return err
	case i.phase == deleting:
		return fmt.Errorf("instance %s is being deleted: %s", name, i.reason)
	case !i.off.IsZero():
		return fmt.Errorf("instance %s: Droplet %d is powered off", name, i.ID)
	}
	return nil
}

// shownAs returns the instance of that name, which is not gone.
func (g *Group) shownAs(name string) (instance, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.instances.byName[name]
	switch {
	case i == nil || i.inFlight:
		return instance{}, fmt.Errorf("instance %s is not in group %s", name, g.Name)
	case i.phase == gone:
		return instance{}, fmt.Errorf("instance %s is gone: %s", name, i.reason)
	}
	return *i, nil
}

// addressed reports whether d has the kind of address that it is dialed by.
func (g *Group) addressed(d Droplet) bool {
	if g.Template.PublicNetworking {
		return d.PublicIPv4 != ""
	}
	return d.PrivateIPv4 != ""
}

// commitAndSave runs f with mu held, and lets Settings.Save write down the ids. Once Shutdown
// has begun only its own commits, which are final, are saved.
func (g *Group) commitAndSave(final bool, f func()) {
	g.serial.save.Lock()
	defer g.serial.save.Unlock()
	g.mu.Lock()
	f()
	save, ids := final || !g.closed, g.instances.ids()
	g.mu.Unlock()
	if save {
		g.Save(ids)
	}
}

// errClosed is what a Group answers once Shutdown has begun.
var errClosed = errors.New("the group is shut down")
