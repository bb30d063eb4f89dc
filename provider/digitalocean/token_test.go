package digitalocean

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

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
			before := len(sim.Requests())
			if _, err = o.call(t.Context(), c); !errors.Is(err, ig.ErrUnauthorized) || len(sim.Requests()) != before+o.first() {
				t.Errorf("%s: the refused token was sent %d times: %v", o.name, len(sim.Requests())-before, err)
			}
		})
	}
}

func TestTokenCannotBeRead(t *testing.T) {
	sim := dosim.New(dosim.Options{Token: "old"})
	defer sim.Close()
	token := &rotating{}
	c := withToken(t, sim.Transport(), token)
	for want, err := range map[string]error{"/etc/do does not exist": errors.New("token_file /etc/do does not exist"), "the token is empty": nil} {
		token.err = err
		if _, err := c.Delete(t.Context(), 1); !errors.Is(err, ig.ErrUnsent) || !strings.Contains(err.Error(), want) || len(sim.Requests()) > 0 {
			t.Errorf("error %v after %d requests; want an unsent one that says %q", err, len(sim.Requests()), want)
		}
	}

	// In mid-life: the refusal is what counts.
	token.token, token.err = "revoked", nil
	if _, err := c.Regions(t.Context()); !errors.Is(err, ig.ErrUnauthorized) {
		t.Error(err)
	}
	token.err = errors.New("gone")
	if _, err := c.Regions(t.Context()); !errors.Is(err, ig.ErrUnauthorized) {
		t.Error(err)
	}
}

// DigitalOcean, or what stands in for it, may send back whatever it was sent. No
// token, present or past, gets into an error or a request id, whole or in part.
func TestTokenIsNeverRepeated(t *testing.T) {
	synctest.Test(t, testTokenIsNeverRepeated)
}

func testTokenIsNeverRepeated(t *testing.T) {
	const first, second = "dop_v1_5e471e1f1257", "dop_v1_5e471e1f5ec0"
	for _, status := range []int{200, 204, 302, 401, 422, 503} {
		for _, padding := range []int{0, 45, 285} { // request ids are cut at 64, messages at 300
			echo := strings.Repeat(".", padding) + first + " " + second
			for _, body := range []string{echo, "{}", fmt.Sprintf(`{"message":%q,"request_id":%q}`, echo, echo), fmt.Sprintf(`[%q]`, echo)} {
				c := withToken(t, always(new(int), status, body, "x-request-id", echo, "Location", "https://"+first+".example/", "Retry-After", echo, "Content-Type", echo), &rotating{token: first})
				c.auth.token, c.auth.seen = second, []secret{first, second}
				for _, o := range operations {
					value, err := o.call(t.Context(), c)
					if said := fmt.Sprintf("%+v %v", value, err); strings.Contains(said, "5e471e1f") {
						t.Fatalf("%s answered %d: %s", o.name, status, said)
					}
				}
			}
		}
	}
	c := withToken(t, answering(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("malformed HTTP response %q", r.Header.Get("Authorization"))
	}), &rotating{token: first})
	if _, err := c.Delete(t.Context(), 1); err == nil || strings.Contains(err.Error(), "5e471e1f") {
		t.Error(err)
	}
}
