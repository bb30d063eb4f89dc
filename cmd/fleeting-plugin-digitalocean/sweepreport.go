package main

import (
	"cmp"
	"fmt"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/inventory"
)

// swept is what a sweep found of a group, and what became of it.
type swept struct {
	Group    string         `json:"group"`
	Managed  string         `json:"managed_by,omitempty"` // the process on this host that looks after it
	Droplets []sweptDroplet `json:"droplets"`
	Keys     []sweptThing   `json:"ssh_keys"`
	Tags     []sweptThing   `json:"tags"`
	Younger  younger        `json:"younger,omitzero"`         // and therefore left out
	Unread   []string       `json:"not_looked_for,omitempty"` // and why
	Error    string         `json:"error,omitempty"`          // why it is not all, or not done
}

type sweptDroplet struct {
	listedDroplet
	Doubt   string `json:"doubt,omitempty"`
	Deleted bool   `json:"deleted"`
}

type sweptThing struct {
	Name    string `json:"name"`
	Doubt   string `json:"doubt,omitempty"`
	Deleted bool   `json:"deleted"`
}

func (w swept) found() bool { return len(w.Droplets)+len(w.Keys)+len(w.Tags) > 0 }

// note takes down what was found. token is where that comes from.
func (w *swept) note(l inventory.Leftovers, token string) {
	for _, err := range l.Unread {
		w.Unread = append(w.Unread, digitalocean.Explain(err, token).Error())
	}
	for _, d := range l.Droplets {
		line, _ := listed(d.Droplet, time.Now())
		w.Droplets = append(w.Droplets, sweptDroplet{listedDroplet: line, Doubt: d.Doubt})
	}
	for _, k := range l.Keys {
		w.Keys = append(w.Keys, sweptThing{Name: k.Name, Doubt: k.Doubt})
	}
	for _, t := range l.Tags {
		w.Tags = append(w.Tags, sweptThing{Name: t.Name, Doubt: t.Doubt})
	}
}

func (w swept) print(t *terminal) {
	const ended = "its run was on this host, and has ended"
	line := func(what, why string) { fmt.Fprintf(t.out, "%s: %s\n", what, why) }
	for _, d := range w.Droplets {
		line(fmt.Sprintf("Droplet %s (%d), %s old, %.5f USD an hour", d.Name, d.ID, age(time.Duration(d.AgeSeconds)*time.Second), d.USDPerHour), cmp.Or(d.Doubt, ended))
	}
	for _, k := range w.Keys {
		line("SSH key "+k.Name, cmp.Or(k.Doubt, ended))
	}
	for _, tag := range w.Tags {
		line("tag "+tag.Name, cmp.Or(tag.Doubt, "nothing carries it"))
	}
	if w.Younger.Droplets > 0 {
		fmt.Fprintf(t.out, "group %s: %s too young for --older-than, %.5f USD an hour\n", w.Group, count(w.Younger.Droplets, "Droplet"), w.Younger.USDPerHour)
	}
	switch {
	case w.found(), w.Younger.Droplets > 0:
	case len(w.Unread) > 0:
		fmt.Fprintf(t.out, "group %s: no Droplet is left over; not everything was looked for\n", w.Group)
	default:
		fmt.Fprintf(t.out, "group %s: nothing is left over\n", w.Group)
	}
}

// sum says what was destroyed, and what was not.
func (w swept) sum(force bool) string {
	var droplets, keys, tags, doubtful, failed int
	tally := func(n *int, deleted bool, doubt string) {
		switch {
		case deleted:
			*n++
		case doubt != "" && !force:
			doubtful++
		default:
			failed++
		}
	}
	for _, d := range w.Droplets {
		tally(&droplets, d.Deleted, d.Doubt)
	}
	for _, k := range w.Keys {
		tally(&keys, k.Deleted, k.Doubt)
	}
	for _, t := range w.Tags {
		tally(&tags, t.Deleted, t.Doubt)
	}
	s := fmt.Sprintf("swept: %s, %s, %s", count(droplets, "Droplet"), count(keys, "SSH key"), count(tags, "tag"))
	if doubtful > 0 {
		s += fmt.Sprintf("; %d in doubt stay, which --force would destroy", doubtful)
	}
	if failed > 0 {
		s += fmt.Sprintf("; %d may be left", failed)
	}
	return s
}
