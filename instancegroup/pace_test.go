package instancegroup

import (
	"fmt"
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
func TestScarceCreatesGather(t *testing.T) {
	for scarce, bs := range map[bool][]Budget{
		false: {
			{}, {Remaining: -1, Others: 9000}, {Limit: 5000, Remaining: 2501, Others: 2500},
			{Limit: 5000, Remaining: 4000, Others: 1000, Recent: 125},
		},
		true: {{Limit: 5000, Remaining: 2500}, {Limit: 5000, Remaining: 4000, Others: 1000, Recent: 126}},
	} {
		for _, b := range bs {
			equal(t, fmt.Sprintf("%+v is scarce", b), scarce, b.scarce())
		}
	}
	scenario(t, spec(nil), func(r *runner) {
		r.account.limit, r.remaining = 5000, 2000
		time.Sleep(2 * time.Second)
		r.run(4 * time.Second)
		r.wantOf(0, 0) // for which nobody waits
		r.wantOf(3, 0)
		time.Sleep(4 * time.Second)
		r.wantOf(3, 0)
		r.wantOf(12, 10) // ten are a whole request; two begin to wait
		r.wantOf(2, 0)   // the runner asks again for what it did not get
		time.Sleep(5 * time.Second)
		r.wantOf(2, 2)
	})
}
