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
// token's first letter is its team. An upper-case token has every scope; a
// lower-case one lacks account:read.
type accounts struct {
	sims    map[string]*dosim.Sim
	revoked string         // this token is refused
	fault   *dosim.Fault   // of GET /v2/account
	asked   map[string]int // requests by token
	mu      sync.Mutex
}

func newAccounts(t *testing.T) *accounts {
	a := &accounts{sims: map[string]*dosim.Sim{}, asked: map[string]int{}}
	for _, team := range []string{"A", "B"} {
		a.sims[team] = dosim.New(dosim.Options{Token: "any"})
		t.Cleanup(a.sims[team].Close)
	}
	return a
}

func (a *accounts) RoundTrip(r *http.Request) (*http.Response, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	a.asked[token]++
	revoked, fault := a.revoked == token, a.fault
	a.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	team := strings.ToUpper(token[:1])
	if revoked {
		return answer(401, dosim.ErrorBody("unauthorized", "Unable to authenticate you")), nil
	}
	if r.URL.Path == "/v2/account" {
		switch {
		case fault != nil:
			return answer(fault.Status, dosim.ErrorBody("x", "y")), nil
		case token[0] >= 'a':
			return answer(403, dosim.ErrorBody("forbidden", "You are not authorized to perform this operation")), nil
		}
		return answer(200, `{"account":{"droplet_limit":10,"uuid":"person","team":{"uuid":"uuid-`+team+`","name":"Team `+team+`"}}}`), nil
	}
	r.Header.Set("Authorization", "Bearer any")
	return a.sims[team].Transport().RoundTrip(r)
}

func (a *accounts) sent(token string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[token]
}

// After a token changed nothing is concluded before the account is known to be the
// same.
func TestOtherAccount(t *testing.T) {
	for _, tt := range []struct {
		name       string
		first      string // the token at the start
		second     string // and then
		account    bool   // the account is read at the start, as Init does
		knows      string // by which request a Droplet is known before the token changes
		fault      *dosim.Fault
		wantLookUp error // nil = the Droplet is found
		says       string
	}{
		{"the same team, known by its id", "A1", "A2", true, "", nil, nil, ""},
		{"another team, known by its id", "A1", "B2", true, "list", nil, ig.ErrOtherAccount,
			`not sent: the token is now one of the account or team "Team B" (uuid-B), and the Droplets are those of "Team A" (uuid-A): put a token of the latter`},
		{"the same team, known by a Droplet", "A1", "a2", true, "list", nil, nil, ""},
		{"another team, known by a Droplet", "A1", "b2", true, "list", nil, ig.ErrOtherAccount, "it seems to be another account's"},
		{"the same team, without account:read at the start", "a1", "A2", true, "list", nil, nil, ""},
		{"another team, without account:read at the start", "a1", "B2", true, "list", nil, ig.ErrOtherAccount, "it seems to be another account's"},
		{"another team, known by a Droplet that was just made", "a1", "b2", false, "create", nil, ig.ErrOtherAccount, "it seems to be another account's"},
		{"nothing is known", "a1", "b2", false, "", nil, ig.ErrNotFound, ""},
		{"the question fails", "A1", "A2", true, "list", &dosim.Fault{Status: 500}, ig.ErrUnauthorized, ""},
		{"the new token is refused too", "A1", "A2", true, "list", &dosim.Fault{Status: 401}, ig.ErrUnauthorized, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccounts(t)
				id := int64(a.sims["A"].AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: []string{groupTag}}))
				a.sims["B"].AddDroplet(dosim.Droplet{Name: "other"})
				a.sims["B"].Destroy(int(id))
				time.Sleep(time.Minute)
				token := &rotating{token: tt.first}
				c := withToken(t, a, token)
				if tt.account {
					_, _ = c.Account(t.Context())
				}
				switch tt.knows {
				case "list":
					if l, err := c.List(t.Context(), groupTag, false); err != nil || len(l.Droplets) != 1 {
						t.Fatal(l, err)
					}
				case "create":
					made, err := c.Create(t.Context(), ig.CreateRequest{Names: []string{"ci-7k2m9qxabd"}, Region: "nyc3", Size: "s-1vcpu-1gb",
						Image: ig.Image{Slug: "debian-13-x64"}, Template: ig.Template{PublicNetworking: true}})
					if err != nil {
						t.Fatal(err)
					}
					id = made.Droplets[0].ID
				default:
					_, _ = c.Regions(t.Context())
				}
				token.token, a.revoked, a.fault = tt.second, tt.first, tt.fault

				if _, err := c.Get(t.Context(), id); !errors.Is(err, tt.wantLookUp) {
					t.Errorf("the look-up of a Droplet: %v, want %v", err, tt.wantLookUp)
				}
				first, second := a.sent(tt.first), a.sent(tt.second)
				if !errors.Is(tt.wantLookUp, ig.ErrOtherAccount) {
					if _, err := c.Get(t.Context(), id); errors.Is(err, ig.ErrUnauthorized) && a.sent(tt.second) != second {
						t.Error("the new token was asked about again at once")
					}
					return
				}

				// Nothing is sent, and the token is not asked about again.
				for _, o := range operations {
					value, err := o.call(t.Context(), c)
					if e := cloudError(t, err); !errors.Is(e, ig.ErrOtherAccount) || !zero(value) || !strings.Contains(e.Message, tt.says) {
						t.Errorf("%s: %v, %v", o.name, value, err)
					}
				}
				reads := token.reads
				if a.sent(tt.first) != first || a.sent(tt.second) != second || reads > 3 {
					t.Errorf("%d requests were sent, the token was read %d times", a.sent(tt.second)-second, reads)
				}
				time.Sleep(renewPause)
				_, _ = c.Get(t.Context(), id)
				_, _ = c.Get(t.Context(), id)
				if token.reads != reads+1 || a.sent(tt.second) != second {
					t.Errorf("after a while the token was read %d times and asked about %d times, want once and not", token.reads-reads, a.sent(tt.second)-second)
				}

				// A token of the right account heals it.
				token.token = "A3"
				time.Sleep(renewPause)
				if d, err := c.Get(t.Context(), id); err != nil || d.ID != id {
					t.Errorf("with a token of the right account: %v", err)
				}
			})
		})
	}
}

// However many requests are refused at once, the new token is asked about once.
func TestVerifiedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(t)
		token := &rotating{token: "A1"}
		c := withToken(t, a, token)
		if _, err := c.Account(t.Context()); err != nil {
			t.Fatal(err)
		}
		token.token, a.revoked = "A2", "A1"
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Regions(t.Context()); err != nil {
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
	list := func(ctx context.Context, c *Client, _ []int64) error {
		_, err := c.List(ctx, groupTag, false)
		return err
	}
	for name, tt := range map[string]struct {
		before, after func(context.Context, *Client, []int64) error
	}{
		"a list lacks them": {list, list},
		"one is deleted, the others by a tag": {func(ctx context.Context, c *Client, ids []int64) error {
			_, err := c.Delete(ctx, ids[0])
			return errors.Join(err, c.TagDroplets(ctx, ig.DeleteTag("ci"), ids[1:]))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAccounts(t)
				var ids []int64
				for range 3 {
					ids = append(ids, int64(a.sims["A"].AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: []string{groupTag}})))
				}
				token := &rotating{token: "a1"}
				c := withToken(t, a, token)
				if err := errors.Join(list(t.Context(), c, nil), tt.before(t.Context(), c, ids)); err != nil {
					t.Fatal(err)
				}
				for _, id := range ids {
					a.sims["A"].Destroy(int(id))
				}
				time.Sleep(time.Minute)
				if tt.after != nil {
					if err := tt.after(t.Context(), c, ids); err != nil {
						t.Fatal(err)
					}
				}
				token.token, a.revoked = "a2", "a1"
				if _, err := c.Regions(t.Context()); err != nil {
					t.Error(err)
				}
			})
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
