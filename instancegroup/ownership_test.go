package instancegroup

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestOwns(t *testing.T) {
	const name, common, group = "ci-7k2m9qxab3", "fleeting", "fleeting-group:ci"
	ours := func(want bool, name string, tags ...string) {
		if got := Owns("ci", Droplet{Name: name, Tags: tags}); got != want {
			t.Errorf("Owns(ci, %s %v) = %v", name, tags, got)
		}
	}
	ours(true, name, common, group)
	ours(true, name, "Fleeting", "prod", "Fleeting-Group:CI") // tags are the same in any case
	for _, tags := range [][]string{{common}, {group}, {common, "fleeting-group:ci-big"}, {"fleeting-big", group}, nil} {
		ours(false, name, tags...)
	}
	for _, name := range []string{"ci-big-7k2m9qxab3", "ci-7k2m9qxab", "ci-7k2m9qxab3c", "ci-7K2M9QXAB3", "ci-7k2m9-xab3", "ci-database",
		"ci-webservers" /* ten letters, and no digit */, "ci7k2m9qxab3", "web", ""} {
		ours(false, name, common, group)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		run := NewRun("aaaa")
		name := "ci-" + NewSuffix(run)
		legible := !strings.ContainsAny(name[3:], "ilou") && strings.ContainsAny(name, "0123456789")
		if len(run) != runLen || RunOf("ci", name) != run || !legible || seen[name] {
			t.Fatalf("run %q, name %q", run, name)
		}
		seen[name] = true
	}
	for name, want := range map[string]string{
		KeyName("ci", "7k2m9qxab3"): "7k2m",
		"fleeting-ci-operator":      "", "fleeting-ci-webservers": "", "fleeting-ci-big-7k2m9qxab3": "", "ci-7k2m9qxab3": "",
	} {
		if run, ok := RunOfKey("ci", name); run != want || ok != (want != "") {
			t.Errorf("RunOfKey(%s) = %q, %t", name, run, ok)
		}
	}
	for tag, want := range map[string]bool{
		DeleteTag("ci"): true, DeleteTag("ci-big"): true, "Fleeting-Delete:CI": true,
		"fleeting-delete:": false, "fleeting-delete:c i": false, "fleeting-delete:ci&x": false,
		"fleeting": false, "fleeting-group:ci-7k2m": false, "fleeting-keep": false, "": false,
	} {
		if IsDeleteTag(tag) != want {
			t.Errorf("%q is a delete tag: %t", tag, !want)
		}
	}
	for group, d := range map[string]Droplet{
		"ci":     {Name: "ci-7k2m9qxab3", Tags: []string{"fleeting", "Fleeting-Group:CI"}},
		"ci-big": {Name: "ci-big-7k2m9qxab3", Tags: []string{"fleeting-group:ci", "fleeting-group:ci-big", "fleeting"}},
		"":       {Name: "ci-database", Tags: []string{"fleeting", "fleeting-group:ci"}},
	} {
		if got := GroupOf(d); got != group {
			t.Errorf("GroupOf(%+v) = %q, want %q", d, got, group)
		}
	}
}

// TestOwnership: which group a Droplet belongs to, seen by what the group does
// with it. The account polices that no foreign one is ever deleted or tagged.
func TestOwnership(t *testing.T) {
	strangers := []machine{
		{Droplet: Droplet{Name: "web", Tags: []string{CommonTag, GroupTag("ci")}}},
		{Droplet: Droplet{Name: "ci-database", Tags: []string{CommonTag, GroupTag("ci")}}},
		{Droplet: Droplet{Name: "ci-webservers", Tags: []string{CommonTag, GroupTag("ci")}}},
		{Droplet: Droplet{Name: "ci-big-7k2m9qxab3", Tags: []string{CommonTag, GroupTag("ci")}}},
		{Droplet: Droplet{Name: "ci-7k2m9qxab1", Tags: []string{GroupTag("ci")}}},
		{Droplet: Droplet{Name: "ci-7k2m9qxab2"}},
		{Droplet: Droplet{Name: "ci-7k2m9qxab3", Tags: []string{CommonTag, GroupTag("ci-big")}}},
	}
	for when, before := range map[string]bool{"before the start": true, "later, while lists go by the tag of all groups": false} {
		story(t, "strangers "+when, spec(nil), func(r *runner) {
			ours := 0
			if !before {
				ours = len(r.up(2))
				r.deleteTag(GroupTag("ci"))
			}
			for _, m := range strangers {
				m.foreign = true
				r.add(m)
			}
			if before {
				time.Sleep(time.Minute)
				r.start(nil)
			}
			r.run(2 * time.Minute)
			r.running(ours)
			r.counts(ours)
			for i, m := range strangers {
				if i < 5 { // with the group's tag: somebody may take it for the group's
					r.says("WARN", "is not the group's", "name="+m.Name, "usd_per_hour=0.01")
				}
				r.decrease(m.Name) // as if the runner knew it
			}
			r.decrease(r.in(Running)...)
			r.run(time.Minute)
			equal(r.t, "states", 0, len(r.states))
			r.stops(true)
		})
	}

	story(t, "a dead run's are taken over whenever they appear", spec(func(s *Settings) { s.DeadRuns = []string{"dead"} }), func(r *runner) {
		time.Sleep(time.Minute)
		name := r.add(owned("dead", "aaaaa1")).Name
		r.run(30 * time.Second)
		r.told(name, Creating, Running)
	})

	// An earlier process's that lists lacked at Start is taken over, by DigitalOcean's clock.
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		unstarted(t, spec(nil), func(r *runner) {
			r.clock, r.createLag = skew, 10*time.Second
			r.add(owned("othe", "aaaaa1"))
			time.Sleep(5 * time.Second)
			r.start(nil)
			time.Sleep(2 * time.Second)
			m := owned("othe", "bbbbb1")
			m.foreign = true
			r.add(m)
			r.run(time.Minute)
			r.told("ci-otheaaaaa1", Creating, Running) // not stuck for an hour
			equal(t, "shown", []string{"ci-otheaaaaa1"}, r.names())
			r.says("WARN", "that this host does not know", "ci-otheaaaaa1", "usd_per_hour=0.01")
		})
	}

	for what, change := range map[string]func(m *machine){
		"renamed":  func(m *machine) { m.Name = "precious" },
		"untagged": func(m *machine) { m.Tags = nil },
	} {
		story(t, what+" by hand stays ours", spec(nil), func(r *runner) {
			name := r.up(2)[0]
			r.run(time.Minute)
			r.deaf(1, name)
			r.alter(change, name)
			r.run(2 * time.Minute)
			r.told(name, Creating, Running)
			r.decrease(name)
			r.run(2 * time.Minute)
			r.told(name, Creating, Running, Deleting, Deleted)
			r.living(1)
			r.running(1)
		})
	}
}

// TestSecondManager: what another process made after we began is left alone, and
// named with its price: once an hour, and when the group stops. What has left the
// account is named no more.
func TestSecondManager(t *testing.T) {
	unstarted(t, spec(nil), func(r *runner) {
		r.add(owned("othe", "aaaaa1")) // what it had before our Start is taken over, and no more than that
		time.Sleep(time.Minute)
		r.start(nil)
		time.Sleep(2 * time.Second)
		var last int64
		for i := range 4 {
			m := owned("othe", fmt.Sprint("bbbbb", i))
			m.foreign = true
			last = r.add(m).ID
		}
		named := []string{"droplets=4", "usd_per_hour=0.04", "ci-othebbbbb0 ci-othebbbbb1 ci-othebbbbb2 ci-othebbbbb3"}
		second := []string{"ERROR", "a second manager uses the same name"}
		r.run(10 * time.Second)
		r.says(append(second, named...)...)
		r.change(last, r.destroyed)
		time.Sleep(58 * time.Minute)
		r.run(10 * time.Second)
		r.says(second...)
		r.run(2 * time.Minute)
		named = []string{"droplets=3", "usd_per_hour=0.03", "ci-othebbbbb0 ci-othebbbbb1 ci-othebbbbb2"}
		r.says(append(second, named...)...)
		r.decrease("ci-otheaaaaa1")
		r.run(time.Minute)
		r.counts(0)
		equal(t, "shown", 0, len(r.states))
		r.stops(true)
		r.says(append([]string{"WARN", "another plugin process stay"}, named...)...)
	})
}

// A second Droplet of a name is deleted: the runner knows one, which may have a
// job. That is the one that was known first, or has the lower id.
func TestDuplicates(t *testing.T) {
	for what, id := range map[string]int64{"higher": 9000, "lower": 1} {
		story(t, what, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			first := r.only(name).ID
			m := owned(thisRun, strings.TrimPrefix(name, "ci-"+thisRun))
			m.ID = id
			r.add(m)
			r.run(time.Minute)
			r.says("Droplet will be deleted", "a second Droplet of the name "+name)
			d, err := r.Droplet(ctx, name)
			equal(r.t, "the one that stays, and is dialed", []int64{first, first}, []int64{r.only(name).ID, d.ID})
			equal(r.t, "error", nil, err)
			r.told(name, Creating, Running)
			r.decrease(name)
			r.run(10 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
			r.living(0)
		})
	}
	unstarted(t, spec(nil), func(r *runner) { // two at Start
		low := r.add(owned("dead", "aaaaa1"))
		r.add(owned("dead", "aaaaa1"))
		time.Sleep(time.Minute)
		r.start(nil)
		r.run(10 * time.Second)
		equal(t, "the one that stays", low.ID, r.only(low.Name).ID)
		r.told(low.Name, Running)
		r.says("Droplet will be deleted", "a second Droplet of the name "+low.Name)
	})
}
