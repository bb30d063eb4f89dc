package instancegroup

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOwns(t *testing.T) {
	tagged := []string{"fleeting", "fleeting-group:ci"}
	for _, c := range []struct {
		name string
		tags []string
		want bool
	}{
		{"ci-7k2m9qxab3", tagged, true},
		{"ci-7k2m9qxab3", []string{"Fleeting", "prod", "Fleeting-Group:CI"}, true}, // tags are the same in any case
		{"ci-7k2m9qxab3", tagged[:1], false},
		{"ci-7k2m9qxab3", tagged[1:], false},
		{"ci-7k2m9qxab3", []string{"fleeting", "fleeting-group:ci-big"}, false},
		{"ci-7k2m9qxab3", []string{"fleeting-big", "fleeting-group:ci"}, false},
		{"ci-7k2m9qxab3", nil, false},
		{"ci-big-7k2m9qxab3", tagged, false},
		{"ci-7k2m9qxab", tagged, false},
		{"ci-7k2m9qxab3c", tagged, false},
		{"ci-7K2M9QXAB3", tagged, false},
		{"ci-7k2m9-xab3", tagged, false},
		{"ci-database", tagged, false},
		{"ci-webservers", tagged, false}, // ten letters, and no digit
		{"ci7k2m9qxab3", tagged, false},
		{"web", tagged, false},
		{"", tagged, false},
	} {
		if got := Owns("ci", Droplet{Name: c.name, Tags: c.tags}); got != c.want {
			t.Errorf("Owns(ci, %s %v) = %v", c.name, c.tags, got)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		run := NewRun("aaaa")
		name := "ci-" + NewSuffix(run)
		if !IsRun(run) || RunOf("ci", name) != run || strings.ContainsAny(name[3:], "ilou") || !strings.ContainsAny(name, "0123456789") || seen[name] {
			t.Fatalf("run %q, name %q", run, name)
		}
		seen[name] = true
	}
	for name, want := range map[string]string{
		KeyName("ci", "7k2m9qxab3"): "7k2m", "fleeting-ci-operator": "", "fleeting-ci-webservers": "", "fleeting-ci-big-7k2m9qxab3": "", "ci-7k2m9qxab3": "",
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
	t.Run("strangers are left alone", func(t *testing.T) {
		strangers := []machine{
			{Droplet: Droplet{Name: "web", Tags: []string{CommonTag, GroupTag("ci")}}},
			{Droplet: Droplet{Name: "ci-database", Tags: []string{CommonTag, GroupTag("ci")}}},
			{Droplet: Droplet{Name: "ci-webservers", Tags: []string{CommonTag, GroupTag("ci")}}},
			{Droplet: Droplet{Name: "ci-big-7k2m9qxab3", Tags: []string{CommonTag, GroupTag("ci")}}},
			{Droplet: Droplet{Name: "ci-7k2m9qxab1", Tags: []string{GroupTag("ci")}}},
			{Droplet: Droplet{Name: "ci-7k2m9qxab2"}},
			{Droplet: Droplet{Name: "ci-7k2m9qxab3", Tags: []string{CommonTag, GroupTag("ci-big")}}},
		}
		for _, when := range []string{"before the start", "later", "while lists go by the tag of all groups"} {
			synctest.Test(t, func(t *testing.T) {
				r := newRunner(t, spec(nil), newAccount(t))
				if when != "before the start" {
					r.start()
				}
				if strings.HasPrefix(when, "while") {
					r.up(2)
					r.deleteTag(GroupTag("ci"))
				}
				for _, m := range strangers {
					m.foreign = true
					r.add(m)
				}
				if when == "before the start" {
					time.Sleep(time.Minute)
					r.start()
				}
				r.run(2 * time.Minute)
				ours := len(r.in(Running))
				if len(r.states) != ours || r.Count() != ours {
					t.Errorf("%s: shown: %v, counted: %d", when, r.states, r.Count())
				}
				for i, m := range strangers {
					if i < 5 { // with the group's tag: somebody may take it for the group's
						r.says("WARN", "not a name of the group", "name="+m.Name, "usd_per_hour=0.01")
					}
					r.decrease(m.Name) // as if the runner knew it
				}
				r.decrease(r.in(Running)...)
				r.run(time.Minute)
				if !r.shutdown() {
					t.Errorf("%s: not clean", when)
				}
			})
		}
	})

	t.Run("a dead run's are taken over whenever they appear", func(t *testing.T) {
		scenario(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead"} }), func(r *runner) {
			time.Sleep(time.Minute)
			name := r.add(owned("dead", "aaaaa1")).Name
			r.run(30 * time.Second)
			r.told(name, Creating, Running)
		})
	})

	t.Run("an earlier process's that lists lacked at Start is taken over, by DigitalOcean's clock", func(t *testing.T) {
		for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.clock, a.createLag = skew, 10*time.Second
				name := a.add(owned("othe", "aaaaa1")).Name
				time.Sleep(5 * time.Second)
				r := newRunner(t, spec(nil), a)
				r.start()
				time.Sleep(2 * time.Second)
				m := owned("othe", "bbbbb1")
				m.foreign = true
				a.add(m)
				r.run(time.Minute)
				r.told(name, Creating, Running) // not stuck for an hour, nor foreign
				if got := r.names(); len(got) != 1 {
					t.Errorf("clock off by %s: shown %v", skew, got)
				}
				r.says("WARN", "that this host does not know", name, "usd_per_hour=0.01")
			})
		}
	})

	t.Run("renamed by hand stays ours", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.change(r.only(name).ID, func(m *machine) { m.Name = "precious" })
			r.run(10 * time.Second)
			r.told(name, Creating, Running)
			r.decrease(name)
			r.run(10 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
			if r.billed() != 0 {
				t.Error("it still lives")
			}
		})
	})

	t.Run("untagged by hand stays ours", func(t *testing.T) {
		for _, tags := range [][]string{nil, {CommonTag}, {GroupTag("ci")}} {
			scenario(t, spec(nil), func(r *runner) {
				names := r.up(2)
				r.run(time.Minute)
				r.change(r.only(names[0]).ID, func(m *machine) { m.Tags = tags })
				r.run(2 * time.Minute)
				r.told(names[0], Creating, Running)
				r.change(r.only(names[0]).ID, func(m *machine) { m.deafTo = 1 })
				r.decrease(names[0])
				r.run(2 * time.Minute)
				r.told(names[0], Creating, Running, Deleting, Deleted)
				r.told(names[1], Creating, Running)
				if n := r.billed(); n != 1 {
					t.Errorf("%d Droplets live, want 1", n)
				}
			})
		}
	})
}

// TestSecondManager: what another process made after we began is left alone, and
// named with its price: once an hour, and when the group stops.
func TestSecondManager(t *testing.T) {
	for _, before := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			r := newRunner(t, spec(nil), a)
			if before { // it was at work before our Start: what it had then is taken over, and no more than that
				a.add(owned("othe", "aaaaa1"))
			}
			time.Sleep(time.Minute)
			r.start()
			time.Sleep(2 * time.Second)
			var ids []int64
			for i := range 3 {
				m := owned("othe", fmt.Sprint("bbbbb", i))
				m.foreign = true
				ids = append(ids, a.add(m).ID)
			}
			named := []string{"droplets=3", "usd_per_hour=0.03", "ci-othebbbbb0 ci-othebbbbb1 ci-othebbbbb2"}
			second := append([]string{"ERROR", "a second manager uses the same name"}, named...)
			r.run(59 * time.Minute)
			r.says(second...)
			r.run(2 * time.Minute)
			if n := r.log.count(second...); n != 2 {
				t.Errorf("named %d times after an hour", n)
			}
			if before {
				r.decrease("ci-otheaaaaa1")
				r.run(time.Minute)
			}
			if n := r.Count(); n != 0 || len(r.states) != 0 {
				t.Errorf("%d are counted, shown: %v", n, r.states)
			}
			if !r.shutdown() {
				t.Error("not clean")
			}
			r.says(append([]string{"WARN", "another plugin process stay"}, named...)...)

			// What has left the account is named no more.
			next := newRunner(t, spec(func(s *Settings) { s.Run = "run1" }), a)
			next.start()
			late := owned("othe", "ccccc1")
			late.foreign = true
			time.Sleep(time.Second)
			id := a.add(late).ID
			next.run(4 * time.Second)
			a.change(id, a.destroyed)
			next.run(2 * time.Hour)
			next.says("ERROR", "a second manager", "ci-otheccccc1")
			for _, id := range ids {
				a.change(id, func(m *machine) { m.foreign = false })
			}
		})
	}
}

// A second Droplet of a name is deleted: the runner knows one, which may have a
// job. That is the one that was known first, or has the lower id.
func TestDuplicates(t *testing.T) {
	for _, what := range []string{"higher", "lower", "of what is being deleted"} {
		t.Run(what, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				name := r.up(1)[0]
				first := r.only(name).ID
				m := owned(thisRun, strings.TrimPrefix(name, "ci-"+thisRun))
				if what != "higher" {
					m.ID = 1
				}
				if strings.HasPrefix(what, "of") {
					r.decrease(name)
				}
				r.add(m)
				r.run(time.Minute)
				if strings.HasPrefix(what, "of") {
					r.told(name, Creating, Running, Deleting, Deleted)
				} else {
					if got := r.only(name).ID; got != first {
						t.Errorf("%d stays, want %d", got, first)
					}
					if d, err := r.Droplet(ctx, name); err != nil || d.ID != first {
						t.Errorf("dialed %d, want %d (%v)", d.ID, first, err)
					}
					r.told(name, Creating, Running)
					r.decrease(name)
					r.run(10 * time.Second)
				}
				if n := r.billed(); n != 0 {
					t.Errorf("%d Droplets are left", n)
				}
			})
		})
	}
	t.Run("at Start", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			low := a.add(owned("dead", "aaaaa1"))
			a.add(owned("dead", "aaaaa1"))
			time.Sleep(time.Minute)
			r := newRunner(t, spec(nil), a)
			r.start()
			r.run(10 * time.Second)
			if got := r.only(low.Name); got.ID != low.ID {
				t.Errorf("%d stays, want the lower id %d", got.ID, low.ID)
			}
			r.told(low.Name, Running)
			r.says("Droplet will be deleted", "a second Droplet of the name "+low.Name)
			if names := r.names(); !slices.Equal(names, []string{low.Name}) {
				t.Errorf("shown: %v", names)
			}
		})
	})
}
