package instancegroup

import (
	"fmt"
	"slices"
	"time"
)

// instances are the Droplets of the group, and what is known to have been one.
// Guarded by Group.mu.
//
// Invariant: an instance whose id is known is in byID, under that id alone, until
// the runner was told that it is gone. (TestOwnership)
type instances struct {
	all     []*instance          // in order of appearance
	byName  map[string]*instance // what the runner sees, and creates that are in flight
	byID    map[int64]*instance  // also what is hidden from it
	ended   map[int64]bool       // Droplets of earlier runs that are gone: lists lag
	unsaved bool                 // ids came or went since the last Save

	noAssign time.Time // none is assigned to the project before then
}

// add makes an instance.
func (is *instances) add(i instance) *instance {
	is.all = append(is.all, &i)
	if !i.hidden {
		is.byName[i.name] = &i
	}
	if i.id != 0 {
		is.identify(&i, i.id)
	}
	return &i
}

// identify attaches DigitalOcean's id to an instance.
func (is *instances) identify(i *instance, id int64) {
	i.id = id
	is.byID[id] = i
	is.unsaved = true
}

// forget drops the instances that f reports.
func (is *instances) forget(f func(*instance) bool) {
	is.all = slices.DeleteFunc(is.all, func(i *instance) bool {
		if !f(i) {
			return false
		}
		if is.byName[i.name] == i {
			delete(is.byName, i.name)
		}
		if is.byID[i.id] == i {
			delete(is.byID, i.id)
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

// ids returns what exists or may exist, and has an id.
func (is *instances) ids() map[string]int64 {
	ids := map[string]int64{}
	for _, i := range is.all {
		if i.phase != gone && i.id != 0 && (ids[i.name] == 0 || !i.hidden) {
			ids[i.name] = i.id
		}
	}
	return ids
}

// line is what Update shows of one instance.
type line struct {
	name  string
	state State
}

// show returns what the runner is to be shown of every instance, in the order in
// which they appeared. What is gone is shown for the last time.
func (is *instances) show() []line {
	var lines []line
	for _, i := range is.all {
		if i.inFlight || i.hidden {
			continue
		}
		if i.phase == gone && !i.shown {
			lines = append(lines, line{i.name, Creating})
		}
		i.shown = true
		lines = append(lines, line{i.name, i.phase.state()})
	}
	is.forget(func(i *instance) bool { return i.phase == gone && !i.inFlight })
	return lines
}

// belongs returns the instance that a listed Droplet is, or makes one of it, or
// returns nil for a Droplet that is not ours to touch. Called with mu held.
//
// Invariant: the id decides for all that this process made or took over, whatever
// became of name and tags since; name and tags decide only for what it sees for
// the first time. (TestOwnership)
func (g *Group) belongs(d Droplet, now time.Time) *instance {
	if i := g.instances.byID[d.ID]; i != nil {
		if i.phase == gone && Kept(d) { // the runner has not been told yet
			g.listing.kept = append(g.listing.kept, d)
		}
		return i
	}
	if i := g.instances.byName[d.Name]; i != nil && i.id == 0 { // its create's answer was lost, or is on its way
		g.instances.identify(i, d.ID)
		return i
	}
	run := RunOf(g.Name, d.Name)
	switch {
	case !Owns(g.Name, d):
		g.warnForeign(d, now)
		return nil
	case Kept(d):
		g.listing.kept = append(g.listing.kept, d)
		return nil
	case run == g.Run || g.instances.ended[d.ID]:
		return g.hide(d, "it appeared after it was given up", now)
	case !slices.Contains(g.DeadRuns, run) && d.Created.After(g.listing.started):
		g.listing.foreign = append(g.listing.foreign, d)
		return nil
	}
	i := g.takeOver(d, now)
	g.logTakeOver(i)
	return i
}

// takeOver makes an instance of a Droplet that an earlier run left. Called with mu
// held.
func (g *Group) takeOver(d Droplet, now time.Time) *instance {
	if first := g.instances.byName[d.Name]; first != nil {
		return g.hide(d, fmt.Sprintf("a second Droplet of the name %s; %d stays", d.Name, first.id), now)
	}
	i := g.instances.add(instance{name: d.Name, phase: creating, id: d.ID, droplet: d,
		listedSince: now.Add(-unconfirmedFor), requested: now, confirmed: now})
	if d.Status == StatusNew {
		i.requested = now.Add(-g.age(i, now))
	}
	if slices.ContainsFunc(d.Tags, IsDeleteTag) { // which may still be carried out, under a job
		*i = i.toDelete("an earlier plugin process was deleting it")
		g.logDelete(i, now)
	}
	return i
}

// hide takes in a Droplet of ours that the runner will not hear of, to delete it.
// Called with mu held.
func (g *Group) hide(d Droplet, why string, now time.Time) *instance {
	i := g.instances.add(instance{name: d.Name, hidden: true, phase: deleting, reason: why, id: d.ID, droplet: d,
		listedSince: now.Add(-unconfirmedFor), requested: now, confirmed: now})
	g.logDelete(i, now)
	return i
}

func (g *Group) logDelete(i *instance, now time.Time) {
	g.log.Warn("Droplet will be deleted", g.fields(i, now)...)
}

// fields are what a line of the log says of an instance that ends.
func (g *Group) fields(i *instance, now time.Time, more ...any) []any {
	return append([]any{"name", i.name, "id", i.id, "reason", i.reason, "age", g.age(i, now), "usd_per_hour", i.droplet.PriceHourly}, more...)
}

// age is how old a Droplet is, by DigitalOcean's clock.
func (g *Group) age(i *instance, now time.Time) time.Duration {
	age := now.Sub(i.requested)
	if created := i.droplet.Created; !created.IsZero() {
		age = now.Add(g.listing.skew).Sub(created)
	}
	return max(0, age).Round(time.Second)
}

// warnForeign warns once of a Droplet that has the group's tag and is not ours.
func (g *Group) warnForeign(d Droplet, now time.Time) {
	if HasTag(d, GroupTag(g.Name)) && g.limit.due(fmt.Sprint("foreign ", d.ID), forever, now) {
		g.log.Warn("a Droplet has the group's tag but not a name of the group, or not the tag "+CommonTag+": it is left alone, and the runner does not see it",
			"name", d.Name, "id", d.ID, "usd_per_hour", d.PriceHourly)
	}
}

// warnHourly names what is billed and that the runner does not know of. Called
// with mu held.
func (g *Group) warnHourly(now time.Time) {
	if kept := g.listing.kept; len(kept) > 0 && g.limit.due("kept", time.Hour, now) {
		g.log.Warn("Droplets are kept by the tag "+KeepTag+": they are billed and count for max_instances until a person deletes them", summary(kept)...)
	}
	if foreign := g.listing.foreign; len(foreign) > 0 && g.limit.due("second manager", time.Hour, now) {
		g.log.Error("Droplets of this group were made by another plugin process after this one began: a second manager uses the same name, or one that died made them late. "+
			"They are left alone, and billed. Give each manager a name of its own", summary(foreign)...)
	}
}
