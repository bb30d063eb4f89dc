// Package digitalocean is instancegroup.Cloud, and what else the plugin asks of
// DigitalOcean's API, over godo. Every failure is an instancegroup.CloudError. What only
// reads is repeated, nothing else ever.
package digitalocean

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/sync/semaphore"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Options is what a Client is made of.
type Options struct {
	URL       string // of the API, "https://api.digitalocean.com"
	UserAgent string
	Source    string // where the token comes from, for messages
	// Token returns the token. It is called for the first request, and after a
	// 401, so that a token in a file can be rotated while we run.
	Token func() (string, error)
	// Transport carries the requests; nil = a transport of the Client's own,
	// which honours HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE.
	Transport http.RoundTripper
}

// Client speaks to one account. It may be used concurrently, and has no goroutines but
// those of its idle connections, which Close ends. It is godo's client without its
// services: their ids are int, of 32 bits on some platforms, and one odd field, such as a
// price that is a string, fails a whole list.
type Client struct {
	api    *godo.Client
	source string
	tokens tokens
	budget budget
	made   sync.Map // tags, by name
	pages  sync.Map // how many pages a list had last, by its request: int
}

// What each method of a Cloud promises is said there.
var _ ig.Cloud = (*Client)(nil)

// New makes a Client. It sends nothing.
func New(o Options) (*Client, error) {
	if o.Transport == nil {
		o.Transport = newTransport()
	}
	// Without godo's own retries, which repeat POSTs.
	api, err := godo.New(&http.Client{Transport: wire{o.Transport}},
		godo.SetBaseURL(strings.TrimRight(o.URL, "/")+"/"), godo.SetUserAgent(o.UserAgent))
	if err != nil {
		return nil, fmt.Errorf("the API's address %q: %w", o.URL, err)
	}
	c := &Client{api: api, source: o.Source, tokens: tokens{read: o.Token, renewing: semaphore.NewWeighted(1)}}
	c.tokens.known.Store(new(sync.Map))
	return c, nil
}

// Close closes idle connections. The Client can be used all the same.
func (c *Client) Close() { c.api.HTTPClient.CloseIdleConnections() }

// request is one request. Its op is its method and path, as in DigitalOcean's
// documentation: "GET /v2/droplets/{id}".
type request struct {
	op    string
	name  string // in place of what op has in braces
	query url.Values
	body  any

	into  any    // for what is asked for; nil = nothing is
	under string // its name in the answer; "" = it is the whole answer
}

func (r request) reads() bool { return strings.HasPrefix(r.op, "GET ") }

// reply is what else DigitalOcean answers when it does what it was asked.
type reply struct {
	requestID string
	date      time.Time // by its clock; zero = unknown
	total     int       // how long the whole list is; 0 = it is not said
	linked    bool      // it is said whether the list has a page after this one
	next      bool      // it has
	body      []byte
}

const (
	readTimeout  = 8 * time.Second        // of one attempt at a GET; the caller's context bounds them all
	readPause    = 250 * time.Millisecond // after the first, then fourfold, unless the answer says how long to wait
	readPatience = 5 * time.Second        // of all pauses together
)

// once is the key of a context whose reads are not repeated.
type once struct{}

// Once returns a context whose reads are sent once: for a caller that repeats them itself, at a pace.
func Once(ctx context.Context) context.Context { return context.WithValue(ctx, once{}, true) }

// send sends a request. Every error is a CloudError. A GET is repeated where time may heal
// it; nothing else is: a POST that was carried out and not answered would make Droplets
// twice.
func (c *Client) send(ctx context.Context, r request) (reply, error) {
	pause, patience := readPause, readPatience
	if ctx.Value(once{}) != nil {
		patience = 0
	}
	for {
		a, err := c.authorized(ctx, r)
		if err == nil {
			if err = r.decode(&a); err == nil {
				return a, nil
			}
			reflect.ValueOf(r.into).Elem().SetZero() // not half of it besides an error
			return reply{}, c.fail(r.op, err)
		}
		wait, ok := heals(err)
		if !ok || !r.reads() {
			return a, err
		}
		if wait == 0 {
			wait, pause = pause, 4*pause
		}
		if patience -= wait; patience < 0 {
			return a, err // to wait longer is the caller's to plan
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return a, err
		}
	}
}

var inBraces = regexp.MustCompile(`{\w+}`)

// attempt sends a request once, if the budget has room for it.
func (c *Client) attempt(ctx context.Context, r request, token string) (reply, error) {
	method, path, _ := strings.Cut(r.op, " /")
	if strings.Contains(path, "{") && strings.Trim(r.name, ".") == "" { // it would be about something else, such as a list
		return reply{}, c.fail(r.op, &ig.CloudError{Class: ig.ErrRefused, Message: "not sent: what it is about has no name"})
	}
	path = inBraces.ReplaceAllLiteralString(path, url.PathEscape(r.name))
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	if r.reads() {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, readTimeout)
		defer cancel()
	}
	req, err := c.api.NewRequest(ctx, method, path, r.body)
	if err != nil {
		return reply{}, c.fail(r.op, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.GetBody = nil // with it Go's transport would send a request again by itself
	tries, err := c.budget.take(kindOf(r))
	if err != nil {
		return reply{}, c.fail(r.op, err)
	}
	var body bytes.Buffer // godo would decode a stream, which copies a page more often
	resp, err := c.api.Do(ctx, req, &body)
	if resp != nil {
		c.budget.note(r, tries, resp.Response)
	}
	if err != nil {
		return reply{}, c.fail(r.op, err)
	}
	a := reply{requestID: c.requestID(resp.Header.Get("x-request-id")), body: body.Bytes()}
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return a, nil
}

// decode reads what was asked for. Without it the answer says nothing: a list that is
// missing is not an empty one.
func (r request) decode(a *reply) error {
	body := a.body
	if a.body = nil; r.into == nil { // a page is not kept with its entries
		return nil
	}
	if r.under != "" {
		var said map[string]json.RawMessage
		if err := json.Unmarshal(body, &said); err != nil {
			return err
		}
		var meta struct{ Total int }
		if said["meta"] != nil {
			if err := json.Unmarshal(said["meta"], &meta); err != nil {
				return err
			}
		}
		var links *struct{ Pages struct{ Next string } }
		if err := json.Unmarshal(said["links"], &links); err == nil && links != nil {
			a.linked, a.next = true, links.Pages.Next != ""
		}
		if body, a.total = said[r.under], meta.Total; body == nil {
			return fmt.Errorf("the answer has no %s", r.under)
		}
	}
	err := json.Unmarshal(body, r.into)
	// encoding/json leaves an odd field of a thing zero and decodes the rest: one that
	// nothing needs must not fail a whole list. What is needed the caller checks.
	if odd, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && odd.Field != "" {
		return nil
	}
	return err
}
