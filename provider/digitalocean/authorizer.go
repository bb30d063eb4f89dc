package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// authorizer adds the token. After a 401 it reads the token again and, if it has
// changed, sends the request once more: a 401 proves that nothing was done.
//
// Invariant: nothing but the questions of verify is sent with a changed token
// before it is known to be of the same account. With another account's every
// Droplet would be a 404, and be taken for gone. (TestOtherAccount)
type authorizer struct {
	base     http.RoundTripper
	read     func() (string, error)
	verify   func(byToken context.Context, same Account, known []int64) error
	renewing chan struct{} // holds one value while somebody renews the token

	mu      sync.Mutex // guards all that follows; not held while anything is sent
	token   secret     // in use; "" = none read yet
	used    []secret   // every token so far: none may reach a message
	account Account    // that the token in use is of; zero = unknown
	known   []int64    // some Droplets of that account
	foreign secret     // the token that was read last, if it is another account's
	why     error      // says so
	next    time.Time  // after a question that failed the next one is not asked before
}

const (
	// renewPause is the pause after a question about a token that failed.
	renewPause = 5 * time.Second

	// maxKnown is how many Droplets are remembered to know the account by.
	maxKnown = 10
)

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
	a.mu.Lock()
	token := a.token
	a.mu.Unlock()
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

// renew returns the token to use instead of one that was refused ("" = there is none
// yet): a new one of the same account, or the refused one if there is no such. It
// returns an error if there is one of another account.
func (a *authorizer) renew(ctx context.Context, refused secret) (secret, error) {
	select {
	case a.renewing <- struct{}{}:
		defer func() { <-a.renewing }()
	case <-ctx.Done():
		return refused, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != refused {
		return a.token, nil
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
	case fresh == a.foreign:
		return "", a.why
	case time.Now().Before(a.next):
		return refused, nil
	}
	if !slices.Contains(a.used, fresh) {
		a.used = append(a.used, fresh)
	}
	if account, known := a.account, slices.Clone(a.known); refused != "" {
		a.mu.Unlock()
		err := a.verify(context.WithValue(ctx, byToken{}, fresh), account, known)
		a.mu.Lock()
		switch {
		case errors.Is(err, ig.ErrOtherAccount):
			a.foreign, a.why = fresh, err
			return "", err
		case err != nil:
			a.next = time.Now().Add(renewPause)
			return refused, nil
		}
	}
	a.token = fresh
	return fresh, nil
}

// belongTo says which account the token is of.
func (a *authorizer) belongTo(account Account) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.account.ID == "" {
		a.account = account
	}
}

// know remembers Droplets that an answer had, in place of all others if it is a
// complete list. Of many the last ones are remembered: they are the youngest,
// which live longest.
func (a *authorizer) know(complete bool, droplets []ig.Droplet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if complete {
		a.known = nil
	}
	for _, d := range droplets[max(0, len(droplets)-maxKnown):] {
		a.known = append(a.known, d.ID)
	}
	a.known = a.known[max(0, len(a.known)-maxKnown):]
}

// forget forgets Droplets that are being deleted.
func (a *authorizer) forget(ids ...int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = slices.DeleteFunc(a.known, func(id int64) bool { return slices.Contains(ids, id) })
}

// redact takes every token that was ever read out of s.
func (a *authorizer) redact(s string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, token := range a.used {
		s = strings.ReplaceAll(s, string(token), "[secret]")
	}
	return s
}
