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
)

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
		// Shorter than a server's: a POST on a connection that it closed is unconfirmed.
		IdleConnTimeout: 15 * time.Second,
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
			if r.StatusCode == http.StatusOK {
				return nil
			} // else Go's own error is the status text alone
			return &net.OpError{Op: "proxyconnect", Net: "tcp", Err: fmt.Errorf("the proxy %s answers %s", proxy.Host, r.Status)}
		},
	}
}

// wire sends a request exactly once and reads the whole answer. It lets nothing
// through that the API did not say: whatever is above it can believe a status.
type wire struct{ base http.RoundTripper }

// CloseIdleConnections is what http.Client's asks of a transport.
func (w wire) CloseIdleConnections() { (&http.Client{Transport: w.base}).CloseIdleConnections() }

func (w wire) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := w.base.RoundTrip(req)
	var body []byte
	if err == nil {
		body, err = readBody(resp)
	}
	if errors.Is(req.Context().Err(), context.DeadlineExceeded) {
		// The other connections may be as dead as this one: dial again.
		w.CloseIdleConnections()
	}
	switch {
	case err != nil:
		return nil, err
	case fromAPI(resp, body):
	case resp.StatusCode == http.StatusTooManyRequests: // it was not let through, whoever says so
		body = []byte(`{"message": "a proxy or gateway has a rate limit, not DigitalOcean's API"}`)
	default:
		return nil, fmt.Errorf("a proxy or gateway answered, not DigitalOcean's API: status %d, content type %q; look at HTTPS_PROXY, NO_PROXY and plugin_config.api_url",
			resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

const maxBody = 4 << 20 // bytes of an answer; a page of 200 Droplets is about 1 MiB

func readBody(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	var body bytes.Buffer
	body.Grow(int(min(max(0, resp.ContentLength), maxBody)) + bytes.MinRead)
	if _, err := body.ReadFrom(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if body.Len() > maxBody {
		return nil, fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)
	}
	return body.Bytes(), nil
}

// fromAPI reports whether the API answered, and no proxy, load balancer or captive portal,
// whose status says nothing about a token or a Droplet: gateways speak JSON too, such as
// {"message": "Not Found"}. The API does not redirect. (TestFaults)
func fromAPI(resp *http.Response, body []byte) bool {
	switch resp.StatusCode / 100 {
	case 2:
		media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		return media != "text/html" // a captive portal
	case 3:
		return false
	}
	var said struct {
		ID, Message string
		Causes      []any `json:"root_causes"` // of a few operations on tags, in place of both
	}
	_ = json.Unmarshal(body, &said)
	return said.ID != "" && said.Message != "" || len(said.Causes) > 0 // the specification has both
}
