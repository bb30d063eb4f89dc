package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
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
		{Reset: true, Applied: true}, {Cut: true}, {Status: 401}, {Status: 403}, {Status: 422}, {Status: 429},
		{Status: 503, Body: dosim.HTMLBody}, {Status: 200, Body: "{}"},
		{Status: 307, Header: map[string]string{"Location": "https://" + token + ".example/"}},
	}
	for _, at := range []struct {
		phase string
		ops   []string
	}{
		{"Init", []string{"*"}}, {"life", []string{"*"}},
		// what comes only after other requests have succeeded
		{"life", []string{"POST /v2/tags/{tag}/resources", "DELETE /v2/account/keys/{id}"}}, {"life", []string{"DELETE /v2/droplets", "DELETE /v2/tags/{tag}"}},
	} {
		for _, fault := range faults {
			t.Run(fmt.Sprint(at, fault), func(t *testing.T) {
				onAccount(t, dosim.Options{Token: token}, func(t *testing.T, sim *dosim.Sim) {
					key := someKey(t)
					g := configured(t, sim, options{"token": token})
					g.transport = echo{sim.Transport()}
					inject := func(phase string) {
						for _, fault.Op = range at.ops {
							if fault.Times = -1; at.phase == phase {
								sim.Inject(fault)
							}
						}
					}
					var book logBook
					said := &strings.Builder{}
					say := func(v any, err error) { fmt.Fprintf(said, "%+v %v\n", v, err) }
					update := func() {
						time.Sleep(30 * time.Second)
						say(nil, g.Update(t.Context(), func(id string, s provider.State) { say(id, nil) }))
					}

					inject("Init")
					info, err := g.Init(t.Context(), book.logger(), provider.Settings{ConnectorConfig: provider.ConnectorConfig{Key: key}})
					say(info, err)
					inject("life")
					n, err := g.Increase(t.Context(), 12)
					say(n, err)
					for range 3 {
						update()
					}
					for _, name := range names(sim) {
						_, err := g.ConnectInfo(t.Context(), name)
						say(nil, err)
						say(nil, g.Heartbeat(t.Context(), name))
					}
					ids, err := g.Decrease(t.Context(), names(sim)) // more than go by their ids
					say(ids, err)
					update()
					say(nil, g.Shutdown(t.Context()))

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

// echo sends the request's token back in every error: in its message or page,
// and as the request id.
type echo struct{ base http.RoundTripper }

func (e echo) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := r.Header.Get("Authorization")
	resp, err := e.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w (while sending %q)", err, sent)
	}
	resp.Header.Set("X-Request-Id", sent)
	if resp.StatusCode >= 400 {
		resp.Body.Close()
		body := fmt.Sprintf(`{"id":"x","message":"I got %s","request_id":%q}`, sent, sent)
		if resp.Header.Get("Content-Type") == "text/html" {
			body = "<html><title>I got " + sent + "</title></html>"
		}
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp, nil
}
