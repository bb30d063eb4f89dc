package history

import (
	"math"
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
			{ID: 2, Project: 6, Received: at(20), Started: at(20), Ended: at(40), Droplet: "a"}, // at the same time as the first: each has half of 10 minutes
			{ID: 3, Received: at(-30), Started: at(-20), Droplet: "old"},                        // runs all the time
			{ID: 4, Received: at(1), Started: at(2), Ended: at(3), Droplet: "of another group"},
		},
	}
	round := cmpopts.EquateApprox(0, 1e-5)
	u := h.Usage("project", time.UTC)
	share := func(hours, usd float64) Share { return Share{hours, usd} }
	want := []Row{
		{Key: "unknown", Jobs: 2, Ran: share(2, 0.6), USD: 0.6, Wait: Waits{60, 600, 600}},
		{Key: "6", Jobs: 1, Ran: share(0.25, 0.15), USD: 0.15},
		{Key: "5", Jobs: 1, Ran: share(13./60, 0.13), USD: 0.13, Booted: 1, Wait: Waits{780, 780, 780}},
		{Key: booting, Booting: share(10./60+0.5+1./60+2, 0.1+0.3+0.01), USD: 0.1 + 0.3 + 0.01},
		{Key: idle, Idle: share(22./60+10./3600, 0.221), USD: 0.221},
	}
	if diff := cmp.Diff(want, u.Rows, round, cmpopts.IgnoreUnexported(Row{})); diff != "" {
		t.Error(diff)
	}
	if u.Droplets != 6 || u.All.Jobs != 4 || math.Abs(u.All.USD-1.511) > 1e-9 {
		t.Errorf("%+v", u)
	}
	if rows := h.Usage("size", time.UTC).Rows; len(rows) != 4 || rows[0].Key != "s-1" || math.Abs(rows[0].USD-0.9) > 1e-9 {
		t.Errorf("%+v", rows)
	}
	half := time.FixedZone("half", 1800) // its hours begin at half past
	if rows := h.Usage("hour", half).Rows; len(rows) != 3 || rows[0].Key != "12" || math.Abs(rows[0].USD-(0.3+0.15+0.001)) > 1e-9 {
		t.Errorf("%+v", rows)
	}
}

// Waits have milliseconds, in JSON too.
func TestWaits(t *testing.T) {
	waits := []time.Duration{3*time.Second + 999_600*time.Microsecond, 1886 * time.Millisecond, time.Millisecond}
	if got, want := WaitsOf(waits), (Waits{P50: 1.886, P95: 4, Longest: 4}); got != want {
		t.Errorf("%+v", got)
	}
}

// Hours are those of the time zone, in summer and in winter.
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
	if rows := h.Usage("hour", berlin).Rows; len(rows) != 1 || rows[0].Key != "08" || rows[0].Idle.Hours != 2 {
		t.Errorf("%+v", rows)
	}
}

// sumsAgree checks that the parts of a history are the whole, to the cent.
func sumsAgree(t *testing.T, h *History, by string) {
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
	near("parts", u.All.Ran.USD+u.All.Idle.USD+u.All.Booting.USD, usd)
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
