package dosim

import "time"

// limits are a token's sliding windows. Sim.mu owns them. Requests that are refused do not count [?].
type limits struct{ hour, minute, keyList window }

func newLimits(perMinute, perHour int) limits {
	keys := 10 // GET /v2/account/keys has a limit of its own
	if perMinute < 0 {
		keys = -1
	}
	return limits{window{time.Hour, perHour, nil}, window{time.Minute, perMinute, nil}, window{time.Minute, keys, nil}}
}

// take counts one request, or refuses it. wait, for a burst, is when to come again; it is zero for the hourly limit,
// with which DigitalOcean sends no retry-after.
func (l *limits) take(now time.Time, keyList bool) (wait time.Duration, ok bool) {
	windows := []*window{&l.hour, &l.minute}
	if keyList {
		windows = append(windows, &l.keyList)
	}
	for _, w := range windows {
		w.expire(now)
		if w.limit < 0 || len(w.times) < w.limit {
			continue
		}
		if w != &l.hour {
			wait = w.times[0].Add(w.span).Sub(now)
		}
		return wait, false
	}
	for _, w := range windows {
		if w.limit >= 0 {
			w.times = append(w.times, now)
		}
	}
	return 0, true
}

// report is what the ratelimit headers say: the hourly window, and when its oldest request expires.
func (l *limits) report(now time.Time) (limit, remaining int, reset time.Time) {
	l.hour.expire(now)
	if l.hour.limit < 0 {
		return 5000, 5000, now.Add(l.hour.span) // no limit still looks like DigitalOcean
	}
	reset = now
	if len(l.hour.times) > 0 {
		reset = l.hour.times[0].Add(l.hour.span)
	}
	return l.hour.limit, l.hour.limit - len(l.hour.times), reset
}

// window has the requests of the last span. A negative limit counts nothing.
type window struct {
	span  time.Duration
	limit int
	times []time.Time // ascending
}

func (w *window) expire(now time.Time) {
	from := now.Add(-w.span)
	for len(w.times) > 0 && !w.times[0].After(from) {
		w.times = w.times[1:]
	}
}
