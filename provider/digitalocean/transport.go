package digitalocean

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// newTransport is Go's default transport with room for the concurrency of a
// Group on one host.
func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.OnProxyConnectResponse = func(_ context.Context, proxy *url.URL, _ *http.Request, r *http.Response) error {
		if r.StatusCode != http.StatusOK {
			// Go's own error is the status text alone.
			return proxyError{fmt.Errorf("the proxy %s does not connect to DigitalOcean: %s", proxy.Host, r.Status)}
		}
		return nil
	}
	return t
}

// proxyError is a proxy that refuses to connect: nothing was sent.
type proxyError struct{ error }

// maxBody bounds an answer. A page of 200 Droplets is about 1 MiB.
const maxBody = 16 << 20

// limitBodies cuts off answers that are larger than any that makes sense.
type limitBodies struct{ base http.RoundTripper }

func (l limitBodies) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(req)
	if err == nil {
		resp.Body = &limitedBody{resp.Body, maxBody}
	}
	return resp, err
}

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

var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", maxBody>>20)

// refuseRedirects keeps the token from going where DigitalOcean's API is not,
// and a POST from being sent again. The API does not redirect.
func refuseRedirects(req *http.Request, _ []*http.Request) error {
	return fmt.Errorf("the API redirects to %s, which is not followed; is api_url right?", req.URL.Host)
}
