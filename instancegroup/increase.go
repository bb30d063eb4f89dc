package instancegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// enoughTime is what a create should have left of callBound: one that is cut off
	// has to be settled by lists for a minute.
	enoughTime = 5 * time.Second

	// keyAttempts is how often a create that was refused for an unknown SSH key is
	// repeated, after 1, 2 and 3 s. DigitalOcean knows a new key within seconds.
	keyAttempts = 3

	// batchCreatesFor is how long after the last creates others wait to become ten,
	// the most that one request takes, when requests are scarce.
	batchCreatesFor = 5 * time.Second
)

// Increase asks DigitalOcean for n more Droplets and returns how many it accepted, or may
// have accepted: each of these is shown by Update until it is gone. It does not wait for
// them to boot. Fewer than n are no error where MaxInstances, MaxCreating or the token's
// requests say so. An error means that nothing at all was accepted. It returns within
// callBound, if Settings.Images and Keys honour their context.
func (g *Group) Increase(ctx context.Context, n int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()

	// One at a time: what admit counts must not change before it is minted.
	if err := g.serial.increase.lock(ctx); err != nil {
		return 0, err
	}
	defer g.serial.increase.unlock()
	n, err := g.admit(n)
	if err != nil || n == 0 {
		return 0, err
	}
	a := attempt{goal: n, tried: map[Placement]bool{}}
	if err := g.prepare(ctx, &a); err != nil {
		a.refusal = err
	} else {
		for a.accepted < a.goal && g.tryPlacement(ctx, &a) {
		}
	}
	g.commitAndSave(false, func() { err = g.conclude(a.accepted, n, a.refusal, time.Now()) })
	return a.accepted, err
}

// admit returns how many of n Droplets may be asked for now.
func (g *Group) admit(n int) (take int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if g.closed {
		return 0, errClosed
	}
	if n <= 0 {
		return 0, nil
	}
	if err := g.placements.backoff.check(now); err != nil {
		return 0, err
	}
	room := min(n, g.MaxInstances-g.count())
	if g.placements.backoff.failures > 0 {
		room = min(room, MaxNames) // one request shows whether it is over (TestOneRequestAfterRefusals)
	}
	if g.MaxCreating > 0 {
		room = min(room, g.MaxCreating-g.instances.count(creating))
	}
	take = max(0, room)
	if whole := take - take%MaxNames; g.listing.budget.scarce() && (whole > 0 || now.Sub(g.placements.sent) < batchCreatesFor) {
		take = whole // the rest waits to become ten
	}
	if take > 0 {
		g.placements.sent = now
	}
	if take < n {
		g.log.Debug("fewer than asked for", "asked", n, "accepted", take, "limits_leave", max(0, room))
	}
	return take, nil
}

// attempt is one Increase, over several placements if need be.
type attempt struct {
	goal     int // lowered if the account's quota has room for less
	accepted int
	refusal  error            // why fewer
	images   map[string]Image // by region
	keys     []string
	tried    map[Placement]bool
	keyTries int
	rotated  bool   // tried again with the token that is in its file now
	usage    *Usage // of the account, once it was asked for
}

// prepare gets what a create needs. A placement without an image is passed over.
func (g *Group) prepare(ctx context.Context, a *attempt) (err error) {
	if a.images, err = g.Images(ctx, g.serial.createRefused); err != nil {
		return fmt.Errorf("image for new Droplets: %w", err)
	}
	g.serial.createRefused = false
	if a.keys, err = g.Keys(ctx, false); err != nil {
		return fmt.Errorf("SSH key for new Droplets: %w", err)
	}
	for _, at := range g.Placements {
		if a.images[at.Region] == (Image{}) {
			a.refuse(at, errors.New("there is no image for it"))
		}
	}
	return nil
}

// tryPlacement asks for what is left of an attempt, in the next placement. It
// returns whether there is something left to try.
func (g *Group) tryPlacement(ctx context.Context, a *attempt) (again bool) {
	if deadline, _ := ctx.Deadline(); time.Until(deadline) <= enoughTime {
		if a.refusal != nil {
			a.refusal = fmt.Errorf("no time was left for another attempt, after %w", a.refusal)
		}
		return false
	}
	at, names := g.mint(a)
	if len(names) == 0 {
		return false
	}
	got, err := g.createAt(ctx, a, at, names)
	a.accepted += got
	switch {
	case err == nil:

	case errors.Is(err, ErrRefused), errors.Is(err, ErrNotFound):
		// The texts of refusals vary and grow: with placements left, any is
		// taken for the placement's. (TestUnknownRefusalTriesAllPlacements)
		a.refuse(at, err)
		g.serial.createRefused = true

	case errors.Is(err, ErrSizeLimit):
		for _, p := range g.Placements {
			a.tried[p] = a.tried[p] || p.Size == at.Size
		}
		a.refuse(at, err)

	case errors.Is(err, ErrKey) && a.keyTries < keyAttempts:
		return g.freshKeys(ctx, a, err)

	case errors.Is(err, ErrUnauthorized) && !a.rotated:
		// The Cloud reads the token again after a refusal.
		a.rotated, a.refusal = true, err

	case errors.Is(err, ErrQuota):
		return g.fitQuota(ctx, a, err)

	default:
		a.refusal = err
		return false
	}
	return true
}

// refuse notes that a placement refused, next to those before it.
func (a *attempt) refuse(at Placement, err error) {
	err = fmt.Errorf("%s: %w", at, err)
	if len(a.tried) > 0 && a.refusal != nil {
		err = fmt.Errorf("%w; %w", a.refusal, err)
	}
	a.tried[at], a.refusal = true, err
}

// freshKeys waits for DigitalOcean to know the SSH keys that it refused. It returns
// false if there are none to try.
func (g *Group) freshKeys(ctx context.Context, a *attempt, refusal error) (again bool) {
	a.keyTries++
	a.refusal = refusal
	g.log.Warn("DigitalOcean does not know the SSH key (yet)", "attempt", a.keyTries,
		"request_id", requestID(refusal), "err", refusal)
	err := pause(ctx, time.Duration(a.keyTries)*time.Second)
	if err != nil {
		return false
	}
	if a.keys, err = g.Keys(ctx, true); err != nil {
		a.refusal = fmt.Errorf("%w; upload it again: %w", refusal, err)
	}
	return err == nil
}

// fitQuota lowers the goal to what the account's limit has room for: all names of a
// create are refused together. What the sums do not explain is halved down to one. It
// returns false if there is no room. (TestQuota)
func (g *Group) fitQuota(ctx context.Context, a *attempt, err error) (again bool) {
	left, ours := a.goal-a.accepted, g.Count()
	if a.usage == nil {
		u, uerr := g.cloud.Usage(ctx, GroupTag(g.Name))
		if uerr != nil {
			g.log.Debug("the account's limit could not be read", "err", uerr)
		}
		a.usage = &u
	}
	fit, explained := left/2, fmt.Sprintf("this group has %d Droplets", ours)
	if u := *a.usage; u.Limit > 0 {
		explained = fmt.Sprintf("the account's Droplet limit is %d: this group has %d, and the account has %d others", u.Limit, ours, u.Others)
		if free := max(0, u.Limit-u.Others-ours); free < left {
			fit = free
		}
	}
	a.goal = a.accepted + fit
	a.refusal = fmt.Errorf("%w; %s. Ask DigitalOcean to raise the limit, or lower max_instances", err, explained)
	return fit > 0
}

// mint picks the next placement and adds an instance, in flight, for each Droplet that is
// still wanted. There are no names if nothing is left to try.
// They are saved first: the next process counts them, if this one is killed. (TestKilledInCreate)
func (g *Group) mint(a *attempt) (at Placement, names []string) {
	g.commitAndSave(false, func() {
		now := time.Now()
		var ok bool
		if at, ok = g.placements.next(now, a.tried); !ok || g.closed {
			return
		}
		for len(names) < a.goal-a.accepted {
			name := g.Name + "-" + NewSuffix(g.Run)
			if g.instances.byName[name] == nil {
				g.instances.add(instance{Droplet: Droplet{Name: name}, at: at, inFlight: true, requested: now, confirmed: now})
				names = append(names, name)
			}
		}
	})
	return at, names
}

// create is one create request and its answer.
type create struct {
	CreateRequest
	answer Created
	err    error
}

// createAt creates Droplets in one placement, in concurrent requests of at most MaxNames.
// It returns how many may exist now, with those of unconfirmed ones, and the last refusal.
func (g *Group) createAt(ctx context.Context, a *attempt, at Placement, names []string) (accepted int, err error) {
	creates := concurrently(slices.Collect(slices.Chunk(names, MaxNames)), func(names []string) create {
		c := create{CreateRequest: CreateRequest{
			Names:    names,
			Region:   at.Region,
			Size:     at.Size,
			Image:    a.images[at.Region],
			SSHKeys:  a.keys,
			VPC:      g.VPC[at.Region],
			Subnet:   g.Subnet[at.Region],
			Tags:     append([]string{CommonTag, GroupTag(g.Name)}, g.Tags...),
			Template: g.Template,
		}}
		if ctx.Err() != nil {
			c.err = &CloudError{Class: ErrUnsent, Op: "POST /v2/droplets", Message: "no time was left to send it"}
		} else {
			c.answer, c.err = g.cloud.Create(ctx, c.CreateRequest)
		}
		return c
	})
	return g.recordCreates(at, creates)
}

// recordCreates settles the names of creates. If none worked the placement cools down:
// one region's outage must not get every create.
func (g *Group) recordCreates(at Placement, creates []create) (accepted int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	worked := false
	var unconfirmed error
	for _, c := range creates {
		accepted += g.recordCreate(c, now)
		switch {
		case c.err == nil:
			worked = true
		case definite(c.err):
			err = c.err
		default:
			unconfirmed = c.err
		}
	}
	switch {
	case worked:
	case errors.Is(err, ErrRefused), errors.Is(err, ErrNotFound):
		g.coolDown(at, now, now, "it refused", err)
	case unconfirmed != nil && len(g.Placements) > 1:
		g.coolDown(at, now, now, "it does not confirm creates", unconfirmed)
	}
	return accepted, err
}

const notConfirmed = "a create was not confirmed; lists will show whether its Droplets exist"

// recordCreate settles the names of one request: a definite refusal frees them, and
// after another error lists will. It returns how many may exist now.
func (g *Group) recordCreate(c create, now time.Time) (accepted int) {
	for _, name := range c.Names {
		i := g.instances.byName[name]
		i.inFlight = false
		if i.ID == 0 { // else a list has shown it meanwhile
			i.requested, i.confirmed = now, now
		}
	}
	if definite(c.err) {
		before := len(g.instances.all)
		g.instances.forget(func(i *instance) bool { return i.ID == 0 && slices.Contains(c.Names, i.Name) })
		return len(c.Names) - (before - len(g.instances.all))
	}
	if c.err != nil {
		g.log.Warn(notConfirmed,
			"names", strings.Join(c.Names, " "), "size", c.Size, "region", c.Region,
			"request_id", requestID(c.err), "err", c.err)
		return len(c.Names)
	}
	for _, d := range c.answer.Droplets {
		i := g.instances.byName[d.Name]
		if i == nil || i.ID != 0 || d.ID == 0 || g.instances.byID[d.ID] != nil {
			continue // known already, or not what was asked for: lists decide
		}
		i.Droplet, i.phase = d, max(i.phase, creating)
		g.instances.identify(i, d.ID)
	}
	g.log.Info("Droplets requested", "count", len(c.Names), "names", strings.Join(c.Names, " "),
		"size", c.Size, "region", c.Region, "image", c.Image, "request_id", c.answer.RequestID)
	return len(c.Names)
}

// conclude decides what the runner hears: an error only if nothing was accepted, since it
// makes the runner forget a count. A refused group backs off. Called with mu held.
func (g *Group) conclude(accepted, n int, refusal error, now time.Time) error {
	switch {
	case accepted >= n:
		if len(g.placements.cooling) == 0 {
			g.placements.backoff = backoff{} // otherwise an active Droplet ends it: what is accepted may be lost
		}
		return nil
	case errors.Is(refusal, ErrRateLimited):
		// No refusal: the runner asks again, and is not to be told of an error.
		g.warnFailed("the token's rate limit is reached; creates wait", refusal, 1, now,
			"droplets", n-accepted, "next_in", retryAfter(refusal).Round(time.Second))
		return nil
	case refusal == nil:
		refusal = errors.New("no time was left for another attempt, or the plugin is shutting down")
	}
	refusal = fmt.Errorf("create Droplets: %w", refusal)
	g.placements.backoff.fail(refusal, backoffFirst, backoffMost, now)
	if times, due := g.limit.failure("create", refusal, 1, now); due {
		g.log.Error("Droplets were refused; the group backs off before it asks again", "accepted", accepted, "refused", n-accepted,
			"next_in", g.placements.backoff.until.Sub(now).Round(time.Second), "times", times, "request_id", requestID(refusal), "err", refusal)
	}
	if accepted > 0 {
		return nil
	}
	return g.placements.backoff.check(now)
}
