package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// report is what ls and rm show. Its JSON form is stable.
type report struct {
	Groups     []*found `json:"groups"`
	Droplets   int      `json:"droplets"`
	USDPerHour float64  `json:"usd_per_hour"`
	USDSoFar   float64  `json:"usd_so_far"`
}

// found is a group, and what was found of it.
type found struct {
	group   `json:"-"`
	Name    string   `json:"group,omitempty"`        // "" = all groups of an account
	Managed bool     `json:"managed_here,omitempty"` // a process on this host looks after it
	Unread  []string `json:"not_looked_for,omitempty"`
	Error   string   `json:"error,omitempty"` // why it is not known, or not deleted
	Found   []*entry `json:"found"`

	foreign []instancegroup.Droplet // with its tag, but not of it
	now     time.Time               // by DigitalOcean's clock
}

// entry is an item as it is shown.
type entry struct {
	*inventory.Item
	ID         int64   `json:"id,omitempty"`
	State      string  `json:"state,omitempty"` // DigitalOcean's status
	Kept       bool    `json:"kept,omitempty"`
	Size       string  `json:"size,omitempty"`
	Region     string  `json:"region,omitempty"`
	External   string  `json:"external,omitempty"`
	Internal   string  `json:"internal,omitempty"`
	AgeSeconds int     `json:"age_seconds,omitempty"`
	USDPerHour float64 `json:"usd_per_hour,omitempty"`
	USDSoFar   float64 `json:"usd_so_far,omitempty"`
	Image      string  `json:"image,omitempty"`
	Run        string  `json:"run,omitempty"`
}

// add adds an item.
func (f *found) add(i *inventory.Item) {
	e := &entry{Item: i}
	if d := i.Droplet; i.Kind == inventory.DropletKind {
		age := d.Age(f.now)
		*e = entry{Item: i, ID: d.ID, State: d.Status, Kept: instancegroup.Kept(d), Size: d.Size, Region: d.Region,
			External: d.External(), Internal: d.PrivateIPv4, AgeSeconds: int(age.Seconds()), USDPerHour: d.PriceHourly,
			USDSoFar: instancegroup.Cents(instancegroup.Cost(d.PriceHourly, age)), Image: d.Image.String(),
			Run: instancegroup.RunOf(i.Group, d.Name)}
	}
	f.Found = append(f.Found, e)
}

// look looks at each group. The error says at which it could not.
func (t *terminal) look(ctx context.Context, groups []group, at func(context.Context, *found) error) (all []*found, err error) {
	t.waits("asking DigitalOcean")
	defer t.done()
	var unread []string
	for _, g := range groups {
		f := &found{group: g, Name: g.Name, Found: []*entry{}}
		all = append(all, f)
		fault := at(ctx, f)
		if ctx.Err() != nil {
			f.Error = context.Cause(ctx).Error()
			return all, context.Cause(ctx)
		}
		if fault != nil {
			fault = g.fault(fault)
			f.Error = fault.Error()
			err = errors.Join(err, fault)
		}
		unread = append(unread, f.Unread...)
		if fault == nil && f.unlisted && len(f.Found) == 0 && !f.Managed { // a slip in its name would look as if all were well
			t.say("warning", "config.toml has no group %s, and nothing on the account is of it", f.Name)
		}
	}
	for _, u := range slices.Compact(slices.Sorted(slices.Values(unread))) { // an account's is that of all its groups
		t.say("warning", "not looked for: %s", u)
	}
	return all, err
}

// list finds the Droplets of a group.
func list(ctx context.Context, f *found) error {
	seen, err := inventory.Look(ctx, f.api, f.Name)
	if err != nil {
		return err
	}
	f.saw(seen)
	for _, d := range slices.Concat(seen.Owned, seen.Kept) {
		f.add(inventory.NewItem(d))
	}
	slices.SortFunc(f.Found, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID)) })
	return nil
}

// saw notes what DigitalOcean says beside the items.
func (f *found) saw(s inventory.Found) {
	f.now, f.foreign = s.Now, s.Foreign
	for _, u := range s.Unread {
		f.Unread = append(f.Unread, u.Error())
	}
}

// reportOf sums up.
func reportOf(all []*found) report {
	r := report{Groups: all}
	for _, f := range all {
		for _, e := range f.Found {
			if e.Kind == inventory.DropletKind {
				r.Droplets++
				r.USDPerHour += e.USDPerHour
				r.USDSoFar += instancegroup.Cost(e.USDPerHour, e.Droplet.Age(f.now)) // to be rounded once
			}
		}
	}
	r.USDPerHour, r.USDSoFar = instancegroup.Cents(r.USDPerHour), instancegroup.Cents(r.USDSoFar)
	return r
}

// entries is a table of what was found; "" = nothing was.
func entries(all []*found, heads []string, columns int, colours bool) string {
	var rows [][]string
	for _, f := range all {
		for _, e := range f.Found {
			cells := map[string]string{"KIND": string(e.Kind), "NAME": e.Name, "LEFT BY": "this host"}
			if e.Doubt != "" {
				cells["LEFT BY"] = "unknown"
			}
			if e.Kind == inventory.DropletKind {
				state := e.State
				if e.Kept {
					state = "kept"
				}
				maps.Copy(cells, map[string]string{"STATE": state, "SIZE": e.Size, "REGION": e.Region,
					"ADDRESS": cmp.Or(e.External, e.Internal), "AGE": age(time.Duration(e.AgeSeconds) * time.Second), "USD/H": fmt.Sprintf("%.5f", e.USDPerHour),
					"USD SO FAR": fmt.Sprintf("%.2f", e.USDSoFar), "IMAGE": e.Image, "RUN": e.Run, "ID": fmt.Sprint(e.ID)})
			}
			var row []string
			for _, h := range heads {
				row = append(row, cells[h])
			}
			rows = append(rows, row)
		}
	}
	if rows == nil {
		return ""
	}
	return table(heads, rows, []string{"REGION", "SIZE", "AGE", "ADDRESS", "USD/H", "KIND"}, columns, colours)
}

// deleted counts what is deleted.
func deleted(all []*found) (n, of int) {
	for _, f := range all {
		for _, e := range f.Found {
			if of++; e.Deleted {
				n++
			}
		}
	}
	return n, of
}

// age is how long ago something was, in one or two units.
func age(d time.Duration) string {
	if d < time.Minute {
		return d.Truncate(time.Second).String()
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
}
