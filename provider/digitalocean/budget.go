package digitalocean

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// budget is what a token may still spend. DigitalOcean gives it 5,000 requests in
// any hour and 250 in any minute, to all programs that use it together. All layers
// that send are above it, so that nothing is sent uncounted: a request that the
// token cannot afford waits a moment, or is not sent at all.
//
// What changes something comes first, then what decides something, then lists.
// The hour is corrected by the headers of every answer, which count other programs
// too. For the minute DigitalOcean says nothing before it refuses, so others are
// taken to spend evenly what they spend in an hour.
//
// After a 429 requests of that kind are held for as long as it asks, at most
// maxRetryAfter; then one tries before the others. Creates and deletes are two kinds:
// creates that are refused again and again must not keep a delete from being tried,
// whose Droplet is billed. (TestBudgetHolds)
type budget struct {
	base http.RoundTripper

	mu        sync.Mutex // guards all that follows
	sent      []sending  // ours of the last hour, oldest first
	inFlight  int
	limit     int       // an hour, by the last answer; 0 = unknown
	remaining int       // of it, by the last answer
	answered  time.Time // when
	others    others
	held      [kinds]time.Time // until when; zero = not
}

// sending is one request that was sent.
type sending struct {
	at time.Time
	of purpose
}

// A purpose is what a request is for. Lower ones go first.
type purpose int

const (
	change purpose = iota // creates, deletes, tags
	lookUp                // of one thing, to decide about it
	list                  // of Droplets
	purposes
)

const (
	perMinute = 250  // DigitalOcean's documented burst limit
	perHour   = 5000 // and that of an hour, unless its answers say otherwise

	// affordWait is how long a request waits for its turn. Its sender is bounded
	// too, and may try again later.
	affordWait = 2 * time.Second

	// listShare is how many requests of a minute creates and deletes leave to
	// lists, which need no more room than they do for so many: a list of 10,000
	// Droplets. Without one a minute the runner learns nothing.
	listShare = 50

	// holdWithout is how long a purpose is held if a 429 does not say it.
	holdWithout = 5 * time.Second
)

// A kind is what is held together after a 429.
type kind int

const (
	creates kind = iota
	deletes      // and tags, keys
	lookUps
	lists
	kinds
)

func kindOf(req *http.Request) kind {
	switch p := purposeOf(req); {
	case p == change && req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/v2/droplets"):
		return creates
	case p == change:
		return deletes
	case p == lookUp:
		return lookUps
	}
	return lists
}

// kept is how many requests of a minute and of an hour are kept for what comes
// before a purpose. A few are kept from all: our clock is not DigitalOcean's.
var kept = [purposes]struct{ minute, hour int }{
	change: {5, 0},
	lookUp: {25, 50},
	list:   {50, 100},
}

func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	k := kindOf(req)
	tries, err := b.take(req.Context(), k, purposeOf(req))
	if err != nil {
		return nil, err
	}
	sent := time.Now()
	resp, err := b.base.RoundTrip(req)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
	if err != nil {
		return nil, err
	}
	b.note(resp.Header, sent)
	switch {
	case strings.HasSuffix(req.URL.Path, "/v2/account/keys"): // has a limit of its own
	case resp.StatusCode == http.StatusTooManyRequests:
		b.held[k] = time.Now().Add(cmp.Or(retryAfter(resp.Header), holdWithout))
	case tries: // others may have been sent before the 429
		b.held[k] = time.Time{}
	}
	return resp, nil
}

// purposeOf returns what a request is for.
func purposeOf(req *http.Request) purpose {
	switch {
	case req.Method != http.MethodGet:
		return change
	case strings.HasSuffix(req.URL.Path, "/v2/droplets"):
		return list
	}
	return lookUp
}

// take counts a request, once it can be afforded. It reports whether the request
// is the one that tries after a hold.
func (b *budget) take(ctx context.Context, k kind, p purpose) (tries bool, err error) {
	var waited time.Duration
	for {
		b.mu.Lock()
		now := time.Now()
		wait := max(b.held[k].Sub(now), b.wait(p, now))
		if wait <= 0 {
			defer b.mu.Unlock()
			b.sent = append(b.sent, sending{now, p})
			b.inFlight++
			tries := !b.held[k].IsZero()
			if tries { // the others wait about as long as an answer takes
				b.held[k] = now.Add(time.Second)
			}
			return tries, nil
		}
		b.mu.Unlock()
		if waited += wait; waited <= affordWait {
			select {
			case <-time.After(wait):
				continue
			case <-ctx.Done():
			}
		}
		return false, notSent{
			error: fmt.Errorf("not sent: the token's requests are spent (%d a minute, %d an hour), the next can be sent in %s",
				perMinute, perHour, wait.Round(time.Second)),
			class: ig.ErrRateLimited,
			wait:  wait,
		}
	}
}

// wait returns how long from now until a request for p can be afforded.
func (b *budget) wait(p purpose, now time.Time) time.Duration {
	b.expire(now)
	// What is a minute old is asked anew, by sending: what comes first some seconds
	// sooner, or lists would use up every answer that deletes wait for.
	known := time.Minute - time.Duration(list-p)*3*time.Second
	if b.limit > 0 && b.remaining-b.inFlight <= b.limit*kept[p].hour/perHour && now.Sub(b.answered) < known {
		return b.answered.Add(known).Sub(now)
	}
	minute := now.Add(-time.Minute)
	var recent, own []time.Time // when requests of the last minute were sent, and those for p
	for _, s := range b.sent {
		if s.at.After(minute) {
			recent = append(recent, s.at)
			if s.of == p {
				own = append(own, s.at)
			}
		}
	}
	all := perMinute - min(b.others.perHour/60, perMinute/2)
	most := all - kept[change].minute
	affordable := all - kept[p].minute
	if p == list && len(own) < listShare {
		affordable = most
	}
	if over := len(own) - (most - listShare); p == change && over >= 0 {
		return own[over].Sub(minute) // when so many of them are older than a minute
	}
	if over := len(recent) - affordable; over >= 0 {
		return recent[over].Sub(minute)
	}
	return 0
}

// expire forgets what is older than an hour.
func (b *budget) expire(now time.Time) {
	n := 0
	for n < len(b.sent) && !b.sent[n].at.After(now.Add(-time.Hour)) {
		n++
	}
	b.sent = b.sent[n:]
}

// others is how many requests an hour other programs send. Answers say how many
// they sent in the hour that has passed, which would show a program in full only an
// hour after it began. So their pace is also that of the last span that has ended:
// what the count grew by, and what left it meanwhile, which was sent an hour before.
type others struct {
	perHour int // the greater of both

	begun time.Time  // of the span under way
	at    int        // what the count was then
	sent  [spans]int // in the spans before, the oldest first
}

// spans is how many spans are in an hour.
const spans = int(time.Hour / ig.RecentSpan)

// note takes the count of the hour that ends now.
func (o *others) note(count int, now time.Time) {
	if o.begun.IsZero() || now.Sub(o.begun) >= time.Hour {
		*o = others{begun: now, at: count}
		for i := range o.sent {
			o.sent[i] = count / spans
		}
	}
	for ; now.Sub(o.begun) >= ig.RecentSpan; o.begun = o.begun.Add(ig.RecentSpan) {
		sent := max(0, count-o.at+o.sent[0])
		copy(o.sent[:], o.sent[1:])
		o.sent[spans-1], o.at = sent, count
	}
	o.perHour = max(count, o.sent[spans-1]*spans)
}

// note learns from the answer to a request that was sent then. Callers hold mu.
//
// Invariant: of answers that overtake each other the one counts that leaves less,
// which is the newer one. (TestBudgetOvertaken)
func (b *budget) note(h http.Header, sent time.Time) {
	limit, err1 := strconv.Atoi(h.Get("ratelimit-limit"))
	remaining, err2 := strconv.Atoi(h.Get("ratelimit-remaining"))
	if err1 != nil || err2 != nil || limit <= 0 {
		return
	}
	if b.limit == limit && !sent.After(b.answered) {
		remaining = min(remaining, b.remaining)
	}
	b.limit, b.remaining, b.answered = limit, remaining, time.Now()
	b.expire(b.answered)
	// Ours that are under way may be counted already, or not: they are not taken
	// for others'.
	b.others.note(max(0, limit-remaining-len(b.sent)), b.answered)
}

// report is the budget as a Group paces itself by it.
func (b *budget) report() ig.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	r := ig.Budget{Limit: b.limit, Remaining: b.remaining, Others: b.others.perHour}
	for _, s := range b.sent {
		switch s.of {
		case change:
			r.Changes++
			if now.Sub(s.at) < ig.RecentSpan {
				r.Recent++
			}
		case lookUp:
			r.LookUps++
		default:
			r.Lists++
		}
	}
	return r
}
