package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// accounts are two teams, A and B, which DigitalOcean distinguishes by the token: a
// token's first letter is its team. An upper-case token has every scope; a lower-case
// one lacks account:read. A has the Droplets 1, 2 and 3.
type accounts struct {
	mu      sync.Mutex
	revoked string         // this token is refused
	fault   int            // status of GET /v2/account; 0 = none
	gone    bool           // A's Droplets are
	asked   map[string]int // requests by token
}

func (a *accounts) RoundTrip(r *http.Request) (*http.Response, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	time.Sleep(100 * time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[token]++
	team, id := strings.ToUpper(token[:1]), strings.TrimPrefix(r.URL.Path, "/v2/droplets/")
	switch {
	case a.revoked == token:
		return answer(401, dosim.ErrorBody("unauthorized", "Unable to authenticate you")), nil
	case r.URL.Path == "/v2/account" && a.fault != 0:
		return answer(a.fault, dosim.ErrorBody("x", "y")), nil
	case r.URL.Path == "/v2/account" && token[0] >= 'a':
		return answer(403, dosim.ErrorBody("forbidden", "You are not authorized to perform this operation")), nil
	case r.URL.Path == "/v2/account":
		return answer(200, `{"account":{"uuid":"person","team":{"uuid":"uuid-`+team+`","name":"Team `+team+`"}}}`), nil
	case r.Method == http.MethodDelete:
		return answer(204, ""), nil
	case r.URL.Path == "/v2/droplets" && (team == "B" || a.gone):
		return answer(200, pageOf(0, false)), nil
	case r.URL.Path == "/v2/droplets":
		return answer(200, pageOf(3, false, 1, 2, 3)), nil
	case id != r.URL.Path && (team == "B" || a.gone):
		return answer(404, dosim.ErrorBody("not_found", "The resource you were accessing could not be found.")), nil
	case id != r.URL.Path:
		return answer(200, `{"droplet":{"id":`+id+`,"name":"ci-7k2m9qxabc","status":"active","tags":[]}}`), nil
	}
	return answer(200, `{"regions":[]}`), nil
}

// sent returns how many requests were sent with a token.
func (a *accounts) sent(token string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[token]
}

func (a *accounts) set(revoked string, fault int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked, a.fault = revoked, fault
}

// After a token changed nothing is concluded before the account is known to be the
// same.
func TestOtherAccount(t *testing.T) {
	account := func(c *Client) { _, _ = c.Account(context.Background()) } // as Init does
	list := func(c *Client) { _ = sendList(c) }
	create := func(c *Client) { _ = sendCreate(c) }
	none := func(c *Client) { _, _ = c.Regions(context.Background()) }
	const byDroplet = "the new one finds none of the Droplets "
	for _, tt := range []struct {
		name          string
		first, second string        // the token at the start, and then
		before        func(*Client) // the token changes
		after         func(*Client)
		fault         int
		want          error // of the look-up of a Droplet; nil = it is found
		says          string
	}{
		{"the same team, known by its id", "A1", "A2", account, list, 0, nil, ""},
		{"another team, known by its id", "A1", "B2", account, list, 0, ig.ErrOtherAccount,
			`not sent: the token is now one of the account or team "Team B" (uuid-B), and the Droplets are those of "Team A" (uuid-A): put a token of that team`},
		{"the same team, known by a Droplet", "A1", "a2", account, list, 0, nil, ""},
		{"another team, known by a Droplet", "A1", "b2", account, list, 0, ig.ErrOtherAccount, byDroplet + "1 2 3"},
		{"the same team, without account:read at the start", "a1", "A2", account, list, 0, nil, ""},
		{"another team, without account:read at the start", "a1", "B2", account, list, 0, ig.ErrOtherAccount, byDroplet},
		{"another team, known by a Droplet that was just made", "a1", "b2", none, create, 0, ig.ErrOtherAccount, byDroplet},
		{"nothing is known", "a1", "b2", none, none, 0, ig.ErrNotFound, ""},
		{"the question fails", "A1", "A2", account, list, 500, ig.ErrUnauthorized, ""},
		{"the new token is refused too", "A1", "A2", account, list, 401, ig.ErrUnauthorized, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, token := &accounts{asked: map[string]int{}}, &rotating{token: tt.first}
				c := withToken(t, a, token)
				tt.before(c)
				tt.after(c)
				token.token = tt.second
				a.set(tt.first, tt.fault)

				if err := sendGet(c); !errors.Is(err, tt.want) {
					t.Errorf("the look-up of a Droplet: %v, want %v", err, tt.want)
				}
				asked := a.sent(tt.second)
				if errors.Is(tt.want, ig.ErrUnauthorized) { // nothing is known of the token: it is asked about again later
					if _ = sendGet(c); a.sent(tt.second) != asked {
						t.Error("the new token was asked about again at once")
					}
					a.set(tt.first, 0)
					time.Sleep(renewPause)
					if err := sendGet(c); err != nil {
						t.Errorf("when the question is answered: %v", err)
					}
				}
				if !errors.Is(tt.want, ig.ErrOtherAccount) {
					return
				}
				// Nothing is sent with that token, and it is not asked about again.
				for _, o := range operations {
					value, err := o.call(t.Context(), c)
					if e := cloudError(t, err); !errors.Is(e, ig.ErrOtherAccount) || !zero(value) || !strings.Contains(e.Message, tt.says) {
						t.Errorf("%s: %v, %v", o.name, value, err)
					}
				}
				if n := a.sent(tt.second); n != asked {
					t.Errorf("%d requests were sent with the token of another account", n-asked)
				}
				token.token = "A3" // of the right account
				if err := sendGet(c); err != nil {
					t.Errorf("with a token of the right account: %v", err)
				}
			})
		})
	}
}

// However many requests are refused at once, the new token is asked about once.
func TestVerifiedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, token := &accounts{asked: map[string]int{}}, &rotating{token: "A1"}
		c := withToken(t, a, token)
		if _, err := c.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		token.token = "A2"
		a.set("A1", 0)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := sendGet(c); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := a.sent("A2"); n != 21 || token.reads != 2 {
			t.Errorf("%d requests with the new token, want 20 and one question; it was read %d times", n, token.reads)
		}
	})
}

// A Droplet that is being deleted, or that a list lacks, says nothing about the
// account: its 404 is expected.
func TestDeletedDropletsAreNoWitnesses(t *testing.T) {
	for name, after := range map[string][2]func(*Client) error{ // before and after they are gone
		"a list lacks them": {sendList, sendList},
		"one is deleted, the others by a tag": {func(c *Client) error {
			return errors.Join(sendList(c), sendDelete(c), c.TagDroplets(context.Background(), ig.DeleteTag("ci"), []int64{2, 3}))
		}, func(*Client) error { return nil }},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, token := &accounts{asked: map[string]int{}}, &rotating{token: "a1"}
			c := withToken(t, a, token)
			err := after[0](c)
			a.gone = true
			if err := errors.Join(err, after[1](c)); err != nil {
				t.Fatal(err)
			}
			token.token = "a2"
			a.set("a1", 0)
			if _, err := c.Regions(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// GPU Droplets count, and are in a list of their own, which has everybody's.
func TestUsage(t *testing.T) {
	sim, c := simulated(t)
	for _, d := range []dosim.Droplet{
		{Name: "ci-7k2m9qxabc", Tags: []string{groupTag}}, {Name: "db"}, {Name: "web"},
		{Name: "ci-7k2m9qxabd", Tags: []string{groupTag}, Size: "gpu-h100x1-80gb"}, {Name: "llm", Size: "gpu-h100x1-80gb"},
	} {
		sim.AddDroplet(d)
	}
	if u, err := c.Usage(t.Context(), groupTag); err != nil || u != (ig.Usage{Limit: 5000, Others: 3}) {
		t.Errorf("%+v, %v; want a limit of 5000 and 3 others", u, err)
	}
	sim.Inject(dosim.Fault{Op: opAccount, Status: 403, Times: -1})
	if u, err := c.Usage(t.Context(), groupTag); err != nil || u != (ig.Usage{Others: 3}) {
		t.Errorf("without account:read: %+v, %v; want no limit and 3 others", u, err)
	}
}
