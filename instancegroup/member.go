package instancegroup

import "time"

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
// No phase leads back. Any can end in deleting; gone is final, but for a Droplet
// that turns up again, which is then destroyed.
type phase int

const (
	// requested: the name was sent in a create that nobody has confirmed.
	requested phase = iota
	// creating: DigitalOcean accepted it; the id is known.
	creating
	// running: has been active, with the address to dial, or one after addressWithin.
	running
	// deleting: to be destroyed, by the runner's wish or ours, until it is
	// proved that it is gone.
	deleting
	// gone: proved not to exist (or let go, see Group.released).
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
	listed   bool    // a list has had it
	tagged   bool    // it has been seen with the group's tag
	inFlight bool    // its create request is under way: not shown, not buried
	shown    bool    // the runner has heard of it
	dialed   bool    // its address was given out

	born        time.Time // when it was accepted; of one taken over, when that was, or when it was created if it is still new
	proved      time.Time // when it was last known to exist, or was asked for
	seen        time.Time // when the last question was asked whose answer had it
	listedSince time.Time // when a list had it first; zero = it was taken over
	missing     time.Time // begin of the first of the unbroken row of complete lists without it; zero = not missing
	active      time.Time // when it was first seen active; zero = it was not
	off         time.Time // since when it is seen powered off; zero = it is not
	untagged    time.Time // since when look-ups show it without the group's tag; zero = they do not
	tagSeen     time.Time // when the last question was asked whose answer had it with the group's tag
	retagged    bool      // the group's tag was put back on it
	wanted      bool      // lists do not show it: it is to be looked up
	lookedUp    bool      // it was seen last by a look-up, and not by a list
	checked     time.Time // when it was last looked up

	charged float64 // USD, of its cost: what is in a bill

	reason  string // why it is deleting or gone
	removal removal
}
