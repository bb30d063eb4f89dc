package instancegroup

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// logLimit counts what is logged again and again, by what it is about: an outage of an
// hour is 60 lines for each thing that fails. Guarded by Group.mu.
type logLimit map[string]logged

type logged struct {
	times int       // not logged since the last line
	at    time.Time // of that line
}

const (
	logEvery = time.Minute // for what fails, by the class of its error
	forever  = time.Duration(math.MaxInt64)
)

// count counts n times of something that is logged every so often. It returns how
// many there were since the last line, and whether one is due.
func (l logLimit) count(what string, n int, every time.Duration, now time.Time) (times int, due bool) {
	before, again := l[what]
	times = before.times + n
	if again && now.Sub(before.at) < every {
		l[what] = logged{times, before.at}
		return times, false
	}
	l[what] = logged{0, now}
	return times, true
}

func (l logLimit) due(what string, every time.Duration, now time.Time) bool {
	_, due := l.count(what, 1, every, now)
	return due
}

// failure counts n failures with err, each class of errors apart.
func (l logLimit) failure(what string, err error, n int, now time.Time) (times int, due bool) {
	return l.count(fmt.Sprint(what, ": ", cloudError(err).Class), n, logEvery, now)
}

// warnFailed logs n failures with err, if a line is due. Called with mu held.
func (g *Group) warnFailed(msg string, err error, n int, now time.Time, fields ...any) {
	if times, due := g.limit.failure(msg, err, n, now); due {
		g.log.Warn(msg, append(fields, "times", times, "request_id", requestID(err), "err", err)...)
	}
}

// warnAll logs what failed of requests that were sent together, as one line. Called
// with mu held.
func (g *Group) warnAll(msg string, failed []answer, now time.Time) {
	var names []string
	for _, a := range failed {
		names = append(names, a.Name)
	}
	if n := len(names); n > 0 {
		g.warnFailed(msg, failed[n-1].err, n, now, "names", some(names))
	}
}

// summary is what a line of the log says of Droplets of one kind.
func summary(ds []Droplet) []any {
	var names []string
	usd := 0.0
	for _, d := range ds {
		names = append(names, d.Name)
		usd += d.PriceHourly
	}
	slices.Sort(names)
	return []any{"droplets", len(names), "usd_per_hour", Cents(usd), "names", some(names)}
}

// some names up to 20 of names, which may be thousands.
func some(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
}
