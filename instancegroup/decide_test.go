package instancegroup

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// epoch is a time by which the pure functions are tested.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const testTimeout = 10 * time.Minute

// TestDecide goes through every phase, kind of knowledge and observation. The
// instances are young, so that no time is up; what time does has tests of its own.
func TestDecide(t *testing.T) {
	now := epoch
	// Lists have had it for a minute and longer, where they have.
	at := func(p phase, id int64, listed, accepted bool) instance {
		i := instance{name: "ci-a", phase: p, id: id, requested: now.Add(-90 * time.Second), confirmed: now.Add(-20 * time.Second)}
		if listed {
			i.listedSince = now.Add(-80 * time.Second)
		}
		if p >= deleting {
			i.reason = "why"
		}
		if accepted {
			i.deletion = deletion{}.sent(true, 0, now.Add(-15*time.Second))
		}
		return i
	}
	but := func(i instance, change func(i *instance)) instance {
		change(&i)
		return i
	}
	inFlight := func(i *instance) { i.inFlight = true }
	instances := []struct {
		name string
		i    instance
	}{
		{"requested", at(requested, 0, false, false)},
		{"in flight", but(at(requested, 0, false, false), inFlight)},
		{"in flight, shown", but(at(creating, 5, true, false), inFlight)},
		{"unlisted", at(creating, 5, false, false)},
		{"creating", at(creating, 5, true, false)},
		{"running", at(running, 5, true, false)},
		{"deleting, unconfirmed", at(deleting, 0, false, false)},
		{"deleting, unsent", at(deleting, 5, true, false)},
		{"deleting, unlisted", at(deleting, 5, false, true)},
		{"deleting, listed since", but(at(deleting, 5, true, true), func(i *instance) { i.listedSince = now.Add(-60 * time.Second) })},
		{"deleting", at(deleting, 5, true, true)},
		{"gone", at(gone, 5, true, true)},
	}
	d := func(status, address string) Droplet {
		return Droplet{ID: 5, Name: "ci-a", Status: status, PublicIPv4: address}
	}
	kept := d(StatusActive, "192.0.2.1")
	kept.Tags = []string{"Fleeting-Keep"}
	lately := now.Add(-time.Second)
	observations := []struct {
		name string
		o    observation
	}{
		{"nothing", observation{}},
		{"new", observation{source: list, present: true, asked: lately, droplet: d(StatusNew, "")}},
		{"active, no address", observation{source: list, present: true, asked: lately, droplet: d(StatusActive, "")}},
		{"active", observation{source: list, present: true, asked: lately, droplet: d(StatusActive, "192.0.2.1")}},
		{"off", observation{source: list, present: true, asked: lately, droplet: d(StatusOff, "192.0.2.1")}},
		{"archive", observation{source: list, present: true, asked: lately, droplet: d(StatusArchive, "192.0.2.1")}},
		{"odd", observation{source: list, present: true, asked: lately, droplet: d("rebuilding", "192.0.2.1")}},
		{"kept", observation{source: list, present: true, asked: lately, droplet: kept}},
		{"kept, looked up", observation{source: lookUp, present: true, asked: lately, droplet: kept}},
		{"absent", observation{source: list, asked: lately}},
		{"absent, pages", observation{source: list, asked: lately, unsure: true}},
		{"absent, list from before its DELETE", observation{source: list, asked: now.Add(-17 * time.Second)}},
		{"absent, old list", observation{source: list, asked: now.Add(-time.Minute)}},
		{"absent, doubtful", observation{source: list, asked: lately, doubtful: true}},
		{"404", observation{source: lookUp, asked: lately}},
		{"404, old", observation{source: lookUp, asked: now.Add(-time.Minute)}},
		{"404, doubtful", observation{source: lookUp, asked: lately, doubtful: true}},
	}

	// Each line is an instance; each word is what one observation, in order, makes
	// of it: the phase after it, and the action if there is one.
	const want = `
requested:                   requested       creating        creating        running         creating        creating        creating        gone gone requested       requested       requested       requested       requested       gone      requested       requested
in flight:                   requested       creating        creating        running         creating        creating        creating        gone gone requested       requested       requested       requested       requested       requested requested       requested
in flight, shown:            creating        creating        creating        running         creating        creating        creating        gone gone creating        creating        creating        creating        creating        creating  creating        creating
unlisted:                    creating        creating        creating        running         creating        creating        creating        gone gone creating        creating        creating        creating        creating        gone      creating        creating
creating:                    creating        creating        creating        running         creating        creating        creating        gone gone creating/look   creating/look   creating/look   creating        creating/look   gone      creating        creating
running:                     running         running         running         running         running         running         running         gone gone running/look    running/look    running/look    running         running/look    gone      running         running
deleting, unconfirmed:       deleting        deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove gone gone deleting        deleting        deleting        deleting        deleting        gone      deleting        gone
deleting, unsent:            deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove gone gone deleting/remove deleting/remove deleting/remove deleting/remove deleting/remove gone      deleting/remove gone
deleting, unlisted:          deleting        deleting        deleting        deleting        deleting        deleting        deleting        gone gone deleting/look   deleting/look   deleting/look   deleting        deleting        gone      deleting        gone
deleting, listed since:      deleting        deleting        deleting        deleting        deleting        deleting        deleting        gone gone deleting/look   deleting/look   deleting/look   deleting        deleting/look   gone      deleting        gone
deleting:                    deleting        deleting        deleting        deleting        deleting        deleting        deleting        gone gone gone            deleting        deleting        deleting        deleting/look   gone      deleting        gone
gone:                        gone            gone            gone            gone            gone            gone            gone            gone gone gone            gone            gone            gone            gone            gone      gone            gone
`
	wanted := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(want)) {
		name, words, _ := strings.Cut(line, ":")
		wanted[name] = strings.Fields(words)
	}
	for _, i := range instances {
		var got []string
		for _, o := range observations {
			next, a := decide(i.i, o.o, now, testTimeout)
			word := next.phase.String()
			if a != nothing {
				word += "/" + a.String()
			}
			got = append(got, word)
			if (next.phase >= deleting) != (next.reason != "") {
				t.Errorf("%s, %s: %s for the reason %q", i.name, o.name, next.phase, next.reason)
			}
		}
		if !slices.Equal(got, wanted[i.name]) {
			t.Errorf("%s:\ngot  %s\nwant %s", i.name, strings.Join(got, " "), strings.Join(wanted[i.name], " "))
		}
	}
}

// What time does: each row is one instance and what was observed at these seconds
// after it was requested; the outcome is that of the last.
func TestDecideOverTime(t *testing.T) {
	up := Droplet{ID: 5, Status: StatusActive, PublicIPv4: "192.0.2.1"}
	half := Droplet{ID: 5, Status: StatusActive, PrivateIPv4: "10.0.0.1"}
	observations := map[string]observation{
		"new":       {source: list, present: true, droplet: Droplet{ID: 5, Status: StatusNew}},
		"up":        {source: list, present: true, droplet: up},
		"up by id":  {source: lookUp, present: true, droplet: up},
		"new by id": {source: lookUp, present: true, droplet: Droplet{ID: 5, Status: StatusNew}},
		"half":      {source: list, present: true, droplet: half, partial: true},
		"off":       {source: list, present: true, droplet: Droplet{ID: 5, Status: StatusOff, PublicIPv4: "192.0.2.1"}},
		"absent":    {source: list},
		"unsure":    {source: list, unsure: true},
		"doubtful":  {source: list, doubtful: true},
		"404":       {source: lookUp},
		"404 too":   {source: lookUp, doubtful: true}, // others vanish with it
		"no answer": {},
	}
	unconfirmed := instance{phase: requested}
	accepted := instance{phase: creating, id: 5}
	listed := instance{phase: running, id: 5, listedSince: epoch}
	deleting := instance{phase: deleting, id: 5, listedSince: epoch, deletion: deletion{}.sent(true, 0, epoch.Add(70*time.Second))}
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
		{"absence is interrupted", accepted, "1 absent, 30 new, 62 absent", "creating/look"},
		{"absence is over", accepted, "1 absent, 30 new, 62 absent, 64 new, 66 no answer", "creating"},
		{"absence is interrupted by a look-up", accepted, "1 absent, 30 up by id, 62 absent", "running"},
		{"listed, absent, and nothing new", listed, "1 absent, 2 no answer", "running/look"},

		{"looked up 9 s ago", listed, "1 absent, 2 404 too, 3 up, 4 absent, 11 no answer", "running"},
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
		{"deleted, absent from pages once", deleting, "71 unsure", "deleting"},
		{"deleted, absent from pages twice, once too early", deleting, "69 unsure, 71 unsure", "gone"},
		{"deleted, absent from pages twice, seen in between", deleting, "71 unsure, 72 up, 73 unsure", "deleting"},
		{"deleted, doubtful lists", deleting, "71 doubtful, 90 doubtful", "deleting/look"},
		{"deleted, in lists for 29 s", deleting, "99 up, 130 no answer", "deleting"},
		{"deleted, in lists for 30 s", deleting, "100 up, 129 no answer", "deleting"},
		{"deleted, in lists for 30 s, and the pause is over", deleting, "100 up, 130 no answer", "deleting/remove"},
		{"deleted, known by a look-up and in lists for 59 s", unlisted, "10 up by id, 65 up, 124 absent", "deleting/look"},
		{"deleted, known by a look-up and in lists for 60 s", unlisted, "10 up by id, 65 up, 125 absent", "gone"},
		{"deleted, refused before that, and the pause is over", refusedFirst, "71 up, 130 no answer", "deleting"},
		{"deleted, and refused when it was repeated", refused, "139 no answer", "deleting"},
		{"deleted, and the pause after that refusal is over", refused, "140 no answer", "deleting/remove"},
	} {
		i := c.i
		i.requested, i.confirmed = epoch, epoch
		var a action
		for step := range strings.SplitSeq(c.observations, ", ") {
			second, what, _ := strings.Cut(step, " ")
			s, err := strconv.Atoi(second)
			o, ok := observations[what]
			if err != nil || !ok {
				t.Fatal(step)
			}
			o.asked = epoch.Add(time.Duration(s) * time.Second)
			if o.source == lookUp {
				i.checked = o.asked
			}
			i, a = decide(i, o, o.asked, testTimeout)
		}
		got := i.phase.String()
		if a != nothing {
			got += "/" + a.String()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// FuzzDecide holds decide to its invariant for whatever instance and observation.
func FuzzDecide(f *testing.F) {
	f.Add(uint8(2), uint32(0b1011), int16(-60), int16(-20), int16(-70), int16(-5), int16(0), uint8(0), uint8(0))
	f.Add(uint8(0), uint32(0), int16(-90), int16(-90), int16(-70), int16(0), int16(0), uint8(0), uint8(0))
	f.Add(uint8(3), uint32(0b11111), int16(-90), int16(-90), int16(0), int16(-5), int16(-10), uint8(4), uint8(2))
	f.Add(uint8(2), uint32(0b111), int16(-9000), int16(-90), int16(0), int16(-5), int16(-40), uint8(3), uint8(3))
	f.Add(uint8(2), uint32(0b111), int16(-900), int16(-90), int16(-70), int16(-5), int16(0), uint8(1), uint8(3))
	f.Add(uint8(2), uint32(1<<5|1<<10|1<<12|1), int16(-900), int16(-90), int16(-40), int16(-5), int16(0), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, p uint8, flags uint32, born, confirmed, missing, asked, accepted int16, status, seen uint8) {
		now := epoch
		ago := func(s int16) time.Time {
			if s == 0 {
				return time.Time{}
			}
			return now.Add(-time.Duration(max(s, -s)) * time.Second)
		}
		is := func(bit int) bool { return flags&(1<<bit) != 0 }
		i := instance{
			phase: phase(p % 5), inFlight: is(2), requested: ago(born), confirmed: ago(confirmed), missing: ago(missing),
		}
		if i.phase >= deleting {
			i.reason = "why"
		}
		if is(12) {
			i.active = ago(confirmed)
			i.notFound = ago(missing)
		}
		if is(0) {
			i.listedSince = ago(born)
		}
		if is(3) || i.listed() { // what was listed has an id
			i.id = 5
			i.unresolved, i.checked = is(14), ago(missing)
		}
		if is(4) {
			i.off = ago(accepted)
		} else if when := ago(accepted); !when.IsZero() && i.phase == deleting {
			i.deletion = deletion{}.sent(!is(15), 0, when)
			if is(16) {
				i.deletion = i.deletion.sent(false, 0, when)
			}
		}
		o := observation{source: list, asked: now.Add(-time.Duration(max(asked, -asked)) * time.Second), unsure: is(6), doubtful: is(10)}
		if is(5) && i.id != 0 {
			o.source = lookUp
		}
		if is(17) {
			o = observation{}
		} else if seen%2 == 1 {
			o.present = true
			o.droplet = Droplet{ID: 5, Status: [...]string{StatusNew, StatusActive, StatusOff, StatusArchive, "odd"}[status%5]}
			o.partial = is(11)
			if seen%4 == 3 {
				o.droplet.PrivateIPv4 = "10.0.0.1"
			}
			if is(18) {
				o.droplet.Tags = []string{KeepTag}
			}
		}

		next, a := decide(i, o, now, testTimeout)
		fail := func(what string) {
			t.Helper()
			t.Errorf("%s\ninstance    %+v\nobservation %+v\nnext        %+v\naction      %s", what, i, o, next, a)
		}

		absent, kept := o.source != nobody && !o.present, o.present && Kept(o.droplet)
		if next.phase < i.phase {
			fail("a phase led back")
		}
		if (next.phase >= deleting) != (next.reason != "" || next.id == 0 && i.phase == deleting) {
			fail("what ends has a reason, and nothing else has")
		}
		if kept && next.phase != gone {
			fail("a person keeps it, and it is not gone for us")
		}
		if (o.source == nobody || absent && (i.inFlight || o.asked.Before(i.confirmed))) && !reflect.DeepEqual(i, next) {
			fail("nothing was learned, and something has changed")
		}
		if absent && o.source == list && o.doubtful && (next.phase != i.phase || next.missing != i.missing) {
			fail("a doubtful list concludes something")
		}
		if next.phase == gone && i.phase != gone && !kept {
			long := !i.missing.IsZero() && o.asked.Sub(i.missing) >= time.Minute
			del := i.deletion.accepted
			proof := false
			switch o.source {
			case lookUp:
				proof = i.phase == deleting || !o.doubtful || !i.notFound.IsZero() && o.asked.Sub(i.notFound) >= 30*time.Second
			case list:
				deleted := i.phase == deleting && i.listed() && !del.IsZero() && !o.asked.Before(del) && (!o.unsure || !i.missing.IsZero()) &&
					o.asked.Sub(i.listedSince) >= time.Minute
				proof = !o.doubtful && (i.id == 0 && long || deleted)
			}
			if !proof || o.present || i.inFlight || o.asked.Before(i.confirmed) {
				fail("gone without a proof")
			}
		}
		if next.phase == deleting && i.phase != deleting {
			off := o.droplet.Status == StatusOff || o.droplet.Status == StatusArchive
			longOff := off && !i.off.IsZero() && now.Sub(i.off) >= 30*time.Second
			late := i.phase < running && now.Sub(i.requested) >= testTimeout && !reachableRunning(o.droplet)
			if !o.present || !longOff && !late {
				fail("deleted without a cause")
			}
		}
		if o.present && reachableRunning(o.droplet) && !kept && i.phase < running {
			since := now
			if !i.active.IsZero() {
				since = i.active
			}
			if waits := o.partial && now.Sub(since) < 30*time.Second && now.Sub(i.requested) < testTimeout; waits == (next.phase == running) {
				fail("it waits for its address, for half a minute, or it runs")
			}
		}
		if o.present && (next.confirmed != now || !next.missing.IsZero() || !next.notFound.IsZero()) {
			fail("an observation of it was not noted")
		}
		switch a {
		case nothing:
		case look:
			if next.id == 0 || !next.unresolved || now.Sub(next.checked) < 10*time.Second {
				fail("nothing to look up, or too soon")
			}
		case remove:
			del := next.deletion
			repeated := del.accepts > 0 && del.refusals == 0
			if next.phase != deleting || next.id == 0 || now.Before(del.next) || repeated && next.confirmed.Sub(del.accepted) < 30*time.Second {
				fail("nothing to delete, or too soon")
			}
		}
		if a != nothing && (next.phase == gone || i.inFlight) {
			fail("an action for what is gone or in flight")
		}
	})
}

func reachableRunning(d Droplet) bool { return d.Status == StatusActive && reachable(d) }

func (p phase) String() string {
	return [...]string{"requested", "creating", "running", "deleting", "gone"}[p]
}

func (a action) String() string { return [...]string{"nothing", "look", "remove"}[a] }
