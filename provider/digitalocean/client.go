// Package digitalocean is the wire: instancegroup.Cloud, and what else the
// plugin asks of DigitalOcean's API, over godo. It turns every failure into an
// instancegroup.CloudError, repeats what only reads, and never sends anything
// else twice.
package digitalocean

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Options is what a Client is made of.
type Options struct {
	URL       string // of the API, "https://api.digitalocean.com"
	UserAgent string // ours, put before godo's

	// Token returns the token. It is called for the first request, and after a
	// 401, so that a token in a file can be rotated while we run.
	Token func() (string, error)

	// Transport carries the requests; nil = a transport of the Client's own,
	// which honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
	Transport http.RoundTripper
}

// Client speaks to one account. It may be used concurrently, and has no
// goroutines but those of its idle connections, which Close ends.
type Client struct {
	api    *godo.Client
	auth   *authorizer
	budget *budget
	made   sync.Map // the tags that it has made
}

var _ instancegroup.Cloud = (*Client)(nil)

// New makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	base := o.Transport
	if base == nil {
		base = newTransport()
	}
	c := &Client{budget: &budget{base: base}}
	c.auth = &authorizer{base: c.budget, token: o.Token}
	api, err := godo.New(
		&http.Client{Transport: repeatReads{limitBodies{c.auth}}, CheckRedirect: refuseRedirects},
		godo.SetBaseURL(strings.TrimSuffix(o.URL, "/")+"/"),
		godo.SetUserAgent(o.UserAgent),
	)
	if err != nil {
		return nil, fmt.Errorf("the API's address %q: %w", o.URL, err)
	}
	c.api = api
	return c, nil
}

// Close lets go of idle connections. The Client can be used all the same.
func (c *Client) Close() {
	idle := http.Client{Transport: c.budget.base}
	idle.CloseIdleConnections()
}

// get reads path into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) (*godo.Response, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := c.api.NewRequest(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return c.api.Do(ctx, req, v)
}
