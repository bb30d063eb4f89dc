package instancegroup

import (
	"fmt"
	"slices"
	"time"
)

// match returns the instance that a listed Droplet is, or makes one of it, or
// returns nil for a Droplet that is not ours to touch. Called with mu held.
//
// Invariant: the id decides for all that this process made or took over, whatever
// became of name and tags since; name and tags decide only for what it sees for
// the first time. (TestOwnership)
func (g *Group) match(d Droplet, now time.Time) *instance {
	if i := g.instances.byID[d.ID]; i != nil {
		if i.phase == gone && Kept(d) { // the runner has not been told yet
			g.listing.keep(d)
		}
		return i
	}
	if i := g.instances.byName[d.Name]; i != nil && i.ID == 0 { // its create's answer was lost, or is on its way
		g.instances.identify(i, d.ID)
		return i
	}
	run := RunOf(g.Name, d.Name)
	known := run == g.Run || slices.Contains(g.DeadRuns, run) || g.instances.byName[d.Name] != nil || g.instances.ended[d.ID]
	later := !g.listing.started.IsZero() && d.Created.After(g.listing.started)
	switch {
	case !Owns(g.Name, d):
		g.warnTagged(d, now)
	case Kept(d):
		g.listing.keep(d)
		g.instances.ended[d.ID] = true // without the tag it is deleted, not given to the runner
	case later && !known:
		g.listing.foreign = append(g.listing.foreign, d)
	default:
		return g.takeOver(d, now)
	}
	return nil
}

// takeOver makes an instance of a Droplet that an earlier run left, or that the runner
// is not to hear of: a copy, or what was gone for it. Called with mu held.
func (g *Group) takeOver(d Droplet, now time.Time) *instance {
	i := instance{Droplet: d, phase: creating, listedSince: now.Add(-unconfirmedFor), requested: now, confirmed: now}
	if d.Status == StatusNew {
		i.requested = now.Add(-g.age(&i, now))
	}
	first := g.instances.byName[d.Name]
	late := !g.listing.started.IsZero() && RunOf(g.Name, d.Name) == g.Run || g.instances.ended[d.ID]
	switch {
	case first != nil:
		i = i.toDelete(fmt.Sprintf("a second Droplet of the name %s; %d stays", d.Name, first.ID))
	case late:
		i = i.toDelete("it appeared after it was given up")
	}
	if i.hidden = i.phase == deleting; i.hidden {
		g.log.Warn("Droplet will be deleted", g.fields(&i, now)...)
	}
	return g.instances.add(i)
}

// fields are what a line of the log says of an instance that ends.
func (g *Group) fields(i *instance, now time.Time, more ...any) []any {
	return append([]any{"name", i.Name, "id", i.ID, "reason", i.reason, "age", g.age(i, now), "usd_per_hour", i.PriceHourly}, more...)
}

// age is how old a Droplet is, by DigitalOcean's clock; 0 = unknown.
func (g *Group) age(i *instance, now time.Time) time.Duration {
	return i.Age(now.Add(g.listing.skew)).Round(time.Second)
}

// warnTagged warns once of a Droplet that has the group's tag and is not the group's.
func (g *Group) warnTagged(d Droplet, now time.Time) {
	if HasTag(d, GroupTag(g.Name)) && g.limit.due(fmt.Sprint("foreign ", d.ID), forever, now) {
		g.log.Warn("somebody gave the group's tag to a Droplet that is not the group's: it is left alone",
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
		g.log.Error("another plugin process made Droplets of this group after this one began: they are left alone, and billed",
			append(summary(foreign), "hint", "a second manager uses the same name, or a dead one made them late: give each manager a name of its own")...)
	}
}
