// Package instancegroup decides what happens to a group of Droplets: which are
// created where, what the runner is told of them, which are destroyed, and what
// is left alone. It knows DigitalOcean through the interface Cloud and the
// runner not at all, and uses the standard library only.
//
// What must hold, whatever DigitalOcean answers:
//
//   - No create is sent twice for one name; only a definite refusal frees it.
//     (TestIncreaseNeverReusesAName)
//   - What Increase accepted is shown by Update until it is gone.
//     (TestAcceptedIsAlwaysShown)
//   - A Droplet that lives is never shown as deleted. (TestJudge, FuzzJudge)
//   - A Droplet of somebody else is never touched. (TestOwnership)
//   - There are never more Droplets than MaxInstances, but for the seconds of
//     one that appears after it was given up, and is destroyed.
//     (TestIncreaseIsClampedToMaxInstances, TestLateRiser)
//   - No call takes longer than its bound, and none leaves a goroutine.
//     (TestBoundsWhenDigitalOceanHangs)
//
// TestAnything holds all of them together against random histories.
package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// Settings is what a Group is made of. It is not changed after New.
type Settings struct {
	Name string // the group's
	Run  string // this process's, from NewSuffix

	// DeadRuns are earlier runs of this group that are known to have ended:
	// their Droplets are taken over whenever they appear, and their tags are
	// removed once nothing carries them.
	DeadRuns []string

	// Before is what the run before this one noted. Note, unless it is nil, writes
	// it down for the next; it is called by one goroutine at a time.
	Before Census
	Note   func(Census)

	// LetGo are Droplets of those runs that were let go: somebody had taken the group's
	// tag off them. TagLost says that the run before was putting that back. NoteLetGo and
	// NoteTagLost, unless they are nil, are told of both for the next run when they change;
	// they are called by one goroutine at a time.
	LetGo       []int
	TagLost     bool
	NoteLetGo   func([]int)
	NoteTagLost func(bool)

	// NoteRests, unless it is nil, is told until when places rest whenever that
	// changes. It is called by one goroutine at a time.
	NoteRests func(map[Placement]time.Time)

	Placements    []Placement // in the order they are tried
	Image         Image       // unless ImageTag
	ImageTag      string
	VPC           map[string]string // by region; none = the default VPC
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
}

// Logger is the part of hclog.Logger that a Group uses.
type Logger interface {
	Debug(msg string, args ...any)
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// Group is one group of Droplets. Start comes first; after that all methods
// may be called concurrently. The one goroutine that outlives a call is depart's,
// which Shutdown ends.
type Group struct {
	Settings
	cloud  Cloud
	log    Logger
	chosen bool // it has the strays that Remove gave it, and takes in nothing else

	increasing turn // held by the one Increase at a time
	updating   turn // held by the one Update at a time, which lists and acts
	departs    turn // held while gathered deletes are sent
	life       context.Context
	endLife    context.CancelFunc // ends what no call waits for
	lastUpdate time.Time          // end of the last Update; owned by the holder of updating

	noting sync.Mutex // held while a census, the rests, or what is about the tag, are taken and written: in this order

	mu     sync.Mutex // guards all that follows; never held over a request
	closed bool       // Shutdown has begun

	// Who is who.
	members   map[string]*member // by name: what the runner sees
	strays    map[int]*member    // by id: Droplets of ours that it never hears of, all deleting
	byID      map[int]*member    // both
	seq       int
	released  map[int]bool    // ours once, taken from us by hand: never touched again
	tookOver  int             // Droplets of earlier runs
	ended     map[int]bool    // taken over, and gone since: not taken over again
	deadRuns  map[string]bool // runs whose Droplets are ours, whenever they appear
	strangers map[int]bool    // Droplets with our tag and somebody's name, logged once
	managers  map[string]bool // runs of other managers of this name, logged once

	// Lists.
	list     List          // the last complete one
	listedAt time.Time     // when it began; zero = never
	unshown  bool          // it is Start's, and no Update has shown it
	failure  error         // why the last list failed; nil = it was complete
	failedAt time.Time     // since when lists fail
	holdList time.Time     // no list before then: DigitalOcean asked to wait
	started  time.Time     // when Start began, by DigitalOcean's clock
	skew     time.Duration // DigitalOcean's clock minus ours
	gpus     bool          // lists are to have GPU Droplets too

	tagsHidden bool // the last list had TagsHidden

	// The group's tag, which somebody may delete. See guardTag.
	tagLost   time.Time // since when everything seems to have lost it; zero = it does not
	tagThere  time.Time // when the account last said that it has it, or would not say
	tagMade   time.Time // when a create last may have made it
	tagSought time.Time // when Droplets were last listed that may lack it
	holdTag   time.Time // nothing is asked or done about it before then

	tagRestored bool // since tagLost, on some
	tagRefused  bool // DigitalOcean refused that

	search    search
	kept      map[int]bool    // LetGo, and what was let go or left alone since
	carried   map[string]bool // runs whose tag is on something that was let go, or left alone
	letGoNew  bool            // kept is not what NoteLetGo has been told
	lostNoted bool            // NoteTagLost was told last

	cut        bool      // the last act had not enough time
	budgetTold time.Time // when the token's budget was logged last
	bill       bill      // since the last summary

	// What fails again and again is counted, and told once a minute.
	failedLists, failedLookups, refusedDeletes, refusedBulk, refusedCreates, spentCreates, failedTag, failedSeek repeated

	// Creating, destroying, chores.
	noted       Census    // the last
	gathering   time.Time // since when creates wait to become ten; zero = none does
	places      placements
	throttle    throttle
	images      map[string]Image // by region, when ImageTag
	imagesAt    time.Time
	bulk        bool           // this run's BulkTag may be on the account
	bulkUsed    time.Time      // when it was last needed
	holdBulk    time.Time      // nothing is destroyed by it before then
	departure   time.Time      // when the deletes leave that gather, if that is to come
	departing   *time.Timer    // calls depart then; nil = none ever gathered
	holdDeletes time.Time      // no DELETE before then: DigitalOcean throttles us
	litter      map[string]int // by run: attempts to remove its tag, once nothing carries it
	littered    bool           // a tag could not be removed
	sweepAt     time.Time      // no tag of an earlier run is removed before then
	unplaced    map[int]int    // by Droplet id: attempts to assign it to the project
}

// New makes a Group that has not asked DigitalOcean anything yet.
func New(s Settings, cloud Cloud, log Logger) *Group {
	g := &Group{
		Settings:   s,
		cloud:      cloud,
		log:        log,
		increasing: make(turn, 1),
		updating:   make(turn, 1),
		departs:    make(turn, 1),
		members:    map[string]*member{},
		strays:     map[int]*member{},
		byID:       map[int]*member{},
		released:   map[int]bool{},
		ended:      map[int]bool{},
		deadRuns:   map[string]bool{},
		strangers:  map[int]bool{},
		managers:   map[string]bool{},
		gpus:       s.GPUs,
		places:     placements{order: s.Placements, rests: map[Placement]rest{}},
		litter:     map[string]int{},
		kept:       map[int]bool{},
		carried:    map[string]bool{},
		search:     search{told: map[int]bool{}, lost: s.TagLost},
		lostNoted:  s.TagLost,
		unplaced:   map[int]int{},
	}
	g.life, g.endLife = context.WithCancel(context.Background())
	for _, id := range s.LetGo {
		g.kept[id] = true
	}
	for _, run := range s.DeadRuns {
		if run != s.Run {
			g.deadRuns[run], g.litter[run] = true, 0
		}
	}
	return g
}

// Start finds the Droplets that earlier runs of the group left and takes them
// over, also if somebody has deleted the group's tag from the account: see seek. Its
// list is what the first Update shows, which asks for none. Start creates and changes
// nothing.
//
// A run is not known to have ended because it left Droplets: it may be another
// manager's. What it makes after Start is therefore left alone, unless the run
// is one of DeadRuns.
func (g *Group) Start(ctx context.Context) error {
	began := time.Now()
	l, err := g.firstList(ctx, GroupTag(g.Name))
	if err != nil {
		return fmt.Errorf("list the Droplets with the tag %s: %w", GroupTag(g.Name), err)
	}
	g.begin(l, began)
	if g.search.on {
		bound := seekBound
		if deadline, ok := ctx.Deadline(); ok {
			bound = min(bound, time.Until(deadline)/4) // what comes next needs some, too
		}
		bounded, cancel := context.WithTimeout(ctx, bound)
		defer cancel()
		g.seek(bounded)
		g.noteTag()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.members); n > 0 {
		g.log.Info("took over the Droplets of earlier runs", "run", g.Run,
			"droplets", n, "usd_per_hour", g.hourly(), "names", some(slices.Sorted(maps.Keys(g.members))))
	}
	return nil
}

// begin takes over what the first list has.
func (g *Group) begin(l List, began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.noteClock(l, began)
	g.started, g.sweepAt, g.bill.since = began.Add(g.skew), began.Add(sweepAfter), began
	for _, d := range l.Droplets {
		if !Owns(g.Name, d) {
			continue // merge notes it
		}
		g.takeIn(d, began)
	}
	g.merge(l, began, time.Now())
	g.unshown = true
	g.search.on = len(g.deadRuns) > 0
}

// takeIn takes over a Droplet that was there before this run. Called with mu held.
func (g *Group) takeIn(d Droplet, now time.Time) {
	if run := RunOf(d); run != "" && run != g.Run {
		g.litter[run] = 0
	}
	if m := g.members[d.Name]; m != nil {
		g.twin(m, d, now)
	} else {
		g.takeOver(d, now)
	}
	g.gpus = g.gpus || GPUSize(d.Size)
}

// noteClock keeps how far DigitalOcean's clock is from ours.
func (g *Group) noteClock(l List, began time.Time) {
	if !l.Date.IsZero() {
		g.skew = l.Date.Sub(began)
	}
}

// Count returns how many Droplets the group has now, as far as it knows.
func (g *Group) Count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.living()
}

// Droplet returns what is known of an instance, so that it can be dialed. It
// asks DigitalOcean only if no list has had its addresses yet, for as long as
// ctx lets it.
func (g *Group) Droplet(ctx context.Context, name string) (Droplet, error) {
	g.mu.Lock()
	m, err := g.known(name)
	if err != nil {
		g.mu.Unlock()
		return Droplet{}, err
	}
	id, d := m.id, m.droplet
	m.dialed = m.dialed || reachable(d)
	g.mu.Unlock()
	if g.complete(d) {
		return d, nil
	}
	if id == 0 {
		return Droplet{}, fmt.Errorf("instance %s: its create was not answered clearly, so it has no address yet; "+
			"lists will show whether it exists", name)
	}

	fresh, err := g.cloud.Get(ctx, id)
	switch {
	case err == nil && reachable(fresh):
		d = fresh
	case reachable(d): // what we have is not all, but can be dialed
		return d, nil
	case err != nil:
		return Droplet{}, fmt.Errorf("instance %s: look up its address: %w", name, err)
	default:
		return Droplet{}, fmt.Errorf("instance %s: Droplet %d is %s and has no address yet", name, id, fresh.Status)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if m.id != id {
		return Droplet{}, fmt.Errorf("instance %s: Droplet %d is being destroyed: it has a twin, %d", name, id, m.id)
	}
	m.droplet, m.dialed = d, true
	return d, nil
}

// complete tells whether d has the addresses that the group's Droplets have.
func (g *Group) complete(d Droplet) bool {
	return reachable(d) && (d.External() != "" || !g.Template.PublicNetworking)
}

// Health returns nil for an instance that, as far as the last list tells, lives
// or is about to. It asks nobody.
func (g *Group) Health(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	m, err := g.known(name)
	switch {
	case err != nil:
		return err
	case m.phase == deleting:
		return fmt.Errorf("instance %s is being destroyed: %s", name, m.reason)
	case !m.off.IsZero():
		return fmt.Errorf("instance %s: Droplet %d is powered off", name, m.id)
	}
	return nil
}

// known returns the member of that name that is not gone.
func (g *Group) known(name string) (*member, error) {
	m := g.members[name]
	if m == nil || m.inFlight {
		return nil, fmt.Errorf("instance %s is not in group %s", name, g.Name)
	}
	if m.phase == gone {
		return nil, fmt.Errorf("instance %s is gone: %s", name, m.reason)
	}
	return m, nil
}

// living returns how many Droplets exist or may exist.
func (g *Group) living() int {
	n := len(g.strays)
	for _, m := range g.members {
		if m.phase != gone {
			n++
		}
	}
	return n
}

// Hourly returns what the group costs an hour, in USD, as far as it is known.
func (g *Group) Hourly() float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.hourly()
}

// hourly is Hourly. Called with mu held.
func (g *Group) hourly() float64 {
	var usd float64
	for _, m := range g.byID {
		if m.phase != gone {
			usd += m.droplet.PriceHourly
		}
	}
	return Cents(usd)
}

// Cents takes the noise of a sum off it; DigitalOcean's prices an hour have five
// decimals.
func Cents(usd float64) float64 { return math.Round(usd*1e5) / 1e5 }

// errClosed is what a Group answers once Shutdown has begun.
var errClosed = errors.New("the group is shut down")
