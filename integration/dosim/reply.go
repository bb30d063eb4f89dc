package dosim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// MessagePendingEvent is what DigitalOcean says of a Droplet that is busy, for whoever injects it.
const MessagePendingEvent = "Droplet already has a pending event."

type apiError struct {
	ID         string              `json:"id"`
	Message    string              `json:"message"`
	RequestID  string              `json:"request_id,omitempty"`
	Attributes map[string][]string `json:"error_attributes,omitempty"` // in some answers: the message again, by field
}

// defaultMessages are what DigitalOcean says with a status when nothing more specific is to be said. Of another status it
// is the status's own text.
var defaultMessages = map[int]string{
	400: "error parsing request body",
	401: "Unable to authenticate you",
	403: "You are not authorized to perform this operation",
	404: "The resource you were accessing could not be found.",
	422: "Your request could not be processed.",
	429: "API rate limit exceeded.",
	500: "Server was unable to give you a response.",
	503: "Service is not available.", // [?]
}

const jsonType = "application/json; charset=utf-8"

// reply is an answer before it is sent.
type reply struct {
	status int
	header http.Header // beyond those that every answer has; may be nil
	body   []byte

	foreign bool // something in front of the API answers
}

// refusal is an error in DigitalOcean's form: with the message, or what goes with the status.
func (c *call) refusal(status int, message string) apiError {
	text := http.StatusText(status)
	return apiError{
		ID:        strings.ReplaceAll(strings.ToLower(text), " ", "_"),
		Message:   cmp.Or(message, defaultMessages[status], text),
		RequestID: c.id,
	}
}

func (c *call) refuse(status int, message string) reply {
	return jsonReply(status, c.refusal(status, message))
}

func (c *call) unprocessable(message string) reply {
	return c.refuse(http.StatusUnprocessableEntity, message)
}

func (c *call) notFound() reply { return c.refuse(http.StatusNotFound, "") }

func jsonReply(status int, v any) reply {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("dosim: an answer cannot be marshalled: %v", err)) // a fault of the simulator's own types
	}
	return reply{status: status, header: http.Header{"Content-Type": {jsonType}}, body: body}
}

// noContent is DigitalOcean's answer to what it carried out and has nothing to say about.
func noContent() reply { return reply{status: http.StatusNoContent} }

// call is one request while a handler answers it, with Sim.mu held.
type call struct {
	*http.Request
	id     string // x-request-id
	now    time.Time
	query  url.Values
	body   []byte
	faults []Fault  // that it meets
	after  []func() // run, in order, once the lock is released
}

// behaviour returns the fault that gives the operation this behaviour, if one does.
func (c *call) behaviour(b Behaviour) (Fault, bool) {
	for _, f := range c.faults {
		if f.Behaviour == b {
			return f, true
		}
	}
	return Fault{}, false
}

// found answers with what was looked up, under the key, or with 404.
func found[T any](c *call, key string, v *T) reply {
	if v == nil {
		return c.notFound()
	}
	return jsonReply(http.StatusOK, map[string]*T{key: v})
}

// decode reads the JSON body into v, or answers 400.
func (c *call) decode(v any) (reply, bool) {
	if err := json.Unmarshal(c.body, v); err != nil {
		return c.refuse(http.StatusBadRequest, ""), false
	}
	return reply{}, true
}

// base is the scheme and host under which the client reached the API: links in answers lead back there.
func (c *call) base() string {
	scheme := "http"
	if c.TLS != nil || c.URL.Scheme == "https" {
		scheme = "https"
	}
	return scheme + "://" + c.Host
}

// paging is a list's ?page= and ?per_page=.
type paging struct{ page, per int }

// paging reads the query, or answers 422. DigitalOcean documents the limits, not what happens beyond them [?].
func (c *call) paging() (paging, reply, bool) {
	p := paging{1, 20}
	for key, into := range map[string]*int{"page": &p.page, "per_page": &p.per} {
		if !c.query.Has(key) {
			continue
		}
		n, err := strconv.Atoi(c.query.Get(key))
		if err != nil || n < 1 || key == "per_page" && n > 200 {
			return p, c.unprocessable("page must be at least 1, and per_page between 1 and 200."), false
		}
		*into = n
	}
	return p, reply{}, true
}

// bounds are the indices of the page's items among total.
func (p paging) bounds(total int) (from, to int) {
	from = min((p.page-1)*p.per, total)
	return from, min(from+p.per, total)
}

// list answers with one page of items, which marshal to JSON on their own.
func list[T any](c *call, key string, all []T) reply {
	p, rep, ok := c.paging()
	if !ok {
		return rep
	}
	from, to := p.bounds(len(all))
	var items [][]byte
	for _, item := range all[from:to] {
		items = append(items, jsonReply(0, item).body)
	}
	return c.page(key, items, len(all), p)
}

// page joins ready-made items: an account of thousands of Droplets is listed thousands of times in a benchmark, and
// each is marshalled once only.
func (c *call) page(key string, items [][]byte, total int, p paging) reply {
	var b bytes.Buffer
	links := jsonReply(0, c.links(total, p)).body
	fmt.Fprintf(&b, `{%q:[%s],"links":%s,"meta":{"total":%d}}`, key, bytes.Join(items, []byte(",")), links, total)
	return reply{status: http.StatusOK, header: http.Header{"Content-Type": {jsonType}}, body: b.Bytes()}
}

// links leads to the other pages, if there are any.
func (c *call) links(total int, p paging) map[string]any {
	pages, last := map[string]string{}, max(1, (total+p.per-1)/p.per)
	add := func(name string, page int) {
		query := maps.Clone(c.query)
		query.Set("page", strconv.Itoa(page))
		pages[name] = c.base() + c.URL.Path + "?" + query.Encode()
	}
	if p.page > 1 {
		add("first", 1)
		add("prev", min(p.page-1, last))
	}
	if p.page < last {
		add("next", p.page+1)
		add("last", last)
	}
	if len(pages) == 0 {
		return map[string]any{}
	}
	return map[string]any{"pages": pages}
}

// stamp is how DigitalOcean writes times: UTC, whole seconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
