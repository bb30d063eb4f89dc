package digitalocean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// tokens is which token requests are sent with, and which account it has to be of.
//
// Invariant: nothing but the questions of verify is sent with a changed token
// before it is known to be of the same account. With another account's every
// Droplet would be a 404, and be taken for gone. (TestOtherAccount)
type tokens struct {
	read func() (string, error)

	current atomic.Value // string; none = none was read yet
	seen    sync.Map     // every token so far: none may reach a message

	account atomic.Pointer[Account] // that current is of; nil = unknown
	// Droplets that live on that account, by id. Not those that are being deleted: that a
	// new token does not find them would say nothing. (TestDeletedDropletsAreNoWitnesses)
	known atomic.Pointer[sync.Map]

	renewing *semaphore.Weighted // of 1: a lock of what follows, whose waiting ends with a context
	failed   error               // what verify concluded last
	next     time.Time           // it is not asked before
}

const (
	renewPause    = 5 * time.Second // between two questions about a token
	verifyTimeout = 8 * time.Second // of all parts of one together
	maxKnown      = 10              // Droplets to know the account by: the youngest, which live longest
)

// byToken is the key of a context's token, with which its requests are sent though it
// is not in use.
type byToken struct{}

// authorized sends a request. After a 401 it reads the token again and, if it has
// changed, sends the request once more: a 401 proves that nothing was done.
func (c *Client) authorized(ctx context.Context, r request) (reply, error) {
	if token, ok := ctx.Value(byToken{}).(string); ok {
		return c.attempt(ctx, r, token)
	}
	token, ok := c.tokens.current.Load().(string)
	if !ok {
		var err error
		if token, err = c.renew(ctx, ""); err != nil {
			return reply{}, c.fail(r.op, err)
		}
	}
	a, err := c.attempt(ctx, r, token)
	if !errors.Is(err, ig.ErrUnauthorized) {
		return a, err
	}
	fresh, renewErr := c.renew(ctx, token)
	switch {
	case renewErr != nil:
		return reply{}, c.fail(r.op, renewErr)
	case fresh == token, strings.HasPrefix(r.op, "POST "):
		// The refusal is the answer. Of a POST always: its sender decides
		// whether to ask again, and under which names.
		return a, err
	}
	return c.attempt(ctx, r, fresh)
}

// renew returns the token to use instead of one that was refused ("" = there is none
// yet): a new one of the same account, or the refused one if there is no such. It
// returns an error if there is one of another account.
func (c *Client) renew(ctx context.Context, refused string) (string, error) {
	t := &c.tokens
	if t.renewing.Acquire(ctx, 1) != nil {
		return refused, nil
	}
	defer t.renewing.Release(1)
	if token, ok := t.current.Load().(string); ok && token != refused {
		return token, nil
	}
	if time.Now().Before(t.next) {
		return refused, t.failed
	}
	fresh, err := t.read()
	if err == nil && fresh == "" {
		err = errors.New("the token is empty")
	}
	switch {
	case err != nil && refused == "":
		return "", &ig.CloudError{Class: ig.ErrUnsent, Message: err.Error()}
	case err != nil, fresh == refused: // the refusal is what counts
		return refused, nil
	}
	t.seen.Store(fresh, nil)
	if refused != "" {
		if err := c.verify(context.WithValue(ctx, byToken{}, fresh)); err != nil {
			t.failed, t.next = nil, time.Now().Add(renewPause)
			if errors.Is(err, ig.ErrOtherAccount) { // else it could not be found out
				t.failed = err
			}
			return refused, t.failed
		}
	}
	t.current.Store(fresh)
	return fresh, nil
}

// verify asks whether the token of ctx is of the same account: by its id, or, where
// that cannot be read, by some of its Droplets.
func (c *Client) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	var known []int64
	c.tokens.known.Load().Range(func(id, _ any) bool {
		known = append(known, id.(int64))
		return true
	})
	slices.Sort(known)
	same := cmp.Or(c.tokens.account.Load(), &Account{})
	other := &ig.CloudError{Class: ig.ErrOtherAccount}
	found, err := c.Account(ctx)
	switch {
	case err != nil && !errors.Is(err, ig.ErrForbidden): // without account:read
		return err
	case same.UUID == "" || found.UUID == "":
	case found.UUID == same.UUID:
		return nil
	default:
		other.Message = fmt.Sprintf("not sent: the token is now one of the account or team %q (%s), and the Droplets are those of %q (%s): "+
			"put a token of that team where this one came from", found.Name, found.UUID, same.Name, same.UUID)
		return other
	}
	known = known[max(0, len(known)-maxKnown):]
	for _, id := range known {
		if _, err := c.Get(ctx, id); !errors.Is(err, ig.ErrNotFound) {
			return err
		}
	}
	if len(known) == 0 {
		return nil
	}
	other.Message = fmt.Sprintf("not sent: the token has changed, and the new one finds none of the Droplets %d that the old one had: it seems to be "+
		"another account's. Put one of the same team there, with account:read; if it is, and those were deleted, restart the runner", known)
	return other
}

// redact takes every token that was ever read out of s.
func (t *tokens) redact(s string) string {
	t.seen.Range(func(token, _ any) bool {
		s = strings.ReplaceAll(s, token.(string), "[secret]")
		return true
	})
	return s
}
