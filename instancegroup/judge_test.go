package instancegroup

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// epoch is a time by which the pure functions are tested.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

const testTimeout = 10 * time.Minute

// TestJudge goes through every phase, kind of knowledge and sight. The members
// are young, so that no time is up; what time does has tests of its own.
func TestJudge(t *testing.T) {
	now := epoch
	at := func(p phase, id int, listed, accepted bool) member {
		m := member{name: "ci-a", phase: p, id: id, listed: listed, tagged: listed, reason: "why", born: now.Add(-time.Minute), proved: now.Add(-20 * time.Second)}
		if accepted {
			m.removal = removal{}.sent(true, 0, now.Add(-15*time.Second))
		}
		return m
	}
	members := []struct {
		name string
		m    member
	}{
		{"requested", at(requested, 0, false, false)},
		{"unlisted", at(creating, 5, false, false)},
		{"creating", at(creating, 5, true, false)},
		{"running", at(running, 5, true, false)},
		{"deleting, unproved", at(deleting, 0, false, false)},
		{"deleting, unsent", at(deleting, 5, true, false)},
		{"deleting, unlisted", at(deleting, 5, false, true)},
		{"deleting", at(deleting, 5, true, true)},
		{"gone", at(gone, 5, true, true)},
	}
	d := func(status, address string) Droplet {
		return Droplet{ID: 5, Name: "ci-a", Status: status, PublicIPv4: address}
	}
	lately := now.Add(-time.Second)
	sights := []struct {
		name string
		s    sight
	}{
		{"new", sight{present: true, began: lately, droplet: d(StatusNew, "")}},
		{"active, no address", sight{present: true, began: lately, droplet: d(StatusActive, "")}},
		{"active", sight{present: true, began: lately, droplet: d(StatusActive, "192.0.2.1")}},
		{"off", sight{present: true, began: lately, droplet: d(StatusOff, "192.0.2.1")}},
		{"archive", sight{present: true, began: lately, droplet: d(StatusArchive, "192.0.2.1")}},
		{"odd", sight{present: true, began: lately, droplet: d("rebuilding", "192.0.2.1")}},
		{"untagged", sight{present: true, began: lately, droplet: d(StatusActive, "192.0.2.1"), lookup: true, untagged: true}},
		{"absent", sight{began: lately}},
		{"absent, pages", sight{began: lately, shifted: true}},
		{"absent, list from before its DELETE", sight{began: now.Add(-17 * time.Second)}},
		{"absent, old list", sight{began: now.Add(-time.Minute)}},
		{"404", sight{began: lately, lookup: true}},
		{"404, old", sight{began: now.Add(-time.Minute), lookup: true}},
	}

	// Each line is a member; each word is what one sight, in order, makes of it:
	// the phase after it, and the verdict unless that is keep.
	const want = `
requested:           creating      creating      running       creating      creating      creating      running           requested      requested      requested      requested  requested/bury  requested
unlisted:            creating      creating      running       creating      creating      creating      running           creating       creating       creating       creating   creating/bury   creating
creating:            creating      creating      running       creating      creating      creating      running           creating/look  creating/look  creating/look  creating   creating/bury   creating
running:             running       running       running       running       running       running       running           running/look   running/look   running/look   running    running/bury    running
deleting, unproved:  deleting      deleting      deleting      deleting      deleting      deleting      deleting          deleting       deleting       deleting       deleting   deleting/bury   deleting
deleting, unsent:    deleting      deleting      deleting      deleting      deleting      deleting      deleting          deleting/look  deleting/look  deleting/look  deleting   deleting/bury   deleting
deleting, unlisted:  deleting      deleting      deleting      deleting      deleting      deleting      deleting          deleting       deleting       deleting       deleting   deleting/bury   deleting
deleting:            deleting      deleting      deleting      deleting      deleting      deleting      deleting          deleting/bury  deleting       deleting       deleting   deleting/bury   deleting
gone:                gone/destroy  gone/destroy  gone/destroy  gone/destroy  gone/destroy  gone/destroy  gone              gone           gone           gone           gone       gone            gone
`
	wanted := map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(want)) {
		name, words, _ := strings.Cut(line, ":")
		wanted[name] = strings.Fields(words)
	}
	for _, m := range members {
		if len(wanted[m.name]) != len(sights) {
			t.Fatalf("%s: %d expectations for %d sights", m.name, len(wanted[m.name]), len(sights))
		}
		for i, s := range sights {
			next, v, why := judge(m.m, s.s, now, testTimeout)
			if s.s.untagged && m.m.tagged && m.m.phase != deleting {
				// One sight proves nothing; a second one after half a minute does.
				if _, again, _ := judge(next, s.s, now.Add(untaggedTwice), testTimeout); again != release {
					t.Errorf("%s, seen untagged for long: %s", m.name, again)
				}
				if tagged, _, _ := judge(next, sight{present: true, began: lately, droplet: s.s.droplet}, now, testTimeout); !tagged.untagged.IsZero() {
					t.Errorf("%s: its tag is back, and it counts as untagged", m.name)
				}
			}
			got := next.phase.String()
			if v != keep {
				got += "/" + v.String()
			}
			if got != wanted[m.name][i] {
				t.Errorf("%s, seen %s: %s, want %s", m.name, s.name, got, wanted[m.name][i])
			}
			if ends := v == destroy || v == bury || v == release; ends && why == "" {
				t.Errorf("%s, seen %s: %s without a reason", m.name, s.name, v)
			}
		}
	}
}

// What is in flight is not buried, whatever a list or a look-up lacks.
func TestJudgeInFlight(t *testing.T) {
	for _, m := range []member{
		{phase: requested, inFlight: true},
		{phase: running, id: 5, listed: true, inFlight: true},
		{phase: deleting, id: 5, listed: true, inFlight: true, removal: removal{accepted: epoch}},
	} {
		m.missing = epoch.Add(-time.Hour)
		for _, lookup := range []bool{false, true} {
			if _, v, _ := judge(m, sight{began: epoch.Add(time.Hour), lookup: lookup}, epoch.Add(time.Hour), testTimeout); v != keep {
				t.Errorf("%s, in flight: %s", m.phase, v)
			}
		}
	}
}

// What time does: each row is one member, absent from lists or present in them
// at these seconds; the verdict is that of the last.
func TestJudgeOverTime(t *testing.T) {
	off := Droplet{ID: 5, Status: StatusOff, PublicIPv4: "192.0.2.1"}
	fresh := Droplet{ID: 5, Status: StatusNew}
	up := Droplet{ID: 5, Status: StatusActive, PublicIPv4: "192.0.2.1"}
	half := Droplet{ID: 5, Status: StatusActive, PrivateIPv4: "10.0.0.1"}
	type look_ struct {
		second int
		d      *Droplet
	}
	absent := func(second int) look_ { return look_{second, nil} }
	seen := func(second int, d Droplet) look_ { return look_{second, &d} }
	unproved := member{phase: requested}
	accepted := member{phase: creating, id: 5}
	for _, c := range []struct {
		what  string
		m     member
		looks []look_
		want  verdict
	}{
		{"unproved, two lists 59 s apart", unproved, []look_{absent(1), absent(60)}, keep},
		{"unproved, two lists 60 s apart", unproved, []look_{absent(1), absent(61)}, bury},
		{"unproved, one late list", unproved, []look_{absent(600)}, keep},
		{"accepted, lists of 59 s", accepted, []look_{absent(1), absent(30), absent(60)}, keep},
		{"accepted, lists of 60 s", accepted, []look_{absent(1), absent(30), absent(61)}, look},
		{"off for 29 s", accepted, []look_{seen(30, up), seen(40, off), seen(69, off)}, keep},
		{"off for 30 s", accepted, []look_{seen(30, up), seen(40, off), seen(70, off)}, destroy},
		{"off, up, off", accepted, []look_{seen(40, off), seen(60, up), seen(80, off)}, keep},
		{"off, absent, off", accepted, []look_{seen(40, off), absent(60), seen(80, off)}, destroy},
		{"never up, off", accepted, []look_{seen(40, off), seen(70, off)}, destroy},
		{"new for 599 s", accepted, []look_{seen(599, fresh)}, keep},
		{"new for 600 s", accepted, []look_{seen(600, fresh)}, destroy},
		{"unproved, then new for 600 s", unproved, []look_{seen(600, fresh)}, destroy},
		{"up, then new for 600 s", accepted, []look_{seen(30, up), seen(630, fresh)}, keep},
		{"up for an hour", accepted, []look_{seen(30, up), seen(3600, up)}, keep},
		{"active without its address for 29 s, then create_timeout", accepted, []look_{seen(571, half), seen(599, half), seen(600, half), seen(601, half)}, keep},
		{"absence is interrupted", accepted, []look_{absent(1), seen(30, fresh), absent(62)}, look},
	} {
		m := c.m
		m.born, m.proved = epoch, epoch
		var v verdict
		for _, l := range c.looks {
			now := epoch.Add(time.Duration(l.second) * time.Second)
			s := sight{began: now}
			if l.d != nil {
				s.present, s.droplet, s.partial = true, *l.d, l.d.PublicIPv4 == ""
			}
			m, v, _ = judge(m, s, now, testTimeout)
		}
		if v != c.want {
			t.Errorf("%s: %s, want %s", c.what, v, c.want)
		}
	}
}

// Where entries can slip between pages it takes two lists to call a deleted
// Droplet gone, and both must be younger than the DELETE.
func TestJudgeDeletedAcrossPages(t *testing.T) {
	m := member{phase: deleting, id: 5, listed: true, proved: epoch}
	m.removal = m.removal.sent(true, 0, epoch.Add(10*time.Second))
	for i, c := range []struct {
		second int
		want   verdict
	}{{9, keep}, {11, bury}} {
		var v verdict
		m, v, _ = judge(m, sight{began: epoch.Add(time.Duration(c.second) * time.Second), shifted: true}, epoch, testTimeout)
		if v != c.want {
			t.Errorf("list %d, begun at %d s: %s, want %s", i, c.second, v, c.want)
		}
	}
}

// FuzzJudge holds judge to its invariant for whatever member and sight.
func FuzzJudge(f *testing.F) {
	f.Add(uint8(2), uint16(0b1011), int16(-60), int16(-20), int16(-70), int16(-5), int16(0), uint8(0), uint8(0))
	f.Add(uint8(0), uint16(0), int16(-90), int16(-90), int16(-70), int16(0), int16(0), uint8(0), uint8(0))
	f.Add(uint8(3), uint16(0b11111), int16(-90), int16(-90), int16(0), int16(-5), int16(-10), uint8(4), uint8(2))
	f.Add(uint8(2), uint16(0b111), int16(-9000), int16(-90), int16(0), int16(-5), int16(-40), uint8(3), uint8(3))
	f.Fuzz(func(t *testing.T, p uint8, flags uint16, born, proved, missing, began, accepted int16, status, seen uint8) {
		now := epoch
		ago := func(s int16) time.Time {
			if s == 0 {
				return time.Time{}
			}
			return now.Add(-time.Duration(max(s, -s)) * time.Second)
		}
		is := func(bit int) bool { return flags&(1<<bit) != 0 }
		m := member{
			phase: phase(p % 5), listed: is(0), tagged: is(1), inFlight: is(2), reason: "why",
			born: ago(born), proved: ago(proved), missing: ago(missing),
		}
		if is(8) {
			m.untagged = ago(missing)
		}
		m.lookedUp = is(9)
		if is(12) {
			m.active = ago(proved)
		}
		if is(3) || m.listed { // what was listed has an id
			m.id = 5
		}
		if is(4) {
			m.off = ago(accepted)
		} else {
			m.removal.accepted = ago(accepted)
		}
		s := sight{began: now.Add(-time.Duration(max(began, -began)) * time.Second), lookup: is(5) && m.id != 0, shifted: is(6), adrift: is(10)}
		if seen%2 == 1 {
			s.present, s.untagged = true, s.lookup && is(7)
			s.droplet = Droplet{ID: 5, Status: [...]string{StatusNew, StatusActive, StatusOff, StatusArchive, "odd"}[status%5]}
			s.partial = is(11)
			if seen%4 == 3 {
				s.droplet.PrivateIPv4 = "10.0.0.1"
			}
		}

		next, v, why := judge(m, s, now, testTimeout)
		fail := func(what string) {
			t.Helper()
			t.Errorf("%s\nmember  %+v\nsight   %+v\nverdict %s (%s)", what, m, s, v, why)
		}

		if next.phase < m.phase {
			fail("a phase led back to " + next.phase.String())
		}
		if usable := s.present && v == keep && reachableRunning(s.droplet); usable && m.phase < running {
			since := now
			if !m.active.IsZero() {
				since = m.active
			}
			if waits := s.partial && now.Sub(since) < 30*time.Second && now.Sub(m.born) < testTimeout; waits == (next.phase == running) {
				fail("it waits for its address, for half a minute, or it runs")
			}
		}
		if next.phase != m.phase && (next.phase == deleting || next.phase == gone) {
			fail("judge itself ended a life")
		}
		if (v == keep || v == look) != (why == "") {
			fail("a verdict that ends a life has a reason, and no other has")
		}
		switch v {
		case bury:
			if s.present || m.inFlight || m.phase == gone || s.began.Before(m.proved) {
				fail("buried without a proof")
			}
			over := !m.missing.IsZero() && s.began.Sub(m.missing) >= time.Minute
			deleted := m.phase == deleting && m.listed && !m.removal.accepted.IsZero() &&
				!s.began.Before(m.removal.accepted) && (!s.shifted || !m.missing.IsZero()) && !m.lookedUp && !s.adrift
			if unproved := m.id == 0 && over && !s.adrift; !s.lookup && !unproved && !deleted {
				fail("buried by a list that proves nothing")
			}
		case look:
			if s.present || m.id == 0 {
				fail("nothing to look up")
			}
		case release:
			if long := !m.untagged.IsZero() && now.Sub(m.untagged) >= 30*time.Second; !s.lookup || !s.untagged || s.adrift || m.phase == deleting || !long {
				fail("let go without look-ups that show it untagged for long")
			}
		case destroy:
			off := s.droplet.Status == StatusOff || s.droplet.Status == StatusArchive
			longOff := off && !m.off.IsZero() && now.Sub(m.off) >= 30*time.Second
			late := m.phase < running && now.Sub(m.born) >= testTimeout && !reachableRunning(s.droplet)
			if caused := m.phase == gone || longOff || late; !s.present || !caused {
				fail("destroyed without a cause")
			}
		}
		if s.present && v != release && (next.proved != now || !next.missing.IsZero()) {
			fail("a sight of it was not noted")
		}
	})
}

func reachableRunning(d Droplet) bool { return d.Status == StatusActive && reachable(d) }

// DELETEs that are accepted and not carried out are repeated after a minute,
// doubling to ten; refused ones after five seconds, doubling to five minutes.
// Each row begins anew when the other kind of answer comes.
func TestRemovalSchedule(t *testing.T) {
	var r removal
	var got []string
	for _, accepted := range []bool{false, false, false, false, false, false, false, false, true, true, true, true, true, true, false, true} {
		r = r.sent(accepted, 0, epoch)
		got = append(got, fmt.Sprint(r.next.Sub(epoch)))
	}
	const want = "5s 10s 20s 40s 1m20s 2m40s 5m0s 5m0s 1m0s 2m0s 4m0s 8m0s 10m0s 10m0s 5s 10m0s"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("pauses\n%s, want\n%s", s, want)
	}
	if r = r.sent(false, time.Hour, epoch); r.next.Sub(epoch) != time.Hour {
		t.Errorf("DigitalOcean asked to wait an hour, and the pause is %s", r.next.Sub(epoch))
	}
}
