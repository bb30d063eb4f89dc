package instancegroup

import (
	"fmt"
	"time"
)

const (
	// unprovedFor is over which span complete lists must lack a Droplet that they
	// never had before that means anything. New Droplets are missing from lists
	// for seconds; a minute is many times that.
	unprovedFor = 60 * time.Second

	// offTwice is how long a Droplet must be powered off before it is
	// destroyed. A reboot is off for a few seconds.
	offTwice = 30 * time.Second

	// untaggedTwice is over which span look-ups must show a Droplet without the
	// group's tag before it is let go, for good: an answer may be wrong for seconds.
	untaggedTwice = 30 * time.Second

	// addressWithin is how long a Droplet may be active without the kind of address
	// that it is dialed by before it counts as running as it is. Its private one may be
	// there seconds before its public one.
	addressWithin = 30 * time.Second
)

// sight is what one answer of DigitalOcean says of one member: a complete list,
// which the member is in or not, or a look-up by its id.
type sight struct {
	present  bool
	droplet  Droplet   // if present
	untagged bool      // if present: without the group's tag, as only a look-up can tell
	began    time.Time // when DigitalOcean was asked
	lookup   bool      // by id: absent means 404
	partial  bool      // if present: its address of the kind that it was made to have is not there
	adrift   bool      // everything has lost the group's tag, or may have: see guardTag
	shifted  bool      // a list of several requests, so an entry can have slipped between its pages
}

// verdict is what is to be done about a member.
type verdict int

const (
	keep    verdict = iota // nothing
	look                   // look it up by id before anything is concluded
	destroy                // mark it deleting
	bury                   // mark it gone
	release                // let it go, alive: it was taken from us
)

func (v verdict) String() string {
	return [...]string{"keep", "look", "destroy", "bury", "release"}[v]
}

// judge is the one place where a sight of a member becomes a decision. It is
// pure: it returns the member as it is afterwards, the verdict, and the reason
// for a verdict that ends a life. createTimeout is the longest time from
// accepted to running.
//
// Invariant: only what is proved not to exist is buried. An answer to a question
// that was asked before the member was last known to exist proves nothing. A
// list proves something only of what lists have had, or over a minute, and one
// is not enough where entries can slip. (TestJudge, FuzzJudge)
func judge(m member, s sight, now time.Time, createTimeout time.Duration) (member, verdict, string) {
	if s.present {
		return judgePresent(m, s, now, createTimeout)
	}
	if m.inFlight || m.phase == gone || s.began.Before(m.proved) {
		return m, keep, ""
	}
	if s.lookup {
		if m.phase != deleting {
			m.reason = "DigitalOcean has no such Droplet: it was destroyed from outside, or its create failed"
		}
		return m, bury, m.reason
	}
	return judgeUnlisted(m, s)
}

func judgePresent(m member, s sight, now time.Time, createTimeout time.Duration) (member, verdict, string) {
	if !s.untagged {
		m.untagged, m.tagSeen = time.Time{}, s.began
	} else if m.tagged && m.phase != deleting {
		switch {
		case m.untagged.IsZero():
			m.untagged = now
		case now.Sub(m.untagged) >= untaggedTwice && !s.adrift:
			return m, release, "untagged by hand"
		}
	}
	d := s.droplet
	if !reachable(d) { // an address does not go away
		d.PublicIPv4, d.PublicIPv6, d.PrivateIPv4 = m.droplet.PublicIPv4, m.droplet.PublicIPv6, m.droplet.PrivateIPv4
	}
	m.id, m.droplet = d.ID, d
	if !m.listed && !s.lookup {
		m.listed, m.listedSince = true, now
	}
	m.tagged = m.tagged || !s.untagged
	m.proved, m.seen, m.missing, m.lookedUp = now, s.began, time.Time{}, s.lookup

	off := d.Status == StatusOff || d.Status == StatusArchive
	if !off {
		m.off = time.Time{}
	} else if m.off.IsZero() {
		m.off = now
	}
	if d.Status == StatusActive && m.active.IsZero() {
		m.active = now
	}
	waits := s.partial && m.phase < running && now.Sub(m.active) < addressWithin && now.Sub(m.born) < createTimeout
	switch {
	case m.phase == deleting, m.phase == gone && s.untagged && m.tagged: // the latter is to be let go
		return m, keep, ""
	case m.phase == gone:
		return m, destroy, "it was taken for gone and is not"
	case off && now.Sub(m.off) >= offTwice:
		return m, destroy, "powered off, which is billed like running"
	case d.Status == StatusActive && reachable(d) && !waits:
		m.phase = running
	case m.phase == requested:
		m.phase = creating
	}
	if m.phase == creating && now.Sub(m.born) >= createTimeout {
		return m, destroy, fmt.Sprintf("still %s %s after it was requested (create_timeout)",
			d.Status, now.Sub(m.born).Round(time.Second))
	}
	return m, keep, ""
}

// judgeUnlisted judges what a complete list lacks.
func judgeUnlisted(m member, s sight) (member, verdict, string) {
	first := m.missing.IsZero()
	if first {
		m.missing = s.began
	}
	long := s.began.Sub(m.missing) >= unprovedFor

	switch {
	case m.id == 0: // the create was never confirmed, and there is no id to look up
		if long && !s.adrift {
			return m, bury, "its create request was not answered clearly, and it never appeared"
		}
		return m, keep, ""

	case !m.listed && !long: // accepted a moment ago: lists lag
		return m, keep, ""

	case m.listed && m.phase == deleting && !m.removal.accepted.IsZero():
		if s.began.Before(m.removal.accepted) || (s.shifted && first) {
			return m, keep, ""
		}
		if m.lookedUp || s.adrift || s.began.Sub(m.listedSince) < unprovedFor {
			return m, look, "" // lists lack it anyway, or one that lags may be from before it was made
		}
		return m, bury, m.reason
	}
	return m, look, ""
}

// reachable tells whether d has any address. Not only one of the kind that the
// group is configured for: a Droplet taken over from before a change of
// public_networking is as good as it was. One of this run is given addressWithin.
func reachable(d Droplet) bool { return d.External() != "" || d.PrivateIPv4 != "" }

// addressed tells whether d has the kind of address that the group's Droplets are
// created with and dialed by.
func (g *Group) addressed(d Droplet) bool {
	if g.Template.PublicNetworking {
		return d.PublicIPv4 != ""
	}
	return d.PrivateIPv4 != ""
}
