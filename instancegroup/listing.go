package instancegroup

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// listing is what is known of the lists of the group, and what they show that is
// no instance. Guarded by Group.mu.
//
// Invariant: kept and foreign are of the last complete list alone, kept of the last that
// is believed, so that what leaves the account leaves them. (TestKept, TestSecondManager)
type listing struct {
	requests   int       // of the last complete one
	budget     Budget    // of the token, after it
	began      time.Time // of it; Find's at first
	actionsCut bool      // the last Update had not enough time for its actions: the next acts before it lists

	failure   error     // why the last list failed; nil = it was complete
	failures  int       // in a row
	notBefore time.Time // no list before then: it would fail, or show nothing new

	started  time.Time     // when Find began, by DigitalOcean's clock; zero for its list
	skew     time.Duration // DigitalOcean's clock minus ours
	untagged bool          // some have lost the group's tag: lists go by CommonTag

	kept    []Droplet // by a person: they count for MaxInstances, and nobody touches them
	foreign []Droplet // made by another manager after we began
}

const (
	// minUpdate is the least time between two Updates. Some releases of the
	// runner pass an unset update_interval on as 0; their loop never waits.
	minUpdate = 500 * time.Millisecond

	// staleMost is how old the last complete list may be for Update to answer from it.
	// After that Update fails, which stops the runner from provisioning blindly.
	staleMost = 60 * time.Second

	// failedMost is the longest pause after a list that failed, which doubles up to it:
	// an outage is not to use up the token's hour.
	failedMost = 10 * time.Second

	// listBound is how long Update may wait for a list. The rest of callBound is for the
	// actions; an Update that had too little time for them is followed by one that acts
	// first. (TestActsThoughAnswersAreSlow)
	listBound = 9 * time.Second
)

// listAnswer is what a list shows of the whole group.
type listAnswer struct {
	List
	began    time.Time
	err      error
	doubtful bool // it proves nothing: it lacks all that live
}

func (l List) has(id int64) bool {
	return slices.ContainsFunc(l.Droplets, func(d Droplet) bool { return d.ID == id })
}

// join adds to a list what another has besides.
func join(l, more List) List {
	besides := slices.DeleteFunc(more.Droplets, func(d Droplet) bool { return l.has(d.ID) })
	l.Droplets = append(l.Droplets, besides...)
	l.Requests, l.Budget = max(l.Requests, more.Requests), more.Budget
	return l
}

// due reports whether the list is to be asked for now.
func (l *listing) due(now time.Time) bool {
	if l.actionsCut && now.Sub(l.began) < staleMost/2 {
		return false
	}
	return !now.Before(l.began.Add(l.interval())) && !now.Before(l.notBefore)
}

func (l *listing) succeeded(a *listAnswer) {
	l.requests, l.budget, l.began = a.Requests, a.Budget, a.began
	l.failure, l.failures, l.notBefore = nil, 0, time.Time{}
	l.foreign = nil
	if !a.doubtful { // else they may be there all the same
		l.kept = nil
	}
	if !a.Date.IsZero() {
		l.skew = a.Date.Sub(a.began)
	}
}

// keep notes that a person keeps d.
func (l *listing) keep(d Droplet) {
	if !slices.ContainsFunc(l.kept, func(k Droplet) bool { return k.ID == d.ID }) {
		l.kept = append(l.kept, d)
	}
}

// stale returns why the last complete list may not be shown any more, or nil: lists
// fail since staleMost, or in a way that time does not heal.
func (l *listing) stale(now time.Time) error {
	if now.Sub(l.began) > staleMost || permanent(l.failure) {
		return l.failure
	}
	return nil
}

// listFailed notes a list that failed. Called with mu held.
func (g *Group) listFailed(a *listAnswer, now time.Time) {
	l := &g.listing
	if errors.Is(a.err, ErrRateLimited) && now.Sub(l.began) < staleMost {
		l.notBefore = now.Add(retryAfter(a.err)) // the last one has to do
		return
	}
	l.failure = fmt.Errorf("list the Droplets with the tag %s: %w", GroupTag(g.Name), a.err)
	l.failures++
	l.notBefore = now.Add(max(l.interval(), double(perListRequest, failedMost, l.failures), retryAfter(a.err)))
	meanwhile := "the runner is shown the last list"
	if l.stale(now) != nil {
		meanwhile = "the runner is told so, and provisions nothing"
	}
	g.warnFailed("listing fails and is tried again", a.err, 1, now, "meanwhile", meanwhile,
		"last_list", now.Sub(l.began).Round(time.Second), "next_in", l.notBefore.Sub(now).Round(time.Second))
}

// The pace of lists. A list takes a request for 200 Droplets, so a larger group is listed
// less often: listing spends 2,400 to 3,000 of a token's 5,000 requests an hour.
const (
	perListRequest = 1500 * time.Millisecond
	longList       = 30 * time.Second
	leastPerList   = 1200 * time.Millisecond
)

// interval returns the least time between two lists: as above, or what is left of the
// token's hour when the others have had their share and a twentieth is kept.
func (l *listing) interval() time.Duration {
	n := time.Duration(max(1, l.requests))
	d := max(min(n*perListRequest, longList), n*leastPerList)
	if b := l.budget; b.Limit > 0 {
		rest := b.Limit - b.Limit/20 - b.Others - max(b.Changes, b.pace()) - b.LookUps
		d = max(d, min(staleMost, n*time.Hour/time.Duration(max(1, rest))))
	}
	return d
}

// scarce reports whether requests are to be saved by letting things wait for others:
// half of the token's hour is spent, or will be at the pace of the last minutes.
func (b Budget) scarce() bool {
	return b.Limit > 0 && (b.Remaining <= b.Limit/2 || b.Others+b.pace() > b.Limit/2)
}

// pace returns how many creates and deletes an hour that is.
func (b Budget) pace() int { return b.Recent * int(time.Hour/RecentSpan) }
