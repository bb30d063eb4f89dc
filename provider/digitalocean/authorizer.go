package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// authorizer adds the token. After a 401 it reads the token again and, if it has
// changed, sends the request once more: a 401 proves that nothing was done.
//
// Invariant: nothing but the questions of verify is sent with a changed token
// before it is known to be of the same account. With another account's every
// Droplet would be a 404, and be taken for gone. (TestOtherAccount)
type authorizer struct {
	base   http.RoundTripper
	read   func() (string, error)
	verify func(byToken context.Context) error

	mu    sync.Mutex // guards what follows; not held while anything is sent
	token secret     // in use; "" = none read yet
	seen  []secret   // every token so far: none may reach a message

	renewing *semaphore.Weighted // of 1: a lock of what follows, whose waiting ends with a context
	verified secret              // the token that verify was asked about last
	verdict  error               // what it said
	next     time.Time           // it is not asked about the same token before
}

// renewPause is the pause between two questions about one token.
const renewPause = 5 * time.Second

// secret cannot be printed.
type secret string

func (secret) String() string   { return "[secret]" }
func (secret) GoString() string { return "[secret]" }

// byToken is the key of a context's token, with which its requests are sent though it
// is not in use.
type byToken struct{}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	if token, ok := req.Context().Value(byToken{}).(secret); ok {
		return a.send(req, token)
	}
	token := a.current()
	if token == "" {
		var err error
		if token, err = a.renew(req.Context(), ""); err != nil {
			return nil, err
		}
	}
	resp, err := a.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	fresh, err := a.renew(req.Context(), token)
	switch {
	case err != nil:
		return nil, err
	case fresh == token, req.Method == http.MethodPost:
		// The refusal is the answer. Of a POST always: its sender decides
		// whether to ask again, and under which names.
		return resp, nil
	}
	return a.send(req, fresh)
}

func (a *authorizer) send(req *http.Request, token secret) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Header.Set("Authorization", "Bearer "+string(token))
	return a.base.RoundTrip(r)
}

func (a *authorizer) current() secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.token
}

// renew returns the token to use instead of one that was refused ("" = there is none
// yet): a new one of the same account, or the refused one if there is no such. It
// returns an error if there is one of another account.
func (a *authorizer) renew(ctx context.Context, refused secret) (secret, error) {
	if a.renewing.Acquire(ctx, 1) != nil {
		return refused, nil
	}
	defer a.renewing.Release(1)
	if token := a.current(); token != refused {
		return token, nil
	}
	s, err := a.read()
	fresh := secret(s)
	if err == nil && fresh == "" {
		err = errors.New("the token is empty")
	}
	switch {
	case err != nil && refused == "":
		return "", &ig.CloudError{Class: ig.ErrUnsent, Message: err.Error()}
	case err != nil, fresh == refused: // the refusal is what counts
		return refused, nil
	}
	a.see(fresh)
	if refused != "" {
		if fresh != a.verified || !time.Now().Before(a.next) {
			a.verified, a.verdict = fresh, a.verify(context.WithValue(ctx, byToken{}, fresh))
			a.next = time.Now().Add(renewPause)
		}
		switch {
		case errors.Is(a.verdict, ig.ErrOtherAccount):
			return "", a.verdict
		case a.verdict != nil: // it could not be found out
			return refused, nil
		}
	}
	a.mu.Lock()
	a.token = fresh
	a.mu.Unlock()
	return fresh, nil
}

// see remembers a token, before anything is sent with it.
func (a *authorizer) see(token secret) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Contains(a.seen, token) {
		a.seen = append(a.seen, token)
	}
}

// redact takes every token that was ever read out of s.
func (a *authorizer) redact(s string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, token := range a.seen {
		s = strings.ReplaceAll(s, string(token), "[secret]")
	}
	return s
}
