package instancegroup

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// logLimit counts what fails again and again, by what it is about, so that it is
// logged at once and then once a minute with how often: an outage of an hour is 60
// lines for each thing that fails, not thousands. Guarded by Group.mu.
type logLimit map[string]logged

type logged struct {
	class error     // of the failure that was logged last
	times int       // failures since then
	at    time.Time // when
}

// logEvery is the least time between two lines about the same class of failure.
const logEvery = time.Minute

// due reports whether a line is due that is logged every so often; never again if
// every is 0.
func (l logLimit) due(what string, every time.Duration, now time.Time) bool {
	before, ok := l[what]
	if ok && (every == 0 || now.Sub(before.at) < every) {
		return false
	}
	l[what] = logged{at: now}
	return true
}

// failure counts n failures with err. It returns how many there were since the last
// line, and whether one is due: for the first, for another class, or for time.
func (l logLimit) failure(what string, err error, n int, now time.Time) (times int, due bool) {
	before, class := l[what], classOf(err)
	times = before.times + n
	if errors.Is(class, before.class) && now.Sub(before.at) < logEvery {
		before.times = times
		l[what] = before
		return 0, false
	}
	l[what] = logged{class: class, at: now}
	return times, true
}

// classOf returns the class of a CloudError; of any other error ErrUnconfirmed,
// which is what it proves.
func classOf(err error) error {
	if e, ok := errors.AsType[*CloudError](err); ok {
		return e.Class
	}
	return ErrUnconfirmed
}

func isCloud(err error) bool {
	_, ok := errors.AsType[*CloudError](err)
	return ok
}

// failures is what failed of many requests that were sent together.
type failures struct {
	names []string
	err   error // the last one's
}

func (f *failures) add(name string, err error) {
	f.names, f.err = append(f.names, name), err
}

// logFailed logs failures of requests that were sent together, as one line. Called
// with mu held.
func (g *Group) logFailed(msg string, f failures, now time.Time) {
	if len(f.names) == 0 {
		return
	}
	if times, due := g.limit.failure(msg, f.err, len(f.names), now); due {
		g.log.Warn(msg, "names", some(f.names), "times", times, "request_id", requestID(f.err), "err", f.err)
	}
}

// some names up to 20 of names, which may be thousands.
func some(names []string) string {
	const most = 20
	if len(names) <= most {
		return strings.Join(names, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], " "), len(names)-most)
}
