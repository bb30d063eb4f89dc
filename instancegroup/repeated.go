package instancegroup

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// repeated counts what fails again and again, so that it is logged at once and
// then once a minute with how often: an outage of an hour is 60 lines for each
// thing that fails, not thousands. Guarded by Group.mu.
type repeated struct {
	err   error     // the last failure
	class error     // of the failure that was told last
	times int       // failures since then
	told  time.Time // when
}

// tellEvery is the least time between two lines about the same class of failure.
const tellEvery = time.Minute

// note counts n failures with err. It returns how many there were since the last
// line, and whether one is due: for the first, for another class, or for time.
func (r *repeated) note(err error, n int, now time.Time) (times int, due bool) {
	r.times, r.err = r.times+n, err
	class := classOf(err)
	if errors.Is(class, r.class) && now.Sub(r.told) < tellEvery {
		return 0, false
	}
	times = r.times
	*r = repeated{err: err, class: class, told: now}
	return times, true
}

// classOf returns the class of a CloudError; of any other error ErrAmbiguous,
// which is what it proves.
func classOf(err error) error {
	if e, ok := errors.AsType[*CloudError](err); ok {
		return e.Class
	}
	return ErrAmbiguous
}

// failures is what failed of many requests that were sent together.
type failures struct {
	names []string
	err   error // the last one's
}

func (f *failures) add(name string, err error) {
	f.names, f.err = append(f.names, name), err
}

// tell logs failures of requests that were sent together, as one line.
func (g *Group) tell(r *repeated, f failures, msg string) {
	if len(f.names) == 0 {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if times, due := r.note(f.err, len(f.names), time.Now()); due {
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
