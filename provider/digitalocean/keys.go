package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Key is an SSH key on the account.
type Key struct {
	ID          int
	Name        string
	Fingerprint string // MD5, with colons
}

const (
	opKey       = "GET /v2/account/keys/{id}"
	opUploadKey = "POST /v2/account/keys"
	opDeleteKey = "DELETE /v2/account/keys/{id}"
)

// HasKey returns nil if the account has the key of that id or fingerprint, and
// ErrNotFound if not. Unlike Keys it does not count against the small rate limit
// of the list.
func (c *Client) HasKey(ctx context.Context, idOrFingerprint string) error {
	var answer oneKey
	_, err := c.get(ctx, keyPath(idOrFingerprint), nil, &answer)
	if err == nil {
		err = answer.check()
	}
	return c.fail(opKey, err)
}

func keyPath(idOrFingerprint string) string {
	return "v2/account/keys/" + url.PathEscape(idOrFingerprint)
}

// oneKey is the answer about one key.
type oneKey struct {
	Key *godo.Key `json:"ssh_key"`
}

// check tells whether there is one in it.
func (a oneKey) check() error {
	if a.Key == nil || a.Key.ID == 0 {
		return errors.New("the answer has no key")
	}
	return nil
}

// UploadKey puts a public key on the account. That it is there already is no
// error. It is sent once.
func (c *Client) UploadKey(ctx context.Context, name, publicKey string) error {
	var answer oneKey
	_, err := c.send(ctx, http.MethodPost, "v2/account/keys", &godo.KeyCreateRequest{Name: name, PublicKey: publicKey}, &answer)
	if err == nil {
		err = answer.check()
	}
	err = c.fail(opUploadKey, err)
	if e, ok := errors.AsType[*ig.CloudError](err); ok && e.Status == 422 && strings.Contains(e.Message, "already in use") {
		return nil
	}
	return err
}

// DeleteKey takes a key off the account. It is sent once.
func (c *Client) DeleteKey(ctx context.Context, fingerprint string) error {
	_, err := c.send(ctx, http.MethodDelete, keyPath(fingerprint), nil, nil)
	return c.fail(opDeleteKey, err)
}

// Keys lists all keys of the account. DigitalOcean allows 10 such requests a
// minute.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	keys, err := readAll(ctx, c, "v2/account/keys", nil, func(l lists) *[]godo.Key { return l.Keys })
	if err != nil {
		return nil, err
	}
	out := make([]Key, len(keys))
	for i, k := range keys {
		out[i] = Key{ID: k.ID, Name: k.Name, Fingerprint: k.Fingerprint}
	}
	return out, nil
}
