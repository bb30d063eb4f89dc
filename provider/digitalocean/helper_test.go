package digitalocean

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

const (
	testToken = "dop_v1_0123456789abcdef"
	groupTag  = "fleeting-group:ci"
)

// over makes a Client whose requests transport carries.
func over(t testing.TB, transport http.RoundTripper) *Client {
	t.Helper()
	return newClient(t, Options{UserAgent: "test/1", Transport: transport})
}

// newClient makes a Client of the real API's address and testToken, unless o has others.
func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	if o.URL == "" {
		o.URL = "https://api.digitalocean.com"
	}
	if o.Token == nil {
		o.Token = func() (string, error) { return testToken, nil }
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// simulated makes a Client of a simulated DigitalOcean.
func simulated(t testing.TB) (*dosim.Sim, *Client) {
	t.Helper()
	sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: 5000})
	t.Cleanup(sim.Close)
	return sim, over(t, sim.Transport())
}

// answering is a server in a function.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// answer makes a response; headers come in pairs.
func answer(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// always answers every request the same, and counts them.
func always(count *int, status int, body string, headers ...string) answering {
	var mu sync.Mutex
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		*count++
		mu.Unlock()
		return answer(status, body, headers...), nil
	}
}

// saying makes a Client whose every request is answered with that body.
func saying(t testing.TB, body string) *Client {
	t.Helper()
	return over(t, always(new(int), 200, body))
}

// listing is a list of n small Droplets, in pages.
type listing struct {
	n       int
	latency time.Duration // of an answer
	strict  bool          // there is no page beyond the end

	mu       sync.Mutex
	requests int
}

func (l *listing) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	select {
	case <-time.After(l.latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if r.URL.Query().Get("type") != "" {
		return answer(200, pageOf(0, false)), nil
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	if l.strict && (n-1)*perPage >= l.n {
		return answer(404, `{"id":"not_found","message":"The resource you were accessing could not be found."}`), nil
	}
	var ids []int
	for id := (n-1)*perPage + 1; id <= min(n*perPage, l.n); id++ {
		ids = append(ids, id)
	}
	return answer(200, pageOf(l.n, n*perPage < l.n, ids...)), nil
}

// pageOf is one page of a list of Droplets.
func pageOf(total int, more bool, ids ...int) string {
	var droplets []string
	for _, id := range ids {
		droplets = append(droplets, fmt.Sprintf(`{"id":%d,"name":"ci-%08d","status":"active","tags":[%q]}`, id, id, groupTag))
	}
	links := ""
	if more {
		links = `"pages":{"next":"https://api.digitalocean.com/x"}`
	}
	return fmt.Sprintf(`{"droplets":[%s],"links":{%s},"meta":{"total":%d}}`, strings.Join(droplets, ","), links, total)
}

// cloudError returns err as the CloudError that it has to be.
func cloudError(t *testing.T, err error) *ig.CloudError {
	t.Helper()
	e, ok := errors.AsType[*ig.CloudError](err)
	if !ok {
		t.Fatalf("the error is %T, not a CloudError: %v", err, err)
	}
	return e
}
