package harness

import (
	"testing"
	"time"
)

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
	r := Report{Elapsed: 10, Droplets: []Droplet{{Created: 1, Gone: 4}, {Created: 8}}}
	if got := r.DropletTime(); got != 5 {
		t.Errorf("%d, want 5", got)
	}
}

func TestWaitIsThatOfTheGivenShareOfTheJobs(t *testing.T) {
	var r Report
	if got := r.Wait(0.5); got != 0 {
		t.Errorf("without jobs: %s", got)
	}
	for i := time.Duration(20); i >= 1; i-- { // waits of 1 to 20, out of order
		r.Jobs = append(r.Jobs, JobResult{Queued: 5, Started: 5 + i})
	}
	r.Jobs = append(r.Jobs, JobResult{Queued: 5}) // never had a Droplet
	for share, want := range map[float64]time.Duration{0.01: 1, 0.5: 10, 0.95: 19, 1: 20} {
		if got := r.Wait(share); got != want {
			t.Errorf("Wait(%v) = %d, want %d", share, got, want)
		}
	}
}
