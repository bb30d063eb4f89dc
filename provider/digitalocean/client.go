// Package digitalocean is the wire: instancegroup.Cloud, and what else the
// plugin asks of DigitalOcean's API, over godo. It turns every failure into an
// instancegroup.CloudError, repeats what only reads, and never sends anything
// else twice.
package digitalocean

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
	UserAgent string

	// Token returns the token. It is called for the first request, and after a
	// 401, so that a token in a file can be rotated while we run.
	Token func() (string, error)

	// Transport carries the requests; nil = a transport of the Client's own,
	// which honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
	Transport http.RoundTripper
}

// Client speaks to one account. It may be used concurrently, and has no
// goroutines but those of its idle connections, which Close ends.
//
// It uses godo's services where their types fit. Where they do not, it uses
// godo's NewRequest and Do with a type of its own, for one of two reasons:
//
//   - godo's ids are int, which has 32 bits on some platforms. Droplets, images
//     and keys have int64 ids here.
//   - One odd field that nothing needs, such as a price that is a string, would
//     fail a whole list of Droplets, sizes, images or tags.
type Client struct {
	api    *godo.Client
	base   http.RoundTripper
	auth   *authorizer
	budget *budget

	made  sync.Map // tags that it has made
	pages sync.Map // how many pages a list of Droplets had last, by its query
}

var _ instancegroup.Cloud = (*Client)(nil)

// New makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	address, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the API's address %q: %w", o.URL, err)
	}
	c := &Client{base: o.Transport}
	if c.base == nil {
		c.base = newTransport()
	}
	// Some of godo's services name their paths from the root: the wire puts a
	// path of the API's address before all of them.
	root := url.URL{Scheme: address.Scheme, User: address.User, Host: address.Host, Path: "/"}
	c.budget = &budget{base: wire{c.base, strings.TrimSuffix(address.Path, "/")}}
	c.auth = newAuthorizer(c.budget, root, o.Token)
	// Without godo's own retries, which repeat POSTs.
	c.api, err = godo.New(&http.Client{Transport: repeatReads{c.auth}, CheckRedirect: refuseRedirects},
		godo.SetBaseURL(root.String()), godo.SetUserAgent(o.UserAgent))
	return c, err
}

// Close closes idle connections. The Client can be used all the same.
func (c *Client) Close() { closeIdle(c.base) }

// Budget is what the token may still spend, by the last answer.
func (c *Client) Budget() instancegroup.Budget { return c.budget.report() }

// do sends body, unless it is nil, and reads the answer into v, unless that is
// nil: then an answer that is cut off is no error. What a path is made of must be
// escaped.
func (c *Client) do(ctx context.Context, method, path string, body, v any) (*godo.Response, error) {
	req, err := c.api.NewRequest(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	if v == nil {
		return c.api.Do(ctx, req, nil)
	}
	// godo would decode a stream, which copies a page more often.
	var answer bytes.Buffer
	resp, err := c.api.Do(ctx, req, &answer)
	if err != nil {
		return resp, err
	}
	return resp, json.Unmarshal(answer.Bytes(), v)
}

// errNoName is a request about something without a name: it would be a request
// for something else, such as a list. It is not sent.
var errNoName = errors.New("not sent: what it is about has no name")

// lenient is a field that may be of an unexpected type: then it is zero. It is
// for what is only shown or counted.
type lenient[T any] struct{ Value T }

func (l *lenient[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		l.Value = v
	}
	return nil
}
