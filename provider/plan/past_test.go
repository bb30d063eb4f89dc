package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// The synthetic week fits its own policy, and no other.
func TestFit(t *testing.T) {
	for idle, fits := range map[time.Duration]bool{20 * time.Minute: true, time.Hour: false, 5 * time.Minute: false} {
		p, err := NewPast(history.Example(1), "ci", Setup{Policies: []Policy{{IdleTime: idle}}})
		if err != nil {
			t.Fatal(err)
		}
		if (len(p.Misfits) == 0) != fits {
			t.Errorf("idle_time %s: %s", idle, p.Misfits)
		}
	}
}

// Only the group's Droplets and jobs count, and a job arrives when GitLab could have given it.
func TestPast(t *testing.T) {
	h := history.Example(1)
	h.Droplets[0].Group = "other"
	p, err := NewPast(h, "ci", Setup{Policies: []Policy{{IdleTime: 20 * time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	var arrive []int64
	for _, j := range h.Jobs {
		if j.Droplet != h.Droplets[0].Name {
			arrive = append(arrive, (j.Received.Sub(h.From) - j.AtGitLab).Milliseconds())
		}
	}
	if len(p.Measured.Lives) != len(h.Droplets)-1 || len(p.Work.Jobs) != len(arrive) || p.Work.Jobs[0].Arrive != slices.Min(arrive) {
		t.Errorf("%d Droplets, %d jobs, the first at %d ms", len(p.Measured.Lives), len(p.Work.Jobs), p.Work.Jobs[0].Arrive)
	}
}

// What held jobs back is said, and how long; GitLab's export knows when they came.
func TestHeld(t *testing.T) {
	h := history.Example(1)
	setup := Setup{Policies: []Policy{{IdleTime: 20 * time.Minute}}, MaxJobs: 5, MaxInstances: 8}
	p, err := NewPast(h, "ci", setup)
	if err != nil || len(p.Held) != 0 {
		t.Errorf("%v, %q", err, p.Held)
	}
	for i := range h.Jobs {
		h.Jobs[i].AtGitLab = 0
	}
	setup.Policies = append(setup.Policies, Policy{IdleCount: 1, Preemptive: true})
	if p, err = NewPast(h, "ci", setup); err != nil {
		t.Fatal(err)
	}
	held := strings.Join(p.Held, "\n")
	for _, want := range []string{"concurrent or limit was reached for ", "max_instances was reached for ", "preemptive_mode leaves jobs at GitLab"} {
		if !strings.Contains(held, want) {
			t.Errorf("%q does not say %q", held, want)
		}
	}
}

// A history that no plan can be made from.
func TestTooLittle(t *testing.T) {
	whole := history.Example(1)
	boots, prices := history.Example(1), history.Example(1)
	for i := range boots.Droplets {
		boots.Droplets[i].Active = time.Time{}
		prices.Droplets[i].PriceHourly = 0
	}
	for want, h := range map[string]history.History{
		"too few": {From: whole.From, To: whole.To},
		"boot":    boots,
		"price":   prices,
	} {
		if _, err := NewPast(h, "ci", Setup{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Hours are those of a week in the given time zone, from Monday on, also where it changes to summer time.
func TestWeek(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	p := &Past{From: time.Date(2026, 3, 26, 22, 30, 0, 0, time.UTC)} // a Thursday, 23:30
	p.To = p.From.AddDate(0, 0, 14)
	p.Work = &Work{Length: p.To.Sub(p.From).Milliseconds()}
	from := time.Date(2026, 3, 30, 8, 0, 0, 0, berlin).Sub(p.From).Milliseconds() // a Monday after the change
	week := p.Week([]Life{{from, from + 3600_000}}, berlin)
	for h, n := range week {
		if want := map[int]float64{8: 0.5}[h]; n != want { // in one week of two
			t.Errorf("hour %d: %g, want %g", h, n, want)
		}
	}
}
