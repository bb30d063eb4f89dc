package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// report is Droplets as ls and rm show them. Its JSON form is stable.
type report struct {
	Groups     []reportedGroup `json:"groups"`
	Droplets   int             `json:"droplets"`
	USDPerHour float64         `json:"usd_per_hour"`
	USDSoFar   float64         `json:"usd_so_far"`
}

type reportedGroup struct {
	Name       string            `json:"group"`
	USDPerHour float64           `json:"usd_per_hour"`
	USDSoFar   float64           `json:"usd_so_far"`
	Droplets   []reportedDroplet `json:"droplets"`
	Error      string            `json:"error,omitempty"` // why they are not known
}

type reportedDroplet struct {
	Name       string    `json:"name"`
	ID         int64     `json:"id"`
	State      string    `json:"state"` // DigitalOcean's status
	Kept       bool      `json:"kept,omitempty"`
	Size       string    `json:"size"`
	Region     string    `json:"region"`
	External   string    `json:"external,omitempty"`
	Internal   string    `json:"internal,omitempty"`
	Created    time.Time `json:"created_at"`
	AgeSeconds int       `json:"age_seconds"`
	USDPerHour float64   `json:"usd_per_hour"`
	USDSoFar   float64   `json:"usd_so_far"`
	Image      string    `json:"image"`
	Run        string    `json:"run"`
}

// add adds a group. now is the time by DigitalOcean's clock.
func (r *report) add(name string, droplets []instancegroup.Droplet, now time.Time) {
	g := reportedGroup{Name: name, Droplets: []reportedDroplet{}}
	for _, d := range droplets {
		age := d.Age(now)
		cost := instancegroup.Cost(d.PriceHourly, age)
		g.Droplets = append(g.Droplets, reportedDroplet{
			Name: d.Name, ID: d.ID, State: d.Status, Kept: instancegroup.Kept(d), Size: d.Size, Region: d.Region,
			External: d.External(), Internal: d.PrivateIPv4, Created: d.Created, AgeSeconds: int(age.Seconds()),
			USDPerHour: d.PriceHourly, USDSoFar: instancegroup.Cents(cost), Image: d.Image.String(),
			Run: instancegroup.RunOf(instancegroup.GroupOf(d), d.Name),
		})
		g.USDPerHour += d.PriceHourly
		g.USDSoFar += cost
	}
	g.USDPerHour, g.USDSoFar = instancegroup.Cents(g.USDPerHour), instancegroup.Cents(g.USDSoFar)
	r.Groups = append(r.Groups, g)
	r.Droplets += len(droplets)
	r.USDPerHour, r.USDSoFar = instancegroup.Cents(r.USDPerHour+g.USDPerHour), instancegroup.Cents(r.USDSoFar+g.USDSoFar)
}

// text is a report as a person reads it. The table is cut to fit so many columns (0 = any number), unless it is to be wide.
func (r report) text(wide bool, columns int, colours bool) string {
	head := []string{"NAME", "STATE", "SIZE", "REGION", "ADDRESS", "AGE", "USD/H", "USD SO FAR", "IMAGE", "RUN", "ID"}
	if wide {
		columns = 0
	} else {
		head = head[:7]
	}
	var rows [][]string
	var codes []string
	for _, g := range r.Groups {
		for _, d := range g.Droplets {
			state, code := d.State, red
			switch {
			case d.Kept:
				state, code = "kept", yellow
			case d.State == instancegroup.StatusNew:
				code = faint
			case d.State == instancegroup.StatusActive:
				code = ""
			}
			codes = append(codes, code)
			rows = append(rows, []string{d.Name, state, d.Size, d.Region, cmp.Or(d.External, d.Internal),
				age(time.Duration(d.AgeSeconds) * time.Second), fmt.Sprintf("%.5f", d.USDPerHour),
				fmt.Sprintf("%.2f", d.USDSoFar), d.Image, d.Run, fmt.Sprint(d.ID)})
		}
	}
	var b strings.Builder
	if r.Droplets > 0 {
		b.WriteString(table(head, 0, rows, codes, columns, colours))
	}
	for _, g := range r.Groups {
		if len(r.Groups) > 1 {
			fmt.Fprintf(&b, "group %s: %s\n", clean(g.Name), totals(len(g.Droplets), g.USDPerHour, g.USDSoFar))
		}
	}
	switch {
	case len(r.Groups) == 0:
		b.WriteString("no group has a Droplet\n")
	case len(r.Groups) == 1 && r.Droplets == 0:
		fmt.Fprintf(&b, "group %s has no Droplets\n", clean(r.Groups[0].Name))
	default:
		b.WriteString(colour(colours, bold, totals(r.Droplets, r.USDPerHour, r.USDSoFar)) + "\n")
	}
	return b.String()
}

func totals(n int, perHour, soFar float64) string {
	return fmt.Sprintf("%s: %.5f USD an hour, %.2f USD so far", count(n, "Droplet"), perHour, soFar)
}

// table lays out rows below a bold head, each in the colour of its code, if there are codes. To
// fit so many columns (0 = any number) it shortens cells, widest first, but not the names, which
// are to be pasted.
func table(head []string, names int, rows [][]string, codes []string, most int, colours bool) string {
	rows = append([][]string{head}, rows...)
	codes = append([]string{bold}, codes...)
	widths := make([]int, len(head))
	total := -2
	for i := range head {
		for _, row := range rows {
			row[i] = clean(row[i])
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i] + 2
	}
	for most > 0 && total > most {
		shrinks := slices.Clone(widths)
		shrinks[names] = 0
		widest := slices.Index(shrinks, slices.Max(shrinks))
		if widths[widest] <= len("ADDRESS") {
			break
		}
		widths[widest]--
		total--
	}
	var b strings.Builder
	for n, row := range rows {
		var line strings.Builder
		for i := range head {
			fmt.Fprintf(&line, "%-*s  ", widths[i], cut(row[i], widths[i]))
		}
		code := ""
		if n < len(codes) {
			code = codes[n]
		}
		b.WriteString(colour(colours, code, strings.TrimRight(line.String(), " ")) + "\n")
	}
	return b.String()
}

// age is how long ago something was, in one or two units.
func age(d time.Duration) string {
	if d < time.Minute {
		return d.Truncate(time.Second).String()
	}
	return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
}
