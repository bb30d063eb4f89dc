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

const (
	// enoughTime is what a create request should have left of callBound: one
	// that is cut off before the answer has to be settled by lists for a minute.
	enoughTime = 5 * time.Second

	// keyAttempts is how often a create that was refused for an unknown SSH key
	// is repeated. DigitalOcean knows a new key within seconds.
	keyAttempts = 4
)

// Increase asks DigitalOcean for n more Droplets and returns how many it
// accepted, or may have accepted: each of these is shown by Update until it is
// gone. It does not wait for them to boot. It accepts fewer than n, and that is
// no error, where MaxInstances or MaxCreating say so. An error means that
// nothing at all was accepted.
//
// It returns within callBound, if Settings.Keys honours its context.
//
// Invariants: a name is sent once. A refused create frees its names and the next
// attempt mints others; the names of one that was not answered clearly stay, as
// requested, until lists settle them. (TestIncreaseNeverReusesAName,
// TestAmbiguousCreate)
func (g *Group) Increase(ctx context.Context, n int) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callBound)
	defer cancel()
	deadline, _ := ctx.Deadline()

	// One at a time: what admit counts must not change before it is minted.
	if err := g.increasing.lock(ctx); err != nil {
		return 0, err
	}
	defer g.increasing.unlock()
	g.seekBeforeCreate(ctx)
	n, err := g.admit(n)
	if err != nil || n == 0 {
		return 0, err
	}
	g.note(n)
	if err := g.refreshImages(ctx); err != nil {
		return 0, g.refused(0, n, fmt.Errorf("find the newest image with the tag %s: %w", g.ImageTag, err))
	}
	keys, err := g.Keys(ctx, false)
	if err != nil {
		return 0, g.refused(0, n, fmt.Errorf("SSH key for new Droplets: %w", err))
	}

	var (
		accepted int
		goal     = n   // less than n if the account's quota has room for less
		refusal  error // why fewer than n
		tried    = map[Placement]bool{}
		keyTries int
		rotated  bool // tried again with the token that is in its file now
	)
	for accepted < goal && time.Until(deadline) > enoughTime {
		at, ok := g.nextPlacement(tried)
		if !ok {
			break
		}
		got, err := g.createAt(ctx, at, goal-accepted, keys)
		accepted += got
		switch {
		case err == nil:
			continue

		case errors.Is(err, ErrCapacity):
			tried[at] = true
			rests, then := g.placeRests(at)
			g.log.Warn("no capacity in a place; it rests", "then", then, "size", at.Size, "region", at.Region,
				"rests", rests, "request_id", requestID(err), "err", err)
			refusal = alsoAt(refusal, at, err)
			continue

		case errors.Is(err, ErrKey) && keyTries < keyAttempts:
			keyTries++
			refusal = err
			if keys, err = g.freshKeys(ctx, keyTries, err); err == nil {
				continue
			}
			refusal = err

		case errors.Is(err, ErrUnauthorized) && !rotated:
			// The Cloud reads the token again after a refusal.
			rotated = true
			refusal = err
			continue

		case errors.Is(err, ErrQuota):
			var free int
			free, refusal = g.quota(ctx, err)
			// All names of a create are refused together: ask for what fits.
			if 0 < free && free < goal-accepted {
				goal = accepted + free
				continue
			}

		case errors.Is(err, ErrSpent):
			// No refusal: the runner asks again, and is not to be told of an error.
			g.tellSpent(n-accepted, err)
			return accepted, nil

		default:
			refusal = err
		}
		break // refused, and nothing is left to try
	}
	return accepted, g.concluded(accepted, n, refusal)
}

// freshKeys waits for DigitalOcean to know the SSH keys that it refused, and
// returns those to try next. attempt counts from 1.
func (g *Group) freshKeys(ctx context.Context, attempt int, refusal error) ([]string, error) {
	g.log.Warn("DigitalOcean does not know the SSH key (yet)", "attempt", attempt,
		"request_id", requestID(refusal), "err", refusal)
	if pause(ctx, time.Duration(attempt)*time.Second) != nil {
		return nil, refusal
	}
	keys, err := g.Keys(ctx, true)
	if err != nil {
		return nil, fmt.Errorf("%w; upload it again: %w", refusal, err)
	}
	return keys, nil
}

// admit returns how many of n Droplets may be asked for now.
func (g *Group) admit(n int) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, errClosed
	}
	if n <= 0 {
		return 0, nil
	}
	if err := g.throttle.check(time.Now()); err != nil {
		return 0, err
	}
	now := time.Now()
	room := g.MaxInstances - g.census(now)
	limit := "max_instances"
	if g.MaxCreating > 0 {
		if slots := g.MaxCreating - g.underWay(); slots < room {
			room, limit = slots, "max_creating"
		}
	}
	if room >= n {
		room, limit = n, "the token's requests of this hour"
	}
	take, since := gather(max(0, room), g.list.Budget, g.gathering, now)
	g.gathering = since
	if take < n {
		g.tellFewer(n, take, limit)
	}
	return take, nil
}

func (g *Group) tellFewer(asked, accepted int, limit string) {
	g.log.Debug("fewer than asked for", "asked", asked, "accepted", accepted, "limit", limit)
}

func (g *Group) tellSpent(waiting int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if times, due := g.spentCreates.note(err, 1, time.Now()); due {
		g.log.Warn("the token's requests are spent, by this plugin or by others; creates wait", "droplets", waiting,
			"next_in", retryAfter(err).Round(time.Second), "times", times)
	}
}

// underWay counts the Droplets that are asked for and not running yet.
func (g *Group) underWay() int {
	n := 0
	for _, m := range g.members {
		if m.phase == requested || m.phase == creating {
			n++
		}
	}
	return n
}

// createAt creates n Droplets in one place, in concurrent requests of at most
// MaxNames. It returns how many may exist now, and the last refusal. Those of requests
// that were not answered clearly count; but if no other worked the place rests, or one
// region's outage would get every create.
func (g *Group) createAt(ctx context.Context, at Placement, n int, keys []string) (accepted int, err error) {
	req := CreateRequest{
		Region:   at.Region,
		Size:     at.Size,
		Image:    g.imageFor(at.Region),
		SSHKeys:  keys,
		VPC:      g.VPC[at.Region],
		Tags:     append([]string{CommonTag, GroupTag(g.Name), RunTag(g.Run)}, g.Tags...),
		Template: g.Template,
	}
	if req.Image == (Image{}) {
		return 0, &CloudError{Class: ErrCapacity, Op: "GET /v2/images",
			Message: fmt.Sprintf("no private image with the tag %s is in region %s", g.ImageTag, at.Region)}
	}
	var mu sync.Mutex // guards the results
	var worked bool
	var unclear error
	each(slices.Collect(slices.Chunk(g.mint(n), MaxNames)), func(names []string) {
		r := req
		r.Names = names
		got, cerr := g.create(ctx, at, r)
		mu.Lock()
		defer mu.Unlock()
		accepted += got
		switch {
		case cerr == nil:
			worked = true
		case definite(cerr):
			err = cerr
		default:
			unclear = cerr
		}
	})
	switch {
	case worked:
		g.placeWorked(at)
	case unclear != nil && len(g.Placements) > 1:
		rests, then := g.placeRests(at)
		g.log.Warn("a place does not answer creates clearly; it rests", "then", then, "size", at.Size, "region", at.Region,
			"rests", rests, "request_id", requestID(unclear), "err", unclear)
	}
	return accepted, err
}

// mint adds n members, in flight, and returns their names.
func (g *Group) mint(n int) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	names := make([]string, 0, n)
	for len(names) < n {
		name := g.Name + "-" + NewSuffix()
		if g.members[name] != nil {
			continue
		}
		g.seq++
		g.members[name] = &member{name: name, seq: g.seq, run: g.Run, inFlight: true, born: now, proved: now}
		names = append(names, name)
	}
	return names
}

// create sends one create request and settles its names. It returns how many of
// them may exist now: all of them, after an error that is not definite.
func (g *Group) create(ctx context.Context, at Placement, r CreateRequest) (accepted int, err error) {
	var answer Created
	if ctx.Err() == nil {
		answer, err = g.cloud.Create(ctx, r)
	} else {
		err = &CloudError{Class: ErrUnsent, Op: "POST /v2/droplets", Message: "no time was left to send it"}
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	unsettled := map[string]*member{} // the names that no list has shown meanwhile
	for _, name := range r.Names {
		m := g.members[name]
		m.inFlight = false
		if m.id == 0 {
			unsettled[name] = m
		}
	}
	if definite(err) {
		for name := range unsettled {
			delete(g.members, name)
		}
		return len(r.Names) - len(unsettled), err
	}

	g.tagMade = now
	for _, m := range unsettled {
		m.born, m.proved = now, now
	}
	if err != nil {
		// Not a refusal: the names may exist, so they count as accepted.
		g.log.Warn("a create was not answered clearly; lists will show whether its Droplets exist",
			"names", strings.Join(r.Names, " "), "size", at.Size, "region", at.Region,
			"request_id", requestID(err), "err", err)
		return len(r.Names), err
	}
	for _, d := range answer.Droplets {
		m := unsettled[d.Name]
		if m == nil || d.ID == 0 || g.byID[d.ID] != nil {
			continue // known already, or not what was asked for: lists decide
		}
		delete(unsettled, d.Name)
		if m.droplet, m.tagged = d, hasTag(d, GroupTag(g.Name)); m.tagged {
			m.tagSeen = now
		}
		if m.phase == requested {
			m.phase = creating
		}
		g.identify(m, d.ID)
	}
	if len(unsettled) > 0 {
		g.log.Warn("the answer to a create leaves names out; lists will show whether their Droplets exist",
			"names", strings.Join(slices.Sorted(maps.Keys(unsettled)), " "), "request_id", answer.RequestID)
	}
	g.log.Info("Droplets requested", "count", len(r.Names), "names", strings.Join(r.Names, " "),
		"size", at.Size, "region", at.Region, "image", r.Image, "request_id", answer.RequestID)
	return len(r.Names), nil
}

// alsoAt adds one place's refusal to those of the places before it.
func alsoAt(before error, at Placement, err error) error {
	if before == nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return fmt.Errorf("%w; %s: %w", before, at, err)
}

// quota explains a refusal for the account's limit, and returns how many
// Droplets still fit (0 when that cannot be told).
func (g *Group) quota(ctx context.Context, err error) (free int, explained error) {
	u, uerr := g.cloud.Usage(ctx, GroupTag(g.Name))
	ours := g.Count()
	if uerr == nil && u.Limit <= 0 {
		uerr = fmt.Errorf("it reads %d", u.Limit)
	}
	if uerr != nil {
		return 0, fmt.Errorf("%w; the group has %d Droplets (the account's limit could not be read: %w). "+
			"Ask DigitalOcean to raise the limit, or lower max_instances", err, ours, uerr)
	}
	return max(0, u.Limit-u.Others-ours), fmt.Errorf("%w; the account's limit is %d Droplets: this group has %d, "+
		"and there are %d others on the account. Ask DigitalOcean to raise the limit, or lower max_instances",
		err, u.Limit, ours, u.Others)
}

// concluded decides what the runner hears of an Increase: an error only if nothing
// was accepted, since an error makes it forget a count.
func (g *Group) concluded(accepted, n int, refusal error) error {
	if accepted >= n {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.throttle.worked()
		return nil
	}
	if refusal == nil {
		refusal = errors.New("no time was left for another attempt, or the plugin is shutting down")
	}
	refusal = g.refused(accepted, n-accepted, fmt.Errorf("create %d Droplets: %w", n-accepted, refusal))
	if accepted > 0 {
		return nil
	}
	return refusal
}

// refused lets the group rest after a refusal, and returns it with for how long.
func (g *Group) refused(accepted, refused int, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.throttle.refused(err, now)
	if times, due := g.refusedCreates.note(err, 1, now); due {
		g.log.Error("Droplets were refused; the group rests before it asks again", "accepted", accepted, "refused", refused,
			"next_in", g.throttle.until.Sub(now).Round(time.Second), "times", times, "request_id", requestID(err), "err", err)
	}
	return g.throttle.check(now)
}
