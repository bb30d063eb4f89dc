package main

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
)

// planReport is what plan says. Its JSON form is stable.
type planReport struct {
	From     time.Time    `json:"from"`
	To       time.Time    `json:"to"`
	Jobs     int          `json:"jobs"`
	Size     string       `json:"size"`
	Measured fit          `json:"measured"`
	Model    fit          `json:"model"`
	Held     []string     `json:"held_back,omitempty"`
	Misfits  []string     `json:"misfits,omitempty"`
	Tried    int          `json:"tried"`
	Present  *planChoice  `json:"present,omitempty"`
	Choices  []planChoice `json:"choices,omitempty"`
	Best     string       `json:"best,omitempty"`   // a choice's label
	Policy   string       `json:"policy,omitempty"` // to be pasted
	Diff     string       `json:"diff,omitempty"`
}

// fit is what the past was like, or what the model makes of it. Waits are in seconds.
type fit struct {
	USD      float64 `json:"usd"`
	P50      float64 `json:"wait_p50"`
	P95      float64 `json:"wait_p95"`
	Droplets int     `json:"droplets"`
}

func fitted(o *plan.Outcome) fit {
	return fit{math.Round(o.USD*100) / 100, o.Wait(0.5).Seconds(), o.Wait(0.95).Seconds(), o.Made}
}

type planChoice struct {
	Label       string  `json:"label"`
	Size        string  `json:"size"`
	USDPerMonth float64 `json:"usd_per_month"`
	P50         float64 `json:"wait_p50"`
	P95         float64 `json:"wait_p95"`
	Longest     float64 `json:"wait_longest"`
	Most        int     `json:"droplets_at_most"`
	MaxUses     int     `json:"max_use_count"`
	Why         string  `json:"why,omitempty"`
	Policy      string  `json:"policy,omitempty"` // in short
}

// advise fills in what was found. chosen is the choice with that label, or the best; nil = the present one stays.
func (r *planReport) advise(a *plan.Advice, label string) (chosen *plan.Choice, err error) {
	r.Tried = a.Tried
	present := inShort("now", &a.Present)
	present.Why = "the present policy"
	r.Present = &present
	labels := []string{}
	for i := range a.Choices {
		c := inShort(letter(i), &a.Choices[i])
		labels = append(labels, c.Label)
		r.Choices = append(r.Choices, c)
		if strings.EqualFold(c.Label, label) || label == "" && i == a.Best {
			chosen, r.Best = &a.Choices[i], c.Label
		}
	}
	if label != "" && chosen == nil {
		return nil, hinted{misuse(fmt.Sprintf("--choice %q: there is no such choice", label)), "--choice is one of " + strings.Join(labels, ", ")}
	}
	return chosen, nil
}

func inShort(label string, c *plan.Choice) planChoice {
	var policy []string
	for _, b := range c.Blocks {
		text := fmt.Sprintf("%d idle", b.IdleCount)
		if b.ScaleFactor > 0 {
			text += fmt.Sprintf(" x%g", b.ScaleFactor)
		}
		if b.From > 0 || b.To < 24 {
			text += fmt.Sprintf(" %d-%dh", b.From, b.To)
		}
		policy = append(policy, text)
	}
	if len(c.Blocks) > 0 {
		policy = append(policy, fmt.Sprintf("%.0fm", c.Blocks[0].IdleTime.Minutes()))
	}
	return planChoice{Label: label, Size: c.Size, USDPerMonth: math.Round(c.USDPerMonth*100) / 100, P50: c.P50.Seconds(), P95: c.P95.Seconds(),
		Longest: c.Longest.Seconds(), Most: c.Most, MaxUses: c.MaxUses, Why: c.Why, Policy: strings.Join(policy, ", ")}
}

func (r *planReport) show(t *terminal) {
	if t.format == asJSON {
		t.json(r)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s\n\n", between(r.From, r.To), count(r.Jobs, "job"), count(r.Measured.Droplets, "Droplet"))
	row := func(name string, f fit) []string {
		return []string{name, fmt.Sprintf("%.2f", f.USD), fmt.Sprintf("%.0f s", f.P50), fmt.Sprintf("%.0f s", f.P95), fmt.Sprint(f.Droplets)}
	}
	b.WriteString(table([]string{"THE PAST", "USD", "WAIT P50", "P95", "DROPLETS"}, 0,
		[][]string{row("measured", r.Measured), row("by the model", r.Model)}, nil, t.room(), t.colours))
	for _, held := range r.Held {
		fmt.Fprintf(&b, "jobs were held back: %s: waits are longer than the table says\n", clean(held))
	}
	for _, misfit := range r.Misfits {
		fmt.Fprintf(&b, "it does not fit: %s\n", clean(misfit))
	}
	if len(r.Misfits) > 0 {
		b.WriteString("so there is no advice: give a --since after the last change of the policy\n")
	} else {
		r.table(&b, t)
	}
	fmt.Fprint(t.out, b.String())
}

func (r *planReport) table(b *strings.Builder, t *terminal) {
	var rows [][]string
	var codes []string
	var why strings.Builder
	for _, c := range append([]planChoice{*r.Present}, r.Choices...) {
		policy := c.Policy
		if c.MaxUses != r.Present.MaxUses {
			policy += fmt.Sprintf(", %d uses", c.MaxUses)
		}
		if c.Size != r.Present.Size {
			policy += ", " + c.Size
		}
		switch {
		case policy == "":
			policy = c.Why // the present one
		case c.Why != "":
			fmt.Fprintf(&why, "%s: %s\n", c.Label, c.Why)
		}
		rows = append(rows, []string{c.Label, fmt.Sprintf("%.2f", c.USDPerMonth), fmt.Sprintf("%.0f s", c.P50), fmt.Sprintf("%.0f s", c.P95),
			fmt.Sprintf("%.0f s", c.Longest), fmt.Sprint(c.Most), policy})
		codes = append(codes, map[bool]string{true: green}[c.Label == r.Best])
	}
	fmt.Fprintf(b, "\n%d policies were tried:\n\n", r.Tried)
	b.WriteString(table([]string{"", "USD/MONTH", "WAIT P50", "P95", "LONGEST", "DROPLETS", "POLICY"}, 0, rows, codes, t.room(), t.colours))
	b.WriteString(why.String())
	switch {
	case r.Best == "":
		b.WriteString("\nNone is better than the present policy; --choice LETTER shows the policy of one.\n")
	case r.Diff != "":
		fmt.Fprintf(b, "\n%s in config.toml:\n\n%s", r.Best, r.Diff)
	default:
		fmt.Fprintf(b, "\n%s in config.toml, in place of the policies of [runners.autoscaler]:\n\n%s", r.Best, r.Policy)
	}
	for _, c := range r.Choices {
		if c.Label == r.Best && c.MaxUses != r.Present.MaxUses {
			fmt.Fprintf(b, "\nand in [runners.autoscaler]: max_use_count = %d\n", c.MaxUses)
		}
		if c.Label == r.Best && c.Size != r.Present.Size {
			fmt.Fprintf(b, "\nand in plugin_config: size = %q\n", c.Size)
		}
	}
}
