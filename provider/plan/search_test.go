package plan

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// weeks are so many weeks with so many jobs, most of them by day.
func weeks(n, jobs int) *Past {
	r := rand.New(rand.NewPCG(1, 2))
	p := &Past{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Size: "s-2vcpu-4gb"}
	p.To = p.From.AddDate(0, 0, 7*n)
	p.Work = &Work{Length: p.To.Sub(p.From).Milliseconds(), Boots: []int{31_000, 35_000, 40_000}, Ready: 20_000, Gone: 5000, Price: 0.03571, Poll: 3000}
	for len(p.Work.Jobs) < jobs {
		at := time.Duration(r.Int64N(int64(p.To.Sub(p.From)))).Round(time.Millisecond)
		day, hour := p.From.Add(at).Weekday(), p.From.Add(at).Hour()
		if (day == time.Saturday || day == time.Sunday || hour < 8 || hour >= 18) && r.IntN(10) > 0 {
			continue
		}
		for range 1 + r.IntN(5) {
			p.Work.Jobs = append(p.Work.Jobs, Job{at.Milliseconds(), 30_000 + r.Int64N(400_000)})
		}
	}
	slices.SortFunc(p.Work.Jobs, func(a, b Job) int { return cmp.Compare(a.Arrive, b.Arrive) })
	return p
}

var present = Setup{Policies: []Policy{{IdleTime: 20 * time.Minute}}, Capacity: 1, MaxUses: 20, MaxInstances: 60, UpdateInterval: time.Minute}

func TestSearch(t *testing.T) {
	p := weeks(1, 500)
	p.Model = Run(present, p.Work, true)
	a, err := Search(t.Context(), p, present, nil, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Choices) == 0 || len(a.Choices) > 5 || a.Tried > 600 {
		t.Fatalf("%d choices of %d tries", len(a.Choices), a.Tried)
	}
	for i, c := range a.Choices {
		t.Logf("%.2f USD a month, p95 %g s, %s, %s", c.USDPerMonth, c.P95, c.Why, c.Policy)
		if len(c.Blocks) > 3 {
			t.Errorf("%d blocks", len(c.Blocks))
		}
		if i > 0 && (c.USDPerMonth < a.Choices[i-1].USDPerMonth || c.P95 >= a.Choices[i-1].P95) {
			t.Errorf("choice %d is not on the front", i)
		}
		if o := c.Outcome(); o.Wait(0.95).Seconds() != c.P95 {
			t.Errorf("a choice's replay has p95 %s, the choice %g s", o.Wait(0.95), c.P95)
		}
	}
	days := p.workHours(time.UTC)
	if days.From != 8 || days.To != 18 || days.Days[time.Sunday] || !days.Days[time.Monday] {
		t.Errorf("the hours of work are %+v", days)
	}
}

// What is better than the present is named, and at most five choices are shown.
func TestChoose(t *testing.T) {
	a := Advice{Present: Choice{USDPerMonth: 100, P95: 60}}
	for _, at := range [][2]float64{{50, 90}, {70, 62}, {80, 50}, {99, 40}, {150, 30}, {180, 20}, {200, 5}} {
		a.Front = append(a.Front, Choice{USDPerMonth: at[0], P95: at[1], Blocks: []Block{{}}})
	}
	a.choose()
	var got []string
	for _, c := range a.Choices {
		got = append(got, fmt.Sprintf("%s %g %s", c.Label, c.USDPerMonth, c.Why))
	}
	want := "A 50 ;B 70 the same wait for less;C 99 less wait for the same;D 150 ;E 200 "
	if strings.Join(got, ";") != want || a.Best != "B" {
		t.Errorf("%q, the best is %s", got, a.Best)
	}
}

// Hours of the day are those of the time zone, with summer time, and a month has 730 of them.
func TestHours(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC) // the day before summer time
	shifts := Shifts(from, from.AddDate(0, 0, 2), func(t time.Time) int {
		if hour := t.In(berlin).Hour(); hour >= 8 && hour < 18 {
			return 1
		}
		return 0
	})
	const hour = 3600_000
	want := []Shift{{0, 0}, {7 * hour, 1}, {17 * hour, 0}, {30 * hour, 1}, {40 * hour, 0}}
	if !slices.Equal(shifts, want) {
		t.Errorf("%v, want %v", shifts, want)
	}
	p := weeks(1, 3000) // work from 8 to 18 UTC
	if work := p.workHours(berlin); work.From != 9 || work.To != 19 {
		t.Errorf("the hours of work in Berlin are %+v", work)
	}
	day := &Work{Length: 73 * hour, Price: 1, Boots: []int{30_000}}
	c := Choice{setup: Setup{Policies: []Policy{{IdleCount: 1, IdleTime: time.Hour}}}, work: day}
	if c.measure(); c.USDPerMonth < 729 || c.USDPerMonth > 730 {
		t.Errorf("a Droplet of a dollar an hour costs %.2f a month", c.USDPerMonth)
	}
}

// Another size is tried only if it was asked for.
func TestSearchOfSizes(t *testing.T) {
	p := weeks(1, 200)
	p.Model = Run(present, p.Work, true)
	big := Size{"s-4vcpu-8gb", 2, 0.07143}
	a, err := Search(t.Context(), p, present, []Size{big}, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, c := range a.Front {
		found[c.Size] = true
	}
	if !found[big.Slug] && !found[p.Size] || len(found) > 2 {
		t.Error(found)
	}
}

// concurrent and limit hold jobs back, which then wait at GitLab.
func TestMaxJobs(t *testing.T) {
	w := &Work{Length: 3600_000, Boots: []int{30_000}, Price: 0.03571, Poll: 3000}
	for range 4 {
		w.Jobs = append(w.Jobs, Job{1000, 600_000})
	}
	o := Run(Setup{Policies: []Policy{{IdleTime: time.Hour}}, MaxJobs: 1}, w, true)
	if o.Made != 1 || o.Wait(1) < 30*time.Minute || atOnce(o.Runs, 2) != 0 {
		t.Errorf("%d Droplets, the longest wait is %s, two jobs at once for %d ms", o.Made, o.Wait(1), atOnce(o.Runs, 2))
	}
}

// Four weeks with 50,000 jobs and 500 policies: below 10 s on two cores.
func BenchmarkSearch(b *testing.B) {
	p := weeks(4, 50_000)
	for b.Loop() {
		p.Model = Run(present, p.Work, true)
		a, err := Search(b.Context(), p, present, nil, time.UTC)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(a.Tried), "policies")
	}
}
