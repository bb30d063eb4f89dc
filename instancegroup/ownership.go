package instancegroup

import (
	"fmt"
	"slices"
	"time"
)

// belongs finds the member that a listed Droplet is, or makes one of it, or
// returns nil for a Droplet that is not ours to touch. Called with mu held.
//
// Invariant: what is ours is decided by the id for all that this run made or
// took over, whatever became of name and tags since; by name and tags only for
// what it sees for the first time. (TestOwnership)
func (g *Group) belongs(d Droplet, now time.Time) *member {
	if g.released[d.ID] {
		return nil
	}
	if m := g.byID[d.ID]; m != nil {
		return m
	}
	if g.chosen {
		return nil
	}
	if !Owns(g.Name, d) {
		g.noteStranger(d)
		return nil
	}
	run := RunOf(d)
	m := g.members[d.Name]
	switch {
	case m != nil && m.id == 0 && (run == m.run || run == ""):
		g.identify(m, d.ID) // the answer to its create was lost, or is on its way; here it is
		g.places.worked(Placement{Size: d.Size, Region: d.Region})
		return m
	case run != g.Run && !g.deadRuns[run] && d.Created.After(g.started):
		g.noteManager(d, run)
		return nil
	case m != nil:
		return g.twin(m, d, now)
	case run == g.Run || g.ended[d.ID]:
		return g.stray(d, "it appeared after it was given up", now)
	}
	return g.takeOver(d, now)
}

// noteStranger logs once that a Droplet with the group's tag is left alone.
func (g *Group) noteStranger(d Droplet) {
	if g.strangers[d.ID] {
		return
	}
	g.strangers[d.ID] = true
	g.log.Warn("a Droplet carries the group's tag but not a name of the group, or no other tag of the plugin: it is left alone, and the runner does not see it",
		"name", d.Name, "id", d.ID, "usd_per_hour", d.PriceHourly)
}

// noteManager logs once for each of its runs that a second manager is at work.
func (g *Group) noteManager(d Droplet, run string) {
	delete(g.litter, run) // it lives
	if g.managers[run] {
		return
	}
	g.managers[run] = true
	g.log.Error("a Droplet of this group was made by another run after this one began: a second manager uses the same name. "+
		"Its new Droplets are left alone. Give each manager a name of its own",
		"name", d.Name, "id", d.ID, "run", g.Run, "other_run", run, "created", d.Created)
}

// takeOver makes a member of a Droplet that an earlier run left.
func (g *Group) takeOver(d Droplet, now time.Time) *member {
	g.seq++
	g.tookOver++
	if g.kept[d.ID] { // somebody gave it back
		delete(g.kept, d.ID)
		g.letGoNew = true
	}
	m := &member{name: d.Name, seq: g.seq, run: RunOf(d), phase: creating, id: d.ID, droplet: d, listed: true, tagged: true,
		born: now, proved: now}
	if d.Status == StatusNew {
		m.born = now.Add(-max(0, now.Add(g.skew).Sub(d.Created)))
	}
	g.members[m.name], g.byID[m.id] = m, m
	if slices.ContainsFunc(d.Tags, IsBulkTag) {
		g.doom(m, "an earlier run was destroying it") // which may still be carried out, under a job
	}
	return m
}

// twin decides between two Droplets of one name: names are not unique on an
// account. The one that was dialed stays the instance, else the lower id. The
// other is destroyed. It returns the member that d is.
func (g *Group) twin(m *member, d Droplet, now time.Time) *member {
	if m.dialed || m.id < d.ID || m.phase == deleting || m.phase == gone {
		return g.stray(d, fmt.Sprintf("a second Droplet of the name %s; %d stays", m.name, m.id), now)
	}
	other := m.droplet
	other.ID, other.Name = m.id, m.name
	m.phase, m.droplet, m.off, m.active = creating, d, time.Time{}, time.Time{} // judged afresh, as d
	g.identify(m, d.ID)
	g.stray(other, fmt.Sprintf("a second Droplet of the name %s; %d stays", m.name, d.ID), now)
	return m
}

// stray takes in a Droplet of ours that the runner will not hear of, to destroy it.
func (g *Group) stray(d Droplet, why string, now time.Time) *member {
	m := g.takeStray(d, now)
	g.doom(m, why)
	return m
}

func (g *Group) takeStray(d Droplet, now time.Time) *member {
	m := &member{name: d.Name, run: RunOf(d), phase: running, id: d.ID, droplet: d, listed: true, tagged: true,
		born: now, proved: now}
	g.strays[d.ID], g.byID[d.ID] = m, m
	return m
}

// identify attaches DigitalOcean's id to a member that this run made.
func (g *Group) identify(m *member, id int) {
	m.id = id
	g.byID[id] = m
	g.bill.made++
	if g.Project != "" {
		g.unplaced[id] = 0
	}
}
