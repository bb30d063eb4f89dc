package instancegroup

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// State is what the runner is told of an instance.
type State string

// The states in the order of a life. Deleted is told once, and only of what no
// longer exists, or is kept: the runner forgets the instance with it.
const (
	Creating State = "creating"
	Running  State = "running"
	Deleting State = "deleting"
	Deleted  State = "deleted"
)

// A phase is where an instance is in its life.
//
//	requested -> creating -> running -> deleting -> gone
//
// No phase leads back. Any can end in deleting; gone is final.
type phase int

const (
	requested phase = iota // its name was sent in a create that nobody has confirmed
	creating               // DigitalOcean accepted it; the id is known
	running                // was active, with the address to dial, or with any after addressWithin
	deleting               // to be deleted, until it is confirmed that it is gone
	gone                   // confirmed not to exist, or kept by a person
)

// state is how a phase looks to the runner.
func (p phase) state() State {
	return [...]State{Creating, Creating, Running, Deleting, Deleted}[p]
}

// instance is one Droplet of the group, from before its create request is sent until
// the runner has been told that it is deleted. Its name, the id that the runner knows, is
// there before the Droplet: an unconfirmed create can be shown, and settled, without
// DigitalOcean's id. Guarded by Group.mu.
type instance struct {
	Droplet // as last seen, under the name that the runner knows; without an ID before that is known

	phase  phase
	reason string    // why it is deleting or gone
	at     Placement // where this process created it; zero = another one did

	inFlight bool // its create request is under way: not shown, not given up
	hidden   bool // the runner never hears of it: to be deleted
	shown    bool // the runner has heard of it
	assigned bool // to the project, or DigitalOcean refused that

	// What was observed. Zero = never, or not now.
	requested   time.Time // when it was accepted; of one taken over, when that was, or when it was created if it is still new
	confirmed   time.Time // when it was last known to exist, or was asked for
	listedSince time.Time // since when lists have it; zero too once they lacked it and a look-up had it
	missing     time.Time // begin of the first of the unbroken row of lists without it
	unresolved  bool      // lists do not show it: it is to be looked up
	checked     time.Time // when it was last looked up
	notFound    time.Time // when a look-up first said that it does not exist, if that needs a second
	active      time.Time // when it was first seen active
	off         time.Time // since when it is seen powered off

	deletion deletion
}

// own reports whether this process created it.
func (i instance) own() bool { return i.at != Placement{} }

// listed reports whether a list that lacks it says anything.
func (i instance) listed() bool { return !i.listedSince.IsZero() }

const (
	// unconfirmedFor is over which span lists must lack a Droplet that they never had
	// before that means anything. New ones are missing from lists for seconds.
	unconfirmedFor = 60 * time.Second

	// offTimeout is how long a Droplet is powered off before it is deleted. A reboot
	// takes a few seconds.
	offTimeout = 30 * time.Second

	// addressWithin is how long a Droplet may be active without the kind of address that
	// it is dialed by before it is shown as it is: the private one may come first.
	addressWithin = 30 * time.Second

	// vanishTimeout is after which time a second look-up must confirm that a Droplet is
	// gone that vanished with others: DigitalOcean has bad moments. (TestVanishTogether)
	vanishTimeout = 30 * time.Second

	// lookUpEvery is how often an instance that lists do not show is looked up.
	lookUpEvery = 10 * time.Second
)

// observation is what one answer of DigitalOcean says of one instance.
type observation struct {
	byID     bool // of a look-up, where absent means 404; else of a complete list
	present  bool
	droplet  Droplet   // if present
	asked    time.Time // when DigitalOcean was asked
	partial  bool      // if present: an address of the kind that it was made to have is not there
	paged    bool      // a list of several pages, between which an entry can slip: one is not enough
	doubtful bool      // a list that lacks everything, or a 404 together with others
}

// decide is the one place where an observation becomes a decision. It is pure: it
// returns the instance as it is afterwards. removable and lookUpDue say what is to be
// done about that. createTimeout is the longest time from accepted to running.
//
// Invariant: only what is confirmed not to exist becomes gone. What was asked before the
// instance was last known to exist proves nothing. A list proves something only of what
// lists have had for a minute, or since it was booting, or what they lack for a minute; and
// one of several pages is not enough. (TestDecide, FuzzDecide)
func decide(i instance, o observation, now time.Time, createTimeout time.Duration) instance {
	switch {
	case o.present:
		return decidePresent(i, o, now, createTimeout)
	case i.inFlight, i.phase == gone, o.asked.Before(i.confirmed):
		return i
	case o.byID:
		return decideNotFound(i, o)
	}
	return decideUnlisted(i, o)
}

func decidePresent(i instance, o observation, now time.Time, createTimeout time.Duration) instance {
	d := o.droplet
	d.PublicIPv4 = cmp.Or(d.PublicIPv4, i.PublicIPv4) // an address does not go away
	d.PublicIPv6 = cmp.Or(d.PublicIPv6, i.PublicIPv6)
	d.PrivateIPv4 = cmp.Or(d.PrivateIPv4, i.PrivateIPv4)
	d.Name = i.Name
	i.Droplet, i.confirmed = d, now
	i.missing, i.notFound, i.unresolved = time.Time{}, time.Time{}, false
	if o.byID { // lists lack it
		i.listedSince = time.Time{}
	} else if !i.listed() {
		i.listedSince = now
	}

	off := d.Status == StatusOff || d.Status == StatusArchive
	if !off {
		i.off = time.Time{}
	} else if i.off.IsZero() {
		i.off = now
	}
	if d.Status == StatusActive && i.active.IsZero() {
		i.active = now
	}
	addressMayCome := o.partial && i.phase < running && now.Sub(i.active) < addressWithin && now.Sub(i.requested) < createTimeout
	switch {
	case i.phase == gone:
		return i
	case Kept(d):
		i.phase, i.reason = gone, keptReason
		return i
	case i.phase == deleting:
		return i
	case slices.ContainsFunc(d.Tags, IsDeleteTag): // which may still be carried out, under a job
		return i.toDelete("an earlier plugin process was deleting it")
	case off && now.Sub(i.off) >= offTimeout:
		return i.toDelete("powered off, which is billed like running")
	case d.Status == StatusActive && reachable(d) && !addressMayCome:
		i.phase = running
	case i.phase == requested:
		i.phase = creating
	}
	if i.phase == creating && now.Sub(i.requested) >= createTimeout {
		return i.toDelete(fmt.Sprintf("still %s %s after it was requested (create_timeout)", d.Status, now.Sub(i.requested).Round(time.Second)))
	}
	return i
}

const keptReason = "a person keeps it: it has the tag " + KeepTag

// decideUnlisted is about what a complete list lacks.
func decideUnlisted(i instance, o observation) instance {
	if o.doubtful { // it proves nothing, of anybody
		i.unresolved = i.unresolved || i.listed()
		return i
	}
	first := i.missing.IsZero()
	if first {
		i.missing = o.asked
	}
	long := o.asked.Sub(i.missing) >= unconfirmedFor
	accepted := i.deletion.accepted
	deleted := i.phase == deleting && !accepted.IsZero()

	switch {
	case i.ID == 0: // the create was never confirmed, and there is no id to look up
		if long {
			i.phase, i.reason = gone, "its create request was not confirmed, and it never appeared"
		}
	case deleted && i.listed() && (!i.active.Before(i.listedSince) || o.asked.Sub(i.listedSince) >= unconfirmedFor):
		mayHaveSlipped := o.paged && first
		if !o.asked.Before(accepted) && !mayHaveSlipped {
			i.phase = gone
		}
	case !i.listed() && !deleted && !long: // accepted a moment ago: lists lag
	default:
		i.unresolved = true
	}
	return i
}

// decideNotFound is about what DigitalOcean says does not exist.
func decideNotFound(i instance, o observation) instance {
	if i.phase != deleting {
		if o.doubtful && i.notFound.IsZero() {
			i.notFound = o.asked
		}
		if o.doubtful && o.asked.Sub(i.notFound) < vanishTimeout {
			return i
		}
		i.reason = "DigitalOcean has no such Droplet: it was deleted from outside, or its create failed"
	}
	i.phase = gone
	return i
}

func (i instance) toDelete(why string) instance {
	if i.phase < deleting {
		i.phase, i.reason = deleting, why
	}
	return i
}

// removable reports whether a DELETE is to be sent now. One that was accepted is not
// repeated before the Droplet was seen long after it: lists lag.
func (i instance) removable(now time.Time) bool {
	del := i.deletion
	if i.phase != deleting || i.inFlight || i.ID == 0 || now.Before(del.next) {
		return false
	}
	return del.accepts == 0 || del.refusals > 0 || i.confirmed.Sub(del.accepted) >= ignoredAfter
}

// lookUpDue reports whether it is to be looked up by id now.
func (i instance) lookUpDue(now time.Time) bool {
	pause := lookUpEvery
	if !i.notFound.IsZero() {
		pause = vanishTimeout
	}
	return i.unresolved && i.phase != gone && !i.inFlight && now.Sub(i.checked) >= pause
}

// reachable reports whether d has any address: one from before a change of
// public_networking is as good as it was.
func reachable(d Droplet) bool { return d.External() != "" || d.PrivateIPv4 != "" }
