package digitalocean

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// budget is what a token may still spend. DigitalOcean gives it 5,000 requests in any
// hour and 250 in any minute, to all programs that use it together. The headers of every
// answer correct the hour, and show other programs.
//
// Invariant: what the token cannot afford is not sent; its sender is told when it can be.
// What changes something goes before what decides something, and that before lists.
// (TestBudgetOfAMinute, TestBudgetOfAnHour) After a 429 requests of that kind are held for
// as long as it asks, at most maxRetryAfter; then one tries before the others.
// (TestBudgetHolds)
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

// A kind is what a request is for, and what a 429 holds. Creates that are refused again
// and again must not keep a delete from being tried, whose Droplet is billed.
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
	perMinute   = 245             // of DigitalOcean's 250, as our clock is not its own
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

// take counts a request, or returns why it cannot be sent now.
func (b *budget) take(k kind) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	wait := b.held[k].Sub(now)
	// DigitalOcean says nothing of the minute before it refuses: other programs are taken
	// to spend their share.
	room := perMinute - min(b.others/60, perMinute/2) - leaves[k].minute
	if n := len(b.sent); n >= room {
		wait = max(wait, b.sent[n-room].at.Add(time.Minute).Sub(now))
	}
	if b.limit > 0 && b.remaining <= leaves[k].hour {
		wait = max(wait, b.answered.Add(leaves[k].believed).Sub(now))
	}
	if wait > 0 {
		return &ig.CloudError{Class: ig.ErrRateLimited, RetryAfter: wait, Message: fmt.Sprintf("not sent: the token's rate limit is reached "+
			"(250 a minute, 5000 an hour), the next can be sent in %s", wait.Round(time.Second))}
	}
	b.sent = append(b.sent, sending{now, k})
	if !b.held[k].IsZero() { // it tries; the others wait about as long as an answer takes
		b.held[k] = now.Add(time.Second)
	}
	return nil
}

// note learns from an answer.
func (b *budget) note(r request, resp *godo.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case strings.HasSuffix(r.op, "/v2/account/keys"): // has a limit of its own
	case resp.StatusCode == http.StatusTooManyRequests:
		b.held[kindOf(r)] = now.Add(cmp.Or(retryAfter(resp.Header), holdWithout))
	default:
		b.held[kindOf(r)] = time.Time{}
	}
	if resp.Limit == 0 || resp.Header.Get("RateLimit-Remaining") == "" { // the answer does not say it
		return
	}
	b.limit, b.remaining, b.answered = resp.Limit, resp.Remaining, now
	b.expire(now)
	// Ours that are under way may be counted already, or not: they are not taken
	// for others'.
	b.others = max(0, b.limit-b.remaining-len(b.sent))
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
