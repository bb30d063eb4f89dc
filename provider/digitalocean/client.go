// Package digitalocean is the wire: instancegroup.Cloud, and what else the
// plugin asks of DigitalOcean's API, over godo. It turns every failure into an
// instancegroup.CloudError, repeats what only reads, and never sends anything
// else twice.
package digitalocean

import (
	"bytes"
	"context"
	"encoding/json"
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
// It is godo's client without its services: their ids are int, which has 32 bits
// on some platforms, and one odd field that nothing needs, such as a price that
// is a string, would fail a whole list.
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
	c := &Client{base: o.Transport}
	if c.base == nil {
		c.base = newTransport()
	}
	address := strings.TrimRight(o.URL, "/") + "/"
	c.budget = &budget{base: wire{c.base}}
	c.auth = &authorizer{base: c.budget, address: address, read: o.Token, renewing: make(chan struct{}, 1)}
	var err error
	// Without godo's own retries, which repeat POSTs.
	c.api, err = godo.New(&http.Client{Transport: repeatReads{c.auth}, CheckRedirect: refuseRedirects},
		godo.SetBaseURL(address), godo.SetUserAgent(o.UserAgent))
	if err != nil {
		return nil, fmt.Errorf("the API's address %q: %w", o.URL, err)
	}
	return c, nil
}

// Close closes idle connections. The Client can be used all the same.
func (c *Client) Close() { closeIdle(c.base) }

// Budget is what the token may still spend, by the last answer.
func (c *Client) Budget() instancegroup.Budget { return c.budget.report() }

// request is one request. Its op is its method and path, as in DigitalOcean's
// documentation: "GET /v2/droplets/{id}".
type request struct {
	op    string
	name  string // in place of what op has in braces
	query url.Values
	body  any
}

// send sends a request and reads the answer into v, unless that is nil. Every
// error is a CloudError.
func (c *Client) send(ctx context.Context, r request, v any) (*godo.Response, error) {
	method, path, _ := strings.Cut(r.op, " /")
	if before, rest, ok := strings.Cut(path, "{"); ok {
		// Without a name it would be a request for something else, such as a list.
		if strings.Trim(r.name, ".") == "" {
			return nil, c.fail(r.op, errNoName)
		}
		_, after, _ := strings.Cut(rest, "}")
		path = before + url.PathEscape(r.name) + after
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	req, err := c.api.NewRequest(ctx, method, path, r.body)
	if err != nil {
		return nil, c.fail(r.op, err)
	}
	var answer bytes.Buffer // godo would decode a stream, which copies a page more often
	resp, err := c.api.Do(ctx, req, &answer)
	if err == nil && v != nil {
		err = json.Unmarshal(answer.Bytes(), v)
	}
	return resp, c.fail(r.op, err)
}

// getOne sends a request and returns the one thing in its answer, under field. One
// that is not sound is none.
func getOne[T any](ctx context.Context, c *Client, r request, field string, sound func(T) bool) (T, error) {
	var fields map[string]json.RawMessage
	var v, none T
	if _, err := c.send(ctx, r, &fields); err != nil {
		return none, err
	}
	if len(fields[field]) > 0 {
		if err := json.Unmarshal(fields[field], &v); err != nil {
			return none, c.fail(r.op, err)
		}
	}
	if !sound(v) {
		return none, c.fail(r.op, fmt.Errorf("the answer has no %s", field))
	}
	return v, nil
}

// lenient is a value that may be of an unexpected type: then it is zero. It is
// for what is only shown or counted.
type lenient[T any] struct{ Value T }

func (l *lenient[T]) UnmarshalJSON(b []byte) error {
	var v T
	if json.Unmarshal(b, &v) == nil {
		l.Value = v
	}
	return nil
}
