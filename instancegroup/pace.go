package instancegroup

import "time"

const (
	// minUpdate is the least time between two Updates. Some releases of the
	// runner pass an unset update_interval on as 0; their loop never waits.
	minUpdate = 500 * time.Millisecond

	// staleMost is how old the last complete list may be for Update to answer
	// from it when DigitalOcean does not. After that Update fails, which stops
	// the runner from provisioning blindly.
	staleMost = 60 * time.Second
)

// The pace of lists. A list takes a request for 200 Droplets, so a larger group
// is listed less often: one of 200 at every Update of the runner's 2 s, one of
// 2,000 every 15 s, one of 4,000 and more every 30 s, for as long as a request of
// 1.2 s allows that. Listing alone then spends 2,400 to 3,000 of the 5,000
// requests that DigitalOcean gives a token an hour.
const (
	perListRequest = 1500 * time.Millisecond
	longList       = 30 * time.Second
	leastPerList   = 1200 * time.Millisecond
)

// listInterval returns the least time between the list l and the next: as above,
// or what is left of the token's hour when creates, destroys and other programs
// have had their share, and a twentieth is kept.
func listInterval(l List) time.Duration {
	n := time.Duration(max(1, l.Requests))
	d := max(min(n*perListRequest, longList), n*leastPerList)
	if b := l.Budget; b.Limit > 0 {
		rest := b.Limit - b.Limit/20 - b.Others - max(b.Changes, b.pace()) - b.Settles
		// A list a minute is always worth its requests: it is what is proved by.
		d = max(d, min(staleMost, n*time.Hour/time.Duration(max(1, rest))))
	}
	return d
}

// gatherFor is how long creates wait to become ten, the most that one request
// takes, once half of the token's hour is spent.
const gatherFor = 5 * time.Second

// gather returns how many of n Droplets are to be asked for now, given when the
// waiting for more began (zero = nobody waits), and when it begins for the rest.
func gather(n int, b Budget, since, now time.Time) (take int, waits time.Time) {
	if !b.scarce() || n == 0 {
		return n, time.Time{}
	}
	if since.IsZero() {
		since = now
	}
	switch whole := n / MaxNames * MaxNames; {
	case whole == n:
		return n, time.Time{}
	case now.Sub(since) >= gatherFor:
		return n, time.Time{}
	case whole > 0:
		return whole, now
	}
	return 0, since
}

// scarce tells whether requests are to be saved by letting things wait for
// others: more than half of the token's hour is spent, or will be at the pace of
// the last minutes, by creates and destroys and other programs alone. A fleet that
// churns is to save before it has to.
func (b Budget) scarce() bool {
	return b.Limit > 0 && (b.Remaining <= b.Limit/2 || b.Others+b.pace() > b.Limit/2)
}

// pace returns how many creates and destroys an hour are sent at the pace of the
// last minutes.
func (b Budget) pace() int { return b.Recent * int(time.Hour/RecentSpan) }
