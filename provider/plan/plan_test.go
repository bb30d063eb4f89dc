package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// berlin changes to summer time on 2026-03-29.
func berlin(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// The synthetic week fits its own policy, and no other.
func TestFit(t *testing.T) {
	for idle, fits := range map[time.Duration]bool{20 * time.Minute: true, time.Hour: false, 5 * time.Minute: false} {
		h, s := Example()
		s.Policy[0].IdleTime = idle
		p, err := NewPast(h, "ci", s)
		if err != nil {
			t.Fatal(err)
		}
		if (len(p.Misfits) == 0) != fits {
			t.Errorf("idle_time %s: %s", idle, p.Misfits)
		}
	}
}

// Only the group's Droplets and jobs count, and a job arrives when GitLab could have given it. What held jobs back is said,
// and how long, if GitLab does not know when they came.
func TestPast(t *testing.T) {
	h, s := Example()
	h.Droplets[0].Group = "other"
	s.MaxJobs, s.MaxInstances, s.Policy = 5, 8, append(s.Policy, runnerconfig.Policy{IdleCount: 1})
	p, err := NewPast(h, "ci", s)
	if err != nil {
		t.Fatal(err)
	}
	var arrive []time.Duration
	for i := range h.Jobs {
		j := &h.Jobs[i]
		if j.Droplet != h.Droplets[0].Name {
			arrive = append(arrive, j.Received.Sub(h.From)-j.AtGitLab)
		}
		j.AtGitLab = 0
	}
	if len(p.Was.Lives) != len(h.Droplets)-1 || len(p.Work.Jobs) != len(arrive) || p.Work.Jobs[0].Arrive != slices.Min(arrive) || p.Held != nil {
		t.Errorf("%d Droplets, %d jobs, the first at %s, %q", len(p.Was.Lives), len(p.Work.Jobs), p.Work.Jobs[0].Arrive, p.Held)
	}
	if p, err = NewPast(h, "ci", s); err != nil {
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
	for want, spoil := range map[string]func(*history.Droplet){
		"(0)":   func(d *history.Droplet) { d.Group = "other" },
		"boot":  func(d *history.Droplet) { d.Active = time.Time{} },
		"price": func(d *history.Droplet) { d.PriceHourly = 0 },
	} {
		h, s := Example()
		for i := range h.Droplets {
			spoil(&h.Droplets[i])
		}
		if _, err := NewPast(h, "ci", s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// Hours are those of a week in the given time zone, from Monday on, also where it changes to summer time.
func TestWeek(t *testing.T) {
	p := &Past{From: time.Date(2026, 3, 26, 22, 30, 0, 0, time.UTC), Setup: Setup{Zone: berlin(t)}, Work: &Work{Length: 14 * 24 * time.Hour}} // a Thursday
	from := time.Date(2026, 3, 30, 8, 0, 0, 0, p.Setup.Zone).Sub(p.From)                                                                      // a Monday after the change
	for h, n := range p.Week([]Life{{from, from + time.Hour}}) {
		if want := map[int]float64{8: 0.5}[h]; n != want { // in one week of two
			t.Errorf("hour %d: %g, want %g", h, n, want)
		}
	}
}

// weeks are so many weeks with so many jobs, most of them by day.
func weeks(n, jobs int) *Past {
	r := rand.New(rand.NewPCG(1, 2))
	p := &Past{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Size: "s-2vcpu-4gb"}
	p.Work = &Work{Length: time.Duration(n) * 7 * 24 * time.Hour, Boots: []time.Duration{31 * time.Second, 35 * time.Second, 40 * time.Second},
		Ready: 20 * time.Second, Gone: deletion, Price: 0.03571}
	_, p.Setup = Example()
	p.Setup.MaxUseCount, p.Setup.MaxInstances = 20, 60
	for len(p.Work.Jobs) < jobs {
		at := time.Duration(r.Int64N(int64(p.Work.Length))).Round(time.Millisecond)
		day, hour := p.From.Add(at).Weekday(), p.From.Add(at).Hour()
		if (day == time.Saturday || day == time.Sunday || hour < 8 || hour >= 18) && r.IntN(10) > 0 {
			continue
		}
		for range 1 + r.IntN(5) {
			p.Work.Jobs = append(p.Work.Jobs, Job{at, time.Duration(30_000+r.Int64N(400_000)) * time.Millisecond})
		}
	}
	slices.SortFunc(p.Work.Jobs, func(a, b Job) int { return cmp.Compare(a.Arrive, b.Arrive) })
	p.Model = p.figures(Replay(p.Setup, p.Work))
	return p
}

func TestSearch(t *testing.T) {
	p, big := weeks(1, 500), Size{"s-4vcpu-8gb", 2, 0.03}
	p.Search([]Size{big})
	if len(p.Choices) == 0 || len(p.Choices) > 5 || p.Tried > 1200 {
		t.Fatalf("%d choices of %d tries", len(p.Choices), p.Tried)
	}
	sizes := map[string]bool{}
	for i, c := range p.Choices {
		t.Logf("%.2f USD a month, p95 %g s, %s, %s", c.USD, c.Wait.P95, c.Why, c.Policy)
		sizes[c.Size] = true
		if len(c.Setup.Policy) > 3 {
			t.Errorf("%d policies", len(c.Setup.Policy))
		}
		if i > 0 && (c.USD < p.Choices[i-1].USD || c.Wait.P95 >= p.Choices[i-1].Wait.P95) {
			t.Errorf("choice %d is not on the front", i)
		}
		if most, _ := atOnce(c.Lives(), 0); most != c.Most {
			t.Errorf("a choice's replay has %d Droplets, the choice %d", most, c.Most)
		}
	}
	if !sizes[big.Slug] || len(sizes) > 2 {
		t.Errorf("twice as fast and cheaper: %v", sizes)
	}
}

// What is better than the present is named, and at most five choices are shown.
func TestChoose(t *testing.T) {
	p := Past{}
	at := func(usd, p95 float64) Figures { return Figures{USD: usd, Wait: history.Waits{P95: p95}} }
	for _, f := range []Figures{at(50, 90), at(70, 62), at(80, 50), at(99, 40), at(150, 30), at(180, 20), at(200, 5)} {
		p.Front = append(p.Front, Choice{Figures: f})
	}
	p.Model = at(100, 60)
	p.choose()
	got := ""
	for _, c := range p.Choices {
		got += fmt.Sprintf("%s %g %s;", c.Label, c.USD, c.Why)
	}
	if want := "A 50 ;B 70 the same wait for less;C 99 less wait for the same;D 150 ;E 200 ;"; got != want || p.Best != "B" {
		t.Errorf("%q, the best is %s", got, p.Best)
	}
}

// Hours of the day are those of the time zone, with summer time, and a month has 730 of them.
func TestHours(t *testing.T) {
	from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC) // the day before summer time
	got := shifts(from, 48*time.Hour, func(at time.Time) int {
		if hour := at.In(berlin(t)).Hour(); hour >= 8 && hour < 18 {
			return 1
		}
		return 0
	})
	want := []shift{{0, 0}, {7 * time.Hour, 1}, {17 * time.Hour, 0}, {30 * time.Hour, 1}, {40 * time.Hour, 0}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	p := weeks(1, 3000) // work from 8 to 18 UTC, Monday to Friday
	p.Setup.Zone = berlin(t)
	if got := period(p.workHours()); got != "* 9-18 * * mon,tue,wed,thu,fri" {
		t.Errorf("the hours of work in Berlin are %s", got)
	}
	p.Work = &Work{Length: 73 * time.Hour}
	if got := p.figures(Outcome{USD: 73}).USD; got != 730 {
		t.Errorf("a Droplet of a dollar an hour costs %.2f a month", got)
	}
}

// How many Droplets the taskscaler wants more.
func TestRequired(t *testing.T) {
	for want, c := range map[int]struct {
		policy          runnerconfig.Policy
		busy, have, max int // Droplets with a job; all; max_instances
	}{
		2:  {runnerconfig.Policy{IdleCount: 2}, 3, 3, 0},
		5:  {runnerconfig.Policy{IdleCount: 2, ScaleFactor: 1.5}, 10, 10, 0},
		4:  {runnerconfig.Policy{IdleCount: 2, ScaleFactor: 1.5, ScaleFactorLimit: 14}, 10, 10, 0},
		3:  {runnerconfig.Policy{IdleCount: 5}, 3, 3, 6},
		-3: {runnerconfig.Policy{IdleCount: 1}, 0, 4, 6},
	} {
		m := &model{policy: c.policy, ends: make([]ending, c.busy)}
		m.CapacityPerInstance, m.MaxInstances = 1, c.max
		if got := m.required(c.have, 0); got != want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// concurrent and limit hold jobs back, which then wait at GitLab.
func TestMaxJobs(t *testing.T) {
	w := &Work{Length: time.Hour, Boots: []time.Duration{30 * time.Second}, Price: 0.03571}
	for range 4 {
		w.Jobs = append(w.Jobs, Job{time.Second, 10 * time.Minute})
	}
	_, s := Example()
	s.MaxJobs = 1
	o := Replay(s, w)
	if len(o.Lives) != 1 || slices.Max(o.Waits) < 30*time.Minute {
		t.Errorf("%d Droplets, waits of %s", len(o.Lives), o.Waits)
	}
}

// Four weeks with 50,000 jobs and 500 policies: below 10 s on two cores.
func BenchmarkSearch(b *testing.B) {
	p := weeks(4, 50_000)
	for b.Loop() {
		p.Search(nil)
		b.ReportMetric(float64(p.Tried), "policies")
	}
}
