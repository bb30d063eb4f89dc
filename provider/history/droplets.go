package history

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What the plugin logs of Droplets. (TestMessagesAreLogged)
const (
	msgReady           = "group is ready"
	msgRequested       = "Droplets requested"
	msgUnconfirmed     = "a create was not confirmed; lists will show whether its Droplets exist"
	msgActive          = "Droplet is active"
	msgWillBeDeleted   = "Droplet will be deleted"
	msgDeleting        = "Droplet is being deleted"
	msgGone            = "Droplet is gone"
	msgVanished        = "a Droplet vanished: it is reported to the runner as gone"
	msgNeverMade       = "a Droplet was never created: it is reported to the runner as gone"
	msgKept            = "a person keeps a Droplet: the runner is told that it is gone; it is billed, and counts for max_instances"
	msgTookOver        = "took over the Droplets of earlier plugin processes"
	msgTookOverUnknown = "took over Droplets of plugin processes that this host does not know: if their manager is alive, " +
		"stop one of the two or give it a plugin_config.name of its own"
	msgCoolsDown = "a placement cools down"
	msgRefused   = "Droplets were refused; the group backs off before it asks again"
)

// droplet is a Droplet, and what its end is concluded from if no line says it.
type droplet struct {
	Droplet
	born    bool      // its create was logged
	seen    time.Time // the last line about it
	deleted time.Time // DigitalOcean accepted to delete it
}

// requested is a create that DigitalOcean accepted, or may have.
func (r *reader) requested(l line) bool {
	names := strings.Fields(l.field("names"))
	for _, name := range names {
		d := r.droplet(l, name)
		d.born = true
		if d.Requested.IsZero() {
			d.Requested = l.at
		}
		d.Size, d.Region = strings.Clone(l.field("size")), strings.Clone(l.field("region"))
	}
	return len(names) > 0 && l.field("size") != ""
}

// droplet returns the Droplet of that name, which may be new.
func (r *reader) droplet(l line, name string) *droplet {
	d := r.droplets[name]
	if d == nil {
		name = strings.Clone(name)
		d = &droplet{Droplet: Droplet{Name: name}}
		r.droplets[name] = d
	}
	if group := l.field("group"); group != "" {
		d.Group = strings.Clone(group)
	}
	d.seen = l.at
	return d
}

// lives is a line about one Droplet.
func (r *reader) lives(l line) bool {
	name := l.field("name")
	if name == "" {
		return false
	}
	d := r.droplet(l, name)
	if usd := l.usd("usd_per_hour"); usd > 0 {
		d.PriceHourly = usd
	}
	for _, key := range []string{"age", "after"} { // by DigitalOcean's clock
		if age, ok := l.duration(key); ok {
			d.Requested = l.at.Add(-age)
		}
	}
	switch l.msg {
	case msgActive:
		d.Active, d.Gone, d.Lost = l.at, time.Time{}, false
	case msgDeleting:
		d.deleted = l.at
	case msgGone, msgVanished:
		d.Gone, d.Lost = l.at, l.msg == msgVanished || d.neverRan()
		if !r.young(d.Gone) {
			delete(r.droplets, d.Name)
		}
	case msgNeverMade: // it costs nothing
		r.failure(Failure{Size: d.Size, Region: d.Region, Why: "it was never made"}, l.at)
		delete(r.droplets, d.Name)
	case msgKept:
		r.problem("Droplets that a person keeps: counted to the end", nil)
	}
	return true
}

// tookOver names the Droplets that a new plugin process found.
func (r *reader) tookOver(l line) bool {
	group, n := l.field("group"), l.number("droplets")
	some, _, more := strings.Cut(l.field("names"), " and ") // 20 names "and 3 more"
	names := strings.Fields(some)
	if r.adopted[group] == nil {
		r.adopted[group] = map[string]bool{}
	}
	for _, name := range names {
		d := r.droplet(l, name)
		r.adopted[group][d.Name] = true
		if n > 0 && d.PriceHourly == 0 {
			d.PriceHourly = l.usd("usd_per_hour") / float64(n) // at least the sum is right
		}
	}
	if more {
		r.adopted[group][""] = true
	}
	return len(names) > 0
}

// ready is a plugin process that has begun. What it did not take over ended while none ran.
func (r *reader) ready(l line) bool {
	group := l.field("group")
	adopted := r.adopted[group]
	delete(r.adopted, group)
	for _, d := range r.droplets {
		if d.Group == group && d.Gone.IsZero() && !adopted[d.Name] && !adopted[""] {
			r.endUnseen(d)
		}
	}
	return group != ""
}

// endUnseen ends a Droplet after which no line says that it is gone.
func (r *reader) endUnseen(d *droplet) {
	d.Gone = d.deleted
	if d.Gone.IsZero() {
		if d.Gone = d.seen; r.before.After(d.Gone) { // until then the plugin would have said it
			d.Gone = r.before
		}
		r.problem("Droplets that ended while no plugin process ran: counted to the last line before", nil)
	}
	d.Lost = d.neverRan()
}

func (d *droplet) neverRan() bool { return d.born && d.Active.IsZero() }

// failed is a placement, or all, that made no Droplets.
func (r *reader) failed(l line) bool {
	f := Failure{Size: strings.Clone(l.field("size")), Region: strings.Clone(l.field("region")), Why: strings.Clone(l.field("why"))}
	if l.msg == msgRefused {
		f.Why = "all were refused"
	}
	r.failure(f, l.at)
	return f.Why != ""
}

func (r *reader) failure(f Failure, at time.Time) {
	if r.young(at) && (r.failures[f] > 0 || len(r.failures) < 1000) {
		r.failures[f]++
	}
}

// keep takes a Droplet into what is returned.
func (r *reader) keep(d *droplet) {
	if d.Gone.IsZero() && !d.deleted.IsZero() {
		r.endUnseen(d)
	}
	if !r.young(d.Gone) {
		return
	}
	for _, end := range []*time.Time{&d.Active, &d.Gone} {
		if !end.IsZero() && end.Before(d.Requested) {
			*end = d.Requested // the clock was set back
		}
	}
	r.ended = append(r.ended, d.Droplet)
}

// allDroplets returns all Droplets. A price that no line says is that of another
// Droplet of the same size.
func (r *reader) allDroplets() []Droplet {
	for _, d := range r.droplets {
		r.keep(d)
	}
	slices.SortFunc(r.ended, func(a, b Droplet) int { return cmp.Or(a.Requested.Compare(b.Requested), cmp.Compare(a.Name, b.Name)) })
	prices := map[string]float64{}
	for _, d := range r.ended {
		if d.PriceHourly > 0 && d.Size != "" {
			prices[d.Size] = d.PriceHourly
		}
	}
	for i := range r.ended {
		d := &r.ended[i]
		if d.PriceHourly == 0 {
			d.PriceHourly = prices[d.Size]
		}
		if d.PriceHourly == 0 {
			r.problem("Droplets without a price: not in what is summed", nil)
		}
	}
	return r.ended
}
