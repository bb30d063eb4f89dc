package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestSecretsStaySecret: a token and a private key go through every kind of
// fault, with a server that sends back what it was sent, at trace level. Neither
// gets into a log or an error.
func TestSecretsStaySecret(t *testing.T) {
	const token = "dop_v1_5e471e1f00c0ffee"
	faults := []dosim.Fault{
		{}, {Refused: true}, {Reset: true, Applied: true}, {Hang: true}, {Cut: true}, {Status: 401}, {Status: 403}, {Status: 404},
		{Status: 422}, {Status: 429}, {Status: 500, Applied: true}, {Status: 503, Body: dosim.HTMLBody}, {Status: 200, Body: "{}"},
		{Status: 307, Header: map[string]string{"Location": "https://" + token + ".example/"}},
	}
	for _, at := range []struct{ phase, op string }{
		{"Init", "*"}, {"life", "*"},
		// what comes only after other requests have succeeded
		{"life", "POST /v2/tags/{tag}/resources"}, {"life", "DELETE /v2/droplets"}, {"life", "DELETE /v2/tags/{tag}"}, {"life", "DELETE /v2/account/keys/{id}"},
	} {
		for _, fault := range faults {
			t.Run(at.phase+" "+at.op+" "+fault.String(), func(t *testing.T) {
				ownState(t)
				synctest.Test(t, func(t *testing.T) {
					sim := dosim.New(dosim.Options{Token: token})
					defer sim.Close()
					key := someKey(t)
					g := configured(t, sim, options{"token": token})
					g.transport = echo{sim.Transport()}
					f := fault
					f.Op, f.Times = at.op, -1
					if at.phase == "Init" {
						sim.Inject(f)
					}
					var book logBook
					said := &strings.Builder{}
					tell := func(v any, err error) { fmt.Fprintf(said, "%+v %v\n", v, err) }

					info, err := g.Init(t.Context(), book.logger(), provider.Settings{ConnectorConfig: provider.ConnectorConfig{Key: key}})
					tell(info, err)
					if at.phase == "life" {
						sim.Inject(f)
					}
					n, err := g.Increase(t.Context(), 12)
					tell(n, err)
					for range 3 {
						time.Sleep(30 * time.Second)
						tell(nil, g.Update(t.Context(), func(id string, s provider.State) { tell(id, nil) }))
					}
					var names []string
					for _, d := range sim.Droplets() {
						names = append(names, d.Name)
						_, err := g.ConnectInfo(t.Context(), d.Name)
						tell(nil, err)
						tell(nil, g.Heartbeat(t.Context(), d.Name))
					}
					ids, err := g.Decrease(t.Context(), names) // more than go by their ids
					tell(ids, err)
					time.Sleep(30 * time.Second)
					tell(nil, g.Update(t.Context(), func(id string, s provider.State) { tell(id, nil) }))
					tell(nil, g.Shutdown(t.Context()))

					out := said.String() + book.String()
					secrets := []string{token, "5e471e1f", "PRIVATE KEY"}
					for line := range bytes.Lines(key) {
						if s := strings.TrimSpace(string(line)); len(s) > 40 {
							secrets = append(secrets, s[:40])
						}
					}
					if len(secrets) < 5 {
						t.Fatal("the key has no lines")
					}
					for _, secret := range secrets {
						if i := strings.Index(out, secret); i >= 0 {
							t.Errorf("%q got out:\n%s", secret, out[max(0, i-200):min(len(out), i+200)])
						}
					}
				})
			})
		}
	}
}

// echo sends the request's token back in every error: in its message, among
// HTML, and as the request id.
type echo struct{ base http.RoundTripper }

func (e echo) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := e.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w (while sending %q)", err, r.Header.Get("Authorization"))
	}
	resp.Header.Set("X-Request-Id", r.Header.Get("Authorization"))
	if resp.StatusCode >= 400 {
		body := fmt.Sprintf(`{"id":"x","message":"I got %s","request_id":%q}`, r.Header.Get("Authorization"), r.Header.Get("Authorization"))
		resp.Body.Close()
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp, nil
}
