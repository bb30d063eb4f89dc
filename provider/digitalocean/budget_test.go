package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Requests of each purpose.
func sendList(c *Client) error   { _, err := c.List(context.Background(), groupTag, false); return err }
func sendGet(c *Client) error    { _, err := c.Get(context.Background(), 1); return err }
func sendDelete(c *Client) error { _, err := c.Delete(context.Background(), 1); return err }

func spent(err error) bool { return errors.Is(err, ig.ErrRateLimited) }

// burst sends n requests at once and returns how many were sent, and the longest
// pause that the errors of the others ask for.
func burst(t *testing.T, c *Client, n int, send func(*Client) error) (sent int, wait time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			err := send(c)
			mu.Lock()
			defer mu.Unlock()
			if spent(err) {
				wait = max(wait, cloudError(t, err).RetryAfter)
				return
			}
			sent++
		})
	}
	wg.Wait()
	return sent, wait
}

// No burst of ours is ever refused: what a minute has no room for is not sent, and its
// error says when there is room. Lists leave room for look-ups, and these for what
// changes something, which leaves room for a few lists.
func TestBudgetOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := simulated(t)
		type step struct {
			what string
			send func(*Client) error
			want int
		}
		for n, minute := range [][]step{
			{{"lists", sendList, 200}, {"look-ups", sendGet, 25}, {"destroys", sendDelete, 20}},
			{{"lists", sendList, 200}, {"look-ups", sendGet, 25}, {"destroys", sendDelete, 20}},
			{{"destroys", sendDelete, 195}, {"lists", sendList, 50}},
			{{"destroys", sendDelete, 195}, {"lists", sendList, 50}},
			{{"look-ups", sendGet, 225}, {"lists", sendList, 20}},
		} {
			for _, s := range minute {
				began := time.Now()
				sent, wait := burst(t, c, 300, s.send)
				if took := time.Since(began); took > 0 {
					t.Errorf("minute %d: the senders of %s had an answer after %s, want at once", n, s.what, took)
				}
				if sent != s.want || wait < 50*time.Second || wait > time.Minute {
					t.Errorf("minute %d: %d %s were sent, want %d; the errors of the others ask for %s", n, sent, s.what, s.want, wait)
				}
			}
			time.Sleep(time.Minute)
		}
		if n := sim.Throttled(); n > 0 {
			t.Errorf("%d requests were refused", n)
		}
	})
}

// A request that will have room in a moment waits for it.
func TestBudgetWaitsAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := simulated(t)
		burst(t, c, 200, sendList)
		time.Sleep(59 * time.Second)
		began := time.Now()
		if err := sendList(c); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 900*time.Millisecond || took > affordWait {
			t.Errorf("it took %s, want the second until there is room", took)
		}
		burst(t, c, 199, sendList)
		time.Sleep(59 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := c.List(ctx, groupTag, false); !spent(err) {
			t.Errorf("with nobody left who waits for it: %v", err)
		}
	})
}

// The headers of answers show the hour, and so other programs. No answer makes a sender
// wait for longer than a minute.
func TestBudgetOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		left := 2000
		c := over(t, answering(func(*http.Request) (*http.Response, error) {
			time.Sleep(100 * time.Millisecond)
			mu.Lock()
			defer mu.Unlock()
			left--
			return answer(200, pageOf(0, false), "ratelimit-limit", "5000", "ratelimit-remaining", strconv.Itoa(left)), nil
		}))
		l, err := c.List(t.Context(), groupTag, false)
		if want := (ig.Budget{Limit: 5000, Remaining: 1999, Others: 3000, Lists: 1}); err != nil || l.Budget != want {
			t.Errorf("%+v, %v; want %+v", l.Budget, err, want)
		}
		left = 101
		_ = sendList(c) // learns that
		if err := sendList(c); !spent(err) || cloudError(t, err).RetryAfter > time.Minute {
			t.Errorf("with 100 left, a list: %v", err)
		}
		if err := sendGet(c); spent(err) {
			t.Errorf("with 100 left, a look-up: %v", err)
		}
		left = 51
		_ = sendGet(c)
		if err := sendGet(c); !spent(err) {
			t.Errorf("with 50 left, a look-up: %v", err)
		}
		left = 5
		_ = sendDelete(c)
		if sent, _ := burst(t, c, 10, sendDelete); sent != 4 || left != 0 {
			t.Errorf("%d destroys were sent at once with 4 requests left", sent)
		}

		// What an answer said is asked anew after a minute, or it would be believed for ever.
		left = 4000
		time.Sleep(time.Minute)
		if l, err := c.List(t.Context(), groupTag, false); err != nil || l.Budget.Remaining != 3999 {
			t.Errorf("a minute later: %+v, %v", l.Budget, err)
		}
	})
}

// Answers say what other programs sent in the hour that has passed. One that begins to
// send is seen within ten minutes all the same, also if others did before; one that
// stops is not taken to go on for more than that hour.
func TestBudgetOthersPace(t *testing.T) {
	var sent []int // by minute
	begin := time.Now()
	var o others
	// live has others send perHour for some minutes, which an answer counts at the end of each.
	live := func(perHour, minutes int) {
		for range minutes {
			sent = append(sent, perHour/60)
			count := 0
			for _, n := range sent[max(0, len(sent)-60):] {
				count += n
			}
			if len(sent) > 60 { // before that we did not run
				o.note(count, begin.Add(time.Duration(len(sent))*time.Minute))
			}
		}
	}
	for _, step := range []struct {
		perHour, minutes, least, most int
	}{
		{600, 61, 600, 600},
		{600, 120, 600, 600},
		{2400, 10, 2300, 2400}, // the hour that has passed had 900 of them
		{2400, 50, 2300, 2400},
		{2400, 120, 2400, 2400},
		{0, 30, 1200, 1200}, // of the hour that has passed
		{0, 30, 0, 0},
		{3000, 10, 2900, 3000},
	} {
		live(step.perHour, step.minutes)
		if o.perHour < step.least || o.perHour > step.most {
			t.Errorf("after %d minutes, with %d an hour in the last %d: taken to be %d an hour, want %d to %d",
				len(sent), step.perHour, step.minutes, o.perHour, step.least, step.most)
		}
	}
	// After an hour without an answer all is learnt anew.
	o.note(500, begin.Add(time.Duration(len(sent)+61)*time.Minute))
	if o.perHour != 500 {
		t.Errorf("after an hour without an answer: %d an hour, want 500", o.perHour)
	}
}

// An answer that is overtaken by a newer one does not take that one's place; one to a
// request that was sent later does, also if it leaves more.
func TestBudgetOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := map[string]string{"old": "4000", "new": "3999", "next": "4500"}
		slow := map[string]time.Duration{"old": 3 * time.Second, "new": time.Second, "next": 0}
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			name := r.URL.Query().Get("tag_name")
			time.Sleep(slow[name])
			return answer(200, `{"droplets":[]}`, "ratelimit-limit", "5000", "ratelimit-remaining", left[name]), nil
		}))
		list := func(name string) {
			if _, err := c.List(t.Context(), name, false); err != nil {
				t.Error(err)
			}
		}
		var both sync.WaitGroup
		both.Go(func() { list("old") })
		both.Go(func() { list("new") })
		both.Wait()
		if got := c.budget.report().Remaining; got != 3999 {
			t.Errorf("%d are left, want what the newer answer said, 3999", got)
		}
		time.Sleep(time.Second)
		list("next")
		if got := c.budget.report().Remaining; got != 4500 {
			t.Errorf("%d are left, want what the last answer said, 4500", got)
		}
	})
}

// After a 429 requests of that purpose are held for as long as it asks, at most a
// minute, whatever it asks; then one tries before the others. Those of other purposes
// are sent.
func TestBudgetHolds(t *testing.T) {
	for ask, held := range map[string]time.Duration{"": holdWithout, "20": 20 * time.Second, "3600": time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			limited, sent := true, map[string]int{}
			var mu sync.Mutex
			c := over(t, answering(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				sent[r.Method]++
				limited := limited && r.Method == http.MethodDelete
				mu.Unlock()
				time.Sleep(500 * time.Millisecond)
				if limited {
					return answer(429, `{"id":"too_many_requests"}`, "Retry-After", ask), nil
				}
				return answer(200, `{}`), nil
			}))
			if err := sendDelete(c); !spent(err) {
				t.Fatal(err)
			}
			time.Sleep(held - affordWait - time.Second)
			if n, wait := burst(t, c, 10, sendDelete); n != 0 || sent[http.MethodDelete] != 1 || wait != affordWait+time.Second {
				t.Errorf("Retry-After %q: %d deletes were sent in the hold; the error asks for %s", ask, sent[http.MethodDelete]-1, wait)
			}
			if err := sendGet(c); spent(err) {
				t.Errorf("Retry-After %q: a look-up: %v", ask, err)
			}
			time.Sleep(affordWait + time.Second)
			burst(t, c, 10, sendDelete)
			if n := sent[http.MethodDelete]; n != 2 {
				t.Errorf("Retry-After %q: %d deletes tried after the hold, want 1", ask, n-1)
			}
			limited = false
			time.Sleep(held)
			if n, _ := burst(t, c, 10, sendDelete); n != 10 {
				t.Errorf("Retry-After %q: %d of 10 deletes were sent when it was over", ask, n)
			}
		})
	}
}

// Creates that are refused again and again keep no delete waiting, whose Droplet is
// billed.
func TestBudgetHoldsCreatesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				return answer(429, `{"id":"too_many_requests"}`, "Retry-After", "3600"), nil
			}
			return answer(204, ""), nil
		}))
		for range 5 {
			if _, err := c.Create(t.Context(), ig.CreateRequest{Names: []string{"ci-1"}}); !spent(err) {
				t.Errorf("a create: %v", err)
			}
			if err := sendDelete(c); err != nil {
				t.Errorf("a delete: %v", err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// With no request left, an answer a minute old is asked anew by what comes first.
func TestBudgetTriesDeletesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := "0"
		c := over(t, answering(func(*http.Request) (*http.Response, error) {
			return answer(200, pageOf(0, false), "ratelimit-limit", "5000", "ratelimit-remaining", left), nil
		}))
		_ = sendList(c)
		for began := time.Now(); ; time.Sleep(2 * time.Second) { // as a group does
			_ = sendList(c)
			if err := sendDelete(c); err == nil {
				break
			}
			if time.Since(began) > 2*time.Minute {
				t.Fatal("lists use up every answer that a delete waits for")
			}
		}
	})
}

// An answer to what was sent before the 429 does not end the hold.
func TestBudgetHoldsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		sent := 0
		c := over(t, answering(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			sent++
			first := sent == 1
			mu.Unlock()
			if first {
				time.Sleep(2 * time.Second)
				return answer(204, ""), nil
			}
			return answer(429, `{"id":"too_many_requests"}`, "Retry-After", "20"), nil
		}))
		var slow sync.WaitGroup
		slow.Go(func() {
			if err := sendDelete(c); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		_ = sendDelete(c)
		slow.Wait()
		if err := sendDelete(c); !spent(err) || sent != 2 {
			t.Errorf("%d requests were sent, want 2; %v", sent, err)
		}
	})
}

// The list of keys has a limit of its own, which holds nothing else.
func TestBudgetOfKeys(t *testing.T) {
	sent := 0
	c := over(t, always(&sent, 429, `{"id":"too_many_requests"}`))
	_, _ = c.Keys(t.Context())
	if err := sendGet(c); sent != 2 {
		t.Errorf("%d requests were sent, want both; %v", sent, err)
	}
}
