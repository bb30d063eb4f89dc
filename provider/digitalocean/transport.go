package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	// readTimeout bounds one attempt at a GET, readRepeats how often a failed
	// one is repeated. The caller's context bounds them all.
	readTimeout = 8 * time.Second
	readRepeats = 2

	// maxBody bounds an answer. A page of 200 Droplets is about 1 MiB.
	maxBody = 32 << 20

	// maxRetryAfter is the longest that a GET waits for DigitalOcean's rate
	// limit inside a call. Longer waits are the caller's to plan.
	maxRetryAfter = 2 * time.Second
)

// newTransport is Go's default transport with room for the concurrency of a
// Group on one host.
func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	return t
}

// authorizer adds the token. After a 401 it reads the token again and, if it
// has changed, sends the request once more: a 401 proves that nothing was done.
type authorizer struct {
	base  http.RoundTripper
	token func() (string, error)

	mu      sync.Mutex
	current string // "" = not read yet
}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.get("")
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	fresh, terr := a.get(token)
	if terr != nil || fresh == token || (req.Body != nil && req.GetBody == nil) {
		return resp, nil
	}
	resp.Body.Close()
	if req.GetBody != nil {
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return a.send(req, fresh)
}

func (a *authorizer) send(req *http.Request, token string) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return a.base.RoundTrip(r)
}

// get returns the token, read again if the one in use is refused.
func (a *authorizer) get(refused string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current == refused {
		fresh, err := a.token()
		if err != nil {
			return "", tokenError{err}
		}
		a.current = fresh
	}
	return a.current, nil
}

// used returns the token in use, to keep it out of messages.
func (a *authorizer) used() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current
}

// tokenError is a token that could not be read: nothing was sent.
type tokenError struct{ error }

func (e tokenError) Unwrap() error { return e.error }

// limitBodies cuts off answers that are larger than any that makes sense.
type limitBodies struct{ base http.RoundTripper }

func (l limitBodies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxBody), resp.Body}
	}
	return resp, err
}

// repeatReads repeats a GET that failed in a way that time may heal. Nothing
// else is ever repeated here: a POST that was carried out and not answered
// would make Droplets twice.
func repeatReads(base http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.HTTPClient = &http.Client{Transport: base, Timeout: readTimeout, CheckRedirect: refuseRedirects}
	c.Logger = nil
	c.RetryMax = readRepeats
	c.RetryWaitMin, c.RetryWaitMax = 250*time.Millisecond, time.Second
	c.ErrorHandler = retryablehttp.PassthroughErrorHandler
	c.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err != nil:
			return !errors.As(err, new(tokenError)), nil
		case resp.StatusCode == http.StatusTooManyRequests:
			wait := retryAfter(resp.Header)
			return wait > 0 && wait <= maxRetryAfter, nil
		}
		return resp.StatusCode >= 500, nil
	}
	return reads{c, base}
}

type reads struct {
	repeating *retryablehttp.Client
	once      http.RoundTripper
}

func (r reads) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return r.once.RoundTrip(req)
	}
	again, err := retryablehttp.FromRequest(req)
	if err != nil {
		return nil, err
	}
	return r.repeating.Do(again)
}

// refuseRedirects keeps the token from going where DigitalOcean's API is not,
// and a POST from being sent again. The API does not redirect.
func refuseRedirects(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the API redirects to %s, which is not followed; is api_url right?", req.URL.Host)
}
