package dosim

import "time"

// limits are a token's sliding windows. Sim.mu owns them. Requests that are refused do not count [?].
type limits struct {
	minute, hour window
	keyList      window // GET /v2/account/keys has one of its own
}

func newLimits(perMinute, perHour int) limits {
	keys := 10
	if perMinute < 0 {
		keys = -1
	}
	return limits{
		minute:  window{span: time.Minute, limit: perMinute},
		hour:    window{span: time.Hour, limit: perHour},
		keyList: window{span: time.Minute, limit: keys},
	}
}

// take counts one request, or refuses it. wait, for a burst, is when to come again; it is zero for the hourly limit,
// with which DigitalOcean sends no retry-after.
func (l *limits) take(now time.Time, keyList bool) (wait time.Duration, ok bool) {
	windows := []*window{&l.hour, &l.minute}
	if keyList {
		windows = append(windows, &l.keyList)
	}
	for i, w := range windows {
		if w.expire(now); !w.full() {
			continue
		}
		if i > 0 {
			wait = w.times[0].Add(w.span).Sub(now)
		}
		return wait, false
	}
	for _, w := range windows {
		w.add(now)
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

// window counts requests over the last span. A negative limit counts nothing.
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

func (w *window) full() bool { return w.limit >= 0 && len(w.times) >= w.limit }

func (w *window) add(now time.Time) {
	if w.limit >= 0 {
		w.times = append(w.times, now)
	}
}
