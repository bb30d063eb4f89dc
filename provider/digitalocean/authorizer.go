package digitalocean

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// authorizer adds the token. After a 401 it reads the token again and, if it
// has changed, sends the request once more: a 401 proves that nothing was done.
type authorizer struct {
	base  http.RoundTripper
	token func() (string, error)

	mu   sync.Mutex
	used []string // every token so far, the current one last: none may reach a message
}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.get("")
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	fresh, err := a.get(token)
	if err != nil || fresh == token || req.Method == http.MethodPost {
		// The refusal is what there is to tell. Of a POST always: whoever sent
		// it decides whether to ask again, and under which names.
		return resp, nil
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	resp.Body.Close()
	return a.send(again, fresh)
}

func (a *authorizer) send(req *http.Request, token string) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return a.base.RoundTrip(r)
}

// get returns the token, read again if the one in use is refused.
func (a *authorizer) get(refused string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	current := ""
	if len(a.used) > 0 {
		current = a.used[len(a.used)-1]
	}
	if current != refused {
		return current, nil
	}
	fresh, err := a.token()
	if err != nil {
		return "", tokenError{err}
	}
	if fresh != current {
		a.used = append(slices.DeleteFunc(a.used, func(t string) bool { return t == fresh }), fresh)
	}
	return fresh, nil
}

// redact takes every token that was ever sent out of s.
func (a *authorizer) redact(s string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, token := range a.used {
		s = strings.ReplaceAll(s, token, "[secret]")
	}
	return s
}

// tokenError is a token that could not be read: nothing was sent.
type tokenError struct{ error }
