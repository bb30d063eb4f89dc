package digitalocean

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// budget is what a token may still spend. DigitalOcean gives it 5,000 requests in any
// hour and 250 in any minute, to all programs that use it together. All layers that
// send are above it. What the token cannot afford is not sent: its sender is told when
// it can be.
//
// What changes something comes first, then what decides something, then lists. The
// headers of every answer correct the hour, and show other programs; in a minute these
// are taken to spend their share, since DigitalOcean says nothing before it refuses.
//
// After a 429 requests of that kind are held for as long as it asks, at most
// maxRetryAfter; then one tries before the others. (TestBudgetHolds)
type budget struct {
	base http.RoundTripper

	mu        sync.Mutex       // guards all that follows
	sent      []sending        // ours of the last hour, oldest first
	limit     int              // an hour, by the last answer; 0 = unknown
	remaining int              // of it, by the last answer
	answered  time.Time        // when
	others    int              // requests of other programs in the hour before that
	held      [kinds]time.Time // until when; zero = not
}

// sending is one request that was sent.
type sending struct {
	at time.Time
	of kind
}

// A kind is what a request is for, and what a 429 holds. Creates and deletes are
// two: creates that are refused again and again must not keep a delete from being
// tried, whose Droplet is billed.
type kind int

const (
	creates kind = iota
	changes      // deletes, tags, keys
	lookUps      // of one thing, to decide about it
	lists        // of Droplets
	kinds
)

func kindOf(req *http.Request) kind {
	switch droplets := strings.HasSuffix(req.URL.Path, "/v2/droplets"); {
	case droplets && req.Method == http.MethodPost:
		return creates
	case req.Method != http.MethodGet:
		return changes
	case droplets:
		return lists
	}
	return lookUps
}

const (
	perMinute = 250  // DigitalOcean's documented burst limit
	perHour   = 5000 // and that of an hour, unless its answers say otherwise

	// What a minute keeps: a few requests from all, as our clock is not
	// DigitalOcean's; more from look-ups and lists, for what comes before them; and
	// from creates and deletes, for a list of 10,000 Droplets: without one a minute
	// the runner learns nothing.
	keptFromAll     = 5
	keptFromLookUps = 20
	keptFromLists   = 45
	keptForLists    = 50

	// holdWithout is how long a kind is held if a 429 does not say it.
	holdWithout = 5 * time.Second
)

// keptOfHour is how many requests of an hour are kept from a kind.
var keptOfHour = [kinds]int{lookUps: 50, lists: 100}

func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	k := kindOf(req)
	tries, err := b.take(k)
	if err != nil {
		return nil, err
	}
	resp, err := b.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(resp.Header)
	switch {
	case strings.HasSuffix(req.URL.Path, "/v2/account/keys"): // has a limit of its own
	case resp.StatusCode == http.StatusTooManyRequests:
		b.held[k] = time.Now().Add(cmp.Or(retryAfter(resp.Header), holdWithout))
	case tries: // others may have been sent before the 429
		b.held[k] = time.Time{}
	}
	return resp, nil
}

// take counts a request, or returns why it cannot be sent now. It reports whether
// the request is the one that tries after a hold.
func (b *budget) take(k kind) (tries bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	if wait := max(b.held[k].Sub(now), b.waitOfHour(k, now), b.waitOfMinute(k, now)); wait > 0 {
		return false, &ig.CloudError{Class: ig.ErrRateLimited, RetryAfter: wait, Message: fmt.Sprintf("not sent: the token's rate limit is reached "+
			"(%d a minute, %d an hour), the next can be sent in %s", perMinute, perHour, wait.Round(time.Second))}
	}
	b.sent = append(b.sent, sending{now, k})
	if tries = !b.held[k].IsZero(); tries {
		b.held[k] = now.Add(time.Second) // the others wait about as long as an answer takes
	}
	return tries, nil
}

// waitOfHour returns how long from now until the hour has room for a request. What an
// answer said is believed for a minute; creates and deletes ask anew before that, or
// lists would use up every answer that they wait for.
func (b *budget) waitOfHour(k kind, now time.Time) time.Duration {
	if b.limit == 0 || b.remaining > b.limit*keptOfHour[k]/perHour {
		return 0
	}
	believed := time.Minute
	if k <= changes {
		believed = 50 * time.Second
	}
	return b.answered.Add(believed).Sub(now)
}

// waitOfMinute returns how long from now until the minute has room for a request.
func (b *budget) waitOfMinute(k kind, now time.Time) time.Duration {
	// until returns how long until fewer than n of the last minute's requests are of
	// those kinds.
	until := func(n int, of ...kind) time.Duration {
		for _, s := range slices.Backward(b.sent) {
			if slices.Contains(of, s.of) {
				n--
			}
			if n == 0 {
				return s.at.Add(time.Minute).Sub(now)
			}
		}
		return 0
	}
	all := []kind{creates, changes, lookUps, lists}
	room := perMinute - keptFromAll - min(b.others/60, perMinute/2)
	switch k {
	case lookUps:
		return until(room-keptFromLookUps, all...)
	case lists:
		return min(until(room-keptFromLists, all...), max(until(room, all...), until(keptForLists, lists)))
	}
	return max(until(room, all...), until(room-keptForLists, creates, changes))
}

// note learns from the headers of an answer. Callers hold mu.
func (b *budget) note(h http.Header) {
	limit, err1 := strconv.Atoi(h.Get("ratelimit-limit"))
	remaining, err2 := strconv.Atoi(h.Get("ratelimit-remaining"))
	if err1 != nil || err2 != nil || limit <= 0 {
		return
	}
	b.limit, b.remaining, b.answered = limit, remaining, time.Now()
	b.expire(b.answered)
	// Ours that are under way may be counted already, or not: they are not taken
	// for others'.
	b.others = max(0, limit-remaining-len(b.sent))
}

// expire forgets what is older than an hour. Callers hold mu.
func (b *budget) expire(now time.Time) {
	b.sent = slices.DeleteFunc(b.sent, func(s sending) bool { return now.Sub(s.at) >= time.Hour })
}

// report is the budget as a Group paces itself by it.
func (b *budget) report() ig.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	r := ig.Budget{Limit: b.limit, Remaining: b.remaining, Others: b.others}
	for _, s := range b.sent {
		switch s.of {
		case lookUps:
			r.LookUps++
		case lists:
			r.Lists++
		default:
			r.Changes++
			if now.Sub(s.at) < ig.RecentSpan {
				r.Recent++
			}
		}
	}
	return r
}
