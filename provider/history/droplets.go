package history

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What the plugin logs of Droplets. (TestMessagesAreLogged)
const (
	msgRequested       = "Droplets requested"
	msgUnconfirmed     = "a create was not confirmed; lists will show whether its Droplets exist"
	msgActive          = "Droplet is active"
	msgDeleting        = "Droplet is being deleted"
	msgGone            = "Droplet is gone"
	msgVanished        = "a Droplet vanished: it is reported to the runner as gone"
	msgNeverMade       = "a Droplet was never created: it is reported to the runner as gone"
	msgTookOver        = "took over the Droplets of earlier plugin processes"
	msgTookOverUnknown = "took over Droplets of plugin processes that this host does not know: if their manager is alive, " +
		"stop one of the two or give it a plugin_config.name of its own"
	msgCoolsDown = "a placement cools down"
	msgRefused   = "Droplets were refused; the group backs off before it asks again"
)

// droplet is a Droplet, and when it ended if no later line speaks of it: DigitalOcean accepted to delete it, or the runner
// stopped.
type droplet struct {
	Droplet
	ended time.Time
}

// droplet returns the Droplet of that name, which may be new.
func (r *reader) droplet(l line, name string) *droplet {
	d := r.droplets[name]
	if d == nil {
		d = &droplet{Droplet: Droplet{Name: name}}
		r.droplets[name] = d
	}
	d.Group, d.ended = cmp.Or(l.field("group"), d.Group), time.Time{}
	return d
}

// requested is a create that DigitalOcean accepted, or may have.
func (r *reader) requested(l line) bool {
	names := strings.Fields(l.field("names"))
	for _, name := range names {
		d := r.droplet(l, name)
		if d.Requested.IsZero() {
			d.Requested = l.at
		}
		d.Size, d.Region = l.field("size"), l.field("region")
	}
	return len(names) > 0 && l.field("size") != ""
}

// lives is a line about one Droplet.
func (r *reader) lives(l line) bool {
	name := l.field("name")
	if name == "" {
		return false
	}
	d := r.droplet(l, name)
	d.PriceHourly = cmp.Or(l.usd("usd_per_hour"), d.PriceHourly)
	age, err := time.ParseDuration(cmp.Or(l.field("age"), l.field("after"))) // by DigitalOcean's clock
	if err == nil && age >= 0 {
		d.Requested = l.at.Add(-age)
	}
	switch l.msg {
	case msgActive:
		d.Active, d.Gone = l.at, time.Time{}
	case msgDeleting:
		d.ended = l.at
	case msgGone, msgVanished:
		if d.Gone = l.at; r.old(d.Gone) {
			delete(r.droplets, name)
		}
	case msgNeverMade: // it costs nothing
		r.failure(Failure{Size: d.Size, Region: d.Region, Why: "it was never made"}, l.at)
		delete(r.droplets, name)
	}
	return true
}

// tookOver names the Droplets that a new plugin process found.
func (r *reader) tookOver(l line) bool {
	some, _, more := strings.Cut(l.field("names"), " and ") // 20 names "and 3 more"
	names := strings.Fields(some)
	for _, name := range names {
		d := r.droplet(l, name)
		if n := l.number("droplets"); n > 0 && d.PriceHourly == 0 {
			d.PriceHourly = l.usd("usd_per_hour") / float64(n) // at least the sum is right
		}
	}
	for _, d := range r.droplets {
		if more && d.Group == l.field("group") {
			d.ended = time.Time{}
		}
	}
	return len(names) > 0
}

// failed is a placement, or all, that made no Droplets.
func (r *reader) failed(l line) bool {
	f := Failure{Size: l.field("size"), Region: l.field("region"), Why: l.field("why")}
	if l.msg == msgRefused {
		f.Why = "all were refused"
	}
	r.failure(f, l.at)
	return f.Why != ""
}

func (r *reader) failure(f Failure, at time.Time) {
	if !r.old(at) {
		r.failures[f]++
	}
}

// allDroplets returns all Droplets. A price that no line says is that of another
// Droplet of the same size.
func (r *reader) allDroplets() (all []Droplet) {
	for _, d := range r.droplets {
		if d.Gone.IsZero() && !d.ended.IsZero() {
			d.Gone = d.ended
			r.problem("Droplets whose end was not logged: counted to when they were deleted, or to the runner's last line", nil)
		}
		if r.old(d.Gone) {
			continue
		}
		for _, end := range []*time.Time{&d.Active, &d.Gone} {
			if !end.IsZero() && end.Before(d.Requested) {
				*end = d.Requested // the clock was set back
			}
		}
		all = append(all, d.Droplet)
	}
	slices.SortFunc(all, func(a, b Droplet) int { return cmp.Or(a.Requested.Compare(b.Requested), cmp.Compare(a.Name, b.Name)) })
	prices := map[string]float64{}
	for _, d := range all {
		if d.PriceHourly > 0 && d.Size != "" {
			prices[d.Size] = d.PriceHourly
		}
	}
	for i := range all {
		d := &all[i]
		if d.PriceHourly = cmp.Or(d.PriceHourly, prices[d.Size]); d.PriceHourly == 0 {
			r.problem("Droplets without a price: not in what is summed", nil)
		}
	}
	return all
}
