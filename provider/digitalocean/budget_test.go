package digitalocean

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

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
			if !spent(err) {
				sent++
				return
			}
			wait = max(wait, cloudError(t, err).RetryAfter)
		})
	}
	wg.Wait()
	return sent, wait
}

// No burst of ours is ever refused: what a minute has no room for is not sent, and its
// error says when there is room. Lists leave room for look-ups, and these for what
// changes something, which leaves room for a few lists. Other programs have their part.
func TestBudgetOfAMinute(t *testing.T) {
	type step struct {
		send func(*Client) error
		want int
	}
	for _, minute := range []struct {
		others int
		steps  []step
	}{
		{0, []step{{sendList, 200}, {sendGet, 25}, {sendDelete, 20}, {sendList, 0}}},
		{0, []step{{sendDelete, 195}, {sendList, 50}, {sendGet, 0}}},
		{0, []step{{sendGet, 225}, {sendList, 20}}},
		{0, []step{{sendCreate, 195}, {sendDelete, 0}}},
		{3000, []step{{sendList, 150}, {sendDelete, 45}}},
		{15000, []step{{sendList, 75}, {sendDelete, 45}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{Token: testToken, Latency: 100 * time.Millisecond})
			defer sim.Close()
			var c *Client
			c = over(t, answering(func(r *http.Request) (*http.Response, error) {
				resp, err := sim.Transport().RoundTrip(r)
				c.budget.mu.Lock()
				defer c.budget.mu.Unlock()
				resp.Header.Set("ratelimit-limit", "20000")
				resp.Header.Set("ratelimit-remaining", strconv.Itoa(20000-minute.others-len(c.budget.sent)))
				return resp, err
			}))
			_ = sendGet(c) // which shows what others send
			time.Sleep(time.Minute)
			for range 2 {
				for i, s := range minute.steps {
					began := time.Now()
					sent, wait := burst(t, c, s.want+10, s.send)
					if sent != s.want || wait < 50*time.Second || wait > time.Minute || time.Since(began) > time.Second {
						t.Errorf("with %d of others, step %d: %d sent, want %d; the others are to wait for %s", minute.others, i, sent, s.want, wait)
					}
				}
				time.Sleep(time.Minute)
			}
			if n := sim.Throttled(); n > 0 {
				t.Errorf("%d requests were refused", n)
			}
		})
	}
}

// The headers of answers show the hour, and so other programs. When little is left of
// it, lists are held first, then look-ups, and what changes something when nothing is.
// What an answer said is asked anew within a minute, by what changes something first.
func TestBudgetOfAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 2001
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			if left--; r.URL.Path == "/v2/account/keys" { // which have a limit of their own
				return answer(200, `{"ssh_keys":[],"meta":{"total":0}}`, "ratelimit-limit", "10", "ratelimit-remaining", "0"), nil
			}
			return answer(200, pageOf(0), "ratelimit-limit", "5000", "ratelimit-remaining", strconv.Itoa(left)), nil
		}))
		_, err := c.Keys(t.Context())
		l, lerr := c.List(t.Context(), groupTag, false)
		err = errors.Join(err, lerr)
		if want := (ig.Budget{Limit: 5000, Remaining: 1999, Others: 2999, LookUps: 1, Lists: 1}); err != nil || l.Budget != want {
			t.Errorf("%+v, %v; want %+v", l.Budget, err, want)
		}
		for _, tt := range []struct {
			left               int
			list, get, destroy bool // is sent
		}{{102, true, true, true}, {101, false, true, true}, {52, false, true, true}, {51, false, false, true}, {1, false, false, false}} {
			time.Sleep(time.Minute)
			for i, send := range []func(*Client) error{sendList, sendGet, sendDelete} {
				if i < 2 {
					left = tt.left
					_ = sendDelete(c) // learns that
				}
				err := send(c)
				if spent(err) == [...]bool{tt.list, tt.get, tt.destroy}[i] || spent(err) && cloudError(t, err).RetryAfter > time.Minute {
					t.Errorf("with %d left, request %d: %v", tt.left-1, i, err)
				}
			}
		}
		left = 4000
		time.Sleep(50 * time.Second)
		if list, destroy := sendList(c), sendDelete(c); !spent(list) || destroy != nil || sendList(c) != nil {
			t.Errorf("50 s later a list: %v; a delete: %v", list, destroy)
		}
	})
}

// After a 429 requests of that kind are held for as long as it asks, at most a minute,
// whatever it asks; then one tries before the others. Those of other kinds are sent:
// creates that are refused keep no delete waiting.
func TestBudgetHolds(t *testing.T) {
	for ask, held := range map[string]time.Duration{"": holdWithout, "20": 20 * time.Second, "3600": time.Minute} {
		for method, kinds := range map[string][4]func(*Client) error{
			http.MethodDelete: {sendDelete, sendCreate, sendGet, sendList},
			http.MethodPost:   {sendCreate, sendDelete, sendGet, sendList},
		} {
			synctest.Test(t, func(t *testing.T) {
				var sent atomic.Int64
				limited := true
				c := over(t, answering(func(r *http.Request) (*http.Response, error) {
					if r.Method != method {
						return answer(200, pageOf(0)), nil
					}
					switch n := sent.Add(1); {
					case n == 1: // it was sent before the 429: its answer does not end the hold
						time.Sleep(2 * time.Second)
						return answer(200, `{}`), nil
					case limited:
						time.Sleep(500 * time.Millisecond)
						return answer(429, `{"id":"too_many_requests"}`, "Retry-After", ask), nil
					}
					time.Sleep(500 * time.Millisecond)
					return answer(200, `{}`), nil
				}))
				go func() { _ = kinds[0](c) }()
				time.Sleep(time.Second)
				_ = kinds[0](c)
				time.Sleep(held - time.Second)
				if n, wait := burst(t, c, 10, kinds[0]); n != 0 || sent.Load() != 2 || wait != time.Second {
					t.Errorf("%s, Retry-After %q: %d were sent in the hold; the error asks for %s", method, ask, sent.Load()-2, wait)
				}
				for _, send := range kinds[1:] {
					if err := send(c); spent(err) {
						t.Errorf("%s, Retry-After %q: of another kind: %v", method, ask, err)
					}
				}
				time.Sleep(time.Second)
				if burst(t, c, 10, kinds[0]); sent.Load() != 3 {
					t.Errorf("%s, Retry-After %q: %d tried after the hold, want 1", method, ask, sent.Load()-2)
				}
				limited = false
				time.Sleep(held)
				first := kinds[0](c)
				if n, _ := burst(t, c, 10, kinds[0]); spent(first) || n != 10 {
					t.Errorf("%s, Retry-After %q: when it was over: %v, and %d of 10 were sent", method, ask, first, n)
				}
			})
		}
	}
}

// The list of keys has a limit of its own, which holds nothing else.
func TestBudgetOfKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent, began := 0, time.Now()
		c := over(t, always(&sent, 429, `{"id":"too_many_requests"}`))
		_, _ = c.Keys(t.Context())
		if err := sendGet(c); sent != 2 || !strings.Contains(err.Error(), "429") || time.Since(began) > 0 {
			t.Errorf("%d requests were sent, want both at once; %v", sent, err)
		}
	})
}
