package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
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

// The synthetic week fits its own policy, and no other. A wait alone can be what does not fit, and the reasons that are known
// come before those that may be.
func TestFit(t *testing.T) {
	fit := func(idle time.Duration, change func(*history.Job)) []string {
		h, s := Example()
		s.Policy[0].IdleTime = idle
		h.Failures = []history.Failure{{Size: "s-1vcpu-1gb", Region: "fra1", Why: "it refused", Last: "sold out", Times: 3},
			{Group: "other", Why: "no size"}, {Group: "ci", Why: "limit", Times: 7}}
		for i := range h.Jobs {
			if i%12 == 0 {
				change(&h.Jobs[i])
			}
		}
		p, err := NewPast(h, "ci", s)
		if err != nil {
			t.Fatal(err)
		}
		return p.Misfits
	}
	for idle, fits := range map[time.Duration]bool{20 * time.Minute: true, time.Hour: false, 5 * time.Minute: false} {
		if got := fit(idle, func(*history.Job) {}); (got == nil) != fits {
			t.Errorf("idle_time %s: %s", idle, got)
		}
	}
	got := fit(20*time.Minute, func(j *history.Job) { j.AtGitLab += 10 * time.Minute })
	want := []string{"seconds of wait p95: ", "Droplets were refused 3 times: s-1vcpu-1gb in fra1: sold out",
		"Droplets were refused 7 times: any size in any region: limit", "it may be that "}
	if !slices.EqualFunc(got, want, strings.HasPrefix) {
		t.Errorf("%q, want %q", got, want)
	}
}

// byHand are 1000 minutes of history. Each 40 minutes a job comes, boots a Droplet in 30 s, begins 10 s later and takes 10
// minutes with that; the last one runs on. In the first 5 minutes another group has a job, too.
func byHand() *history.History {
	h := &history.History{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)}
	h.To = h.From.Add(1000 * time.Minute)
	add := func(group string, n int, size string, usd float64, ended time.Duration) {
		at, name := h.From.Add(time.Duration(40*n)*time.Minute), fmt.Sprint(group, n)
		h.Droplets = append(h.Droplets, history.Droplet{Name: name, Group: group, Size: size, PriceHourly: usd,
			Requested: at, Active: at.Add(30 * time.Second), Gone: at.Add(20 * time.Minute)})
		j := history.Job{Droplet: name, Received: at, Started: at.Add(40 * time.Second)}
		if ended > 0 {
			j.Ended = at.Add(ended)
		}
		h.Jobs = append(h.Jobs, j)
	}
	add("other", 0, "other", 1, 5*time.Minute)
	add("ci", 0, "first", 0.06, 10*time.Minute)
	for n := 1; n < 19; n++ {
		add("ci", n, "most", 0.03, 10*time.Minute)
	}
	add("ci", 19, "last", 0, 0)
	return h
}

// Only the group's Droplets and jobs count.
func TestPast(t *testing.T) {
	h := byHand()
	_, s := Example()
	s.UpdateIntervalWhenExpecting = 10 * time.Second
	p, err := NewPast(h, "ci", s)
	if err != nil {
		t.Fatal(err)
	}
	w := p.Work
	if p.Size != "most" || p.Jobs != 20 || p.Was.Most != 1 || len(w.Boots) != 20 || math.Abs(w.Price-0.6/19) > 1e-9 ||
		w.Ready != 10*time.Second-6*time.Second || w.Gone != 5*time.Second {
		t.Errorf("size %s, %d jobs, %d Droplets, %d boots, %g USD, ready %s, gone %s", p.Size, p.Jobs, p.Was.Most, len(w.Boots), w.Price, w.Ready, w.Gone)
	}
	for i := range 12 { // GitLab's word counts where most jobs have it
		h.Jobs[i].AtGitLab = time.Minute
		if p, err = NewPast(h, "ci", s); err != nil || p.Work.Queued != (i > 10) {
			t.Errorf("%d of 20 jobs: %v, %v", i, p.Work.Queued, err)
		}
	}
}

// What held jobs back is said, and how long, if GitLab does not know when they came. They count from when the runner took
// them, for concurrent those of all groups.
func TestHeld(t *testing.T) {
	of := func(what, part string) string { return what + " was reached for " + part + " % of the time" }
	for _, tt := range []struct {
		concurrent, limit, instances, capacity, idle int
		atGitLab                                     time.Duration
		want                                         []string
	}{
		{concurrent: 3, limit: 2, instances: 1, capacity: 2},
		{concurrent: 2, limit: 1, instances: 1, want: []string{of("concurrent", "0.5"), of("limit", "43.0"), of("max_instances", "43.0")}},
		{idle: 1, want: []string{"preemptive_mode leaves jobs at GitLab while no Droplet has room, which was for 81.0 % of the time"}},
		{concurrent: 1, limit: 1, instances: 1, idle: 1, atGitLab: time.Second},
	} {
		h := byHand()
		for i := range h.Jobs {
			h.Jobs[i].AtGitLab = tt.atGitLab
		}
		_, s := Example()
		s.Concurrent, s.Limit, s.MaxInstances, s.CapacityPerInstance, s.Policy[0].IdleCount = tt.concurrent, tt.limit, tt.instances, tt.capacity, tt.idle
		if p, err := NewPast(h, "ci", s); err != nil || !slices.Equal(p.Held, tt.want) {
			t.Errorf("%+v: %q, %v", tt, p.Held, err)
		}
	}
}

// Nor can one be made from years.
func TestYears(t *testing.T) {
	h, s := Example()
	h.From = h.From.AddDate(-3, 0, 0)
	if _, err := NewPast(h, "ci", s); err == nil || !strings.HasPrefix(err.Error(), "the journal is of more than a year, from 2023-11-02 to 2026-11-09: ") {
		t.Error(err)
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
	begin := time.Date(2026, 3, 26, 22, 30, 0, 0, time.UTC)            // a Thursday
	monday := time.Date(2026, 3, 30, 8, 0, 0, 0, berlin(t)).Sub(begin) // after the change
	for h, n := range Week([]Life{{monday, monday + time.Hour}}, begin, begin.AddDate(0, 0, 14), berlin(t)) {
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

// All that is tried on a size: each value, alone and by hours, in the blocks that are to be pasted.
func TestChoices(t *testing.T) {
	p := &Past{From: time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC), Size: "s-2vcpu-4gb"} // a Monday
	p.Work = &Work{Length: 7 * 24 * time.Hour, Boots: []time.Duration{30 * time.Second}}
	for day := range 5 {
		for hour := 8; hour < 18; hour++ {
			for range 1 + 11*(hour/17) { // at most 12 at once
				p.Work.Jobs = append(p.Work.Jobs, Job{time.Duration(24*day+hour) * time.Hour, time.Minute})
			}
		}
	}
	p.Setup.Zone = berlin(t)
	p.Setup.Policy = []runnerconfig.Policy{{PreemptiveMode: new(false)}, {IdleCount: 1, ScaleFactorLimit: 9}}
	for now, uses := range map[int]string{0: "0 5 20", 1: "1", 20: "5 20 100"} {
		p.Setup.MaxUseCount = now
		tried := map[string]map[string]bool{}
		note := func(what string, value any) {
			if tried[what] == nil {
				tried[what] = map[string]bool{}
			}
			tried[what][fmt.Sprintf("%5v", value)] = true
		}
		for _, c := range p.choices(Size{"s-4vcpu-8gb", 2, 0.5}) {
			night, day := c.Setup.Policy[0], c.Setup.Policy[len(c.Setup.Policy)-1]
			note("uses", c.Setup.MaxUseCount)
			note("idle_time", day.IdleTime)
			note("scale", fmt.Sprint(day.ScaleFactor, " to ", day.ScaleFactorLimit))
			note("idle", day.IdleCount)
			if night.IdleTime != day.IdleTime || c.MaxUses != c.Setup.MaxUseCount {
				t.Errorf("%+v", c)
			}
			if day.IdleCount == 8 {
				note("of 8", night.IdleCount)
			}
			note("blocks", fmt.Sprintln(len(c.Setup.Policy), len(c.Setup.shifts) > 1, day.Periods, day.Timezone, *day.PreemptiveMode,
				night.Periods, night.Timezone, *night.PreemptiveMode))
			if c.work.Jobs[0].Takes != 30*time.Second || c.work.Price != 0.5 {
				t.Fatalf("on a size twice as fast: %+v", c.work.Jobs[0])
			}
		}
		for what, want := range map[string]string{
			"uses": uses, "idle_time": "5m0s 10m0s 20m0s 40m0s", "scale": "0 to 0 1.5 to 9", "idle": "0 1 2 3 5 8 12", "of 8": "0 4 8",
			"blocks": "1 false [* * * * *] Europe/Berlin true [* * * * *] Europe/Berlin true" +
				" 2 true [* 9-18 * * mon,tue,wed,thu,fri] Europe/Berlin true [* * * * *] Europe/Berlin false",
		} {
			if got := strings.Join(strings.Fields(strings.Join(slices.Sorted(maps.Keys(tried[what])), " ")), " "); got != want {
				t.Errorf("max_use_count %d: %s: %s, want %s", now, what, got, want)
			}
		}
	}
}

// The front has what is cheaper or faster, and of about the same the policy with fewer blocks, or the cheapest.
func TestFront(t *testing.T) {
	at := func(usd, p95 float64, blocks int) Choice {
		return Choice{Figures: Figures{USD: usd, Wait: history.Waits{P95: p95}}, Setup: Setup{Autoscaler: runnerconfig.Autoscaler{Policy: make([]runnerconfig.Policy, blocks)}}}
	}
	got := ""
	for _, c := range front([]Choice{at(120.5, 20, 1), at(90, 40, 1), at(50, 60, 2), at(50, 60, 1), at(95, 39.5, 1), at(95, 50, 1), at(120, 20, 1)}) {
		got += fmt.Sprintln(c.USD, c.Wait.P95, len(c.Setup.Policy))
	}
	if want := "50 60 1\n90 40 1\n120 20 1\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What is better than the present is named, and at most five choices are shown.
func TestChoose(t *testing.T) {
	p := Past{}
	at := func(usd, p50, p95 float64) Figures { return Figures{USD: usd, Wait: history.Waits{P50: p50, P95: p95}} }
	for _, f := range []Figures{at(50, 2, 90), at(60, 5, 64), at(70, 3, 62), at(80, 2, 50), at(98, 2, 40), at(99, 5, 39),
		at(150, 2, 30), at(180, 2, 20), at(200, 2, 5)} {
		p.Front = append(p.Front, Choice{Figures: f})
	}
	p.Model = at(100, 2, 60)
	p.choose()
	got := ""
	for _, c := range p.Choices {
		got += fmt.Sprintf("%s %g %s;", c.Label, c.USD, c.Why)
	}
	if want := "A 50 ;B 70 the same wait for less;C 98 less wait for the same;D 150 ;E 200 ;"; got != want || p.Best != "B" {
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
	for zone, want := range map[string]string{
		"Europe/Berlin":     "[* 9-18 * * mon,tue,wed,thu,fri]",
		"Asia/Tokyo":        "[* 17-23 * * mon,tue,wed,thu,fri * 0-2 * * tue,wed,thu,fri,sat]", // over midnight
		"America/Anchorage": "[* 23-23 * * sun,mon,tue,wed,thu * 0-8 * * mon,tue,wed,thu,fri]",
	} {
		var err error
		if p.Setup.Zone, err = time.LoadLocation(zone); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(p.workHours().periods()); got != want {
			t.Errorf("the hours of work in %s are %s, want %s", zone, got, want)
		}
		read := map[string][]shift{}                      // by periods, of which there are few
		for _, c := range p.choices(Size{p.Size, 1, 1}) { // it is replayed as a runner reads it
			var periods string
			for _, policy := range c.Setup.Policy {
				periods += fmt.Sprint(policy.Periods, policy.Timezone)
			}
			if read[periods] == nil {
				active, err := doctor.Active(c.Setup.Policy)
				if err != nil {
					t.Fatal(err)
				}
				read[periods] = shifts(p.From, p.Work.Length, active)
			}
			if got := read[periods]; !slices.Equal(got, c.Setup.shifts) {
				t.Fatalf("%s: %s: %v, want %v", zone, c.Policy, c.Setup.shifts, got)
			}
		}
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

// What a setup, and the work, make of four jobs of 10 minutes that come at once.
func TestReplay(t *testing.T) {
	for name, tt := range map[string]struct {
		change   func(*Setup, *Work)
		droplets int
		wait     time.Duration // of the last job
		life     time.Duration // of the first Droplet
	}{
		"as it is":          {func(*Setup, *Work) {}, 4, 36 * time.Second, 0},
		"boots longer":      {func(_ *Setup, w *Work) { w.Ready = 10 * time.Second }, 4, 46 * time.Second, 10 * time.Second},
		"is seen later":     {func(s *Setup, _ *Work) { s.UpdateIntervalWhenExpecting = 20 * time.Second }, 4, time.Minute, 10 * time.Second},
		"is deleted slowly": {func(_ *Setup, w *Work) { w.Gone = time.Minute }, 4, 36 * time.Second, time.Minute},
		"is deleted before it runs": {func(s *Setup, w *Work) { // for two minutes two are wanted, then for one none
			s.Policy = []runnerconfig.Policy{{IdleCount: 2}, {}}
			s.shifts, w.Ready = []shift{{0, 0}, {time.Minute, 1}, {2 * time.Minute, 0}}, 5*time.Minute
			for i := range w.Jobs {
				w.Jobs[i].Arrive = 4 * time.Minute
			}
		}, 8, 9*time.Minute + 6*time.Second, -29*time.Minute - 33*time.Second},
		"concurrent":                    {func(s *Setup, _ *Work) { s.Concurrent = 1 }, 1, 30*time.Minute + 35*time.Second, 30 * time.Minute},
		"limit":                         {func(s *Setup, _ *Work) { s.Concurrent, s.Limit = 3, 1 }, 1, 30*time.Minute + 35*time.Second, 30 * time.Minute},
		"the runner's own, no policy's": {func(s *Setup, _ *Work) { s.shifts = []shift{{0, -1}} }, 4, 36 * time.Second, -15 * time.Minute},
	} {
		w := &Work{Length: 2 * time.Hour, Boots: []time.Duration{30 * time.Second}, Price: 0.03571}
		for range 4 {
			w.Jobs = append(w.Jobs, Job{time.Second, 10 * time.Minute})
		}
		_, s := Example()
		usual := Replay(s, w).Lives[0]
		tt.change(&s, w)
		o := Replay(s, w)
		life := o.Lives[0].To - o.Lives[0].From - (usual.To - usual.From)
		if len(o.Lives) != tt.droplets || (o.Waits[3]-tt.wait).Abs() > 3*time.Second || (life-tt.life).Abs() > 5*time.Second {
			t.Errorf("%s: %d Droplets, waits of %s, %s", name, len(o.Lives), o.Waits, life)
		}
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
