package instancegroup

import (
	"testing"
	"time"
)

// The pause between lists grows with the requests that a list takes, and with what
// creates, deletes, look-ups and other programs spend.
func TestListInterval(t *testing.T) {
	const most = 5000
	for _, c := range []struct {
		pages int
		b     Budget
		want  time.Duration
	}{
		{1, Budget{}, 1500 * time.Millisecond},
		{10, Budget{}, 15 * time.Second},
		{20, Budget{}, 30 * time.Second},
		{50, Budget{}, time.Minute},
		{1, Budget{Limit: most, Remaining: 100, Lists: 4900}, 1500 * time.Millisecond}, // its own do not slow them
		{1, Budget{Limit: most, Others: 2500}, 1600 * time.Millisecond},                // of 2,250 an hour
		{10, Budget{Limit: most, Others: 2500, Changes: 1350}, 40 * time.Second},       // of 900
		{10, Budget{Limit: most, Others: 2500, Changes: 1250, LookUps: 100}, 40 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 350, Recent: 104, LookUps: 102}, 40 * time.Second}, // 104 are 1,248
		{1, Budget{Limit: most, Others: 9000}, time.Minute},
	} {
		if got := (&listing{requests: c.pages, budget: c.b}).interval(); got != c.want {
			t.Errorf("%d requests, %+v: %s, want %s", c.pages, c.b, got, c.want)
		}
	}
}

// When half of the hour is spent, or will be at this pace, creates wait for five
// seconds to become ten.
func TestGather(t *testing.T) {
	now := epoch
	scarce := Budget{Limit: 5000, Remaining: 2500}
	for _, c := range []struct {
		n     int
		b     Budget
		since time.Time
		take  int
		waits time.Time
	}{
		{3, Budget{}, time.Time{}, 3, time.Time{}},
		{3, Budget{Remaining: -1, Others: 9000}, time.Time{}, 3, time.Time{}}, // nothing is known
		{3, Budget{Limit: 5000, Remaining: 2501, Others: 2500}, time.Time{}, 3, time.Time{}},
		{3, Budget{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 125}, time.Time{}, 3, time.Time{}},
		{3, Budget{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 126}, time.Time{}, 0, now},
		{0, scarce, now.Add(-time.Second), 0, time.Time{}},
		{3, scarce, time.Time{}, 0, now},
		{3, scarce, now.Add(-4 * time.Second), 0, now.Add(-4 * time.Second)},
		{3, scarce, now.Add(-5 * time.Second), 3, time.Time{}},
		{10, scarce, time.Time{}, 10, time.Time{}},
		{23, scarce, time.Time{}, 20, now},
		{23, scarce, now.Add(-5 * time.Second), 23, time.Time{}},
	} {
		if take, waits := gather(c.n, c.b, c.since, now); take != c.take || !waits.Equal(c.waits) {
			t.Errorf("%d of %+v since %s: %d, %s; want %d, %s", c.n, c.b, c.since, take, waits, c.take, c.waits)
		}
	}
}

// A list is due when its pause is over, and not before DigitalOcean wants another.
// An Update that had not enough time for its actions is followed by one that acts
// first, unless the last list is old.
func TestListIsDue(t *testing.T) {
	s := func(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Second))) }
	for _, c := range []struct {
		what string
		l    listing
		now  time.Time
		want bool
	}{
		{"never listed", listing{}, s(0), true},
		{"after 1.5 s, and to wait for 20 s", listing{began: s(0), notBefore: s(20)}, s(19.9), false},
		{"after 20 s, as told", listing{began: s(0), notBefore: s(20)}, s(20), true},
		{"starved, after 29 s", listing{began: s(0), starved: true}, s(29), false},
		{"starved, after 30 s", listing{began: s(0), starved: true}, s(30), true},
		{"starved, never listed", listing{starved: true}, s(0), true},
	} {
		if got := c.l.due(c.now); got != c.want {
			t.Errorf("%s: due %t", c.what, got)
		}
	}
}
