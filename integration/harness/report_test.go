package harness

import (
	"testing"
	"time"
)

const second = time.Second

func TestMostDropletsCountsOverlaps(t *testing.T) {
	for _, tt := range []struct {
		name     string
		droplets []Droplet
		want     int
	}{
		{"none", nil, 0},
		{"side by side", []Droplet{{Created: 1, Gone: 5}, {Created: 2, Gone: 4}, {Created: 3, Gone: 9}}, 3},
		{"one after the other", []Droplet{{Created: 1, Gone: 2}, {Created: 3, Gone: 4}}, 1},
		{"one makes room for the other", []Droplet{{Created: 1, Gone: 2}, {Created: 2, Gone: 3}}, 1},
		{"one that is still there", []Droplet{{Created: 1}, {Created: 9, Gone: 10}}, 2},
	} {
		r := Report{Droplets: tt.droplets}
		if got := r.MostDroplets(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestDropletTimeSumsLivesUpToTheEndOfTheRun(t *testing.T) {
	r := Report{
		Elapsed:  10 * second,
		Droplets: []Droplet{{Created: 1 * second, Gone: 4 * second}, {Created: 8 * second}},
	}
	if got, want := r.DropletTime(), 5*second; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWaitIsThatOfTheGivenShareOfTheJobs(t *testing.T) {
	var r Report
	if got := r.Wait(0.5); got != 0 {
		t.Errorf("without jobs: %s", got)
	}
	for i := 20; i >= 1; i-- { // waits of 1 s to 20 s, out of order
		r.Jobs = append(r.Jobs, JobResult{ID: i, Queued: 5 * second, Started: 5*second + time.Duration(i)*second})
	}
	r.Jobs = append(r.Jobs, JobResult{ID: 21, Queued: 5 * second}) // never had a Droplet
	for share, want := range map[float64]time.Duration{0.01: 1 * second, 0.5: 10 * second, 0.95: 19 * second, 1: 20 * second} {
		if got := r.Wait(share); got != want {
			t.Errorf("Wait(%v) = %s, want %s", share, got, want)
		}
	}
}

func TestAReportIsOKWhenAllChecksAre(t *testing.T) {
	good := Report{Checks: []Check{{OK: true}, {OK: true}}}
	bad := Report{Checks: []Check{{OK: true}, {OK: false}}}
	if !good.OK() || bad.OK() {
		t.Errorf("OK() = %v and %v, want true and false", good.OK(), bad.OK())
	}
}
