package digitalocean

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestFaults: whatever goes wrong at whatever request, the error is a CloudError
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
		{"connection refused", dosim.Fault{Refused: true}, instancegroup.ErrUnsent, true, 0},
		{"reset before it was processed", dosim.Fault{Reset: true}, instancegroup.ErrAmbiguous, true, 0},
		{"reset after it was processed", dosim.Fault{Reset: true, Applied: true}, instancegroup.ErrAmbiguous, true, 0},
		{"hang", dosim.Fault{Hang: true}, instancegroup.ErrAmbiguous, true, 0},
		{"hang after it was processed", dosim.Fault{Hang: true, Applied: true}, instancegroup.ErrAmbiguous, true, 0},
		{"500", dosim.Fault{Status: 500}, instancegroup.ErrAmbiguous, true, 0},
		{"500 after it was processed", dosim.Fault{Status: 500, Applied: true}, instancegroup.ErrAmbiguous, true, 0},
		{"502 without a body", dosim.Fault{Status: 502, Body: dosim.EmptyBody}, instancegroup.ErrAmbiguous, true, 0},
		{"503 in HTML", dosim.Fault{Status: 503, Body: dosim.HTMLBody}, instancegroup.ErrAmbiguous, true, 0},
		{"503 that asks for patience", dosim.Fault{Status: 503, Header: map[string]string{"Retry-After": "60"}}, instancegroup.ErrAmbiguous, false, time.Minute},
		{"503 cut", dosim.Fault{Status: 503, Cut: true}, instancegroup.ErrAmbiguous, true, 0},
		{"429", dosim.Fault{Status: 429}, instancegroup.ErrThrottled, false, 0},
		{"429, come again soon", dosim.Fault{Status: 429, Header: map[string]string{"Retry-After": "1"}}, instancegroup.ErrThrottled, true, time.Second},
		{"429, come again later", dosim.Fault{Status: 429, Header: map[string]string{"Retry-After": "30"}}, instancegroup.ErrThrottled, false, 30 * time.Second},
		{"400", dosim.Fault{Status: 400}, instancegroup.ErrInvalid, false, 0},
		{"401", dosim.Fault{Status: 401}, instancegroup.ErrUnauthorized, false, 0},
		{"403", dosim.Fault{Status: 403}, instancegroup.ErrForbidden, false, 0},
		{"404", dosim.Fault{Status: 404}, instancegroup.ErrNotFound, false, 0},
		{"408", dosim.Fault{Status: 408}, instancegroup.ErrAmbiguous, false, 0},
		{"422", dosim.Fault{Status: 422}, instancegroup.ErrInvalid, false, 0},
		{"304", dosim.Fault{Status: 304, Body: dosim.EmptyBody}, instancegroup.ErrAmbiguous, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, o := range operations {
				synctest.Test(t, func(t *testing.T) {
					sim := dosim.New(dosim.Options{Token: testToken})
					defer sim.Close()
					fault := tt.fault
					fault.Op, fault.Times = o.op, -1
					sim.Inject(fault)
					ctx, cancel := context.WithTimeout(t.Context(), bound)
					defer cancel()

					began := time.Now()
					value, err := o.call(ctx, over(t, sim.Transport()))
					took := time.Since(began)

					if o.op == opGetTag && tt.fault.Status == 404 {
						if err != nil || value != false {
							t.Errorf("%s: %v, %v of a tag that is not there", o.name, value, err)
						}
						return
					}
					e := cloudError(t, err)
					if !errors.Is(err, tt.class) {
						t.Errorf("%s: %v is of class %q, want %q", o.name, err, e.Class, tt.class)
					}
					if !zero(value) {
						t.Errorf("%s: a value besides the error: %+v", o.name, value)
					}
					if e.Op != o.op || e.Message == "" || strings.ContainsAny(e.Error(), "\r\n<") {
						t.Errorf("%s: the error does not say what failed, in one line: %q", o.name, e)
					}
					if e.RetryAfter != tt.wait {
						t.Errorf("%s: RetryAfter = %s, want %s", o.name, e.RetryAfter, tt.wait)
					}
					times := 1
					if o.reads() && tt.repeated {
						times = readTries
					}
					if o.op == opTagDroplets && errors.Is(err, instancegroup.ErrNotFound) {
						times = 2 // the tag is made in between
					}
					if got := sim.RequestCounts()[o.op]; got != times {
						t.Errorf("%s was sent %d times, want %d", o.name, got, times)
					}
					if took > bound {
						t.Errorf("%s took %s", o.name, took)
					}
				})
			}
		})
	}
}

// TestCutAnswers: an answer of which the end is missing is no answer.
func TestCutAnswers(t *testing.T) {
	const half = `{"droplets":[{"id":1`
	for what, body := range map[string]func() io.Reader{
		"whole, and half of an answer": func() io.Reader { return strings.NewReader(half) },
		"cut off on the way": func() io.Reader {
			return io.MultiReader(strings.NewReader(half), iotest.ErrReader(io.ErrUnexpectedEOF))
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			for _, o := range operations {
				if !o.bodied {
					continue
				}
				c := over(t, answering(func(*http.Request) (*http.Response, error) {
					resp := answer(200, "")
					resp.Body = io.NopCloser(body())
					return resp, nil
				}))
				if value, err := o.call(t.Context(), c); !errors.Is(err, instancegroup.ErrAmbiguous) || !zero(value) {
					t.Errorf("%s, %s: value %v, error %v; want an ambiguous error", o.name, what, value, err)
				}
			}
		})
	}
}

// TestReadsHeal: a GET that fails once is not noticed.
func TestReadsHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fault := range []dosim.Fault{{Refused: true}, {Reset: true}, {Hang: true}, {Status: 503}, {Cut: true},
			{Status: 429, Header: map[string]string{"Retry-After": "2"}}} {
			sim := dosim.New(dosim.Options{Token: testToken})
			fault.Op = "GET /v2/regions"
			sim.Inject(fault)
			if _, err := over(t, sim.Transport()).Regions(t.Context()); err != nil {
				t.Errorf("after %s once: %v", fault, err)
			}
			if n := sim.RequestCounts()["GET /v2/regions"]; n != 2 {
				t.Errorf("after %s once: %d requests, want 2", fault, n)
			}
			sim.Close()
		}
	})
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		status  int
		message string
		want    error
	}{
		{422, "creating this/these droplet(s) will exceed your droplet limit", instancegroup.ErrQuota},
		{403, "creating this/these droplet(s) will exceed your droplet limit", instancegroup.ErrQuota},
		{422, "Size is not available in this region.", instancegroup.ErrCapacity},
		{422, "Region is not available", instancegroup.ErrCapacity},
		{422, "You specified an invalid size for Droplet creation.", instancegroup.ErrCapacity},
		{422, "You specified an invalid image for Droplet creation.", instancegroup.ErrCapacity},
		{422, "512, 513 are invalid key identifiers for Droplet creation.", instancegroup.ErrKey},
		{422, "Droplet already has a pending event.", instancegroup.ErrPending},
		{422, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)", instancegroup.ErrInvalid},
		{403, "You are not authorized to perform this operation", instancegroup.ErrForbidden},
		{401, "Unable to authenticate you", instancegroup.ErrUnauthorized},
		{500, "creating this/these droplet(s) will exceed your droplet limit", instancegroup.ErrAmbiguous},
		{301, "", instancegroup.ErrAmbiguous},
	} {
		t.Run(strconv.Itoa(tt.status)+" "+tt.message, func(t *testing.T) {
			if got := classify(tt.status, tt.message); !errors.Is(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"DigitalOcean's own", `{"id":"x","message":"No, because."}`, "No, because."},
		{"its other form", `{"error":{"code":5,"message":"No, because."}}`, "No, because."},
		{"HTML", dosim.HTMLBody, "an HTML page instead of an answer"},
		{"nothing", "", "no message"},
		{"text", "upstream\n\n  connect\x1b[31m error\x00", "upstream connect [31m error"},
		{"a long text", strings.Repeat("a", 1<<20), strings.Repeat("a", 300) + "..."},
		{"wrong types", `{"message":[1]}`, `{"message":[1]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent int
			_, err := over(t, always(&sent, 422, tt.body)).Sizes(t.Context())
			if got := cloudError(t, err).Message; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }
		for header, want := range map[string]time.Duration{
			"": 0, "0": 0, "-5": 0, "soon": 0, "1.5": 0, "7": 7 * time.Second,
			"99999999999999999999": 0, // not a number that Go can hold
			"9223372036854775807":  time.Hour,
			"86400":                time.Hour,
			at(90 * time.Second):   90 * time.Second,
			at(-time.Minute):       0,
			at(48 * time.Hour):     time.Hour,
		} {
			if got := retryAfter(map[string][]string{"Retry-After": {header}}); got != want {
				t.Errorf("Retry-After %q: %s, want %s", header, got, want)
			}
		}
	})
}
