package digitalocean

import (
	"context"
	"errors"
	"strings"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Key is an SSH key on the account.
type Key struct {
	ID          int64  `json:"id"`
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"` // MD5, with colons
}

var (
	opKeys      = op("GET /v2/account/keys", "ssh_key:read")
	opKey       = op("GET /v2/account/keys/{id}", "ssh_key:read")
	opUploadKey = op("POST /v2/account/keys", "ssh_key:create")
	opDeleteKey = op("DELETE /v2/account/keys/{id}", "ssh_key:delete")
)

// HasKey returns nil if the account has the key of that id or fingerprint, and
// ErrNotFound if not. Unlike Keys it does not count against the small rate limit
// of the list.
func (c *Client) HasKey(ctx context.Context, idOrFingerprint string) error {
	return c.oneKey(ctx, request{op: opKey, name: idOrFingerprint})
}

// oneKey sends a request that is answered with one key. Without it nothing says that
// the account has the key.
func (c *Client) oneKey(ctx context.Context, r request) error {
	_, err := getOne(ctx, c, r, "ssh_key", func(k Key) bool { return k.ID != 0 })
	return err
}

// UploadKey puts a public key on the account. That it is there already is no
// error. It is sent once.
func (c *Client) UploadKey(ctx context.Context, name, publicKey string) error {
	err := c.oneKey(ctx, request{op: opUploadKey, body: &godo.KeyCreateRequest{Name: name, PublicKey: publicKey}})
	if e, ok := errors.AsType[*ig.CloudError](err); ok && e.Status == 422 && strings.Contains(e.Message, "already in use") {
		return nil
	}
	return err
}

// DeleteKey removes a key from the account. It is sent once.
func (c *Client) DeleteKey(ctx context.Context, idOrFingerprint string) error {
	_, err := c.do(ctx, request{op: opDeleteKey, name: idOrFingerprint})
	return err
}

// Keys returns all keys of the account. DigitalOcean allows 10 such requests a
// minute.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	return getAll[Key](ctx, c, opKeys, "ssh_keys", nil)
}
