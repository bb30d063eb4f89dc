package instancegroup

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// keep is what a person does to keep a Droplet, and unkeep ends it.
func (r *runner) keep(id int64) {
	r.change(id, func(m *machine) { m.Tags = append(slices.Clone(m.Tags), "Fleeting-Keep") })
}

func (r *runner) unkeep(id int64) {
	r.change(id, func(m *machine) { m.untag("Fleeting-Keep") })
}

// TestKept: a Droplet with the tag fleeting-keep is a person's. The runner is told
// that it is gone; it is never deleted, and still counts for max_instances. The
// account polices that no DELETE reaches it.
func TestKept(t *testing.T) {
	s := spec(func(s *Settings) { s.MaxInstances = 3 })
	for age, told := range map[time.Duration][]State{
		0: {Creating, Deleted}, time.Minute: {Creating, Running, Deleted},
	} {
		story(t, fmt.Sprint("when it is as old as ", age), s, func(r *runner) {
			r.want(2)
			kept := r.only(r.received("create")[0].Names[0])
			r.run(age)
			r.keep(kept.ID)
			for range 30 { // at every moment
				r.run(2 * time.Second)
				r.counts(2)
			}
			r.told(kept.Name, told...)
			r.says("WARN", "a person keeps a Droplet", kept.Name, "usd_per_hour=0.01")
			equal(r.t, "hourly", 0.02, r.Hourly())
			r.wantOf(3, 1)
			r.decrease(kept.Name) // as if the runner still knew it
			time.Sleep(50 * time.Minute)
			r.run(10 * time.Second)
			time.Sleep(20 * time.Minute)
			r.run(10 * time.Second)
			r.repeats(2, "WARN", "Droplets are kept by the tag fleeting-keep", "droplets=1", "usd_per_hour=0.01", kept.Name) // once an hour
			r.decrease(r.in(Running)...)
			r.run(10 * time.Second)
			r.stops(true)
			r.living(1)
			r.says("WARN", "kept by a person, and billed", "usd_per_hour=0.01", kept.Name)
		})
	}

	unstarted(t, s, func(r *runner) { // before the start
		m := owned("dead", "aaaaa1")
		m.Tags = append(m.Tags, "Fleeting-Keep")
		kept := r.add(m)
		r.add(owned("dead", "aaaaa2"))
		time.Sleep(time.Minute)
		r.start(map[string]int64{kept.Name: kept.ID})
		r.counts(2)
		r.run(time.Minute)
		r.wantOf(3, 1)
		r.told(kept.Name)
		r.says("WARN", "Droplets are kept", kept.Name)
		r.unkeep(kept.ID) // then it is one that an earlier process left
		r.run(time.Minute)
		r.told(kept.Name, Running)
	})

	// By id and by tag; the DELETE that was accepted before was not carried out.
	for _, n := range []int{2, 15} {
		story(t, fmt.Sprintf("while it is one of %d that are being deleted", n), spec(nil), func(r *runner) {
			names := r.up(n + 15)
			kept := r.only(names[0])
			r.deaf(1, kept.Name)
			r.decrease(names[:n]...)
			r.run(4 * time.Second)
			r.keep(kept.ID)
			r.run(20 * time.Second)
			r.told(kept.Name, Creating, Running, Deleting, Deleted)
			r.decrease(names[n:]...) // by the tag that it may still carry
			r.run(3 * time.Minute)
			r.living(1)
			r.counts(1)
		})
	}

	story(t, "while its create is under way", s, func(r *runner) {
		r.answersLate(4*time.Second, nil)
		r.wantDuring(1, func() {
			time.Sleep(time.Second)
			r.keep(1001)
			r.run(2 * time.Second) // lists have it
		})
		r.run(4 * time.Second)
		r.told(r.names()[0], Creating, Deleted)
		r.counts(1)
	})

	story(t, "the tag is taken off again", s, func(r *runner) {
		name := r.up(1)[0]
		r.keep(r.only(name).ID)
		r.run(time.Minute)
		r.unkeep(r.only(name).ID)
		r.run(time.Minute)
		r.told(name, Creating, Running, Deleted)
		r.says("Droplet will be deleted", name, "it appeared after it was given up")
		r.living(0)
		r.counts(0)
	})
}
