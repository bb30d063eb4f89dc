package instancegroup

import (
	"context"
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
		{"ci-7k2m9qxa", tagged, true},
		{"ci-7k2m9qxa", []string{"Fleeting", "Fleeting-Group:CI"}, true}, // tags are the same in any case
		{"ci-7k2m9qxa", []string{"fleeting"}, false},
		{"ci-7k2m9qxa", []string{"fleeting-group:ci-big"}, false},
		{"ci-7k2m9qxa", nil, false},
		{"ci-big-7k2m9qxa", tagged, false},
		{"ci-7k2m9qx", tagged, false},
		{"ci-7k2m9qxab", tagged, false},
		{"ci-7K2M9QXA", tagged, false},
		{"ci-database", tagged, true}, // 0.1 minted such names, and who puts both tags on it means it
		{"ci-database", tagged[1:], false},
		{"ci-database", []string{"fleeting-group:ci", "fleeting-run:database"}, true}, // somebody deleted the tag fleeting
		{"ci-database", []string{"fleeting-group:ci", "fleeting-run:"}, false},
		{"ci-database", []string{"fleeting-group:ci", "fleeting-big"}, false},
		{"ci-7k2m9qxa", tagged[1:], false},
		{"ci7k2m9qxa", tagged, false},
		{"web", tagged, false},
		{"", tagged, false},
	} {
		if got := Owns("ci", Droplet{Name: c.name, Tags: c.tags}); got != c.want {
			t.Errorf("Owns(ci, %s %v) = %v", c.name, c.tags, got)
		}
	}
	// A token that is shown no tags goes by the digit.
	for name, want := range map[string]bool{"ci-7k2m9qxa": true, "ci-database": false, "ci-databas3": true} {
		if got := Owns("ci", Droplet{Name: name, Tags: tagged[1:], TagsHidden: true}); got != want {
			t.Errorf("Owns(ci, %s, its tags are hidden) = %v", name, got)
		}
	}
}

func TestSuffix(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		s := NewSuffix()
		if !IsSuffix(s) || !hasDigit(s) || strings.ContainsAny(s, "ilou") || seen[s] {
			t.Fatalf("suffix %q", s)
		}
		seen[s] = true
	}
}

// TestOwnership: whose a Droplet is, seen by what the group does with it. The
// account polices that no foreign one is ever deleted or untagged.
func TestOwnership(t *testing.T) {
	stranger := func(name string, tags ...string) machine {
		return machine{Droplet: Droplet{Name: name, Tags: tags}, foreign: true}
	}

	t.Run("strangers are left alone", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.add(stranger("web", GroupTag("ci")))
			r.add(stranger("ci-big-7k2m9qxa", GroupTag("ci")))
			r.add(stranger("ci-7k2m9qxa"))
			r.add(stranger("ci-7k2m9qxb", GroupTag("ci-big")))
			r.add(stranger("ci-database", GroupTag("ci")))
			r.run(time.Minute)
			r.says("WARN", "not a name of the group", "name=web")
			r.says("WARN", "not a name of the group", "name=ci-big-7k2m9qxa")
			if len(r.states) != 0 || r.Count() != 0 {
				t.Errorf("shown: %v, counted: %d", r.states, r.Count())
			}
			r.says("WARN", "no other tag of the plugin", "name=ci-database")
			for _, name := range []string{"web", "ci-database", "ci-7k2m9qxa", "ci-7k2m9qxb"} {
				r.decrease(name) // as if the runner knew it
			}
		})
	})

	t.Run("a second manager's are left alone", func(t *testing.T) {
		for _, before := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				r := newRunner(t, spec(nil), a)
				if before { // it was at work before our Start: what it had then is taken over, no more than that
					a.add(owned("aaaaaaaa", "other000"))
				}
				time.Sleep(time.Minute)
				r.start()
				time.Sleep(2 * time.Second)
				for i := range 3 {
					m := owned(fmt.Sprintf("bbbbbbb%d", i), "other000")
					m.foreign = true
					a.add(m)
				}
				r.run(time.Minute)
				r.says("ERROR", "a second manager", "run=run00000", "other_run=other000")
				if before {
					r.decrease("ci-aaaaaaaa")
					r.run(time.Minute) // its run's tag stays: it is in use
				}
				if len(r.states) != 0 {
					t.Errorf("shown: %v", r.states)
				}
				r.Shutdown(ctx)
			})
		}
	})

	t.Run("a dead run's are taken over whenever they appear", func(t *testing.T) {
		scenario(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead0000"} }), func(r *runner) {
			time.Sleep(time.Minute)
			r.add(owned("aaaaaaaa", "dead0000"))
			r.run(30 * time.Second)
			r.told("ci-aaaaaaaa", Creating, Running)
		})
	})

	t.Run("an earlier run's that lists lacked at Start is taken over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			a.createLag = 5 * time.Second
			a.add(owned("aaaaaaaa", "other000"))
			time.Sleep(2 * time.Second)
			r := newRunner(t, spec(nil), a)
			r.start()
			r.run(30 * time.Second)
			r.told("ci-aaaaaaaa", Creating, Running)
		})
	})

	t.Run("by DigitalOcean's clock", func(t *testing.T) {
		for _, skew := range []time.Duration{-time.Hour, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.clock, a.createLag = skew, 10*time.Second
				a.add(owned("aaaaaaaa", "other000"))
				time.Sleep(5 * time.Second)
				r := newRunner(t, spec(nil), a)
				r.start()
				time.Sleep(2 * time.Second)
				m := owned("bbbbbbbb", "other000")
				m.foreign = true
				a.add(m)
				r.run(time.Minute)
				r.told("ci-aaaaaaaa", Creating, Running) // not stuck for an hour, nor foreign
				if got := r.names(); len(got) != 1 {
					t.Errorf("clock off by %s: shown %v", skew, got)
				}
			})
		}
	})

	t.Run("renamed by hand stays ours", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			id := r.only(name).ID
			r.change(id, func(m *machine) { m.Name = "precious" })
			r.run(10 * time.Second)
			r.told(name, Creating, Running)
			r.decrease(name)
			r.run(10 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
			if len(r.named("precious")) != 0 {
				t.Error("it still lives")
			}
		})
	})

	t.Run("untagged by hand is let go", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			id := r.only(name).ID
			tags := r.only(name).Tags
			r.change(id, func(m *machine) { m.Tags, m.foreign = []string{CommonTag}, true })
			r.run(50 * time.Second)
			r.told(name, Creating, Running, Deleted)
			r.says("ERROR", "STILL BILLED", name, fmt.Sprintf("id=%d", id), "usd_per_hour=0.01")
			r.change(id, func(m *machine) { m.Tags = tags }) // put on again: still not ours
			r.run(10 * time.Second)
			r.decrease(name)
			r.run(10 * time.Second)
			if len(r.states) != 0 || r.Count() != 0 {
				t.Errorf("shown: %v, counted: %d", r.states, r.Count())
			}
		})
	})

	// Tags that are not shown for a while, or for good, are not tags that were taken
	// off. By hand nobody takes all of them.
	t.Run("without any tag it stays ours", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.change(r.only(name).ID, func(m *machine) { m.Tags = nil })
			r.run(2 * time.Minute)
			r.told(name, Creating, Running)
			// Lists never prove that it is gone, since they lack it anyway.
			r.change(r.only(name).ID, func(m *machine) { m.deafTo = 1 })
			r.decrease(name)
			r.run(2 * time.Minute)
			r.told(name, Creating, Running, Deleting, Deleted)
			if n := r.billed(); n != 0 {
				t.Error("it was told to be deleted, and lives")
			}
		})
	})
	t.Run("untagged for some seconds it stays ours", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			id := r.only(name).ID
			tags := r.only(name).Tags
			for range 3 {
				r.change(id, func(m *machine) { m.Tags = []string{CommonTag} })
				r.run(20 * time.Second)
				r.change(id, func(m *machine) { m.Tags = tags })
				r.run(20 * time.Second)
			}
			r.told(name, Creating, Running)
		})
	})

	t.Run("untagged before the first list is let go", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.want(1)
			r.update()
			name := r.names()[0]
			r.change(r.only(name).ID, func(m *machine) { m.Tags, m.foreign = []string{CommonTag}, true })
			r.run(200 * time.Second)
			r.told(name, Creating, Running, Deleted)
		})
	})

	t.Run("untagged while it is being destroyed is destroyed", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			name := r.up(1)[0]
			r.script("delete", fault{err: unclear})
			r.undestroyed(name)
			r.change(r.only(name).ID, func(m *machine) { m.Tags = nil })
			r.run(20 * time.Second)
			r.told(name, Creating, Running, Deleting, Deleted)
			if r.billed() != 0 {
				t.Error("it still lives")
			}
		})
	})
}

// Two Droplets of one name: the dialed one stays the instance, else the lower
// id; the other is destroyed, and the runner sees one instance all the while.
func TestTwins(t *testing.T) {
	for _, c := range []struct {
		what          string
		dialed, lower bool // the first was dialed; the second has the lower id
		firstStays    bool
	}{
		{"second is higher", false, false, true},
		{"second is lower", false, true, false},
		{"dialed, second is higher", true, false, true},
		{"dialed, second is lower", true, true, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			scenario(t, spec(nil), func(r *runner) {
				name := r.up(1)[0]
				first := r.only(name).ID
				if c.dialed {
					if _, err := r.Droplet(ctx, name); err != nil {
						t.Fatal(err)
					}
				}
				m := owned(strings.TrimPrefix(name, "ci-"), thisRun)
				m.born = time.Now().Add(-time.Minute)
				if c.lower {
					m.ID = 1
				}
				second := r.add(m).ID
				r.run(time.Minute)
				want := first
				if !c.firstStays {
					want = second
				}
				if got := r.only(name).ID; got != want {
					t.Errorf("%d stays, want %d (first %d, second %d)", got, want, first, second)
				}
				r.told(name, Creating, Running)
				d, err := r.Droplet(ctx, name)
				if err != nil || d.ID != want {
					t.Errorf("dialed %d, want %d (%v)", d.ID, want, err)
				}
				r.says("Droplet will be destroyed", "a second Droplet of the name "+name)
				r.decrease(name)
				r.run(10 * time.Second)
				r.told(name, Creating, Running, Deleting, Deleted)
				if n := r.billed(); n != 0 {
					t.Errorf("%d Droplets are left", n)
				}
			})
		})
	}
}

// A twin of what is being destroyed is destroyed with it, by a DELETE of its own.
func TestTwinOfDeleted(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		r.decrease(name)
		m := owned(strings.TrimPrefix(name, "ci-"), thisRun)
		m.ID = 1
		r.add(m)
		r.run(15 * time.Second)
		r.told(name, Creating, Running, Deleting, Deleted)
		if n := r.billed(); n != 0 {
			t.Errorf("%d Droplets are left", n)
		}
	})
}

// Two Droplets of one name are found at Start.
func TestTwinsAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		low := a.add(owned("aaaaaaaa", "dead0000"))
		a.add(owned("aaaaaaaa", "dead0001"))
		time.Sleep(time.Minute)
		r := newRunner(t, spec(nil), a)
		r.start()
		r.run(10 * time.Second)
		if got := r.only("ci-aaaaaaaa"); got.ID != low.ID {
			t.Errorf("%d stays, want the lower id %d", got.ID, low.ID)
		}
		r.told("ci-aaaaaaaa", Running)
	})
}

// Start takes over what earlier runs left, in whatever state, and shows it in
// the first Update without another list.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.add(owned("running0", "dead0000"))
		off := owned("poweroff", "dead0001")
		off.Status = StatusOff
		a.add(off)
		stuck := owned("stuckold", "")
		stuck.Tags, stuck.stuck = stuck.Tags[:2], true // of no run
		a.add(stuck)
		time.Sleep(time.Hour)
		a.add(owned("newborn0", "dead0001"))
		a.add(machine{Droplet: Droplet{Name: "web", Tags: []string{GroupTag("ci")}}, foreign: true})
		r := newRunner(t, spec(func(s *Settings) { s.MaxInstances = 5 }), a)
		r.start()
		if n := r.Count(); n != 4 {
			t.Errorf("Count = %d, want 4", n)
		}
		r.says("took over the Droplets of earlier runs", "droplets=4", "usd_per_hour=0.04", "ci-newborn0")
		if n := len(a.calls); n != 1 {
			t.Errorf("Start made %d requests, want 1", n)
		}
		shown, err := r.tryUpdate()
		if len(shown) != 4 || err != nil || len(a.received("list")) != 1 {
			t.Errorf("first Update: %q, %v, %d lists", shown, err, len(a.received("list")))
		}
		r.want(1) // there is room for one more
		if n, err := r.increase(1); n != 0 || err != nil {
			t.Errorf("Increase beyond max_instances = %d, %v", n, err)
		}
		r.run(45 * time.Second)
		r.told("ci-running0", Running)
		r.told("ci-newborn0", Creating, Running)
		r.told("ci-poweroff", Creating, Deleting, Deleted)
		r.told("ci-stuckold", Deleting, Deleted)
		if n := r.log.count("Droplet is active"); n != 1 {
			t.Errorf("%d Droplets are logged as become active, want the one that this run made", n)
		}
	})
}

// Start fails with what failed.
func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.breakOp("list", fault{err: unclear})
		err := New(spec(nil), a, &journal{}).Start(ctx)
		if err == nil || err.Error() != "list the Droplets with the tag fleeting-group:ci: OP: 502 bad gateway" {
			t.Errorf("Start: %v", err)
		}
	})
}

// TestStartWithoutGPUList: whatever becomes of the list of GPU Droplets, it keeps no
// group from starting that has no GPU size. It is told once what that means.
func TestStartWithoutGPUList(t *testing.T) {
	for name, f := range map[string]fault{
		"refused": {err: refusal(ErrInvalid)}, "unclear": {err: unclear}, "throttled": {err: refusal(ErrThrottled)}, "no answer": {hang: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.add(owned("aaaaaaa1", "dead0000"))
				r := newRunner(t, spec(nil), a)
				r.Group = New(r.Settings, noGPUs{a, f}, r.log)
				bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				if err := r.Start(bounded); err != nil || r.Count() != 1 {
					t.Fatalf("Start: %v, %d Droplets", err, r.Count())
				}
				r.run(time.Minute)
				r.says("WARN", "GPU Droplets cannot be listed")

				// With a GPU size it is needed.
				g := New(spec(func(s *Settings) { s.GPUs = true }), noGPUs{a, f}, &journal{})
				bounded, cancel = context.WithTimeout(ctx, 20*time.Second)
				defer cancel()
				if err := g.Start(bounded); err == nil {
					t.Error("it started with a GPU size")
				}
			})
		})
	}
}

// noGPUs cannot list GPU Droplets.
type noGPUs struct {
	*account
	f fault
}

func (n noGPUs) List(ctx context.Context, tag string, gpus bool) (List, error) {
	if gpus {
		n.script("list", n.f)
	}
	return n.account.List(ctx, tag, gpus)
}

// GPU Droplets of an earlier run stay visible although no size is a GPU size any
// more: a list without them would call them gone once they are being destroyed.
func TestGPUDropletsOfEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		m := owned("aaaaaaaa", "dead0000")
		m.Size, m.Region, m.deafTo = "gpu-h100x1-80gb", "nyc2", 1
		a.add(m)
		time.Sleep(time.Minute)
		r := newRunner(t, spec(nil), a)
		r.start()
		r.run(10 * time.Second)
		r.decrease("ci-aaaaaaaa")
		r.run(30 * time.Second)
		r.told("ci-aaaaaaaa", Running, Deleting)
		r.run(time.Minute)
		r.told("ci-aaaaaaaa", Running, Deleting, Deleted)
		if n := len(a.received("get")); n != 0 {
			t.Errorf("%d look-ups of what lists can show", n)
		}
	})
}

// Lists lag: what was taken over and is gone may be in a later list again. It is
// not shown as a new instance.
func TestGoneIsNotTakenOverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		d := a.add(owned("aaaaaaaa", "dead0000"))
		time.Sleep(time.Minute)
		r := newRunner(t, spec(nil), a)
		r.start()
		r.run(4 * time.Second)
		r.decrease("ci-aaaaaaaa")
		r.run(10 * time.Second)
		r.told("ci-aaaaaaaa", Running, Deleting, Deleted)
		a.deleteLag = time.Minute // the list of another replica
		r.run(10 * time.Second)
		a.deleteLag = 0
		r.run(10 * time.Second)
		r.told("ci-aaaaaaaa", Running, Deleting, Deleted)
		if cs := a.received("delete"); !slices.ContainsFunc(cs, func(c call) bool { return c.id == d.ID }) || r.Count() != 0 {
			t.Errorf("DELETEs %v, counted %d", cs, r.Count())
		}
	})
}
