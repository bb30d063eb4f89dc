package instancegroup

import (
	"slices"
	"time"
)

// instances are the Droplets of the group, and what is known to have been one.
// Guarded by Group.mu.
//
// Invariant: an instance whose id is known is in byID, under that id alone, until
// the runner was told that it is gone. (TestOwnership)
type instances struct {
	all    []*instance          // in order of appearance
	byName map[string]*instance // what the runner sees, and creates that are in flight
	byID   map[int64]*instance  // also what is hidden from it
	ended  map[int64]bool       // Droplets of earlier runs that are gone, since lists lag, or were kept

	vanished time.Time // when the last one was gone that nobody here deleted
	noAssign time.Time // none is assigned to the project before then
}

// add makes an instance.
func (is *instances) add(i instance) *instance {
	is.all = append(is.all, &i)
	if !i.hidden {
		is.byName[i.Name] = &i
	}
	if i.ID != 0 {
		is.identify(&i, i.ID)
	}
	return &i
}

// identify attaches DigitalOcean's id to an instance.
func (is *instances) identify(i *instance, id int64) {
	i.ID = id
	is.byID[id] = i
}

// forget drops the instances that f reports.
func (is *instances) forget(f func(*instance) bool) {
	is.all = slices.DeleteFunc(is.all, func(i *instance) bool {
		if !f(i) {
			return false
		}
		if is.byName[i.Name] == i {
			delete(is.byName, i.Name)
		}
		if is.byID[i.ID] == i {
			delete(is.byID, i.ID)
		}
		return true
	})
}

// count returns how many are in a phase up to most. Up to running they are asked for
// or live, up to deleting they exist or may exist.
func (is *instances) count(most phase) int {
	n := 0
	for _, i := range is.all {
		if i.phase <= most {
			n++
		}
	}
	return n
}

// ids returns what exists or may exist; the id is 0 before it is known.
func (is *instances) ids() map[string]int64 {
	ids := map[string]int64{}
	for _, i := range is.all {
		if i.phase != gone && (ids[i.Name] == 0 || !i.hidden) {
			ids[i.Name] = i.ID
		}
	}
	return ids
}

// showing is an instance as the runner is shown it.
type showing struct {
	name  string
	state State
}

// show returns every instance that the runner is to be shown, in the order in which
// they appeared. What is gone is shown for the last time, and never as the first.
func (is *instances) show() (all []showing) {
	all = make([]showing, 0, len(is.all))
	for _, i := range is.all {
		if i.inFlight || i.hidden {
			continue
		}
		if i.phase == gone && !i.shown {
			all = append(all, showing{i.Name, Creating})
		}
		all = append(all, showing{i.Name, i.phase.state()})
		i.shown = true
	}
	is.forget(func(i *instance) bool { return i.phase == gone && !i.inFlight })
	return all
}
