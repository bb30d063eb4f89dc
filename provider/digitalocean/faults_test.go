package digitalocean

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Whatever goes wrong at whatever request, the error is a CloudError
// of the right class, there is no value with it, what writes is sent once, what
// reads is repeated a bounded number of times, and nothing outlasts its context.
func TestFaults(t *testing.T) {
	const bound = 30 * time.Second
	for _, tt := range []struct {
		name     string
		fault    dosim.Fault
		class    error
		repeated bool          // a GET is
		wait     time.Duration // CloudError.RetryAfter
	}{
		{"connection refused", dosim.Fault{Refused: true}, ig.ErrUnsent, true, 0},
		{"reset after it was processed", dosim.Fault{Reset: true, Applied: true}, ig.ErrUnconfirmed, true, 0},
		{"hang after it was processed", dosim.Fault{Hang: true, Applied: true}, ig.ErrUnconfirmed, true, 0},
		{"500 after it was processed", dosim.Fault{Status: 500, Applied: true}, ig.ErrUnconfirmed, true, 0},
		{"502 without a body", dosim.Fault{Status: 502, Body: dosim.EmptyBody}, ig.ErrUnconfirmed, true, 0},
		{"503 that asks for patience", dosim.Fault{Status: 503, Header: map[string]string{"Retry-After": "60"}}, ig.ErrUnconfirmed, false, time.Minute},
		{"429", dosim.Fault{Status: 429}, ig.ErrRateLimited, false, 0},
		{"429, come again soon", dosim.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}}, ig.ErrRateLimited, true, time.Second},
		{"400", dosim.Fault{Status: 400}, ig.ErrRefused, false, 0},
		{"401", dosim.Fault{Status: 401}, ig.ErrUnauthorized, false, 0},
		{"403", dosim.Fault{Status: 403}, ig.ErrForbidden, false, 0},
		{"404", dosim.Fault{Status: 404}, ig.ErrNotFound, false, 0},
		{"408", dosim.Fault{Status: 408}, ig.ErrUnconfirmed, false, 0},
		{"422", dosim.Fault{Status: 422}, ig.ErrRefused, false, 0},
		{"401 of a proxy", dosim.Fault{Status: 401, Body: dosim.HTMLBody}, ig.ErrUnconfirmed, true, 0},
		{"404 without a body", dosim.Fault{Status: 404, Body: dosim.EmptyBody}, ig.ErrUnconfirmed, true, 0},
		{"404 of a gateway that speaks JSON", dosim.Fault{Status: 404, Body: `{"message":"no Route matched with those values"}`}, ig.ErrUnconfirmed, true, 0},
		{"404 with other JSON", dosim.Fault{Status: 404, Body: `{"error":"no route"}`}, ig.ErrUnconfirmed, true, 0},
		{"422 with a message that is no text", dosim.Fault{Status: 422, Body: `{"message":[1]}`}, ig.ErrUnconfirmed, true, 0},
		{"429 in HTML", dosim.Fault{Status: 429, Body: dosim.HTMLBody, Header: map[string]string{"Retry-After": "30"}}, ig.ErrRateLimited, false, 30 * time.Second},
		{"200 of a captive portal", dosim.Fault{Status: 200, Body: dosim.HTMLBody}, ig.ErrUnconfirmed, true, 0},
		// The token goes nowhere but to the API, and a POST is not sent again.
		{"302", dosim.Fault{Status: 302, Body: `{"id":"x"}`, Header: map[string]string{"Location": "https://elsewhere.example/v2/droplets"}}, ig.ErrUnconfirmed, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, o := range operations {
				synctest.Test(t, func(t *testing.T) {
					sim, c := simulated(t)
					fault := tt.fault
					fault.Op, fault.Times = o.op, -1
					sim.Inject(fault)
					ctx, cancel := context.WithTimeout(t.Context(), bound)
					defer cancel()

					began := time.Now()
					value, err := o.call(ctx, c)
					took := time.Since(began)
					missing := o.name == "CheckTagRead" && errors.Is(tt.class, ig.ErrNotFound)
					if missing || o.name == "Usage" && errors.Is(tt.class, ig.ErrForbidden) { // then the limit is unknown
						if err != nil {
							t.Errorf("%s: %v", o.name, err)
						}
						return
					}
					e := cloudError(t, err)
					if !errors.Is(err, tt.class) || e.RetryAfter != tt.wait || !zero(value) {
						t.Errorf("%s: %v, besides %v, is of class %q and asks for %s; want %q and %s", o.name, err, value, e.Class, e.RetryAfter, tt.class, tt.wait)
					}
					if e.Op != o.op || e.Message == "" || strings.ContainsAny(e.Error(), "\r\n<") {
						t.Errorf("%s: the error does not say what failed, in one line: %q", o.name, e)
					}
					times := 1
					switch {
					case o.reads() && tt.repeated && tt.wait > 0:
						times = 1 + int(readPatience/tt.wait)
					case o.reads() && tt.repeated:
						times = readTries
					}
					if got := sim.RequestCounts()[o.op]; got != times || took > bound || !tt.repeated && took > time.Second {
						t.Errorf("%s was sent %d times in %s, want %d", o.name, got, took, times)
					}
				})
			}
		})
	}
}

// An answer without its end is no answer, nor is JSON that has not what was asked for.
// An accepted create may leave all out.
func TestNoAnswer(t *testing.T) {
	for _, body := range []string{`{"droplets":[{"id":1`, `[]`, `{}`, `null`} {
		for _, cut := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c := over(t, answering(func(*http.Request) (*http.Response, error) {
					resp := answer(200, body)
					if cut {
						resp.Body = io.NopCloser(io.MultiReader(resp.Body, iotest.ErrReader(io.ErrUnexpectedEOF)))
					}
					return resp, nil
				}))
				for _, o := range operations {
					if !o.bodied() || o.op == opCreate && !cut && len(body) <= len("null") && body != "[]" {
						continue
					}
					if value, err := o.call(t.Context(), c); !errors.Is(err, ig.ErrUnconfirmed) || !zero(value) {
						t.Errorf("%s, %s: value %v, error %v; want an unconfirmed error", o.name, body, value, err)
					}
				}
			})
		}
	}
}

// A GET that fails once is not noticed, but by one who repeats it himself.
func TestReadsHeal(t *testing.T) {
	for _, fault := range []dosim.Fault{{Refused: true}, {Hang: true}, {Status: 503}, {Cut: true}, {Status: 429, Header: map[string]string{"Retry-After": "4"}}} {
		synctest.Test(t, func(t *testing.T) {
			sim, c := simulated(t)
			fault.Op = opRegions
			sim.Inject(fault)
			if _, err := c.Regions(t.Context()); err != nil || sim.RequestCounts()[opRegions] != 2 {
				t.Errorf("after %s once: %d requests, %v", fault, sim.RequestCounts()[opRegions], err)
			}
			sim.Inject(fault)
			if _, err := c.Regions(Once(t.Context())); err == nil {
				t.Errorf("%s: it was repeated", fault)
			}
		})
	}
}

// The texts are those of public reports.
func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		status  int
		message string
		want    error
	}{
		{422, "creating this/these droplet(s) will exceed your droplet limit", ig.ErrQuota},
		{403, "creating this/these droplet(s) will exceed your droplet limit", ig.ErrQuota},
		{422, "creating this/these droplet(s) will exceed your GPU limit", ig.ErrSizeLimit},
		{403, "Your account has reached its GPU Droplet limit.", ig.ErrSizeLimit},
		{422, "Size is not available in this region.", ig.ErrRefused},
		{422, "512, 513 are invalid key identifiers for Droplet creation.", ig.ErrKey},
		{422, "Droplet already has a pending event.", ig.ErrRefused},
		{409, "Conflict", ig.ErrRefused},
		{403, "You are not authorized to perform this operation", ig.ErrForbidden},
		{401, "Unable to authenticate you", ig.ErrUnauthorized},
		{500, "creating this/these droplet(s) will exceed your droplet limit", ig.ErrUnconfirmed},
		{301, "", ig.ErrUnconfirmed},
	} {
		if got := classify(tt.status, tt.message); !errors.Is(got, tt.want) {
			t.Errorf("%d %s: got %q, want %q", tt.status, tt.message, got, tt.want)
		}
	}
}

// What a person is told: one short line of what DigitalOcean says, or who answered
// instead; where the token comes from; every scope that a request needs, since DigitalOcean
// does not say which is missing; and what to do next.
func TestMessages(t *testing.T) {
	const between = "a proxy or gateway answered, not DigitalOcean's API: status 422, " +
		`content type "text/\nplain\x1b"; look at HTTPS_PROXY, NO_PROXY and plugin_config.api_url`
	for body, want := range map[string]string{
		`{"id":"x","message":"No, because."}`:                                "No, because.",
		`{"root_causes":["x"]}`:                                              "no message",
		`{"id":"x","message":"upstream\n\n  connect\u001b[31m error\u0000"}`: "upstream connect [31m error",
		`{"id":"x","message":"` + strings.Repeat("a", 1000) + `"}`:           strings.Repeat("a", 300),
		dosim.HTMLBody:           between,
		`{"id":"not_found","mes`: between,
	} {
		var sent int
		err := over(t, always(&sent, 422, body, "Content-Type", "text/\nplain\x1b")).RemoveTag(t.Context(), "x")
		if got := cloudError(t, err).Message; got != want || sent != 1 {
			t.Errorf("got %q, want %q; sent %d times", got, want, sent)
		}
	}
	c := newClient(t, Options{Source: "the file"})
	for _, tt := range []struct {
		op       string
		class    error
		end      string // of the error
		wantHint string // a part
	}{
		{opSizes, ig.ErrForbidden, "x: the token from the file lacks a scope that this needs, sizes:read or regions:read", "doctor shows which scopes"},
		{"GET /v2/actions", ig.ErrForbidden, "x", "doctor shows which scopes"},
		{opGet, ig.ErrUnauthorized, "x: the token comes from the file: put a valid one there", "cloud.digitalocean.com/account/api/tokens"},
		{opGet, ig.ErrOtherAccount, "x: the token comes from the file", "put a token of the team"},
		{opGet, ig.ErrRateLimited, "x", "try again in a minute"},
		{opGet, ig.ErrUnsent, "x", "api_url"},
		{opGet, ig.ErrUnconfirmed, "x", "status.digitalocean.com"},
	} {
		err := c.fail(tt.op, &ig.CloudError{Class: tt.class, Message: "x"})
		if hint := Hint(err); !errors.Is(err, tt.class) || !strings.HasSuffix(err.Error(), tt.end) || !strings.Contains(hint, tt.wantHint) {
			t.Errorf("%s: %v; %s", tt.op, err, hint)
		}
	}
	if hint := Hint(errors.New("another")); hint != "" {
		t.Error(hint)
	}
}
