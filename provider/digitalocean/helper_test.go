package digitalocean

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const testToken = "dop_v1_0123456789abcdef"

// over makes a Client whose requests transport carries.
func over(t *testing.T, transport http.RoundTripper) *Client {
	t.Helper()
	c, err := New(Options{
		URL:       "https://api.digitalocean.com",
		UserAgent: "test/1",
		Token:     func() (string, error) { return testToken, nil },
		Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering is a server in a function.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

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
	return func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		*count++
		mu.Unlock()
		resp := answer(status, body, headers...)
		resp.Request = r
		return resp, nil
	}
}

// cloudError returns err as the CloudError that it has to be.
func cloudError(t *testing.T, err error) *instancegroup.CloudError {
	t.Helper()
	e, ok := errors.AsType[*instancegroup.CloudError](err)
	if !ok {
		t.Fatalf("the error is %T, not a CloudError: %v", err, err)
	}
	return e
}
