package dosim

import (
	"crypto/subtle"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// FaultHeader is in every answer that an injected fault made or altered, and names the fault. DigitalOcean sends
// nothing of the kind; it is for people with curl and for validators.
const FaultHeader = "Dosim-Fault"

// handler answers one operation. It is called with Sim.mu held and must not block.
type handler func(*call) reply

// handlers is everything that the simulator knows how to do.
func (s *Sim) handlers() map[string]handler {
	return map[string]handler{
		"POST /v2/droplets":                s.createDroplets,
		"GET /v2/droplets":                 s.listDroplets,
		"DELETE /v2/droplets":              s.deleteByTag,
		"GET /v2/droplets/{id}":            s.getDroplet,
		"DELETE /v2/droplets/{id}":         s.deleteDroplet,
		"GET /v2/tags":                     s.listTags,
		"POST /v2/tags":                    s.createTag,
		"GET /v2/tags/{tag}":               s.ofTag(s.getTag),
		"DELETE /v2/tags/{tag}":            s.ofTag(s.deleteTag),
		"POST /v2/tags/{tag}/resources":    s.ofTag(s.tagResources),
		"GET /v2/account":                  s.getAccount,
		"GET /v2/account/keys":             s.listKeys,
		"POST /v2/account/keys":            s.createKey,
		"GET /v2/account/keys/{id}":        s.getKey,
		"DELETE /v2/account/keys/{id}":     s.deleteKey,
		"GET /v2/actions":                  s.listActions,
		"GET /v2/images":                   s.listImages,
		"GET /v2/images/{id}":              s.getImage,
		"GET /v2/sizes":                    s.listSizes,
		"GET /v2/regions":                  s.listRegions,
		"GET /v2/vpcs":                     s.listVPCs,
		"GET /v2/vpcs/{id}":                s.getVPC,
		"POST /v2/projects/{id}/resources": s.assignResources,
	}
}

func (s *Sim) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for op, h := range s.handlers() {
		mux.HandleFunc(op, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, op, h) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, "", (*call).notFound) })
	return mux
}

// Operations are the names of all operations, sorted, as faults and the request log have them.
func (s *Sim) Operations() []string { return slices.Sorted(maps.Keys(s.handlers())) }

// ServeHTTP answers one API request.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// maxBody is far above any request that DigitalOcean accepts.
const maxBody = 4 << 20

// serve takes one request through everything that can happen to it: the way there, faults, the operation itself
// (unless a fault prevents it), and the way back.
func (s *Sim) serve(w http.ResponseWriter, r *http.Request, op string, h handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away in mid-request, or sends without end
	}
	c := &call{Request: r, query: r.URL.Query(), body: body}
	fault, entry := s.arrive(c, op)

	way := s.opt.Latency / 2
	s.pause(r, way)
	if !fault.Applied {
		s.pause(r, fault.Delay)
	}
	var rep reply
	if fault.carriedOut() {
		rep = s.answer(c, h)
	} else if !fault.Refused && !fault.Reset {
		s.answer(c, nil) // it weighs on the rate limits all the same
	}
	if fault.Applied {
		s.pause(r, fault.Delay)
	}
	switch {
	case fault.Refused:
		w.Header().Set(refused, "yes")
		reset(w)
	case fault.Reset:
		reset(w)
	case fault.Hang:
		select {
		case <-r.Context().Done():
		case <-s.closing.Done():
		}
		panic(http.ErrAbortHandler)
	case fault.answers():
		rep = fault.answer(c)
	}
	s.pause(r, way)
	s.send(w, c, entry, rep, fault.Cut)
}

// arrive logs the request and finds the faults that it meets.
func (s *Sim) arrive(c *call, op string) (Fault, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.id = fakeUUID("4e9d", len(s.requests)+1)
	fault := s.meet(op, c)
	var names []string
	for _, f := range c.faults {
		names = append(names, f.String())
	}
	s.requests = append(s.requests, Request{
		Time: s.now(), Proto: c.Proto, Method: c.Method, Path: c.URL.Path, Query: c.URL.RawQuery, Op: op,
		Fault: strings.Join(names, "; "),
	})
	return fault, len(s.requests) - 1
}

// answer carries the operation out, if there is one: behind authentication and rate limits, under the lock, hooks after it.
func (s *Sim) answer(c *call, h handler) reply {
	s.mu.Lock()
	c.now = s.now()
	rep, ok := s.admit(c)
	if ok && h != nil {
		rep = h(c)
	}
	s.mu.Unlock()
	for _, f := range c.after {
		f()
	}
	return rep
}

// admit checks token and limits; without its leave the reply is the answer. Callers hold s.mu.
func (s *Sim) admit(c *call) (reply, bool) {
	if !s.bears(c.Request) {
		return c.refuse(http.StatusUnauthorized, ""), false
	}
	wait, ok := s.limits.take(c.now, c.Method == http.MethodGet && c.URL.Path == "/v2/account/keys")
	s.policeThrottle(c.now, wait, ok)
	if ok {
		return reply{}, true
	}
	rep := c.refuse(http.StatusTooManyRequests, "")
	if wait > 0 { // a burst; the hourly limit says only when the oldest request expires
		rep.header.Set("Retry-After", strconv.FormatFloat(math.Ceil(wait.Seconds()), 'f', 0, 64))
	}
	return rep, false
}

// bears reports whether the request bears the token. Callers hold s.mu.
func (s *Sim) bears(r *http.Request) bool {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && subtle.ConstantTimeCompare([]byte(bearer), []byte(s.token)) == 1
}

// send sends the answer, or half of it.
func (s *Sim) send(w http.ResponseWriter, c *call, entry int, rep reply, cut bool) {
	s.mu.Lock()
	now := s.now()
	limit, remaining, resetAt := s.limits.report(now)
	s.requests[entry].Status = rep.status
	fault := s.requests[entry].Fault
	s.mu.Unlock()

	header := w.Header()
	header.Set("Date", now.UTC().Format(http.TimeFormat))
	if !rep.foreign {
		header.Set("X-Request-Id", c.id)
		header.Set("Ratelimit-Limit", strconv.Itoa(limit))
		header.Set("Ratelimit-Remaining", strconv.Itoa(remaining))
		header.Set("Ratelimit-Reset", strconv.FormatInt(resetAt.Unix(), 10))
	}
	if fault != "" {
		header.Set(FaultHeader, fault)
	}
	for key, values := range rep.header {
		header[key] = values
	}
	if rep.status != http.StatusNoContent {
		header.Set("Content-Length", strconv.Itoa(len(rep.body)))
	}
	w.WriteHeader(rep.status)
	if cut {
		_, _ = w.Write(rep.body[:len(rep.body)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(rep.body) // a client that went away is not the simulator's fault
}
