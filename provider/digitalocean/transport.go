package digitalocean

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The layers of a request, from the top: repeatReads, authorizer, budget, wire,
// and the transport itself.

// newTransport makes the transport.
//
// HTTP/1.1 only: over HTTP/2 Go sends a POST again by itself after some resets,
// though it may have been carried out, and one dead connection stops everything.
func newTransport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		Protocols:           protocols,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 2 * atOnce, // a list of Droplets, and one of GPU Droplets
		// Shorter than any server's: a POST on a connection that the server has
		// just closed is unconfirmed.
		IdleConnTimeout: 15 * time.Second,
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
			if r.StatusCode != http.StatusOK {
				// Go's own error is the status text alone.
				return proxyError{fmt.Errorf("the proxy %s does not connect to DigitalOcean: %s", proxy.Host, r.Status)}
			}
			return nil
		},
	}
}

// proxyError is a proxy that refuses to connect: nothing was sent.
type proxyError struct{ error }

// refuseRedirects keeps the token from going where DigitalOcean's API is not,
// and a POST from being sent again. The API does not redirect.
func refuseRedirects(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the API redirects to %s, which is not followed; is api_url right?", req.URL.Host)
}

func closeIdle(t http.RoundTripper) {
	c := http.Client{Transport: t}
	c.CloseIdleConnections()
}

const (
	// readTimeout bounds one attempt at a GET, its answer's body included, and
	// readTries their number. The caller's context bounds them all.
	readTimeout = 8 * time.Second
	readTries   = 3

	// readPause is the pause after the first attempt. It doubles.
	readPause = 250 * time.Millisecond

	// maxPatience is the longest that a GET waits inside a call because
	// DigitalOcean asks it to. Longer waits are the caller's to plan.
	maxPatience = 2 * time.Second
)

// repeatReads repeats a GET that failed in a way that time may heal. Nothing
// else is ever repeated here: a POST that was carried out and not answered
// would make Droplets twice.
type repeatReads struct{ base http.RoundTripper }

func (r repeatReads) RoundTrip(req *http.Request) (*http.Response, error) {
	if path := req.URL.Path; strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return nil, errNoName
	}
	if req.Method != http.MethodGet {
		return r.base.RoundTrip(req)
	}
	pause := readPause
	for try := 1; ; try++ {
		resp, err := r.attempt(req)
		wait := pause
		if resp != nil {
			wait = max(pause, retryAfter(resp.Header))
		}
		if try == readTries || !temporary(resp, err) || wait > maxPatience {
			return resp, err
		}
		select {
		case <-time.After(wait):
		case <-req.Context().Done():
			return resp, err
		}
		pause *= 2
	}
}

// attempt sends a GET once and reads the whole answer, so that one which is cut
// off or never ends can be asked for again.
func (r repeatReads) attempt(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), readTimeout)
	defer cancel()
	resp, err := r.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if resp.ContentLength > 0 {
		body.Grow(int(resp.ContentLength) + bytes.MinRead)
	}
	if _, err = body.ReadFrom(resp.Body); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	return resp, nil
}

// temporary reports whether the same GET may fare better in a moment.
func temporary(resp *http.Response, err error) bool {
	if err != nil {
		return !errors.As(err, new(tokenError)) && !errors.As(err, new(otherAccountError)) &&
			!errors.As(err, new(limitedError)) && !errors.Is(err, errTooLarge)
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return retryAfter(resp.Header) > 0
	}
	return resp.StatusCode >= http.StatusInternalServerError
}

// wire sends a request exactly once, and lets nothing through that the API did
// not say: whatever is above it can believe a status.
type wire struct {
	base http.RoundTripper
	path string // of the API's address
}

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.GetBody = nil // with it Go's transport would send a request again by itself
	r.URL.Path = w.path + r.URL.Path
	if r.URL.RawPath != "" {
		r.URL.RawPath = w.path + r.URL.RawPath
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		if errors.Is(req.Context().Err(), context.DeadlineExceeded) {
			// The other connections may be as dead as this one: dial again.
			closeIdle(w.base)
		}
		return nil, err
	}
	if resp.ContentLength > maxBody {
		resp.Body.Close()
		return nil, errTooLarge
	}
	resp.Body = &limitedBody{resp.Body, maxBody}
	return fromAPI(resp)
}

// fromAPI returns resp if DigitalOcean's API said so. A proxy, a load balancer
// or a protection service answers with its own 401, 403 and 404, which
// say nothing about a token or a Droplet.
func fromAPI(resp *http.Response) (*http.Response, error) {
	contentType := resp.Header.Get("Content-Type")
	media, _, _ := mime.ParseMediaType(contentType)
	page := resp.StatusCode < 300 && media == "text/html" // a captive portal
	if resp.StatusCode < 400 && !page {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	var said struct {
		ID         lenient[string]   `json:"id"`
		Message    lenient[string]   `json:"message"`
		RootCauses lenient[[]string] `json:"root_causes"` // of a few operations on tags, in place of both
	}
	if json.Unmarshal(body, &said) != nil || page || said.ID.Value+said.Message.Value == "" && len(said.RootCauses.Value) == 0 {
		return nil, intermediaryError{resp.StatusCode, contentType}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// intermediaryError is an answer that is not the API's.
type intermediaryError struct {
	status      int
	contentType string
}

func (e intermediaryError) Error() string {
	what := "no content type"
	if e.contentType != "" {
		what = "content type " + e.contentType
	}
	return fmt.Sprintf("not DigitalOcean's API but something between here and it answered, with status %d and %s", e.status, what)
}

// maxBody bounds an answer. A page of 200 Droplets is about 1 MiB.
const maxBody = 4 << 20

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)

// limitedBody cuts off an answer that is larger than any that makes sense.
type limitedBody struct {
	io.ReadCloser
	left int
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
