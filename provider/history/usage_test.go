package history

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A Droplet is divided among what it did, and so is what it costs.
func TestUsage(t *testing.T) {
	t0 := clock("12:00:00")
	at := func(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }
	h := History{
		From: t0, To: at(120),
		Droplets: []Droplet{
			{Name: "a", Size: "s-1", Requested: t0, Active: at(10), Gone: at(60), PriceHourly: 0.6},
			{Name: "lost", Size: "s-1", Requested: at(60), Gone: at(90), PriceHourly: 0.6},
			{Name: "new", Size: "s-2", Requested: at(119), PriceHourly: 0.06}, // a cent at least
			{Name: "old", Requested: at(-6000), PriceHourly: 0.3},             // was there before, and stays
			{Name: "ends", Requested: at(-60), Gone: t0.Add(10 * time.Second), PriceHourly: 0.36},
			{Name: "free", Size: "?", Requested: t0}, // nobody knows its price
		},
		Jobs: []Job{
			{ID: 1, Project: 5, Received: t0, Started: at(12), Ended: at(30), Droplet: "a", AtGitLab: time.Minute},
			{ID: 2, Project: 6, Received: at(20), Started: at(20), Ended: at(40), Droplet: "a", Failed: true}, // at the same time as the first: 38 minutes in 28
			{ID: 3, Received: at(-30), Started: at(-20), Droplet: "old"},                                      // runs all the time
			{ID: 4, Received: at(1), Started: at(2), Ended: at(3), Droplet: "of another group"},
		},
	}
	round := cmpopts.EquateApprox(0, 1e-5)
	u := h.Usage(ByProject, time.UTC)
	row := func(key string, jobs, failed int, hours, usd float64, booted int, w Waits) Row {
		return Row{Key: key, Jobs: jobs, Failed: failed, JobHours: hours, USDJobs: usd, USD: usd, Booted: booted, Wait: w}
	}
	want := []Row{
		row("unknown", 2, 0, 2, 0.6, 0, Waits{60, 600, 600}),
		row("6", 1, 1, 20./38*28/60, 20./38*0.28, 0, Waits{}),
		row("5", 1, 0, 18./38*28/60, 18./38*0.28, 1, Waits{720, 720, 720}),
		{Key: booted, BootHours: 10./60 + 0.5 + 1./60 + 2, USDBoot: 0.1 + 0.3 + 0.01, USD: 0.1 + 0.3 + 0.01},
		{Key: idle, IdleHours: 22./60 + 10./3600, USDIdle: 0.221, USD: 0.221},
	}
	if diff := cmp.Diff(want, u.Rows, round, cmpopts.IgnoreUnexported(Row{})); diff != "" {
		t.Error(diff)
	}
	if u.Droplets != 6 || u.All.Jobs != 4 || u.Queued != 1 || u.Queue.P50 != 780 || math.Abs(u.All.USD-1.511) > 1e-9 {
		t.Errorf("%+v", u)
	}
	if rows := h.Usage(BySize, time.UTC).Rows; len(rows) != 4 || rows[0].Key != "s-1" || math.Abs(rows[0].USD-0.9) > 1e-9 {
		t.Errorf("%+v", rows)
	}
	half := time.FixedZone("half", 1800) // its hours begin at half past
	if rows := h.Usage(ByHour, half).Rows; len(rows) != 3 || rows[0].Key != "12" || math.Abs(rows[0].USD-(0.3+0.15+0.001)) > 1e-9 {
		t.Errorf("%+v", rows)
	}
}

// What a Droplet costs: by the second, 60 of them or a cent at least.
func TestCost(t *testing.T) {
	t0 := clock("12:00:00")
	for _, c := range []struct {
		perHour float64
		life    time.Duration
		usd     float64
	}{{0.03571, time.Hour, 0.03571}, {0.03571, time.Minute, 0.01}, {3.6, 10 * time.Second, 0.06}, {3.6, 90 * time.Second, 0.09}} {
		d := Droplet{Requested: t0, Gone: t0.Add(c.life), PriceHourly: c.perHour}
		h := History{From: t0, To: t0.Add(2 * time.Hour)}
		if got := h.Cost(&d); math.Abs(got-c.usd) > 1e-9 {
			t.Errorf("%s at %g: %g, want %g", c.life, c.perHour, got, c.usd)
		}
	}
}

// Hours are those of the time zone, in summer and in winter, but in UTC for a picture.
func TestHoursOfSummer(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	before := time.Date(2026, 3, 28, 8, 0, 0, 0, berlin)
	h := History{From: before, To: before.AddDate(0, 0, 2)}
	for _, at := range []time.Time{before, before.AddDate(0, 0, 1)} {
		h.Droplets = append(h.Droplets, Droplet{Requested: at, Active: at, Gone: at.Add(time.Hour), PriceHourly: 0.5})
	}
	if rows := h.Usage(ByHour, berlin).Rows; len(rows) != 1 || rows[0].Key != "08" || rows[0].IdleHours != 2 {
		t.Errorf("%+v", rows)
	}
	if rows := h.Usage(ByTime, berlin).Rows; len(rows) != 2 || rows[0].Key != Hour(before) || rows[1].Key != "2026-03-29 06" {
		t.Errorf("%+v", rows)
	}
}

// sumsAgree checks that the parts of a history are the whole, to the cent.
func sumsAgree(t *testing.T, h History, by string) {
	t.Helper()
	u, usd, jobs := h.Usage(by, time.UTC), 0.0, 0
	for _, d := range h.Droplets {
		usd += h.Cost(&d)
	}
	near := func(what string, a, b float64) {
		if math.Abs(a-b) > 0.005+1e-9*math.Abs(b) {
			t.Errorf("%s: %s: %v, not %v", by, what, a, b)
		}
	}
	near("all", u.All.USD, usd)
	near("parts", u.All.USDJobs+u.All.USDIdle+u.All.USDBoot, usd)
	if by == "" {
		return
	}
	usd = 0
	for _, r := range u.Rows {
		usd += r.USD
		jobs += r.Jobs
	}
	near("rows", usd, u.All.USD)
	if jobs != len(h.Jobs) {
		t.Errorf("%s: %d jobs, not %d", by, jobs, len(h.Jobs))
	}
}

// TestExample: the week is the same every time, its sums agree, and no Droplet runs two jobs.
func TestExample(t *testing.T) {
	h := Example(1)
	if !reflect.DeepEqual(h, Example(1)) {
		t.Error("it is another each time")
	}
	if reflect.DeepEqual(h, Example(2)) {
		t.Error("the seed does nothing")
	}
	for _, by := range []string{"", ByProject, ByPipeline, BySize, ByHour} {
		sumsAgree(t, h, by)
	}
	ends := map[string]time.Time{}
	for _, j := range h.Jobs {
		if j.Started.Before(ends[j.Droplet]) {
			t.Fatalf("%s runs two jobs at %s", j.Droplet, j.Started)
		}
		ends[j.Droplet] = j.Ended
	}
	if n := len(h.Jobs); n < 1000 || n > 10_000 || len(h.Droplets) < n/10 {
		t.Errorf("%d jobs, %d Droplets", n, len(h.Droplets))
	}
}
