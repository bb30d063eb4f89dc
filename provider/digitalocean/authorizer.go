package digitalocean

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// authorizer adds the token. After a 401 it reads the token again and, if it has
// changed, sends the request once more: a 401 proves that nothing was done.
//
// Invariant: nothing but the questions of verify is sent with a changed token
// before it is known to be of the same account. With another account's every
// Droplet would be a 404, and be taken for gone. (TestOtherAccount)
type authorizer struct {
	base  http.RoundTripper
	root  url.URL
	read  func() (string, error)
	renew chan struct{} // holds one value while somebody renews the token

	mu      sync.Mutex
	token   secret    // in use; "" = none read yet
	used    []secret  // every token so far: none may reach a message
	account identity  // that the token in use is of; zero = unknown
	known   []int64   // some Droplets of that account
	foreign secret    // the token that was read last, if it is another account's
	blocked error     // says so; nil = requests are sent
	next    time.Time // a token that could not be adopted is not looked at again before
}

const (
	// renewPause is how long a token that was not adopted is not looked at again.
	renewPause = 5 * time.Second

	// verifyTimeout bounds all questions about a token together.
	verifyTimeout = 8 * time.Second

	// maxKnown is how many Droplets are remembered to know the account by.
	maxKnown = 10
)

// secret cannot be printed.
type secret string

func (secret) String() string   { return "[secret]" }
func (secret) GoString() string { return "[secret]" }

// tokenError is a token that could not be read: nothing was sent.
type tokenError struct{ error }

// otherAccountError is a token of another account: nothing was sent.
type otherAccountError struct{ error }

func newAuthorizer(base http.RoundTripper, root url.URL, read func() (string, error)) *authorizer {
	return &authorizer{base: base, root: root, read: read, renew: make(chan struct{}, 1)}
}

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.current(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := a.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	fresh, err := a.replace(req.Context(), token)
	switch {
	case err != nil:
		resp.Body.Close()
		return nil, err
	case fresh == token || req.Method == http.MethodPost:
		// The refusal is the answer. Of a POST always: its sender decides
		// whether to ask again, and under which names.
		return resp, nil
	}
	resp.Body.Close()
	return a.send(req, fresh)
}

func (a *authorizer) send(req *http.Request, token secret) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.Header.Set("Authorization", "Bearer "+string(token))
	return a.base.RoundTrip(r)
}

// current returns the token to send.
func (a *authorizer) current(ctx context.Context) (secret, error) {
	a.mu.Lock()
	token, blocked := a.token, a.blocked
	if token == "" {
		defer a.mu.Unlock()
		return a.first()
	}
	a.mu.Unlock()
	if blocked != nil {
		return a.replace(ctx, token)
	}
	return token, nil
}

// first reads the first token. Callers hold mu.
func (a *authorizer) first() (secret, error) {
	s, err := a.read()
	if err == nil && s == "" {
		err = errors.New("the token is empty")
	}
	if err != nil {
		return "", tokenError{err}
	}
	a.token = secret(s)
	a.used = append(a.used, a.token)
	return a.token, nil
}

// replace returns the token to use instead of one that was refused: a new one of
// the same account, or the refused one if there is none. It returns an error if
// there is one of another account.
func (a *authorizer) replace(ctx context.Context, refused secret) (secret, error) {
	select {
	case a.renew <- struct{}{}:
		defer func() { <-a.renew }()
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != refused || ctx.Err() != nil || time.Now().Before(a.next) {
		return a.token, a.blocked
	}
	s, err := a.read()
	fresh := secret(s)
	switch {
	case err != nil, fresh == "": // the refusal is what counts
		return a.token, a.blocked
	case fresh == a.token:
		a.foreign, a.blocked = "", nil
		return a.token, nil
	case fresh == a.foreign:
		a.next = time.Now().Add(renewPause)
		return a.token, a.blocked
	}
	a.used = append(slices.DeleteFunc(a.used, func(t secret) bool { return t == fresh }), fresh)
	account, known := a.account, slices.Clone(a.known)
	a.mu.Unlock()
	account, err = a.verify(ctx, fresh, account, known)
	a.mu.Lock()
	switch {
	case err == nil:
		a.token, a.account = fresh, account
		a.foreign, a.blocked, a.next = "", nil, time.Time{}
	case errors.As(err, new(otherAccountError)):
		a.foreign, a.blocked, a.next = fresh, err, time.Now().Add(renewPause)
	default: // nothing is known: the refusal is what counts
		a.next = time.Now().Add(renewPause)
	}
	return a.token, a.blocked
}

// verify asks whether token is of an account, which it returns: by its id, or,
// where that cannot be read, by some of its Droplets.
func (a *authorizer) verify(ctx context.Context, token secret, account identity, known []int64) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	var answer struct {
		Account *godo.Account `json:"account"`
	}
	status, err := a.ask(ctx, token, "v2/account", &answer)
	if err != nil {
		return identity{}, err
	}
	if status != http.StatusOK && status != http.StatusForbidden { // 403 = without account:read
		return identity{}, fmt.Errorf("%s: status %d", opAccount, status)
	}
	found := identify(answer.Account)
	if found.id != "" && account.id != "" {
		if found.id != account.id {
			return identity{}, otherAccountError{fmt.Errorf("not sent: the token is now one of the account or team %s, and the Droplets are those of %s: "+
				"put a token of the latter where this one came from", found, account)}
		}
		return found, nil
	}
	if account.id == "" {
		account = found
	}
	for _, id := range known {
		switch status, err := a.ask(ctx, token, fmt.Sprint("v2/droplets/", id), nil); {
		case err != nil:
			return identity{}, err
		case status == http.StatusOK:
			return account, nil
		case status != http.StatusNotFound:
			return identity{}, fmt.Errorf("%s: status %d", opGet, status)
		}
	}
	if len(known) > 0 {
		return identity{}, otherAccountError{fmt.Errorf("not sent: the token has changed, and the new one finds none of the Droplets %s that the old one "+
			"had: it seems to be another account's. Put one of the same team there, with account:read; if it is, and those were deleted, restart the runner",
			strings.Trim(fmt.Sprint(known), "[]"))}
	}
	return account, nil
}

// ask sends a question with a token that is not in use. A 200 is read into v.
func (a *authorizer) ask(ctx context.Context, token secret, path string, v any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.root.JoinPath(path).String(), nil)
	if err != nil {
		return 0, err
	}
	resp, err := a.send(req, token)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK && v != nil {
		err = json.NewDecoder(resp.Body).Decode(v)
	}
	return resp.StatusCode, err
}

// belongTo says which account the token is of.
func (a *authorizer) belongTo(account identity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.account.id == "" {
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
