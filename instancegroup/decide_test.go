package instancegroup

import (
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// epoch is a time by which the pure functions are tested.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const testTimeout = 10 * time.Minute

// TestDecide: each row is one instance and what was observed at these seconds after it
// was requested; the outcome is that of the last.
func TestDecide(t *testing.T) {
	up := Droplet{ID: 5, Status: StatusActive, PublicIPv4: "192.0.2.1"}
	half := Droplet{ID: 5, Status: StatusActive, PrivateIPv4: "10.0.0.1"}
	observations := map[string]observation{
		"new":       {present: true, droplet: Droplet{ID: 5, Status: StatusNew}},
		"up":        {present: true, droplet: up},
		"up by id":  {byID: true, present: true, droplet: up},
		"new by id": {byID: true, present: true, droplet: Droplet{ID: 5, Status: StatusNew}},
		"half":      {present: true, droplet: half, partial: true},
		"off":       {present: true, droplet: Droplet{ID: 5, Status: StatusOff, PublicIPv4: "192.0.2.1"}},
		"archive":   {present: true, droplet: Droplet{ID: 5, Status: StatusArchive, PublicIPv4: "192.0.2.1"}},
		"kept":      {present: true, droplet: Droplet{ID: 5, Status: StatusActive, Tags: []string{"Fleeting-Keep"}}},
		"absent":    {},
		"paged":     {paged: true},
		"doubtful":  {doubtful: true},
		"404":       {byID: true},
		"404 too":   {byID: true, doubtful: true}, // others vanish with it
	}
	unconfirmed := instance{phase: requested}
	accepted := instance{phase: creating, Droplet: Droplet{ID: 5}}
	listed := instance{phase: running, Droplet: Droplet{ID: 5}, listedSince: epoch}
	deleting := instance{phase: deleting, Droplet: Droplet{ID: 5}, listedSince: epoch, deletion: deletion{}.sent(true, 0, epoch.Add(70*time.Second))}
	inFlight, given := instance{phase: requested, inFlight: true}, instance{phase: deleting.phase}
	over := instance{phase: gone, Droplet: Droplet{ID: 5}}
	unlisted, refused, refusedFirst := deleting, deleting, deleting
	unlisted.listedSince = time.Time{}
	refusedFirst.deletion = deletion{}.sent(false, 0, epoch.Add(60*time.Second)).sent(true, 0, epoch.Add(70*time.Second))
	refused.deletion = refused.deletion.sent(false, 0, epoch.Add(135*time.Second))
	for _, c := range []struct {
		what         string
		i            instance
		observations string
		want         string
	}{
		{"unconfirmed, two lists 59 s apart", unconfirmed, "1 absent, 60 absent", "requested"},
		{"unconfirmed, two lists 60 s apart", unconfirmed, "1 absent, 61 absent", "gone"},
		{"unconfirmed, one late list", unconfirmed, "600 absent", "requested"},
		{"unconfirmed, doubtful lists", unconfirmed, "1 doubtful, 61 doubtful, 100 absent", "requested"},
		{"accepted, lists of 59 s", accepted, "1 absent, 30 absent, 60 absent", "creating"},
		{"accepted, lists of 60 s", accepted, "1 absent, 30 absent, 61 absent", "creating/look"},
		{"in flight, listed, and refused", inFlight, "1 new, 2 up, 3 absent, 4 404, 90 absent", "running"},
		{"given up before it appears", given, "2 new", "deleting/remove"},
		{"given up, and never there", given, "1 absent, 61 absent", "gone"},
		{"gone, and in a list again", over, "1 up", "gone"},
		{"kept", accepted, "1 kept", "gone"},
		{"kept while it is deleted", deleting, "75 kept", "gone"},
		{"absence is interrupted", accepted, "1 absent, 30 new, 62 absent", "creating/look"},
		{"absence is over", accepted, "1 absent, 30 new, 62 absent, 64 new, 66 no answer", "creating"},
		{"absence is interrupted by a look-up", accepted, "1 absent, 30 up by id, 62 absent", "running"},
		{"listed, absent, and nothing new", listed, "1 absent, 2 no answer", "running/look"},

		{"looked up 9 s ago", listed, "1 absent, 2 404 too, 3 up, 4 absent, 11 no answer", "running"},
		{"looked up 10 s ago", listed, "1 absent, 2 404 too, 3 up, 4 absent, 12 no answer", "running/look"},
		{"known by a look-up, and absent for 59 s", listed, "1 absent, 2 up by id, 3 absent, 62 absent", "running"},
		{"known by a look-up, and absent for 60 s", listed, "1 absent, 2 up by id, 3 absent, 63 absent", "running/look"},
		{"known by a look-up, and doubtful", listed, "1 absent, 2 up by id, 3 doubtful, 63 doubtful", "running"},
		{"one 404 of several, 29 s ago", listed, "1 absent, 2 404 too, 31 no answer", "running"},
		{"one 404 of several, 30 s ago", listed, "1 absent, 2 404 too, 32 no answer", "running/look"},

		{"one 404 of several", listed, "1 absent, 2 404 too", "running"},
		{"a second one 29 s later", listed, "1 absent, 2 404 too, 31 404 too", "running"},
		{"a second one 30 s later", listed, "1 absent, 2 404 too, 32 404 too", "gone"},
		{"a second one when the others are back", listed, "1 absent, 2 404 too, 12 404", "gone"},
		{"it is seen in between", listed, "1 absent, 2 404 too, 20 up, 40 404 too", "running"},
		{"it is looked up in between", listed, "1 absent, 2 404 too, 20 up by id, 40 404 too", "running"},

		{"off for 29 s", accepted, "30 up, 40 off, 69 off", "running"},
		{"off for 30 s", accepted, "30 up, 40 off, 70 off", "deleting/remove"},
		{"off, up, off", accepted, "40 off, 60 up, 80 off", "running"},
		{"off, absent, off", accepted, "40 off, 60 absent, 80 off", "deleting/remove"},
		{"archived", listed, "40 archive, 70 archive", "deleting/remove"},
		{"never up, off", accepted, "40 off, 70 off", "deleting/remove"},
		{"new for 599 s", accepted, "599 new", "creating"},
		{"new for 600 s", accepted, "600 new", "deleting/remove"},
		{"unconfirmed, then new for 600 s", unconfirmed, "600 new", "deleting/remove"},
		{"up, then new for 600 s", accepted, "30 up, 630 new", "running"},
		{"up for an hour", accepted, "30 up, 3600 up", "running"},
		{"half its addresses for 29 s", accepted, "30 half, 59 half", "creating"},
		{"half its addresses for 30 s", accepted, "30 half, 60 half", "running"},
		{"half its addresses for 29 s, then create_timeout", accepted, "571 half, 599 half, 600 half, 601 half", "running"},
		{"half its addresses after it ran", accepted, "30 up, 31 half", "running"},

		{"deleted, a list from before its DELETE", deleting, "69 absent", "deleting"},
		{"deleted, absent", deleting, "71 absent", "gone"},
		{"deleted, absent from pages once", deleting, "71 paged", "deleting"},
		{"deleted, absent from pages twice, once too early", deleting, "69 paged, 71 paged", "gone"},
		{"deleted, absent from pages twice, seen in between", deleting, "71 paged, 72 up, 73 paged", "deleting"},
		{"deleted, doubtful lists", deleting, "71 doubtful, 90 doubtful", "deleting/look"},
		{"deleted, in lists for 29 s", deleting, "99 up, 130 no answer", "deleting"},
		{"deleted, in lists for 30 s", deleting, "100 up, 129 no answer", "deleting"},
		{"deleted, in lists for 30 s, and the pause is over", deleting, "100 up, 130 no answer", "deleting/remove"},
		{"deleted, known by a look-up and in lists for 59 s", unlisted, "10 up by id, 65 up, 124 absent", "deleting/look"},
		{"deleted, known by a look-up and in lists for 60 s", unlisted, "10 up by id, 65 up, 125 absent", "gone"},
		{"deleted soon after it was active", unlisted, "30 new, 60 up, 71 absent", "gone"},
		{"deleted soon, never seen active", unlisted, "30 new, 71 absent", "deleting/look"},
		{"deleted soon, active before lists had it", unlisted, "30 up by id, 60 up, 71 absent", "deleting/look"},
		{"deleted, refused before that, and the pause is over", refusedFirst, "71 up, 130 no answer", "deleting"},
		{"deleted, and refused when it was repeated", refused, "139 no answer", "deleting"},
		{"deleted, and the pause after that refusal is over", refused, "140 no answer", "deleting/remove"},
	} {
		i := c.i
		i.requested, i.confirmed = epoch, epoch
		var now time.Time
		for step := range strings.SplitSeq(c.observations, ", ") {
			second, what, _ := strings.Cut(step, " ")
			s, err := strconv.Atoi(second)
			o, ok := observations[what]
			if err != nil || !ok && what != "no answer" {
				t.Fatal(step)
			}
			o.asked = epoch.Add(time.Duration(s) * time.Second)
			if o.byID {
				i.checked = o.asked
			}
			if ok {
				i = decide(i, o, o.asked, testTimeout)
			}
			now = o.asked
		}
		if got := i.phase.String() + due(i, now); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// FuzzDecide holds decide to its invariant for whatever instance and observation.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(0))
	f.Fuzz(decideHolds)
}

func TestDecideAtRandom(t *testing.T) {
	for seed := range uint64(6000) {
		if decideHolds(t, seed); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// decideHolds draws an instance and an observation.
func decideHolds(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	is := func() bool { return r.IntN(2) == 0 }
	now := epoch
	ago := func() time.Time {
		return now.Add(-[]time.Duration{0, 1, 5, 10, 29, 30, 31, 59, 60, 61, 90, 599, 600, 700}[r.IntN(14)] * time.Second)
	}
	perhaps := func(when time.Time) time.Time {
		if is() {
			return time.Time{}
		}
		return when
	}
	i := instance{
		phase: []phase{requested, creating, running, deleting, deleting, gone}[r.IntN(6)], inFlight: r.IntN(8) == 0,
		requested: ago(), confirmed: ago(), missing: perhaps(ago()), active: perhaps(ago()), off: perhaps(ago()),
	}
	if r.IntN(4) > 0 {
		i.ID, i.listedSince, i.notFound, i.checked, i.unresolved = 5, perhaps(ago()), perhaps(ago()), ago(), is()
	}
	for i.phase == deleting && is() {
		i.deletion = i.deletion.sent(is(), 0, ago())
	}
	o := observation{byID: r.IntN(3) == 0 && i.ID != 0, asked: ago(), paged: is(), doubtful: is()}
	if is() {
		o.present, o.partial = true, is()
		o.droplet = Droplet{ID: 5, Status: []string{StatusNew, StatusActive, StatusOff, StatusArchive, "odd"}[r.IntN(5)]}
		if is() {
			o.droplet.PrivateIPv4 = "10.0.0.1"
		}
		if r.IntN(8) == 0 {
			o.droplet.Tags = []string{KeepTag}
		}
	}

	next := decide(i, o, now, testTimeout)
	never := func(wrong bool, what string) {
		t.Helper()
		if wrong {
			t.Errorf("%s\ninstance    %+v\nobservation %+v\nnext        %+v%s", what, i, o, next, due(next, now))
		}
	}
	absent, kept := !o.present, o.present && Kept(o.droplet)
	up := o.droplet.Status == StatusActive && reachable(o.droplet)
	off := o.droplet.Status == StatusOff || o.droplet.Status == StatusArchive
	ignored := absent && (i.inFlight || o.asked.Before(i.confirmed))
	never(next.phase < i.phase, "a phase led back")
	never(kept && next.phase != gone, "a person keeps it, and it is not gone for us")
	never(ignored && !reflect.DeepEqual(i, next), "nothing was learned, and something has changed")
	concluded := next.phase != i.phase || next.missing != i.missing
	never(absent && !o.byID && o.doubtful && concluded, "a doubtful list concludes something")
	over := func(since time.Time, d time.Duration) bool { return !since.IsZero() && o.asked.Sub(since) >= d }
	del := i.deletion.accepted
	if next.phase == gone && i.phase != gone && !kept {
		neverMade := i.ID == 0 && over(i.missing, time.Minute)
		slipped := o.paged && i.missing.IsZero()
		inLists := over(i.listedSince, time.Minute) || over(i.listedSince, 0) && !i.active.Before(i.listedSince)
		deleted := i.phase == deleting && over(del, 0) && !slipped && inLists
		notFound := i.phase == deleting || !o.doubtful || over(i.notFound, 30*time.Second)
		proof := o.byID && notFound || !o.byID && !o.doubtful && (neverMade || deleted)
		never(!proof || !absent || ignored, "gone without a proof")
	}
	if next.phase == deleting && i.phase != deleting {
		longOff := off && !i.off.IsZero() && now.Sub(i.off) >= 30*time.Second
		late := i.phase < running && now.Sub(i.requested) >= testTimeout && !up
		never(!longOff && !late, "deleted without a cause")
	}
	unproved := i.deletion.accepts > 0 && i.deletion.refusals == 0 && next.confirmed.Sub(del) < 30*time.Second
	notDue := next.phase != deleting || next.ID == 0 || unproved || now.Before(i.deletion.next)
	never(next.removable(now) && notDue, "nothing to delete, or too soon")
	notDue = next.ID == 0 || !next.unresolved || now.Sub(next.checked) < 10*time.Second
	never(next.lookUpDue(now) && notDue, "nothing to look up, or too soon")
}

func (p phase) String() string {
	return [...]string{"requested", "creating", "running", "deleting", "gone"}[p]
}

// due is what is to be done about an instance.
func due(i instance, now time.Time) string {
	switch {
	case i.removable(now):
		return "/remove"
	case i.lookUpDue(now):
		return "/look"
	}
	return ""
}
