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
		{0, Budget{}, 1500 * time.Millisecond},
		{1, Budget{}, 1500 * time.Millisecond},
		{5, Budget{}, 7500 * time.Millisecond},
		{10, Budget{}, 15 * time.Second},
		{20, Budget{}, 30 * time.Second},
		{25, Budget{}, 30 * time.Second},
		{50, Budget{}, time.Minute},
		{1, Budget{Limit: most, Remaining: most}, 1500 * time.Millisecond},
		{1, Budget{Limit: most, Remaining: 100, Lists: 4900}, 1500 * time.Millisecond}, // its own do not slow them
		{1, Budget{Limit: most, Others: 2500}, 1600 * time.Millisecond},                // of 2,250 an hour
		{10, Budget{Limit: most, Others: 2500}, 16 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 1350}, 40 * time.Second}, // of 900
		{10, Budget{Limit: most, Others: 2500, Changes: 1250, LookUps: 100}, 40 * time.Second},
		{10, Budget{Limit: most, Others: 2500, Changes: 350, Recent: 104, LookUps: 102}, 40 * time.Second}, // 104 are 1,248
		{10, Budget{Limit: most, Others: 9000}, time.Minute},
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
		{23, scarce, now.Add(-4 * time.Second), 20, now},
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
		{"after 1.4 s", listing{began: s(0)}, s(1.4), false},
		{"after 1.5 s", listing{began: s(0)}, s(1.5), true},
		{"after 1.5 s, and to wait for 20 s", listing{began: s(0), notBefore: s(20)}, s(19.9), false},
		{"after 20 s, as told", listing{began: s(0), notBefore: s(20)}, s(20), true},
		{"starved, after 29 s", listing{began: s(0), starved: true}, s(29), false},
		{"starved, after 30 s", listing{began: s(0), starved: true}, s(30), true},
		{"starved, never listed", listing{starved: true}, s(0), true},
		{"fresh from Find", listing{began: s(0), fresh: true}, s(10), false},
	} {
		if got := c.l.due(c.now); got != c.want {
			t.Errorf("%s: due %t", c.what, got)
		}
		if c.l.fresh {
			t.Errorf("%s: the second Update is kept from listing too", c.what)
		}
	}
}

// A list that the token cannot afford is no failure of DigitalOcean: the last one
// counts, and nobody is warned. After a minute it is one.
func TestListThatCannotBeAfforded(t *testing.T) {
	scenario(t, spec(nil), func(r *runner) {
		name := r.up(1)[0]
		before := len(r.received("list"))
		r.breakOp("list", fault{err: &CloudError{Class: ErrRateLimited, Op: "OP", Message: "not sent", RetryAfter: 20 * time.Second}})
		began := r.listing.began
		for time.Since(began) < 58*time.Second {
			r.update()
		}
		if n := len(r.received("list")) - before; n < 2 || n > 4 {
			t.Errorf("asked %d times within a minute, though told to wait for 20 s each time", n)
		}
		if n := r.log.count("listing fails"); n != 0 {
			t.Errorf("warned %d times", n)
		}
		time.Sleep(20 * time.Second)
		if _, err := r.tryUpdate(); err == nil {
			t.Error("a list that is older than a minute is shown")
		}
		r.heal("list")
		time.Sleep(20 * time.Second)
		r.update()
		r.told(name, Creating, Running)
	})
}
