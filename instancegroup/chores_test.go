package instancegroup

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// Droplets are assigned to the project once lists show them, a hundred at once.
func TestProject(t *testing.T) {
	s := spec(func(s *Settings) { s.Project = "p-1" })
	t.Run("assigned", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.createLag = 3 * time.Second
			r.script("create", fault{applied: true, err: unclear}) // also what lists must find
			r.up(120)
			assigned := map[int]int{}
			for _, c := range r.received("project") {
				if c.tag != "p-1" {
					t.Errorf("project %s", c.tag)
				}
				for _, id := range c.ids {
					assigned[id]++
					if c.at.Sub(r.machine[id].born) < r.createLag {
						t.Errorf("%d was assigned before any list had it", id)
					}
				}
			}
			if len(assigned) != 120 {
				t.Errorf("%d Droplets were assigned, want 120", len(assigned))
			}
			for id, n := range assigned {
				if n != 1 {
					t.Errorf("%d was assigned %d times", id, n)
				}
			}
		})
	})
	t.Run("failing at it warns, and fails nothing", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.breakOp("project", fault{err: refusal(ErrForbidden)})
			r.up(2)
			if n := len(r.received("project")); n != 3 {
				t.Errorf("%d attempts, want 3", n)
			}
			r.says("WARN", "could not be assigned to the project", "request_id=req-42")
		})
	})
	t.Run("no project", func(t *testing.T) {
		scenario(t, spec(nil), func(r *runner) {
			r.up(1)
			if n := len(r.received("project")); n != 0 {
				t.Errorf("%d assignments", n)
			}
		})
	})
}

// The tags of earlier runs are removed when nothing carries them any more, but
// not while a create that such a run sent last may still be carried out.
func TestLitter(t *testing.T) {
	removed := func(r *runner) (tags []string) {
		for _, c := range r.received("tag") {
			tags = append(tags, c.tag)
		}
		slices.Sort(tags)
		return tags
	}
	litter := func(t *testing.T, f func(r *runner)) {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			a.add(owned("aaaaaaaa", "seen0000"))
			time.Sleep(time.Minute)
			r := newRunner(t, spec(func(s *Settings) { s.DeadRuns = []string{"dead0000", thisRun} }), a)
			r.start()
			f(r)
		})
	}
	t.Run("in time", func(t *testing.T) {
		litter(t, func(r *runner) {
			r.run(9 * time.Minute)
			if got := removed(r); got != nil {
				t.Errorf("removed within ten minutes of the start: %v", got)
			}
			r.run(2 * time.Minute)
			if got := removed(r); !slices.Equal(got, []string{"fleeting-delete:dead0000", "fleeting-run:dead0000"}) {
				t.Errorf("removed: %v; want only that which nothing carries", got)
			}
			r.decrease("ci-aaaaaaaa")
			r.run(10 * time.Second)
			if got := removed(r); !slices.Equal(got, []string{"fleeting-delete:dead0000", "fleeting-delete:seen0000", "fleeting-run:dead0000", "fleeting-run:seen0000"}) {
				t.Errorf("removed: %v", got)
			}
		})
	})
	t.Run("failing", func(t *testing.T) {
		litter(t, func(r *runner) {
			r.breakOp("tag", fault{err: unclear})
			r.run(11 * time.Minute)
			if n := len(removed(r)); n != 3 {
				t.Errorf("%d attempts, want 3", n)
			}
			r.says("WARN", "tag of an ended run stays", "fleeting-run:dead0000")
		})
	})
	t.Run("not there", func(t *testing.T) {
		litter(t, func(r *runner) {
			r.breakOp("tag", fault{err: refusal(ErrNotFound)})
			r.run(11 * time.Minute)
			if n := len(removed(r)); n != 2 {
				t.Errorf("%d attempts, want one for each of its tags", n)
			}
		})
	})
}

// The image of a tag is the newest in each region. It is looked up every ten
// minutes, and one that cannot be looked up does not stop anything.
func TestImageTag(t *testing.T) {
	day := func(n int) time.Time { return epoch.AddDate(0, 0, n) }
	s := spec(func(s *Settings) {
		s.Image, s.ImageTag = Image{}, "golden"
		s.Placements = []Placement{{"s-1", "nyc1"}, {"s-1", "ams3"}}
	})
	image := func(r *runner) Image {
		cs := r.received("create")
		return cs[len(cs)-1].image
	}
	t.Run("rolls out", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.account.images = []TaggedImage{{2, day(2), []string{"nyc1"}}, {1, day(1), []string{"nyc1", "ams3"}}, {3, day(3), []string{"fra1"}}}
			r.want(1)
			if got := image(r); got != (Image{ID: 2}) {
				t.Errorf("image %v, want the newest in nyc1", got)
			}
			r.account.images = append(r.account.images, TaggedImage{4, day(4), []string{"nyc1"}})
			time.Sleep(9 * time.Minute)
			r.want(1)
			if n := len(r.received("images")); n != 1 || image(r).ID != 2 {
				t.Errorf("%d look-ups within ten minutes, image %v", n, image(r))
			}
			time.Sleep(time.Minute)
			r.want(1)
			if got := image(r); got != (Image{ID: 4}) {
				t.Errorf("image %v, want the new one", got)
			}
			r.says("image for new Droplets", "region=nyc1", "image=4")
			r.script("create", fault{err: refusal(ErrCapacity)})
			r.want(1)
			if got := image(r); got != (Image{ID: 1}) {
				t.Errorf("image %v, want the newest in ams3", got)
			}
		})
	})
	for name, f := range map[string]fault{"fails": {err: unclear}, "hangs": {hang: true}} {
		t.Run("look-up "+name, func(t *testing.T) {
			scenario(t, s, func(r *runner) {
				r.account.images = []TaggedImage{{1, day(1), []string{"nyc1"}}}
				r.want(1)
				time.Sleep(10 * time.Minute)
				r.breakOp("images", f)
				r.want(1)
				r.want(1)
				r.says("WARN", "going on with the last")
			})
		})
	}
	t.Run("none at all", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			_, err := r.increase(1)
			const want = "find the newest image with the tag golden: no private image with the tag golden is in a region of the group; next attempt in 5s"
			if err == nil || err.Error() != want {
				t.Errorf("error %v, want %s", err, want)
			}
			if _, err := r.increase(1); err == nil || len(r.received("images")) != 1 {
				t.Errorf("asked again at once: %d look-ups, %v", len(r.received("images")), err)
			}
			r.account.images = []TaggedImage{{1, day(1), []string{"nyc1"}}}
			time.Sleep(5 * time.Second)
			r.want(1)
		})
	})
	t.Run("none in one region", func(t *testing.T) {
		scenario(t, s, func(r *runner) {
			r.account.images = []TaggedImage{{1, day(1), []string{"ams3"}}}
			r.want(1)
			cs := r.received("create")
			if len(cs) != 1 || cs[0].place.Region != "ams3" {
				t.Errorf("creates %v, want one, in ams3", cs)
			}
		})
	})
}
