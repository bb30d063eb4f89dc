package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// rotating is a token file that a person writes to.
type rotating struct {
	token string
	err   error
	reads int
}

func (r *rotating) read() (string, error) { r.reads++; return r.token, r.err }

func withToken(t *testing.T, transport http.RoundTripper, token *rotating) *Client {
	t.Helper()
	return newClient(t, Options{Token: token.read, Transport: transport})
}

// After a 401 the token is read again, and only a new one is tried, once. A POST
// is not sent again: its sender decides, and finds the new token in use.
func TestTokenRotation(t *testing.T) {
	for _, o := range operations {
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{Token: "old"})
			defer sim.Close()
			token := &rotating{token: "old"}
			c := withToken(t, sim.Transport(), token)
			if _, err := c.Regions(t.Context()); err != nil {
				t.Fatal(err)
			}
			sim.SetToken("new")
			token.token = "new"
			_, err := o.call(t.Context(), c)
			if slices.ContainsFunc(sim.Requests(), func(r dosim.Request) bool { return r.Method == http.MethodPost }) {
				// The regions, the refused one, and the question about the token.
				if !errors.Is(err, ig.ErrUnauthorized) || len(sim.Requests()) != 3 {
					t.Errorf("%s: sent %d times, error %v", o.name, len(sim.Requests())-2, err)
				}
				_, err = o.call(t.Context(), c)
			}
			if errors.Is(err, ig.ErrUnauthorized) || token.reads != 2 {
				t.Errorf("%s: %v; the token was read %d times, want 2", o.name, err, token.reads)
			}
			sim.SetToken("newer")
			before, once := len(sim.Requests()), 1
			if o.name == "Usage" {
				once = 4
			}
			if _, err = o.call(t.Context(), c); !errors.Is(err, ig.ErrUnauthorized) || len(sim.Requests()) != before+once {
				t.Errorf("%s: the refused token was sent %d times: %v", o.name, len(sim.Requests())-before, err)
			}
		})
	}
}

// A token that cannot be read is told of at the start. Later the refusal is what counts.
func TestTokenCannotBeRead(t *testing.T) {
	sim := dosim.New(dosim.Options{Token: "old"})
	defer sim.Close()
	token := &rotating{}
	c := withToken(t, sim.Transport(), token)
	for want, err := range map[string]error{"/etc/do does not exist": errors.New("token_file /etc/do does not exist"), "the token is empty": nil} {
		token.err = err
		if err := sendDelete(c); !errors.Is(err, ig.ErrUnsent) || !strings.Contains(err.Error(), want) || len(sim.Requests()) > 0 {
			t.Errorf("error %v after %d requests; want an unsent one that says %q", err, len(sim.Requests()), want)
		}
	}
	token.token = "revoked"
	for _, token.err = range []error{nil, errors.New("gone")} {
		if err := sendGet(c); !errors.Is(err, ig.ErrUnauthorized) {
			t.Error(err)
		}
	}
}

// DigitalOcean, or what stands in for it, may send back whatever it was sent. No
// token, present or past, gets into an error or a request id, whole or in part.
func TestTokenIsNeverRepeated(t *testing.T) {
	const first, second = "dop_v1_5e471e1f1257", "dop_v1_5e471e1f5ec0"
	tell := func(echo string, transport http.RoundTripper) {
		c := withToken(t, transport, &rotating{token: first})
		c.tokens.current.Store(second)
		c.tokens.seen.Store(first, nil)
		c.tokens.seen.Store(second, nil)
		for _, o := range operations {
			value, err := o.call(context.Background(), c)
			if said := fmt.Sprintf("%+v %v", value, err); strings.Contains(said, "5e471e1f") {
				t.Errorf("%s, told %q: %s", o.name, echo, said)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for _, status := range []int{200, 204, 302, 401, 422, 503} {
			for _, padding := range []int{0, 45, 285} { // request ids are cut at 64, messages at 300
				echo := strings.Repeat(".", padding) + first + " " + second
				for _, body := range []string{echo, "{}", fmt.Sprintf(`{"id":"x","message":%q,"request_id":%q}`, echo, echo), fmt.Sprintf(`[%q]`, echo)} {
					tell(echo, always(new(int), status, body, "x-request-id", echo, "Location", "https://"+first+".example/", "Retry-After", echo, "Content-Type", echo))
				}
			}
		}
		tell("an error", answering(func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed HTTP response %q", r.Header.Get("Authorization"))
		}))
	})
}

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
	has := team == "A" && !a.gone
	switch {
	case a.revoked == token:
		return answer(401, `{"id":"unauthorized","message":"Unable to authenticate you"}`), nil
	case r.URL.Path == "/v2/account" && a.fault != 0:
		return answer(a.fault, `{"id":"x","message":"No."}`), nil
	case r.URL.Path == "/v2/account" && token[0] >= 'a':
		return answer(403, `{"id":"forbidden","message":"No."}`), nil
	case r.URL.Path == "/v2/account":
		return answer(200, `{"account":{"uuid":"person","team":{"uuid":"uuid-`+team+`","name":"Team `+team+`"}}}`), nil
	case r.Method == http.MethodDelete:
		return answer(204, ""), nil
	case r.URL.Path == "/v2/droplets" && has && !ig.IsDeleteTag(r.URL.Query().Get("tag_name")):
		return answer(200, pageOf(3, 1, 2, 3)), nil
	case id != r.URL.Path && has:
		return answer(200, `{"droplet":{"id":`+id+`,"name":"ci-7k2m9qxabc","status":"active","tags":[]}}`), nil
	case id != r.URL.Path:
		return answer(404, `{"id":"not_found","message":"No."}`), nil
	}
	return answer(200, pageOf(0)), nil
}

// sent returns how many requests were sent with a token.
func (a *accounts) sent(token string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[token]
}

// After a token changed nothing is concluded before the account is known to be the
// same. It is asked about once, however many requests are refused together.
func TestOtherAccount(t *testing.T) {
	account := func(c *Client) error { _, err := c.Account(context.Background()); return err } // as Init does
	none := func(*Client) error { return nil }
	const byDroplet = "the new one finds none of the Droplets "
	for _, tt := range []struct {
		name          string
		first, second string              // the token at the start, and then
		before        func(*Client) error // the token changes
		after         func(*Client) error
		fault         int
		want          error // of the look-ups of a Droplet; nil = it is found
		says          string
	}{
		{"the same team, known by its id", "A1", "A2", account, sendList, 0, nil, ""},
		{"another team, known by its id", "A1", "B2", account, sendList, 0, ig.ErrOtherAccount,
			`not sent: the token is now one of the account or team "Team B" (uuid-B), and the Droplets are those of "Team A" (uuid-A): put a token of that team`},
		{"the same team, known by a Droplet", "A1", "a2", account, sendList, 0, nil, ""},
		{"another team, known by a Droplet", "A1", "b2", account, sendList, 0, ig.ErrOtherAccount, byDroplet + "[1 2 3]"},
		{"the same team, without account:read at the start", "a1", "A2", account, sendList, 0, nil, ""},
		{"another team, without account:read at the start", "a1", "B2", account, sendList, 0, ig.ErrOtherAccount, byDroplet},
		{"another team, known by a Droplet that was just made", "a1", "b2", none, sendCreate, 0, ig.ErrOtherAccount, byDroplet},
		{"another team, after a list of what is being deleted", "a1", "b2", sendList, func(c *Client) error {
			_, err := c.List(context.Background(), ig.DeleteTag("ci"), false)
			return err
		}, 0, ig.ErrOtherAccount, byDroplet},
		{"nothing is known", "a1", "b2", none, none, 0, ig.ErrNotFound, ""},
		{"the question fails", "A1", "A2", account, sendList, 500, ig.ErrUnauthorized, ""},
		{"the new token is refused too", "A1", "A2", account, sendList, 401, ig.ErrUnauthorized, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, token := &accounts{asked: map[string]int{}}, &rotating{token: tt.first}
			c := withToken(t, a, token)
			_, _ = tt.before(c), tt.after(c)
			token.token, token.reads = tt.second, 0
			a.revoked, a.fault = tt.first, tt.fault
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					if err := sendGet(c); !errors.Is(err, tt.want) {
						t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
					}
				})
			}
			wg.Wait()
			asked := a.sent(tt.second)
			if most := 20 + 4; token.reads != 1 || asked > most {
				t.Errorf("%s: the token was read %d times, and sent %d times; want once, and at most %d", tt.name, token.reads, asked, most)
			}
			if errors.Is(tt.want, ig.ErrOtherAccount) { // nothing is sent with that token, and it is not asked about again
				for _, o := range operations {
					value, err := o.call(t.Context(), c)
					if e := cloudError(t, err); !errors.Is(e, ig.ErrOtherAccount) || !zero(value) || !strings.Contains(e.Message, tt.says) {
						t.Errorf("%s, %s: %v, %v", tt.name, o.name, value, err)
					}
				}
				if n := a.sent(tt.second); n != asked {
					t.Errorf("%s: %d requests were sent with the token of another account", tt.name, n-asked)
				}
				token.token = "A3" // of the right account
			}
			if tt.want == nil || errors.Is(tt.want, ig.ErrNotFound) {
				return
			}
			a.mu.Lock()
			a.fault = 0
			a.mu.Unlock()
			time.Sleep(renewPause)
			if err := sendGet(c); err != nil {
				t.Errorf("%s: when the question is answered, or the token is right: %v", tt.name, err)
			}
		})
	}
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
			token.token, a.revoked = "a2", "a1"
			if err := sendGet(c); !errors.Is(err, ig.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
