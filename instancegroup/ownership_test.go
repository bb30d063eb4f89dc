package instancegroup

import (
	"strings"
	"testing"
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
	for _, name := range []string{"ci-big-7k2m9qxab3", "ci-7k2m9qxab", "ci-7k2m9qxab3c", "ci-7K2M9QXAB3", "ci-7k2m9-xab3",
		"ci-database", "ci-webservers" /* ten letters, and no digit */, "ci7k2m9qxab3", "web", ""} {
		ours(false, name, common, group)
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		run := NewRun()
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
		if run := RunOfKey("ci", name); run != want {
			t.Errorf("RunOfKey(%s) = %q", name, run)
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
	const strangers = `
		stranger web fleeting fleeting-group:ci; stranger ci-database fleeting fleeting-group:ci
		stranger ci-webservers fleeting fleeting-group:ci; stranger ci-big-7k2m9qxab3 fleeting fleeting-group:ci
		stranger ci-7k2m9qxab1 fleeting-group:ci; stranger ci-7k2m9qxab2; stranger ci-7k2m9qxab3 fleeting fleeting-group:ci-big;`
	const watched = `
		decrease web ci-database ci-webservers ci-big-7k2m9qxab3 ci-7k2m9qxab1 ci-7k2m9qxab2 ci-7k2m9qxab3 # as if the runner knew them
		says 5x WARN & is not the group's & usd_per_hour=0.01 # of the tag: somebody may take them for the group's
		`
	play(t, spec(nil), "= strangers before the start\n"+strangers+"sleep 1m; start; run 2m; counts 0; shown 0; "+watched+
		"run 1m; stop clean")
	play(t, spec(nil), "= strangers later, while lists go by the tag of all groups\n up 2; lose fleeting-group:ci;"+strangers+
		"run 2m; running 2; counts 2; "+watched+"decrease 1-2; run 1m; shown 0; stop clean")
	play(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead"} }), `
		= a dead run's are taken over whenever they appear
			sleep 1m; left ci-deadaaaaa1; run 30s; told ci-deadaaaaa1 cr
		# what lists lacked at the start, by DigitalOcean's clock; it is not stuck for an hour
		= an earlier process's is taken over, its clock is slow | clock=-1h
		= an earlier process's is taken over                    | clock=0s
		= an earlier process's is taken over, its clock is fast | clock=1h
			set clock $clock; set createlag 10s; left ci-otheaaaaa1; sleep 5s; start; sleep 2s; left ci-othebbbbb1 foreign
			run 1m; told ci-otheaaaaa1 cr; shown 1; says WARN & that this host does not know & ci-otheaaaaa1 & usd_per_hour=0.01
		= renamed by hand, it stays ours  | what=rename
		= untagged by hand, it stays ours | what=untag
			up 2; run 1m; deaf 1; $what 1; run 2m; told 1 cr; decrease 1; run 2m; told 1 crdx; living 1; running 1`)
}

// TestSecondManager: what another process made after we began is left alone, and
// named with its price: once an hour, and when the group stops. What has left the
// account is named no more.
func TestSecondManager(t *testing.T) {
	play(t, spec(nil), `
		left ci-otheaaaaa1; sleep 1m; start; sleep 2s # what it had before is taken over, and no more than that
		left ci-othebbbbb1 foreign; left ci-othebbbbb2 foreign; left ci-othebbbbb3 foreign; run 10s
		says ERROR & a second manager uses the same name & droplets=3 & usd_per_hour=0.03 & ci-othebbbbb1 ci-othebbbbb2 ci-othebbbbb3
		vanish ci-othebbbbb3; sleep 58m; run 10s; says a second manager uses the same name; run 2m
		says ERROR & a second manager uses the same name & droplets=2 & usd_per_hour=0.02 & ci-othebbbbb1 ci-othebbbbb2
		decrease ci-otheaaaaa1; run 1m; counts 0; shown 0; stop clean
		says WARN & another plugin process stay & droplets=2 & usd_per_hour=0.02 & ci-othebbbbb1 ci-othebbbbb2`)
}

// A second Droplet of a name is deleted: the runner knows one, which may have a
// job. That is the one that was known first, or has the lower id.
func TestDuplicates(t *testing.T) {
	play(t, spec(nil), `
		= higher | last=9000
		= lower | last=1
			up 1; set last $last; left 1; run 1m; says Droplet will be deleted & a second Droplet of the name ci-
			dials 1; told 1 cr; decrease 1; run 10s; told 1 crdx; living 0
		= two at the start
			left ci-deadaaaaa1; left ci-deadaaaaa1; sleep 1m; start; run 10s; living 1; told ci-deadaaaaa1 r
			says Droplet will be deleted & a second Droplet of the name ci-deadaaaaa1 & 1001 stays`)
}
