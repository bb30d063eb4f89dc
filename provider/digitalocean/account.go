package digitalocean

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// DropletLimit returns how many Droplets the account may have.
func (c *Client) DropletLimit(ctx context.Context) (int, error) {
	a, _, err := c.api.Account.Get(ctx)
	if err != nil {
		return 0, c.fail("GET /v2/account", err)
	}
	return a.DropletLimit, nil
}

// Usage implements instancegroup.Cloud.
func (c *Client) Usage(ctx context.Context) (ig.Usage, error) {
	limit, err := c.DropletLimit(ctx)
	if err != nil {
		return ig.Usage{}, err
	}
	var answer paging
	if _, err := c.get(ctx, "v2/droplets", url.Values{"per_page": {"1"}}, &answer); err != nil {
		return ig.Usage{}, c.fail(opList, err)
	}
	u := ig.Usage{Limit: limit}
	if answer.Meta != nil {
		u.Total = answer.Meta.Total
	}
	return u, nil
}

// AssignProject implements instancegroup.Cloud.
func (c *Client) AssignProject(ctx context.Context, project string, ids []int) error {
	urns := make([]any, len(ids))
	for i, id := range ids {
		urns[i] = "do:droplet:" + strconv.Itoa(id)
	}
	_, _, err := c.api.Projects.AssignResources(ctx, project, urns...)
	return c.fail("POST /v2/projects/{id}/resources", err)
}

// DeleteTag implements instancegroup.Cloud.
func (c *Client) DeleteTag(ctx context.Context, tag string) error {
	_, err := c.api.Tags.Delete(ctx, tag)
	return c.fail("DELETE /v2/tags/{tag}", err)
}

// TaggedImages implements instancegroup.Cloud.
func (c *Client) TaggedImages(ctx context.Context, tag string) ([]ig.TaggedImage, error) {
	images, err := c.images(ctx, url.Values{"tag_name": {tag}})
	if err != nil {
		return nil, err
	}
	var out []ig.TaggedImage
	for _, i := range images {
		created, _ := time.Parse(time.RFC3339, i.Created)
		usable := i.Status == "" || i.Status == "available"
		if !i.Public && usable && (i.Tags == nil || hasTag(i.Tags, tag)) {
			out = append(out, ig.TaggedImage{ID: i.ID, Created: created, Regions: i.Regions})
		}
	}
	return out, nil
}

// Key is an SSH key on the account.
type Key struct {
	ID          int
	Name        string
	Fingerprint string
}

func fromKey(k *godo.Key) Key { return Key{ID: k.ID, Name: k.Name, Fingerprint: k.Fingerprint} }

// Key looks a key up by fingerprint, or id, which does not count against the
// small rate limit of the list.
func (c *Client) Key(ctx context.Context, fingerprint string) (Key, error) {
	k, _, err := c.api.Keys.GetByFingerprint(ctx, fingerprint)
	if err == nil && k == nil {
		err = fmt.Errorf("the answer has no key")
	}
	if err != nil {
		return Key{}, c.fail("GET /v2/account/keys/{fingerprint}", err)
	}
	return fromKey(k), nil
}

// UploadKey puts a public key on the account. It is sent once.
func (c *Client) UploadKey(ctx context.Context, name, publicKey string) (Key, error) {
	k, _, err := c.api.Keys.Create(ctx, &godo.KeyCreateRequest{Name: name, PublicKey: publicKey})
	if err == nil && k == nil {
		err = fmt.Errorf("the answer has no key")
	}
	if err != nil {
		return Key{}, c.fail("POST /v2/account/keys", err)
	}
	return fromKey(k), nil
}

// DeleteKey takes a key off the account.
func (c *Client) DeleteKey(ctx context.Context, id int) error {
	_, err := c.api.Keys.DeleteByID(ctx, id)
	return c.fail("DELETE /v2/account/keys/{id}", err)
}

// Keys lists all keys of the account. DigitalOcean allows 10 such requests a
// minute.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var out []Key
	err := pages(func(page int) (bool, error) {
		var answer struct {
			Keys []godo.Key `json:"ssh_keys"`
			paging
		}
		_, err := c.get(ctx, "v2/account/keys", pageQuery(page), &answer)
		for i := range answer.Keys {
			out = append(out, fromKey(&answer.Keys[i]))
		}
		return answer.more(), err
	})
	return out, c.fail("GET /v2/account/keys", err)
}
