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
	"golang.org/x/sync/semaphore"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Options is what a Client is made of.
type Options struct {
	URL       string // of the API, "https://api.digitalocean.com"
	UserAgent string

	// Token returns the token. It is called for the first request, and after a
	// 401, so that a token in a file can be rotated while we run.
	Token  func() (string, error)
	Source string // where the token comes from, for messages

	// Transport carries the requests; nil = a transport of the Client's own,
	// which honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
	Transport http.RoundTripper
}

// Client speaks to one account. It may be used concurrently, and has no
// goroutines but those of its idle connections, which Close ends.
//
// It is godo's client without its services: their ids are int, which has 32 bits
// on some platforms, and one odd field, such as a price that is a string, fails a
// whole list.
type Client struct {
	api    *godo.Client
	source string
	base   http.RoundTripper
	auth   *authorizer
	budget *budget
	made   sync.Map // tags, by name: bool
	pages  sync.Map // how many pages a list had last, by its request: int

	mu      sync.Mutex // guards what follows
	account Account    // that the token is of; zero = unknown
	known   []int64    // some Droplets of that account
}

var _ ig.Cloud = (*Client)(nil)

// New makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	c := &Client{base: o.Transport, source: o.Source}
	if c.base == nil {
		c.base = newTransport()
	}
	address := strings.TrimRight(o.URL, "/") + "/"
	c.budget = &budget{base: wire{c.base}}
	c.auth = &authorizer{base: c.budget, read: o.Token, verify: c.verify, renewing: semaphore.NewWeighted(1)}
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
func (c *Client) Budget() ig.Budget { return c.budget.report() }

// request is one request. Its op is its method and path, as in DigitalOcean's
// documentation: "GET /v2/droplets/{id}".
type request struct {
	op    string
	name  string // in place of what op has in braces
	query url.Values
	body  any
}

// send sends a request and returns the answer and its body. Every error is a
// CloudError.
func (c *Client) send(ctx context.Context, r request) (*godo.Response, []byte, error) {
	method, path, _ := strings.Cut(r.op, " /")
	if before, rest, ok := strings.Cut(path, "{"); ok {
		// Without a name it would be a request for something else, such as a list.
		if strings.Trim(r.name, ".") == "" {
			return nil, nil, c.fail(r.op, &ig.CloudError{Class: ig.ErrUnsent, Message: "not sent: what it is about has no name"})
		}
		_, after, _ := strings.Cut(rest, "}")
		path = before + url.PathEscape(r.name) + after
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	req, err := c.api.NewRequest(ctx, method, path, r.body)
	if err != nil {
		return nil, nil, c.fail(r.op, err)
	}
	var body bytes.Buffer // godo would decode a stream, which copies a page more often
	resp, err := c.api.Do(ctx, req, &body)
	return resp, body.Bytes(), c.fail(r.op, err)
}

// do sends a request whose answer has nothing to read, and returns DigitalOcean's id of
// it.
func (c *Client) do(ctx context.Context, r request) (requestID string, err error) {
	resp, _, err := c.send(ctx, r)
	if err != nil {
		return "", err
	}
	return c.requestID(resp.Header.Get("x-request-id")), nil
}

// decode reads what is under name in an answer, a thing or a list, into v. Without it
// the answer says nothing: a list that is missing is not an empty one.
func decode(body []byte, name string, v any) (answer map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, err
	}
	if answer[name] == nil {
		return nil, fmt.Errorf("the answer has no %s", name)
	}
	return answer, lenient(json.Unmarshal(answer[name], v))
}

// lenient forgives an odd field of a thing, which encoding/json then leaves zero
// while it decodes the rest: one that nothing needs must not fail a whole list.
// What is needed its caller checks.
func lenient(err error) error {
	if odd, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && odd.Field != "" {
		return nil
	}
	return err
}

// getOne sends a request and returns the one thing in its answer, under name. One
// that is not sound is none.
func getOne[T any](ctx context.Context, c *Client, r request, name string, sound func(T) bool) (T, error) {
	var v, none T
	_, body, err := c.send(ctx, r)
	if err != nil {
		return none, err
	}
	if _, err = decode(body, name, &v); err == nil && !sound(v) {
		err = fmt.Errorf("the answer has no %s", name)
	}
	if err != nil {
		return none, c.fail(r.op, err)
	}
	return v, nil
}
