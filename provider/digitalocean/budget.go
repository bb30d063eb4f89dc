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
// hour and 250 in any minute, to all programs that use it together. What the token
// cannot afford is not sent: its sender is told when it can be. What changes something
// comes first, then what decides something, then lists. The headers of every answer
// correct the hour, and show other programs; in a minute these are taken to spend their
// share, since DigitalOcean says nothing before it refuses.
//
// After a 429 requests of that kind are held for as long as it asks, at most
// maxRetryAfter; then one tries before the others. (TestBudgetHolds)
type budget struct {
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

func kindOf(r request) kind {
	switch {
	case r.op == opCreate:
		return creates
	case r.op == opList:
		return lists
	case r.reads():
		return lookUps
	}
	return changes
}

const (
	perMinute = 250  // DigitalOcean's documented burst limit
	perHour   = 5000 // and that of an hour, unless its answers say otherwise

	// A minute keeps a few requests, as our clock is not DigitalOcean's; and from
	// creates and deletes as many as a list of 10,000 Droplets takes: without one a
	// minute the runner learns nothing.
	keptFromAll  = 5
	keptForLists = 50

	holdWithout = 5 * time.Second // how long a kind is held if a 429 does not say it
)

// leaves is what each kind leaves of a minute and of an hour to those before it, and how
// long an answer is believed about the hour. Creates and deletes ask anew before the
// others, or lists would use up every answer that they wait for.
var leaves = [kinds]struct {
	minute, hour int
	believed     time.Duration
}{
	creates: {0, 0, 50 * time.Second},
	changes: {0, 0, 50 * time.Second},
	lookUps: {20, 50, time.Minute},
	lists:   {45, 100, time.Minute},
}

// take counts a request, or returns why it cannot be sent now. It reports whether
// the request is the one that tries after a hold.
func (b *budget) take(k kind) (tries bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	wait := max(b.held[k].Sub(now), b.minute(k, now))
	if b.limit > 0 && b.remaining <= b.limit*leaves[k].hour/perHour {
		wait = max(wait, b.answered.Add(leaves[k].believed).Sub(now))
	}
	if wait > 0 {
		return false, &ig.CloudError{Class: ig.ErrRateLimited, RetryAfter: wait, Message: fmt.Sprintf("not sent: the token's rate limit is reached "+
			"(%d a minute, %d an hour), the next can be sent in %s", perMinute, perHour, wait.Round(time.Second))}
	}
	b.sent = append(b.sent, sending{now, k})
	if tries = !b.held[k].IsZero(); tries {
		b.held[k] = now.Add(time.Second) // the others wait about as long as an answer takes
	}
	return tries, nil
}

// minute returns how long from now until the minute has room for a request.
func (b *budget) minute(k kind, now time.Time) time.Duration {
	room := perMinute - keptFromAll - min(b.others/60, perMinute/2)
	wait := b.fewer(room-leaves[k].minute, creates, lists, now)
	switch k {
	case creates, changes:
		return max(wait, b.fewer(room-keptForLists, creates, changes, now))
	case lists: // if not with the others, then of those that are kept for them
		return min(wait, max(b.fewer(room, creates, lists, now), b.fewer(keptForLists, lists, lists, now)))
	}
	return wait
}

// fewer returns how long from now until fewer than n of the last minute's requests are of
// the kinds from first to last.
func (b *budget) fewer(n int, first, last kind, now time.Time) time.Duration {
	for _, s := range slices.Backward(b.sent) {
		if first <= s.of && s.of <= last {
			n--
		}
		if n == 0 {
			return s.at.Add(time.Minute).Sub(now)
		}
	}
	return 0
}

// note learns from an answer, which may be to the request that tries after a hold.
func (b *budget) note(r request, tries bool, resp *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case strings.HasSuffix(r.op, "/v2/account/keys"): // has a limit of its own
		return
	case resp.StatusCode == http.StatusTooManyRequests:
		b.held[kindOf(r)] = now.Add(cmp.Or(retryAfter(resp.Header), holdWithout))
	case tries: // others may have been sent before the 429
		b.held[kindOf(r)] = time.Time{}
	}
	limit, err1 := strconv.Atoi(resp.Header.Get("ratelimit-limit"))
	remaining, err2 := strconv.Atoi(resp.Header.Get("ratelimit-remaining"))
	if err1 != nil || err2 != nil {
		return
	}
	b.limit, b.remaining, b.answered = limit, remaining, now
	b.expire(now)
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
	var sent [kinds]int
	for _, s := range b.sent {
		sent[s.of]++
		if s.of <= changes && now.Sub(s.at) < ig.RecentSpan {
			r.Recent++
		}
	}
	r.Changes, r.LookUps, r.Lists = sent[creates]+sent[changes], sent[lookUps], sent[lists]
	return r
}
