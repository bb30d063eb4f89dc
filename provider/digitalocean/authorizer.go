package digitalocean

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
	base     http.RoundTripper
	address  string // of the API, with a slash at its end
	read     func() (string, error)
	renewing chan struct{} // holds one value while somebody renews the token

	mu      sync.Mutex // guards all that follows
	token   secret     // in use; "" = none read yet
	used    []secret   // every token so far: none may reach a message
	account identity   // that the token in use is of; zero = unknown
	known   []int64    // some Droplets of that account
	foreign secret     // the token that was read last, if it is another account's
	blocked error      // says so; nil = requests are sent
	next    time.Time  // a token that could not be adopted is not looked at again before
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

func (a *authorizer) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.current(req.Context())
	if err != nil {
		return nil, err
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

// current returns the token to send.
func (a *authorizer) current(ctx context.Context) (secret, error) {
	a.mu.Lock()
	var err error
	if a.token == "" {
		err = a.first()
	}
	token, blocked := a.token, a.blocked
	a.mu.Unlock()
	if blocked != nil {
		return a.renew(ctx, token)
	}
	return token, err
}

// first reads the first token. Callers hold mu.
func (a *authorizer) first() error {
	s, err := a.read()
	if err == nil && s == "" {
		err = errors.New("the token is empty")
	}
	if err != nil {
		return notSent{error: err, class: ig.ErrUnsent}
	}
	a.token = secret(s)
	a.used = append(a.used, a.token)
	return nil
}

// renew returns the token to use instead of one that was refused: a new one of
// the same account, or the refused one if there is none. It returns an error if
// there is one of another account.
func (a *authorizer) renew(ctx context.Context, refused secret) (secret, error) {
	select {
	case a.renewing <- struct{}{}:
		defer func() { <-a.renewing }()
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
	case fresh == a.token:
		a.foreign, a.blocked = "", nil
	case fresh == a.foreign:
		a.next = time.Now().Add(renewPause)
	default:
		if !slices.Contains(a.used, fresh) {
			a.used = append(a.used, fresh)
		}
		account, known := a.account, slices.Clone(a.known)
		a.mu.Unlock()
		account, err := a.verify(ctx, fresh, account, known)
		a.mu.Lock()
		if err == nil {
			a.token, a.account = fresh, account
			a.foreign, a.blocked = "", nil
			break
		}
		if errors.Is(err, ig.ErrOtherAccount) {
			a.foreign, a.blocked = fresh, err
		}
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
	_, err := a.ask(ctx, token, "v2/account", http.StatusForbidden, &answer) // 403 = without account:read
	if err != nil {
		return identity{}, err
	}
	found := identify(answer.Account)
	if found.id != "" && account.id != "" {
		if found.id != account.id {
			return identity{}, otherAccount("the token is now one of the account or team %s, and the Droplets are those of %s: "+
				"put a token of the latter where this one came from", found, account)
		}
		return found, nil
	}
	if account.id == "" {
		account = found
	}
	for _, id := range known {
		there, err := a.ask(ctx, token, fmt.Sprint("v2/droplets/", id), http.StatusNotFound, &struct{}{})
		if err != nil || there {
			return account, err
		}
	}
	if len(known) > 0 {
		return identity{}, otherAccount("the token has changed, and the new one finds none of the Droplets %s that the old one "+
			"had: it seems to be another account's. Put one of the same team there, with account:read; if it is, and those were deleted, restart the runner",
			strings.Trim(fmt.Sprint(known), "[]"))
	}
	return account, nil
}

func otherAccount(format string, args ...any) error {
	return notSent{error: fmt.Errorf("not sent: "+format, args...), class: ig.ErrOtherAccount}
}

// ask sends a question with a token that is not in use, and reports whether the
// answer, which is read into v, is a yes. A no is that status.
func (a *authorizer) ask(ctx context.Context, token secret, path string, no int, v any) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.address+path, nil)
	if err != nil {
		return false, err
	}
	resp, err := a.send(req, token)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, json.NewDecoder(resp.Body).Decode(v)
	case no:
		return false, nil
	}
	return false, fmt.Errorf("%s: status %d", path, resp.StatusCode)
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
