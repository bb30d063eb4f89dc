package digitalocean

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// budget is what a token may still spend. DigitalOcean gives it 5,000 requests in
// any hour and 250 in any minute, to all programs that use it together. It is the
// lowest layer of the transport, so that nothing is sent uncounted: a request that
// the token cannot afford waits a moment, or is not sent at all.
//
// What changes something comes first, then what decides something, then lists:
// the last requests of a minute, and of an hour, are kept from those that can
// wait. The hour is corrected by the headers of every answer, which count other
// programs too. For the minute DigitalOcean tells nothing before it refuses, so
// others are taken to spend evenly what they spend in an hour.
type budget struct {
	base http.RoundTripper

	mu        sync.Mutex
	sent      []sending // ours of the last hour, oldest first
	inFlight  int
	limit     int       // an hour, as last told; 0 = never told
	remaining int       // of it, as last told
	told      time.Time // when
}

// sending is one request that was sent.
type sending struct {
	at time.Time
	of purpose
}

// A purpose is what a request is for. Lower ones go first.
type purpose int

const (
	change purpose = iota // creates, destroys, tags
	settle                // looks one thing up, to decide about it
	list                  // lists Droplets
	purposes
)

const (
	perMinute = 250  // DigitalOcean's documented burst limit
	perHour   = 5000 // and that of an hour, unless its answers say otherwise

	// affordWait is how long a request waits for its turn. Whoever sends it is
	// bounded, and tries again when it is told to.
	affordWait = 2 * time.Second
)

// kept is how many requests of a minute and of an hour are kept for what comes
// before a purpose. A few are kept from all: our clock is not DigitalOcean's.
var kept = [purposes]struct{ minute, hour int }{
	change: {5, 0},
	settle: {25, 50},
	list:   {50, 100},
}

func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := b.take(req.Context(), purposeOf(req)); err != nil {
		return nil, err
	}
	resp, err := b.base.RoundTrip(req)
	b.note(resp)
	return resp, err
}

// purposeOf tells what a request is for.
func purposeOf(req *http.Request) purpose {
	switch {
	case req.Method != http.MethodGet:
		return change
	case strings.HasSuffix(req.URL.Path, "/v2/droplets"):
		return list
	}
	return settle
}

// take counts a request, once it can be afforded, or returns spentError.
func (b *budget) take(ctx context.Context, p purpose) error {
	var waited time.Duration
	for {
		b.mu.Lock()
		now := time.Now()
		wait := b.wait(p, now)
		if wait <= 0 {
			b.sent = append(b.sent, sending{now, p})
			b.inFlight++
			b.mu.Unlock()
			return nil
		}
		b.mu.Unlock()
		if waited+wait > affordWait {
			return spentError{wait}
		}
		select {
		case <-time.After(wait):
			waited += wait
		case <-ctx.Done():
			return spentError{wait}
		}
	}
}

// wait returns how long from now until a request for p can be afforded.
func (b *budget) wait(p purpose, now time.Time) time.Duration {
	b.expire(now)
	// What was told a minute ago or more is asked anew, by sending.
	if b.limit > 0 && b.remaining-b.inFlight <= b.limit*kept[p].hour/perHour && now.Sub(b.told) < time.Minute {
		return b.told.Add(time.Minute).Sub(now)
	}
	minute := now.Add(-time.Minute)
	begin, _ := slices.BinarySearchFunc(b.sent, minute, func(s sending, t time.Time) int {
		return cmp.Or(s.at.Compare(t), -1) // after it
	})
	recent := b.sent[begin:]
	affordable := perMinute - kept[p].minute - min(b.others()/60, perMinute/2)
	if over := len(recent) - affordable; over >= 0 {
		return recent[over].at.Sub(minute) // when so many of them are older than a minute
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

// others returns how many requests of the last hour were not ours.
func (b *budget) others() int {
	return max(0, b.limit-b.remaining-(len(b.sent)-b.inFlight))
}

// note learns from an answer; nil = there was none.
func (b *budget) note(resp *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.inFlight--
	if resp == nil {
		return
	}
	limit, err1 := strconv.Atoi(resp.Header.Get("ratelimit-limit"))
	remaining, err2 := strconv.Atoi(resp.Header.Get("ratelimit-remaining"))
	if err1 == nil && err2 == nil && limit > 0 {
		b.limit, b.remaining, b.told = limit, remaining, time.Now()
	}
}

// report is the budget as a Group paces itself by it.
func (b *budget) report() ig.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.expire(now)
	r := ig.Budget{Limit: b.limit, Remaining: b.remaining, Others: b.others()}
	for _, s := range b.sent {
		switch s.of {
		case change:
			r.Changes++
			if now.Sub(s.at) < ig.RecentSpan {
				r.Recent++
			}
		case settle:
			r.Settles++
		default:
			r.Lists++
		}
	}
	return r
}

// spentError is a request that was not sent, since the token could not afford it.
type spentError struct{ wait time.Duration }

func (e spentError) Error() string {
	return fmt.Sprintf("not sent: the token's requests are spent (%d a minute, %d an hour), the next can be sent in %s",
		perMinute, perHour, e.wait.Round(time.Second))
}
