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
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// burst sends n requests at once and returns how many were sent, and the longest
// pause that the senders of the others were told.
func burst(t *testing.T, n int, send func() error) (sent int, wait time.Duration) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			err := send()
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ig.ErrSpent) {
				wait = max(wait, cloudError(t, err).RetryAfter)
				return
			}
			sent++
		})
	}
	wg.Wait()
	return sent, wait
}

// No burst of ours is ever refused: what a minute has no room for is not sent,
// and its sender told when there is room. Lists leave room for look-ups, and
// these for what changes something.
func TestBudgetOfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Token: testToken})
		defer sim.Close()
		c := over(t, sim.Transport())
		list := func() error { _, err := c.List(t.Context(), "fleeting", false); return err }
		get := func() error { _, err := c.Get(t.Context(), 1); return err }
		destroy := func() error { _, err := c.Delete(t.Context(), 1); return err }
		for range 3 {
			for _, step := range []struct {
				what string
				send func() error
				want int
			}{{"lists", list, 200}, {"look-ups", get, 25}, {"destroys", destroy, 20}} {
				began := time.Now()
				sent, wait := burst(t, 300, step.send)
				if took := time.Since(began); took > 0 {
					t.Errorf("the senders of %s were told after %s, want at once", step.what, took)
				}
				if sent != step.want {
					t.Errorf("%d %s were sent, want %d", sent, step.what, step.want)
				}
				if wait < 50*time.Second || wait > time.Minute {
					t.Errorf("the senders of the other %s were told to wait for %s", step.what, wait)
				}
			}
			time.Sleep(time.Minute)
		}
		refused := 0
		for _, r := range sim.Requests() {
			if r.Status == http.StatusTooManyRequests {
				refused++
			}
		}
		if n := len(sim.Requests()); n != 3*245 || refused > 0 {
			t.Errorf("%d requests were sent and %d refused, want 735 and none", n, refused)
		}
	})
}

// A request that will have room in a moment waits for it.
func TestBudgetWaitsAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Token: testToken})
		defer sim.Close()
		c := over(t, sim.Transport())
		list := func() error { _, err := c.List(t.Context(), "fleeting", false); return err }
		burst(t, 200, list)
		time.Sleep(59 * time.Second)
		began := time.Now()
		if err := list(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 900*time.Millisecond || took > affordWait {
			t.Errorf("it took %s, want the second until there is room", took)
		}
		burst(t, 199, list)
		time.Sleep(59 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		if _, err := c.List(ctx, "fleeting", false); !errors.Is(err, ig.ErrSpent) {
			t.Errorf("with nobody left who waits for it: %v", err)
		}
	})
}

// The headers of answers tell of the hour, and so of other programs.
func TestBudgetOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, sent := 2000, 0
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			sent++
			left--
			resp := answer(200, `{"droplets":[],"meta":{"total":0},"links":{}}`,
				"ratelimit-limit", "5000", "ratelimit-remaining", strconv.Itoa(left))
			resp.Request = r
			return resp, nil
		}))
		list := func() (ig.List, error) { return c.List(t.Context(), "fleeting", false) }
		spent := func(err error) bool { return errors.Is(err, ig.ErrSpent) }
		l, err := list()
		if want := (ig.Budget{Limit: 5000, Remaining: 1999, Others: 3000, Lists: 1}); err != nil || l.Budget != want {
			t.Errorf("%+v, %v; want %+v", l.Budget, err, want)
		}

		left = 101
		_, _ = list() // tells that
		if _, err := list(); !spent(err) {
			t.Errorf("with 100 left, a list: %v", err)
		}
		if _, err := c.Get(t.Context(), 1); spent(err) {
			t.Errorf("with 100 left, a look-up: %v", err)
		}
		left = 51
		_, _ = c.Get(t.Context(), 1)
		if _, err := c.Get(t.Context(), 1); !spent(err) {
			t.Errorf("with 50 left, a look-up: %v", err)
		}
		left = 1
		before := sent
		for range 5 {
			_, _ = c.Delete(t.Context(), 1)
		}
		if sent != before+1 {
			t.Errorf("%d destroys were sent with one request left", sent-before)
		}

		// What was told is asked anew after a minute, or it would be believed for ever.
		left = 4000
		time.Sleep(time.Minute)
		if l, err := list(); err != nil || l.Budget.Remaining != 3999 {
			t.Errorf("a minute later: %+v, %v", l.Budget, err)
		}
	})
}
