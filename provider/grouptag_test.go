package provider

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestGroupTagIsDeletedFromTheAccount, through the runner's provisioner: the instances
// stay, the tag is back within seconds, and so few requests are spent on it.
func TestGroupTagIsDeletedFromTheAccount(t *testing.T) {
	for _, n := range []int{1, 15} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			ownCache(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(lively)
				defer sim.Close()
				var log logBook
				p, err := launch(t.Context(), configured(t, sim, options{"max_instances": 20}), sim, log.logger())
				if err != nil {
					t.Fatal(err)
				}
				p.provisioner.Request(n)
				time.Sleep(2 * time.Minute)
				before := sim.RequestCounts()
				sim.DeleteTag("fleeting-group:ci")
				p.provisioner.Request(1) // whose create makes the tag again
				time.Sleep(3 * time.Minute)
				if c := p.provisioner.Capacity(); c.Running != n+1 {
					t.Errorf("the runner has %+v", c)
				}
				for _, d := range sim.Droplets() {
					if !slices.Contains(d.Tags, "fleeting-group:ci") {
						t.Errorf("%s carries %v", d.Name, d.Tags)
					}
				}
				after := sim.RequestCounts()
				for op, most := range map[string]int{"GET /v2/droplets/{id}": 2, "GET /v2/tags/{tag}": 1, "POST /v2/tags": 1, "POST /v2/tags/{tag}/resources": 1} {
					if d := after[op] - before[op]; d > most {
						t.Errorf("%s: %d requests", op, d)
					}
				}
				if got := log.lines("it was put back on them"); len(got) != 1 {
					t.Errorf("told %d times: %q", len(got), got)
				}
				for _, i := range p.provisioner.Instances() {
					i.Delete()
				}
				time.Sleep(5 * time.Minute)
				p.stop()
				if err := verdict(sim, p); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestGroupTagIsDeletedBetweenProcesses, the first of which was killed or has ended in
// good order, with a Droplet that it was to let go: the second has all others, the runner
// destroys them, and nothing is left but that.
func TestGroupTagIsDeletedBetweenProcesses(t *testing.T) {
	for _, killed := range []bool{true, false} {
		t.Run(fmt.Sprint("killed ", killed), func(t *testing.T) {
			ownCache(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(lively)
				defer sim.Close()
				run := func(log *logBook) *process {
					p, err := launch(t.Context(), configured(t, sim, options{"max_instances": 20}), sim, log.logger())
					if err != nil {
						t.Fatal(err)
					}
					return p
				}
				var log logBook
				first := run(&log)
				first.provisioner.Request(6)
				time.Sleep(2 * time.Minute)
				kept := sim.Droplets()[0].ID
				sim.Untag(kept, "fleeting-group:ci")
				time.Sleep(2 * time.Minute)
				if killed {
					first.kill()
				} else {
					first.stop()
				}
				sim.DeleteTag("fleeting-group:ci")

				second := run(&log)
				time.Sleep(time.Minute)
				if c := second.provisioner.Capacity(); c.Running != 5 {
					t.Errorf("the runner has %+v", c)
				}
				for _, d := range sim.Droplets() {
					if (d.ID == kept) == slices.Contains(d.Tags, "fleeting-group:ci") {
						t.Errorf("%s carries %v", d.Name, d.Tags)
					}
				}
				for _, i := range second.provisioner.Instances() {
					i.Delete()
				}
				time.Sleep(2 * time.Minute)
				second.stop()
				if left := sim.Droplets(); len(left) != 1 || left[0].ID != kept {
					t.Errorf("left: %v", left)
				}
				if v := sim.Violations(); len(v) > 0 {
					t.Error(v)
				}
			})
		})
	}
}
