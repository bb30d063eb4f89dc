package instancegroup

import (
	"fmt"
	"time"
)

// State is what the runner is told of an instance.
type State string

// The states in the order of a life. Deleted is told once, and only of what no
// longer exists: the runner forgets the instance with it.
const (
	Creating State = "creating"
	Running  State = "running"
	Deleting State = "deleting"
	Deleted  State = "deleted"
)

// A phase is where a member is in its life.
//
//	requested -> creating -> running -> deleting -> gone
//
// Any phase can end in deleting; gone is final.
type phase int

const (
	// requested: the name was sent in a create that nobody has confirmed.
	requested phase = iota
	// creating: DigitalOcean accepted it; the id is known.
	creating
	// running: active, with an address to dial.
	running
	// deleting: to be destroyed, by the runner's wish or ours, until a list
	// proves that it is gone.
	deleting
	// gone: proved not to exist (or let go, see released).
	gone
)

func (p phase) String() string {
	return [...]string{"requested", "creating", "running", "deleting", "gone"}[p]
}

// state is how a phase looks to the runner.
func (p phase) state() State {
	switch p {
	case requested, creating:
		return Creating
	case running:
		return Running
	case deleting:
		return Deleting
	default:
		return Deleted
	}
}

// member is one instance of the group, from before its create request is sent
// until the runner has been told that it is deleted. Its name is the id that
// the runner knows; the name exists before the Droplet does, so an instance
// can be shown, and an unanswered create settled, without DigitalOcean's id.
//
// A member is owned by its Group and guarded by Group.mu.
type member struct {
	name  string
	seq   int    // order of appearance, for stable reports
	run   string // the plugin run that made it
	phase phase

	id       int     // 0 = not known yet
	droplet  Droplet // as last seen; zero before that
	seen     bool    // a list or a lookup has had it
	inFlight bool    // its create request is under way: not shown, not judged
	shown    bool    // the runner has heard of it
	dialed   bool    // its address was given out

	born    time.Time // when it was accepted; for one taken over, when it was created
	proved  time.Time // when it was last known to exist, or was asked for
	missing time.Time // begin of the first of the unbroken row of complete lists without it; zero = not missing
	off     time.Time // since when it is seen powered off; zero = it is not
	checked time.Time // last lookup by id while missing
	wanted  bool      // a lookup is due

	reason  string // why it is deleting or gone
	removal removal
}

func (m *member) String() string {
	if m.id == 0 {
		return m.name
	}
	return fmt.Sprintf("%s (%d)", m.name, m.id)
}

// limits are the times by which judge decides.
type limits struct {
	create time.Duration // longest time from accepted to running
}

const (
	// unproved is over which span complete lists must lack a Droplet that was
	// never seen before it counts as not made. New Droplets are missing from
	// lists for seconds; a minute is many times that.
	unproved = 60 * time.Second

	// offTwice is how long a Droplet must be powered off before it is
	// destroyed. A reboot is off for a few seconds.
	offTwice = 30 * time.Second

	// lookupEvery is how often a Droplet that lists do not show is looked up.
	lookupEvery = 10 * time.Second
)

// sight is what one complete list says of one member.
type sight struct {
	present bool
	droplet Droplet   // if present
	began   time.Time // when the list was asked for
	shifted bool      // the list took several requests, so an entry can have slipped between its pages
}

// verdict is what is to be done about a member.
type verdict int

const (
	keep    verdict = iota // nothing
	look                   // look it up by id before anything is concluded
	destroy                // mark it deleting
	bury                   // mark it gone
)

// judge is the one place where a sight of a member becomes a decision. It is
// pure: it returns the member as it is afterwards, the verdict, and the reason
// for a verdict that ends a life.
//
// Invariant: only what is proved not to exist is buried. A list that began
// before the member was last known to exist proves nothing, and one list is not
// enough where entries can slip. (TestJudge; FuzzJudge)
func judge(m member, s sight, now time.Time, lim limits) (member, verdict, string) {
	if s.present {
		return judgePresent(m, s, now, lim)
	}
	return judgeAbsent(m, s)
}

func judgePresent(m member, s sight, now time.Time, lim limits) (member, verdict, string) {
	m.id, m.droplet, m.seen = s.droplet.ID, s.droplet, true
	m.proved, m.missing = now, time.Time{}
	if s.droplet.Status != StatusOff && s.droplet.Status != StatusArchive {
		m.off = time.Time{}
	}
	switch m.phase {
	case deleting:
		return m, keep, ""
	case gone:
		return m, destroy, "it was taken for gone and is not"
	}

	switch s.droplet.Status {
	case StatusActive:
		if reachable(s.droplet) {
			m.phase = running
			return m, keep, ""
		}
		m.phase = creating
	case StatusOff, StatusArchive:
		if m.off.IsZero() {
			m.off = now
		}
		if now.Sub(m.off) >= offTwice {
			return m, destroy, "powered off, which is billed like running"
		}
		if m.phase == requested {
			m.phase = creating
		}
	default: // new, and whatever DigitalOcean may invent: not usable yet
		m.phase = creating
	}
	if m.phase == creating && now.Sub(m.born) >= lim.create {
		return m, destroy, fmt.Sprintf("still %s %s after it was requested (create_timeout)",
			s.droplet.Status, now.Sub(m.born).Round(time.Second))
	}
	return m, keep, ""
}

func judgeAbsent(m member, s sight) (member, verdict, string) {
	if m.inFlight || m.phase == gone || s.began.Before(m.proved) {
		return m, keep, ""
	}
	first := m.missing.IsZero()
	if first {
		m.missing = s.began
	}
	long := s.began.Sub(m.missing) >= unproved

	switch {
	case m.id == 0: // the create was never confirmed
		if long {
			return m, bury, "its create request was not answered clearly, and it never appeared"
		}
		return m, keep, ""

	case m.phase == deleting:
		if m.removal.accepted.IsZero() || s.began.Before(m.removal.accepted) || (s.shifted && first) {
			return m, keep, ""
		}
		return m, bury, m.reason

	case m.seen || long: // it was there, or should be by now
		if s.began.Sub(m.checked) < lookupEvery {
			return m, keep, ""
		}
		m.checked = s.began
		return m, look, ""
	}
	return m, keep, "" // accepted a moment ago: lists lag
}

// reachable tells whether d has any address. Not only one of the kind that the
// group is configured for: a Droplet taken over from before a change of
// public_networking is as good as it was.
func reachable(d Droplet) bool { return d.External() != "" || d.PrivateIPv4 != "" }

// removal is the state of a member's destruction.
type removal struct {
	tries    int       // DELETE requests sent
	accepted time.Time // when DigitalOcean last accepted one; zero = never
	next     time.Time // not before then
}

const (
	// An accepted DELETE that is not carried out is repeated after a minute,
	// then two, up to ten: hammering got accounts blocked.
	acceptedFirst, acceptedMost = 60 * time.Second, 10 * time.Minute
	// A refused one is tried again sooner, since nothing has been asked yet.
	refusedFirst, refusedMost = 5 * time.Second, 5 * time.Minute
)

// due tells whether a DELETE of m is to be sent now.
func (m *member) due(now time.Time) bool {
	return m.phase == deleting && m.id != 0 && !now.Before(m.removal.next)
}

// sent returns the removal after one more DELETE, which was accepted or not.
// wait is how long DigitalOcean asked to wait, or 0.
func (r removal) sent(accepted bool, wait time.Duration, now time.Time) removal {
	r.tries++
	pause := backoff(refusedFirst, refusedMost, r.tries)
	if accepted {
		r.accepted = now
		pause = backoff(acceptedFirst, acceptedMost, r.tries)
	}
	r.next = now.Add(max(pause, wait))
	return r
}

// backoff doubles from first to most; n counts from 1.
func backoff(first, most time.Duration, n int) time.Duration {
	for range n - 1 {
		if first >= most/2 {
			return most
		}
		first *= 2
	}
	return min(first, most)
}
