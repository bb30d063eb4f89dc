package plan

import (
	"testing"
	"time"
)

// How many Droplets the taskscaler wants more.
func TestRequired(t *testing.T) {
	for name, c := range map[string]struct {
		policy    Policy
		busy      int // Droplets with a job; have is of all
		have, max int
		want      int
	}{
		"idle_count":           {Policy{IdleCount: 2}, 3, 3, 0, 2},
		"scale_factor":         {Policy{IdleCount: 2, ScaleFactor: 1.5}, 10, 10, 0, 5},
		"scale_factor_limit":   {Policy{IdleCount: 2, ScaleFactor: 1.5, ScaleFactorLimit: 13}, 10, 10, 0, 3},
		"max_instances":        {Policy{IdleCount: 5}, 3, 3, 6, 3},
		"more than are wanted": {Policy{IdleCount: 1}, 0, 4, 6, -3},
	} {
		m := &model{Setup: Setup{Capacity: 1, MaxInstances: c.max}, policy: c.policy, ends: make([]ending, c.busy)}
		if got := m.required(c.have, 0); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// With preemptive_mode jobs are taken only when a Droplet is ready, so that the group grows by idle_count at a time.
func TestPreemptive(t *testing.T) {
	w := &Work{Length: 3600_000, Boots: []int{30_000}, Price: 0.03571, Poll: 3000}
	for range 4 {
		w.Jobs = append(w.Jobs, Job{600_000, 600_000})
	}
	policy := Policy{IdleCount: 1, IdleTime: time.Hour}
	if o := Run(Setup{Policies: []Policy{policy}}, w, false); o.Wait(1) > time.Minute {
		t.Errorf("without it the longest wait is %s", o.Wait(1))
	}
	policy.Preemptive = true
	if o := Run(Setup{Policies: []Policy{policy}}, w, false); o.Wait(1) < 90*time.Second || o.Wait(1) > 125*time.Second {
		t.Errorf("with it the longest wait is %s, not that for three boots in a row", o.Wait(1))
	}
}
