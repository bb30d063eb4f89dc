// Package digitalocean is the wire: instancegroup.Cloud, and what else the
// plugin asks of DigitalOcean's API, in godo's types. It turns every failure into
// an instancegroup.CloudError, repeats what only reads, and never sends anything
// else twice.
package digitalocean

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
// Not godo.Client: that has every product of DigitalOcean's in it, none of which
// the linker can leave out (go-plugin's net/rpc looks methods up by their names),
// 2.2 MB of the binary. Nor godo.Links, which refers to it.
type Client struct {
	http   *http.Client
	base   *url.URL
	agent  string
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
	url, err := url.Parse(strings.TrimSuffix(o.URL, "/") + "/")
	if err != nil {
		return nil, fmt.Errorf("the API's address %q: %w", o.URL, err)
	}
	c := &Client{base: url, agent: o.UserAgent, budget: &budget{base: base}}
	c.auth = &authorizer{base: c.budget, token: o.Token}
	c.http = &http.Client{Transport: repeatReads{limitBodies{c.auth}}, CheckRedirect: refuseRedirects}
	return c, nil
}

// Close lets go of idle connections. The Client can be used all the same.
func (c *Client) Close() {
	idle := http.Client{Transport: c.budget.base}
	idle.CloseIdleConnections()
}

// Budget is what the token may still spend, by the last answer.
func (c *Client) Budget() instancegroup.Budget { return c.budget.report() }

// get reads path into v.
func (c *Client) get(ctx context.Context, path string, query url.Values, v any) (http.Header, error) {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return c.send(ctx, http.MethodGet, path, nil, v)
}

// send sends body, unless it is nil, and reads the answer into v, unless that is
// nil: then an answer that is cut off is no error. Whatever a path is made of must
// be escaped.
func (c *Client) send(ctx context.Context, method, path string, body, v any) (http.Header, error) {
	req, err := c.request(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	// What is left of a short answer is read, so that the connection is used again.
	defer resp.Body.Close()
	defer func() { _, _ = io.CopyN(io.Discard, resp.Body, 2<<10) }()
	if err := godo.CheckResponse(resp); err != nil {
		return nil, err
	}
	if v == nil || resp.StatusCode == http.StatusNoContent {
		return resp.Header, nil
	}
	var answer bytes.Buffer
	if _, err := io.Copy(&answer, resp.Body); err != nil { // at once, of what repeatReads has read
		return nil, err
	}
	return resp.Header, json.Unmarshal(answer.Bytes(), v)
}

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	// With an empty name or id it would be a request for something else.
	if name, _, _ := strings.Cut(path, "?"); strings.HasSuffix(name, "/") || strings.Contains(name, "//") {
		return nil, errNoName
	}
	url, err := c.base.Parse(path)
	if err != nil {
		return nil, err
	}
	var content []byte
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url.String(), bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	return req, nil
}

// errNoName is a request about something without a name. It is not sent.
var errNoName = errors.New("not sent: what it is about has no name")
