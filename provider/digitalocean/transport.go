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
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
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
			if r.StatusCode == http.StatusOK {
				return nil
			}
			// Go's own error is the status text alone.
			return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: fmt.Errorf("the proxy %s does not connect to DigitalOcean: %s", proxy.Host, r.Status)}
		},
	}
}

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

	// readPatience is how long a read waits in all because it is asked to.
	readPatience = 5 * time.Second
)

// once is the key of a context whose reads are not repeated.
type once struct{}

// Once returns a context whose reads are sent once: for a caller that repeats them itself, at a pace.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, once{}, true) }

// repeatReads repeats a GET that failed in a way that time may heal. Nothing
// else is ever repeated here: a POST that was carried out and not answered
// would make Droplets twice.
type repeatReads struct{ base http.RoundTripper }

func (r repeatReads) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return r.base.RoundTrip(req)
	}
	tries, pause, patience := readTries, readPause, readPatience
	if req.Context().Value(once{}) != nil {
		tries = 1
	}
	for try := 1; ; {
		ctx, cancel := context.WithTimeout(req.Context(), readTimeout)
		resp, err := r.base.RoundTrip(req.WithContext(ctx))
		cancel() // wire has read the body
		asked, ok := temporary(resp, err)
		wait := max(pause, asked)
		if try == tries || !ok || wait > patience {
			return resp, err // to wait longer is the caller's to plan
		}
		patience -= wait
		select {
		case <-time.After(wait):
		case <-req.Context().Done():
			return resp, err
		}
		// One that the budget held, while another read tried, was not sent: no try.
		if _, unsent := errors.AsType[*ig.CloudError](err); !unsent {
			try++
			pause *= 2
		}
	}
}

// temporary reports whether the same GET may fare better in a moment, and how long that
// is if it is asked to wait.
func temporary(resp *http.Response, err error) (asked time.Duration, ok bool) {
	if err != nil {
		own, unsent := errors.AsType[*ig.CloudError](err)
		if !unsent {
			return 0, !errors.Is(err, errTooLarge)
		}
		return own.RetryAfter, own.RetryAfter > 0
	}
	asked = retryAfter(resp.Header)
	return asked, resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests && asked > 0
}

// wire sends a request exactly once and reads the whole answer. It lets nothing
// through that the API did not say: whatever is above it can believe a status.
type wire struct{ base http.RoundTripper }

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.GetBody = nil // with it Go's transport would send a request again by itself
	resp, err := w.base.RoundTrip(r)
	var body []byte
	if err == nil {
		body, err = readBody(resp)
	}
	if errors.Is(req.Context().Err(), context.DeadlineExceeded) {
		// The other connections may be as dead as this one: dial again.
		closeIdle(w.base)
	}
	switch {
	case err != nil:
		return nil, err
	case fromAPI(resp, body):
	case resp.StatusCode == http.StatusTooManyRequests: // it was not let through, whoever says so
		body = []byte(`{"message": "a proxy or gateway has a rate limit, not DigitalOcean's API"}`)
	default:
		return nil, fmt.Errorf("a proxy or gateway answered, not DigitalOcean's API: status %d, content type %q",
			resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// maxBody bounds an answer. A page of 200 Droplets is about 1 MiB.
const maxBody = 4 << 20

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)

func readBody(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	var body bytes.Buffer
	body.Grow(int(min(max(0, resp.ContentLength), maxBody)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if body.Len() > maxBody {
		return nil, errTooLarge
	}
	return body.Bytes(), nil
}

// fromAPI reports whether an answer is from DigitalOcean's API. A proxy, a load
// balancer or a protection service answers with its own 401, 403 and 404, which
// say nothing about a token or a Droplet.
func fromAPI(resp *http.Response, body []byte) bool {
	if resp.StatusCode < 400 {
		media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		return resp.StatusCode >= 300 || media != "text/html" // a captive portal
	}
	var said map[string]any
	_ = json.Unmarshal(body, &said)
	id, _ := said["id"].(string)
	message, _ := said["message"].(string)
	causes, _ := said["root_causes"].([]any) // of a few operations on tags, in place of both
	return id+message != "" || len(causes) > 0
}
