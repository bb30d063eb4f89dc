package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

var (
	opTags         = op("GET /v2/tags", "tag:read")
	opGetTag       = op("GET /v2/tags/{tag}", "tag:read")
	opCreateTag    = op("POST /v2/tags", "tag:create")
	opTagDroplets  = op("POST /v2/tags/{tag}/resources", "tag:create", "droplet:update")
	opDeleteTagged = op("DELETE /v2/droplets", "droplet:delete")
	opRemoveTag    = op("DELETE /v2/tags/{tag}", "tag:delete")
)

// CheckTagRead returns nil if the token may read tags, that one for example,
// which need not exist, and ErrForbidden if not.
func (c *Client) CheckTagRead(ctx context.Context, tag string) error {
	_, err := c.do(ctx, request{op: opGetTag, name: tag})
	if errors.Is(err, ig.ErrNotFound) {
		return nil
	}
	return err
}

// TagDroplets implements instancegroup.Cloud. It makes the tag if it has not made it
// yet, or if somebody removed it.
func (c *Client) TagDroplets(ctx context.Context, tag string, ids []int64) error {
	body := &godo.TagResourcesRequest{}
	for _, id := range ids {
		body.Resources = append(body.Resources, godo.Resource{ID: strconv.FormatInt(id, 10), Type: godo.DropletResourceType})
	}
	if ig.IsDeleteTag(tag) {
		c.forget(ids...)
	}
	var err error
	for range 2 {
		if _, made := c.made.LoadOrStore(tag, true); !made {
			if _, err = c.do(ctx, request{op: opCreateTag, body: &godo.TagCreateRequest{Name: tag}}); err != nil {
				break
			}
		}
		if _, err = c.do(ctx, request{op: opTagDroplets, name: tag, body: body}); !errors.Is(err, ig.ErrNotFound) {
			return err
		}
		c.made.Delete(tag)
	}
	c.made.Delete(tag)
	return err
}

// DeleteTagged implements instancegroup.Cloud.
//
// Invariant: nothing is deleted by a tag that is not made for that. The tags of
// users and groups are on Droplets that are to live. (TestDeleteTaggedRefuses)
func (c *Client) DeleteTagged(ctx context.Context, tag string) (string, error) {
	if !ig.IsDeleteTag(tag) {
		return "", &ig.CloudError{Class: ig.ErrRefused, Op: opDeleteTagged, Status: http.StatusBadRequest,
			Message: fmt.Sprintf("not sent: nothing is deleted by the tag %q", tag)}
	}
	return c.do(ctx, request{op: opDeleteTagged, query: url.Values{"tag_name": {tag}}})
}

// RemoveTag implements instancegroup.Cloud.
func (c *Client) RemoveTag(ctx context.Context, tag string) error {
	_, err := c.do(ctx, request{op: opRemoveTag, name: tag})
	return err
}

// Tag is a tag of the account.
type Tag struct {
	Name     string
	Carriers int // whatever carries it, Droplets or not
}

// Tags returns all tags of the account.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	tags, err := getAll[struct {
		Name      string
		Resources struct{ Count int }
	}](ctx, c, opTags, "tags", nil)
	if err != nil {
		return nil, err
	}
	out := make([]Tag, len(tags))
	for i, t := range tags {
		out[i] = Tag{Name: t.Name, Carriers: t.Resources.Count}
	}
	return out, nil
}
