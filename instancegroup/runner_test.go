package instancegroup

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner is GitLab Runner's side of a Group: it keeps of instances what
// fleeting's provisioner keeps, and holds every Update against the truth of the
// account.
type runner struct {
	t *testing.T
	*account
	*Group
	Settings
	log journal

	pending int // accepted by Increase, and not shown yet
	states  map[string]State
	history map[string][]State // every change
}

const thisRun = "run0"

var ctx = context.Background()

// spec is a group of one place, and what a test changes about it.
func spec(change func(s *Settings)) Settings {
	s := Settings{
		Name:          "ci",
		Run:           thisRun,
		Placements:    []Placement{{"s-1", "nyc1"}},
		Template:      Template{PublicNetworking: true},
		MaxInstances:  200,
		CreateTimeout: 10 * time.Minute,
		Keys:          func(context.Context, bool) ([]string, error) { return []string{"7"}, nil },
	}
	if change != nil {
		change(&s)
	}
	if s.Images == nil {
		images := map[string]Image{}
		for _, at := range s.Placements {
			images[at.Region] = Image{Slug: "ubuntu-24-04-x64"}
		}
		s.Images = func(context.Context, bool) (map[string]Image, error) { return images, nil }
	}
	return s
}

// unstarted runs f in a bubble of its own, with a group that f starts. At the end of
// f nothing of the group may be running.
func unstarted(t *testing.T, s Settings, f func(r *runner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRunner(t, s, newAccount(t))
		f(r)
		r.repeats(0, hclog.MissingKey) // a field without a name
	})
}

// scenario is one with a started group.
func scenario(t *testing.T, s Settings, f func(r *runner)) {
	t.Helper()
	unstarted(t, s, func(r *runner) {
		r.start(nil)
		f(r)
	})
}

// story is a scenario with a name.
func story(t *testing.T, name string, s Settings, f func(r *runner)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { scenario(t, s, f) })
}

func newRunner(t *testing.T, s Settings, a *account) *runner {
	return &runner{t: t, account: a, Settings: s, log: newJournal(), states: map[string]State{}, history: map[string][]State{}}
}

// start begins a Group, as a new plugin process does that remembers Droplets.
func (r *runner) start(remembered map[string]int64) {
	r.t.Helper()
	if err := r.tryStart(r.GPUs, remembered); err != nil {
		r.t.Fatalf("Find: %v", err)
	}
}

func (r *runner) tryStart(gpus bool, remembered map[string]int64) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // an Init's
	defer cancel()
	found, err := Find(ctx, r.account, r.log, r.Name, gpus, remembered)
	if err == nil {
		r.Group = Start(r.Settings, r.account, r.log, found)
	}
	return err
}

// successor starts the next process of this host, which remembers Droplets.
func (r *runner) successor(remembered map[string]int64) *runner {
	r.t.Helper()
	s := r.Settings
	s.Run, s.DeadRuns = fmt.Sprintf("r%03d", len(s.DeadRuns)), append(slices.Clone(s.DeadRuns), s.Run)
	next := newRunner(r.t, s, r.account)
	next.start(remembered)
	return next
}

// within fails the test if f takes longer than bound.
func (r *runner) within(bound time.Duration, what string, f func()) {
	r.t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > bound {
		r.t.Errorf("%s took %s, its bound is %s", what, took, bound)
	}
}

// increase asks for n, and holds the answer to the contract.
func (r *runner) increase(n int) (int, error) {
	r.t.Helper()
	var accepted int
	var err error
	r.within(15*time.Second, "Increase", func() { accepted, err = r.Increase(ctx, n) })
	if err != nil && accepted > 0 {
		r.t.Errorf("Increase(%d) = %d, %v: the count that comes with an error is lost", n, accepted, err)
	}
	if accepted > n {
		r.t.Errorf("Increase(%d) = %d: more than was asked for", n, accepted)
	}
	r.pending += accepted
	return accepted, err
}

// want asks for n and must get them.
func (r *runner) want(n int) {
	r.t.Helper()
	r.wantOf(n, n)
}

// wantOf asks for n and must get so many of them, without an error.
func (r *runner) wantOf(n, accepted int) {
	r.t.Helper()
	if got, err := r.increase(n); got != accepted || err != nil {
		r.t.Fatalf("Increase(%d) = %d, %v; want %d and no error", n, got, err, accepted)
	}
}

// wantDuring asks for n and must get them, while f goes on.
func (r *runner) wantDuring(n int, f func()) {
	r.t.Helper()
	accepted := 0
	var increase sync.WaitGroup
	increase.Go(func() { accepted, _ = r.Increase(ctx, n) })
	f()
	increase.Wait()
	equal(r.t, "accepted", n, accepted)
	r.pending += accepted
}

// refused asks for n and must get none, with an error.
func (r *runner) refused(n int) {
	r.t.Helper()
	if got, err := r.increase(n); got != 0 || err == nil {
		r.t.Fatalf("Increase(%d) = %d, %v; want 0 and an error", n, got, err)
	}
}

// update is one Update, which must succeed. It returns what was shown, in order,
// as "name state".
func (r *runner) update() []string {
	r.t.Helper()
	shown, err := r.tryUpdate()
	if err != nil {
		r.t.Fatalf("Update: %v", err)
	}
	return shown
}

// tryUpdate is one Update, held to the contract and to the truth.
func (r *runner) tryUpdate() (shown []string, err error) {
	r.t.Helper()
	seen := map[string]bool{}
	r.within(15*time.Second, "Update", func() {
		err = r.Update(ctx, func(name string, s State) {
			shown = append(shown, fmt.Sprint(name, " ", s))
			seen[name] = true
			before, known := r.states[name]
			if !known {
				if s == Deleted {
					r.t.Errorf("%s is first shown as deleted: nobody's request is answered by that", name)
				}
				r.pending = max(0, r.pending-1)
			}
			if s == Deleted {
				for _, m := range r.named(name) {
					if !m.foreign && !Kept(m.Droplet) {
						r.t.Errorf("%s is shown as deleted, and Droplet %d lives", name, m.ID)
					}
				}
			}
			if !known || before != s {
				r.history[name] = append(r.history[name], s)
			}
			r.states[name] = s
		})
	})
	if err != nil {
		if len(shown) > 0 {
			r.t.Errorf("Update showed %d instances and failed: %v", len(shown), err)
		}
		return nil, err
	}
	for name, s := range r.states {
		if !seen[name] {
			r.t.Errorf("%s, last shown as %s, is not shown any more", name, s)
		}
		if s == Deleted {
			delete(r.states, name)
		}
	}
	if r.pending != 0 {
		r.t.Errorf("%d accepted instances have not been shown", r.pending)
	}
	return shown, nil
}

// run updates every two seconds for d, as a runner does while it expects
// something. No Update may fail.
func (r *runner) run(d time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		next := time.Now().Add(2 * time.Second)
		r.update()
		time.Sleep(time.Until(next))
	}
}

// up makes n running instances and returns their names, sorted.
func (r *runner) up(n int) []string {
	r.t.Helper()
	r.want(n)
	r.run(r.boot + 10*time.Second)
	names := r.in(Running)
	if len(names) != n {
		r.t.Fatalf("%d of %d instances are running: %v", len(names), n, r.states)
	}
	return names
}

// in returns the names last shown in state s.
func (r *runner) in(s State) []string {
	var names []string
	for name, state := range r.states {
		if state == s {
			names = append(names, name)
		}
	}
	return slices.Sorted(slices.Values(names))
}

// decrease asks for names to be destroyed and must get them all.
func (r *runner) decrease(names ...string) {
	r.t.Helper()
	got, err := r.tryDecrease(names...)
	if err != nil || !slices.Equal(got, names) {
		r.t.Fatalf("Decrease(%v) = %v, %v", names, got, err)
	}
}

func (r *runner) tryDecrease(names ...string) (got []string, err error) {
	r.t.Helper()
	r.within(15*time.Second, "Decrease", func() { got, err = r.Decrease(ctx, names) })
	if err != nil && len(got) > 0 {
		r.t.Errorf("Decrease = %v, %v: what comes with an error is lost", got, err)
	}
	return got, err
}

// undestroyed asks for names to be destroyed and must get none, with an error.
func (r *runner) undestroyed(names ...string) {
	r.t.Helper()
	if got, err := r.tryDecrease(names...); len(got) != 0 || err == nil {
		r.t.Fatalf("Decrease(%v) = %v, %v; want none and an error", names, got, err)
	}
}

// stops is the runner's last call. It fails the test unless that is clean, or is not.
func (r *runner) stops(clean bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
	defer cancel()
	r.within(18*time.Second, "Shutdown", func() { equal(r.t, "clean", clean, r.Shutdown(ctx)) })
}

// only returns the one machine of that name.
func (r *runner) only(name string) *machine {
	r.t.Helper()
	ms := r.named(name)
	if len(ms) != 1 {
		r.t.Fatalf("%d Droplets are named %s", len(ms), name)
	}
	return ms[0]
}

// alter does something behind the group's back to the machines of these names.
func (r *runner) alter(f func(m *machine), names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.change(r.only(name).ID, f)
	}
}

func (r *runner) vanish(names ...string) {
	r.t.Helper()
	r.alter(r.destroyed, names...)
}

// deaf makes machines ignore so many DELETEs that are accepted.
func (r *runner) deaf(n int, names ...string) {
	r.t.Helper()
	r.alter(func(m *machine) { m.deafTo = n }, names...)
}

// asked counts the requests of op so far.
func (r *runner) asked(op string) int { return len(r.received(op)) }

// requests fails the test unless there were so many of op.
func (r *runner) requests(op string, want int) {
	r.t.Helper()
	equal(r.t, "requests to "+op, want, r.asked(op))
}

// times returns when requests of op were sent, from then on.
func (r *runner) times(op string, since time.Time, round time.Duration) string {
	var at []string
	for _, c := range r.received(op) {
		if !c.at.Before(since) {
			at = append(at, fmt.Sprint(c.at.Sub(since).Round(round)))
		}
	}
	return strings.Join(at, " ")
}

// living, counts and running fail the test unless so many Droplets of the group
// live, are counted by it, and were last shown as running.
func (r *runner) living(want int) {
	r.t.Helper()
	equal(r.t, "Droplets that live", want, r.billed())
}

func (r *runner) counts(want int) {
	r.t.Helper()
	equal(r.t, "Droplets that are counted", want, r.Count())
}

func (r *runner) running(want int) {
	r.t.Helper()
	equal(r.t, "instances that run", want, len(r.in(Running)))
}

// told fails the test unless the history of name is this.
func (r *runner) told(name string, want ...State) {
	r.t.Helper()
	if got := r.history[name]; !slices.Equal(got, want) {
		r.t.Errorf("the runner was told of %s: %v, want %v", name, got, want)
	}
}

// allTold fails the test unless the history of all these names is this.
func (r *runner) allTold(names []string, want ...State) {
	r.t.Helper()
	for _, name := range names {
		r.told(name, want...)
	}
}

// names returns all names that the runner was ever told of.
func (r *runner) names() []string { return slices.Sorted(maps.Keys(r.history)) }

// owned is a Droplet of the group that another run made.
func owned(run, random string) machine {
	return machine{Droplet: Droplet{Name: "ci-" + run + random, Tags: []string{CommonTag, GroupTag("ci")}}}
}

// journal is a Logger that keeps its lines.
type journal struct {
	hclog.Logger
	text *bytes.Buffer
}

func newJournal() journal {
	j := journal{text: &bytes.Buffer{}}
	j.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: j.text, DisableTime: true})
	return j
}

// count returns how many lines have all of the words.
func (j journal) count(words ...string) (n int) {
	for line := range strings.Lines(j.text.String()) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			n++
		}
	}
	return n
}

// says fails the test unless there is one line with all of the words.
func (r *runner) says(words ...string) {
	r.t.Helper()
	r.repeats(1, words...)
}

// repeats fails the test unless there are so many lines with all of the words.
func (r *runner) repeats(want int, words ...string) {
	r.t.Helper()
	if n := r.log.count(words...); n != want {
		r.t.Errorf("%d log lines have %q, want %d:\n%s", n, words, want, r.log.text)
	}
}

// equal fails the test unless what is as it is to be.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
