// Package contract holds an HTTP handler to DigitalOcean's OpenAPI specification, request by request.
package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Env names the environment variable with the path of the specification, and Source is where to get it.
const (
	Env    = "DIGITALOCEAN_OPENAPI"
	Source = "https://github.com/digitalocean/openapi"
)

// Validator checks requests and answers against the specification, and collects what is wrong. Loading the
// specification takes a second or two: make one Validator and wrap many handlers. It is safe for concurrent use.
type Validator struct {
	router routers.Router

	mu      sync.Mutex
	faults  []string
	checked int
}

// New loads the specification at path, from https://github.com/digitalocean/openapi, whole or trimmed.
//
// The specification is wrong about three nulls that DigitalOcean and its own client send: next_backup_window,
// a private network's gateway, and lists that a create leaves unset. These, and nothing else, are tolerated.
func New(path string) (*Validator, error) {
	doc, err := openapi3.NewLoader().LoadFromFile(path)
	if err != nil {
		return nil, fmt.Errorf("contract: load the OpenAPI specification: %w", err)
	}
	for _, at := range [][2]string{
		{"droplet", "next_backup_window"},
		{"network_v4", "gateway"},
		{"droplet_create", "ssh_keys"},
		{"droplet_create", "volumes"},
	} {
		if doc.Components == nil || doc.Components.Schemas[at[0]] == nil || doc.Components.Schemas[at[0]].Value.Properties[at[1]] == nil {
			return nil, fmt.Errorf("contract: %s: there is no %s.%s; is this DigitalOcean's specification?", path, at[0], at[1])
		}
		doc.Components.Schemas[at[0]].Value.Properties[at[1]].Value.Nullable = true
	}
	doc.Servers = nil // the handler may be anywhere, not only at api.digitalocean.com
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("contract: %s: %w", path, err)
	}
	return &Validator{router: router}, nil
}

// Wrap returns h behind the validator. The client sees exactly what h answers. Not checked are answers that an
// injected fault made ([dosim.FaultHeader]) or that h aborts, and requests that h itself refuses with a 4xx: there
// both sides agree that they are wrong.
func (v *Validator) Wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := &recorder{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		if w.Header().Get(dosim.FaultHeader) == "" {
			v.check(r, body, answer)
		}
	})
}

func (v *Validator) check(r *http.Request, body []byte, answer *recorder) {
	ctx := context.WithoutCancel(r.Context())
	var wrong []error
	route, params, err := v.router.FindRoute(r)
	switch {
	case err == nil:
		// Validation adds defaults to query and body: it works on a copy.
		again := r.Clone(ctx)
		again.Body = io.NopCloser(bytes.NewReader(body))
		options := &openapi3filter.Options{
			AuthenticationFunc:    openapi3filter.NoopAuthenticationFunc,
			IncludeResponseStatus: true,
			MultiError:            true,
			SkipSettingDefaults:   true,
		}
		options.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string {
			return "/" + strings.Join(err.JSONPointer(), "/") + ": " + err.Reason
		})
		request := &openapi3filter.RequestValidationInput{Request: again, PathParams: params, Route: route, Options: options}
		if answer.status < 400 {
			if err := openapi3filter.ValidateRequest(ctx, request); err != nil {
				wrong = append(wrong, fmt.Errorf("request: %w", err))
			}
		}
		response := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: request, Status: answer.status, Header: answer.Header(), Options: options,
		}
		response.SetBodyBytes(answer.body.Bytes())
		if err := openapi3filter.ValidateResponse(ctx, response); err != nil {
			wrong = append(wrong, fmt.Errorf("answer: %w", err))
		}
	case answer.status != http.StatusNotFound:
		wrong = append(wrong, fmt.Errorf("the specification has no such operation: %w", err))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.checked++
	for _, err := range wrong {
		v.faults = append(v.faults, fmt.Sprintf("%s %s -> %d: %v", r.Method, r.URL.RequestURI(), answer.status, err))
	}
}

// Faults is what was wrong so far, in the order in which it was found.
func (v *Validator) Faults() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.faults)
}

// Checked is how many answers were held to the specification so far: a suite that checked nothing proves nothing.
func (v *Validator) Checked() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.checked
}

// recorder passes an answer on and keeps a copy.
type recorder struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// Unwrap lets http.ResponseController reach the connection, which an injected reset needs.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}
