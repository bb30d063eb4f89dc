package instancegroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner is GitLab Runner's side of a Group: it keeps of instances what fleeting's
// provisioner keeps, and holds every Update against the truth of the account.
type runner struct {
	t *testing.T
	*account
	*Group
	Settings
	log journal

	background sync.WaitGroup
	accounts   sync.Mutex // of what Increases accepted
	pending    int        // accepted, and not shown yet
	states     map[string]State
	history    map[string]string // every change, a letter each
	saved      atomic.Pointer[map[string]int64]

	marked time.Time // by the step mark
	before int       // calls before it
}

const thisRun = "run0"

var ctx = context.Background()

// spec is a group of one placement, and what a test changes about it.
func spec(change func(s *Settings)) Settings {
	s := Settings{
		Name:          "ci",
		Run:           thisRun,
		Placements:    regions("nyc1"),
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

// regions are placements of one size.
func regions(slugs ...string) (ps []Placement) {
	for _, slug := range slugs {
		ps = append(ps, Placement{"s-1", slug})
	}
	return ps
}

// in is a group of these placements.
func in(ps ...Placement) Settings { return spec(func(s *Settings) { s.Placements = ps }) }

var starts = regexp.MustCompile(`(^|;)\s*start\b`)

// play runs the cases of a script, each in a bubble of its own, with an account that
// is empty and a group that is started, unless the script has a step start.
//
// A line "= name | k=v, k=v" begins a case. Several in a row share the steps below
// them, in which $k is v. A ";" or the end of the line ends a step, and "#" begins a
// comment. The method step says what there is.
func play(t *testing.T, s Settings, script string) {
	t.Helper()
	type story struct {
		heads []string
		steps string
	}
	stories := []story{{}}
	for line := range strings.Lines(script) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		last := &stories[len(stories)-1]
		switch head, is := strings.CutPrefix(line, "= "); {
		case !is:
			last.steps += line + ";"
		case strings.Trim(last.steps, ";") == "":
			last.heads = append(last.heads, head)
		default:
			stories = append(stories, story{heads: []string{head}})
		}
	}
	for _, story := range stories {
		for _, head := range append(story.heads, "")[:max(1, len(story.heads))] {
			name, table, _ := strings.Cut(head, "|")
			steps := os.Expand(story.steps, func(key string) string {
				for v := range strings.SplitSeq(table, ",") {
					if k, v, ok := strings.Cut(strings.TrimSpace(v), "="); ok && k == key {
						return v
					}
				}
				t.Fatalf("%s: no %s", name, key)
				return ""
			})
			t.Run(strings.TrimSpace(name), func(t *testing.T) {
				unstarted(t, s, func(r *runner) {
					if !starts.MatchString(steps) {
						r.do("start")
					}
					r.do(steps)
				})
			})
		}
	}
}

// unstarted runs f in a bubble of its own. At the end of f nothing of the group may be
// running.
func unstarted(t *testing.T, s Settings, f func(r *runner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &runner{t: t, account: newAccount(t), Settings: s, log: newJournal()}
		r.saved.Store(&map[string]int64{})
		if s.Save == nil {
			r.Save = func(ids map[string]int64) { r.saved.Store(&ids) }
		}
		f(r)
		r.do("says 0x " + hclog.MissingKey) // a field without a name
	})
}

// scenario is play for a test in Go.
func scenario(t *testing.T, s Settings, f func(r *runner)) {
	t.Helper()
	unstarted(t, s, func(r *runner) {
		r.do("start")
		f(r)
	})
}

// do does the steps of a script, up to the first that fails the test.
func (r *runner) do(script string) {
	r.t.Helper()
	began := time.Now()
	for step := range strings.FieldsFuncSeq(script, func(c rune) bool { return c == ';' || c == '\n' }) {
		if w := strings.Fields(step); len(w) > 0 && !r.t.Failed() {
			if r.step(w[0], w[1:]...); r.t.Failed() {
				r.t.Errorf("in %s, %s after the first step", strings.Join(w, " "), time.Since(began))
			}
		}
	}
}

// step does one step, or fails the test if what is said is not so.
//
// An instance is named by its number in the order in which creates sent the names, by
// a range of numbers, or by its name; "all" are all that live. Of a text, parts are
// joined by " & ".
func (r *runner) step(verb string, w ...string) {
	r.t.Helper()
	num := func(i int) int { return must(strconv.Atoi(w[i])) }
	dur := func(i int) time.Duration { return must(time.ParseDuration(w[i])) }
	text := func(from int) string { return strings.Join(w[min(from, len(w)):], " ") }
	fails := func(err error, from int) {
		r.t.Helper()
		for words := range strings.SplitSeq(text(from), " & ") {
			if err == nil || !strings.Contains(err.Error(), words) {
				r.t.Errorf("error %v, want %q", err, words)
			}
		}
	}
	if change := changes[verb]; change != nil { // "vanish 1-3"
		for _, m := range r.machines(w...) {
			r.change(m.ID, change)
		}
		return
	}
	switch verb {
	// What the runner does.
	case "start": // a process; "start fails"
		if err := r.start(); (err != nil) != (len(w) > 0) {
			r.t.Errorf("Find: %v", err)
		}
	case "takeover": // the next process of this host starts; "takeover blank": it remembers nothing
		if len(w) > 0 {
			r.saved.Store(&map[string]int64{})
		}
		r.DeadRuns = append(slices.Clone(r.DeadRuns), r.Run)
		r.Run = fmt.Sprintf("r%03d", len(r.DeadRuns))
		r.step("start")
	case "want": // "want 5", or "want 3 of 5"
		if got, err := r.increase(num(len(w) - 1)); got != num(0) || err != nil {
			r.t.Errorf("%d accepted, %v", got, err)
		}
	case "refused": // "refused 5 [text of the error]"
		got, err := r.increase(num(0))
		equal(r.t, "accepted", 0, got)
		fails(err, 1)
	case "up": // makes so many running instances
		before := len(r.in(Running))
		r.step("want", w[0])
		r.run(r.boot + 10*time.Second)
		r.step("running", fmt.Sprint(before+num(0)))
	case "update": // or "update fails [text of the error]"
		if err := r.update(); len(w) > 0 {
			fails(err, 1)
		} else if err != nil {
			r.t.Errorf("Update: %v", err)
		}
	case "updates": // so many, without a pause
		for range num(0) {
			r.step("update")
		}
	case "cancelled": // an Update that nobody waits for after a second
		canceled, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Second, cancel)
		err := r.Update(canceled, func(id string, s State) { r.t.Errorf("%s was shown as %s to nobody", id, s) })
		equal(r.t, verb, true, errors.Is(err, context.Canceled))
	case "run": // "run 10s", as the runner does while it expects something
		r.run(dur(0))
	case "decrease": // "decrease 1-3", or "decrease 2 of 1-3"
		want := -1
		if len(w) > 1 && w[1] == "of" {
			want, w = num(0), w[2:]
		}
		if got, err := r.decrease(w...); err != nil || len(got) != want && (want >= 0 || len(got) != len(r.names(w...))) {
			r.t.Errorf("Decrease = %v, %v", got, err)
		}
	case "undecreased":
		got, err := r.decrease(w...)
		equal(r.t, "deleted", 0, len(got))
		w = []string{"DigitalOcean accepted none yet; the plugin goes on trying"}
		fails(err, 0)
	case "attempt": // "attempt increase 1", whatever comes of it
		switch w[0] {
		case "update":
			_ = r.update()
		case "increase":
			_, _ = r.increase(num(1))
		case "decrease":
			_, _ = r.decrease(w[1:]...)
		}
	case "stop": // "stop clean", or "stop unclean"
		ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
		defer cancel()
		r.within(18*time.Second, verb, func() { equal(r.t, "clean", w[0] == "clean", r.shutdown(ctx)) })
	case "sleep":
		time.Sleep(dur(0))
	case "repeat": // "repeat 1s 1m step + step": with pauses of a second, for a minute
		for began := time.Now(); time.Since(began) < dur(1) && !r.t.Failed(); time.Sleep(dur(0)) {
			r.do(strings.ReplaceAll(text(2), " + ", ";"))
		}
	case "relist": // until a list is asked for
		for n := len(r.since("list")); n == len(r.since("list")); {
			r.step("update")
		}
	case "await": // "await 1m 1-3 x": run until all of these were told
		missing := func(name string) bool { return !strings.HasSuffix(r.history[name], w[2]) }
		for began := time.Now(); slices.ContainsFunc(r.names(w[1]), missing); time.Sleep(2 * time.Second) {
			r.step("update")
			lists := r.since("list")
			if time.Since(began) > dur(0) || r.t.Failed() || time.Since(lists[len(lists)-1].at) > staleMost {
				r.t.Errorf("shown: %v", r.history)
				return
			}
		}
	case "go": // the step goes on beside those that follow, until join
		r.background.Go(func() { r.step(w[0], w[1:]...) })
		time.Sleep(time.Millisecond)
	case "join":
		r.background.Wait()

	// What happens on the account; see also changes.
	case "next": // "next create refused 2*lost": what becomes of the next calls
		for _, word := range w[1:] {
			times, word, many := strings.Cut(word, "*")
			if !many {
				times, word = "1", times
			}
			r.script(w[0], slices.Repeat([]fault{faultOf(word)}, must(strconv.Atoi(times)))...)
		}
	case "always": // "always list hang", until "heal list"
		r.breakOp(w[0], faultOf(w[1]))
	case "heal":
		r.heal(w[0])
	case "set":
		switch w[0] {
		case "left": // of the token's hour
			r.account.limit, r.remaining = 5000, num(1)
		case "room":
			r.room = new(num(1))
		case "perpage":
			r.perPage = num(1)
		case "loses":
			r.loses = w[1]
		case "last": // id
			r.lastID = int64(num(1))
		case "usage":
			r.usage = Usage{num(1), num(2)}
		default:
			*map[string]*time.Duration{"latency": &r.latency, "createlag": &r.createLag, "deletelag": &r.deleteLag,
				"clock": &r.clock}[w[0]] = dur(1)
		}
	case "left": // "left ci-deadaaaaa1 off deaf": another process made it; "left 1": or a create of ours did
		d := r.add(machine{Droplet: Droplet{Name: r.names(w[0])[0], Tags: []string{CommonTag, GroupTag("ci")}}})
		for _, change := range w[1:] {
			r.change(d.ID, changes[change])
		}
	case "stranger": // "stranger web fleeting": nobody's to touch
		r.add(machine{Droplet: Droplet{Name: w[0], Tags: w[1:]}, foreign: true})
	case "lose": // somebody deletes a tag
		r.deleteTag(w[0])
	case "remember": // for the next start
		for _, name := range w {
			(*r.saved.Load())[name] = r.machines(name)[0].ID
		}

	// What is expected.
	case "mark": // sent, tried, times, took and listed count from here
		r.marked, r.before = time.Now(), len(r.received())
	case "sent": // "sent get 5 list 2-3": requests
		for i := 0; i < len(w); i += 2 {
			r.between("requests to "+w[i], w[i+1], len(r.since(w[i])))
		}
	case "listed": // "listed fleeting 3": lists by a tag
		r.between("lists", w[1], len(slices.DeleteFunc(r.since("list"), func(c call) bool { return c.tag != w[0] })))
	case "times": // "times delete 0s 5s", or "times delete/10s 0s 10s", rounded
		op, round, _ := strings.Cut(w[0]+"/10ms", "/")
		round, _, _ = strings.Cut(round, "/")
		var at []string
		for _, c := range r.since(op) {
			at = append(at, fmt.Sprint(c.at.Sub(r.marked).Round(must(time.ParseDuration(round)))))
		}
		equal(r.t, "times", text(1), strings.Join(at, " "))
	case "tried": // "tried nyc1 s-2/ams3": the placements of creates
		var tried []string
		for _, c := range r.since("create") {
			tried = append(tried, strings.TrimPrefix(c.Size+"/"+c.Region, "s-1/"))
		}
		equal(r.t, "tried", text(0), strings.Join(tried, " "))
		r.step("mark")
	case "sizes": // of creates, in names
		var sizes []string
		for _, c := range r.since("create") {
			sizes = append(sizes, fmt.Sprint(len(c.Names)))
		}
		equal(r.t, "sizes", text(0), strings.Join(sizes, " "))
	case "took": // "took 1s 2s": at least, at most
		if d := time.Since(r.marked); d < dur(0) || d > dur(1) {
			r.t.Errorf("it took %s", d)
		}
	case "told": // "told 1-3 crdx": the states that were shown one after the other, x = deleted, - = none
		for _, name := range r.names(w[:len(w)-1]...) {
			equal(r.t, name, strings.Trim(w[len(w)-1], "-"), r.history[name])
		}
	case "living", "counts", "running", "shown", "assigned", "minted", "saved": // so many
		equal(r.t, verb, num(0), map[string]int{"living": r.billed(), "counts": r.Count(), "running": len(r.in(Running)),
			"shown": len(r.states), "assigned": len(r.inProject), "minted": len(r.minted), "saved": len(*r.saved.Load())}[verb])
	case "dials", "undialed": // "dials 1 [address]", "undialed 1 [text of the error]"
		name := r.names(w[0])[0]
		if d, err := r.Droplet(name); verb == "undialed" {
			fails(err, 1)
		} else if err != nil || !reachable(d) || d.ID != r.machines(name)[0].ID || len(w) > 1 && d.External() != w[1] {
			r.t.Errorf("%+v, %v", d, err)
		}
	case "healthy":
		equal(r.t, verb, nil, r.Health(r.names(w[0])[0]))
	case "unhealthy": // "unhealthy 1 [text of the error]"
		fails(r.Health(r.names(w[0])[0]), 1)
	case "says": // "says WARN & two words": one line has all of them; "says 2x WARN": so many have
		want := "1"
		if n, ok := strings.CutSuffix(w[0], "x"); ok {
			want, w = n, w[1:]
		}
		if r.between("lines", want, r.log.count(strings.Split(text(0), " & ")...)); r.t.Failed() {
			r.t.Log(r.log.text)
		}
	default:
		r.t.Fatalf("no step %s", verb)
	}
}

// shutdown reports whether the group has left nothing that a later start would have to find.
func (r *runner) shutdown(ctx context.Context) (clean bool) {
	r.Shutdown(ctx)
	l := r.left(false)
	return l.done() && len(l.stay) == 0
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// between fails the test unless n is as many as "3", or "3-5", says.
func (r *runner) between(what, want string, n int) {
	r.t.Helper()
	least, most, ok := strings.Cut(want, "-")
	if !ok {
		most = least
	}
	if n < must(strconv.Atoi(least)) || n > must(strconv.Atoi(most)) {
		r.t.Errorf("%d %s, want %s", n, what, want)
	}
}

// since returns the calls of op after the last mark.
func (r *runner) since(op string) []call {
	return slices.DeleteFunc(r.received()[r.before:], func(c call) bool { return c.op != op })
}

// names returns the names of instances.
func (r *runner) names(which ...string) (names []string) {
	for _, w := range which {
		first, last, _ := strings.Cut(w+"-"+w, "-")
		last, _, _ = strings.Cut(last, "-")
		from, err := strconv.Atoi(first)
		switch {
		case w == "all":
			for _, m := range r.living("") {
				names = append(names, m.minted)
			}
		case err != nil:
			names = append(names, w)
		default:
			unlock := r.lock()
			names = append(names, r.minted[from-1:must(strconv.Atoi(last))]...)
			unlock()
		}
	}
	return names
}

// machines returns their Droplets.
func (r *runner) machines(which ...string) (ms []*machine) {
	for _, name := range r.names(which...) {
		all := r.living(name)
		if len(all) != 1 {
			r.t.Fatalf("%d Droplets are named %s", len(all), name)
		}
		ms = append(ms, all...)
	}
	return ms
}

// start begins a Group, as a new plugin process does.
func (r *runner) start() error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second) // an Init's
	defer cancel()
	found, err := Find(ctx, r.account, r.log, r.Name, r.GPUs, *r.saved.Load())
	if err == nil {
		r.Group = Start(r.Settings, r.account, r.log, found)
	}
	r.pending, r.states, r.history = 0, map[string]State{}, map[string]string{}
	return err
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
func (r *runner) increase(n int) (accepted int, err error) {
	r.t.Helper()
	r.within(15*time.Second, "Increase", func() { accepted, err = r.Increase(ctx, n) })
	if err != nil && accepted > 0 || accepted > n { // which panics older runners
		r.t.Errorf("Increase(%d) = %d, %v", n, accepted, err)
	}
	r.accounts.Lock()
	defer r.accounts.Unlock()
	r.pending += accepted
	return accepted, err
}

// update is one Update, held to the contract and to the truth.
func (r *runner) update() (err error) {
	r.t.Helper()
	seen := map[string]bool{}
	r.within(15*time.Second, "Update", func() {
		err = r.Update(ctx, func(name string, s State) {
			seen[name] = true
			r.show(name, s)
		})
	})
	if err != nil {
		equal(r.t, "shown by an Update that fails", 0, len(seen))
		return err
	}
	for _, m := range r.living("") {
		switch s := r.states[m.minted]; {
		case s == Deleted && !m.foreign && !Kept(m.Droplet):
			r.t.Errorf("%s is shown as deleted, and Droplet %d lives", m.minted, m.ID)
		case s == Running && HasTag(m.Droplet, DeleteTag("ci")):
			r.t.Errorf("%s is shown as running, and will be deleted by its tag", m.minted)
		}
	}
	for name, s := range r.states {
		if !seen[name] {
			r.t.Errorf("%s, last shown as %s, is not shown any more", name, s)
		}
		if s == Deleted {
			delete(r.states, name)
		}
	}
	r.accounts.Lock()
	defer r.accounts.Unlock()
	if r.pending > 0 {
		r.t.Errorf("%d accepted instances have not been shown", r.pending)
	}
	return nil
}

// show is what an Update tells of one instance.
func (r *runner) show(name string, s State) {
	r.t.Helper()
	before, known := r.states[name]
	if !known {
		if s == Deleted {
			r.t.Errorf("%s is first shown as deleted: nobody's request is answered by that", name)
		}
		if RunOf("ci", name) == r.Run {
			r.accounts.Lock()
			r.pending--
			r.accounts.Unlock()
		}
	}
	if !known || before != s {
		r.history[name] += map[State]string{Creating: "c", Running: "r", Deleting: "d", Deleted: "x"}[s]
	}
	r.states[name] = s
}

// run updates every two seconds for d. No Update may fail.
func (r *runner) run(d time.Duration) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end) && !r.t.Failed(); {
		next := time.Now().Add(2 * time.Second)
		r.step("update")
		time.Sleep(time.Until(next))
	}
}

// in returns the names last shown in state s.
func (r *runner) in(s State) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.states)), func(name string) bool { return r.states[name] != s })
}

func (r *runner) decrease(which ...string) (got []string, err error) {
	r.t.Helper()
	names := r.names(which...)
	r.within(15*time.Second, "Decrease", func() { got, err = r.Decrease(ctx, names) })
	asked := func(name string) bool { return slices.Contains(names, name) }
	if others := slices.DeleteFunc(slices.Clone(got), asked); err != nil && len(got) > 0 || len(others) > 0 {
		r.t.Errorf("Decrease(%v) = %v, %v: older runners crash at others, and what comes with an error is lost", names, got, err)
	}
	return got, err
}

// journal is a Logger that keeps its lines.
type journal struct {
	hclog.Logger
	text *bytes.Buffer
}

func newJournal() journal {
	text := &bytes.Buffer{}
	return journal{hclog.New(&hclog.LoggerOptions{Level: hclog.Debug, Output: text, DisableTime: true}), text}
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

// equal fails the test unless what is as it is to be.
func equal(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
