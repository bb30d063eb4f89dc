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

// godo's tag has the Droplet in it that was tagged last, in full: it is not read.

const (
	opGetTag       = "GET /v2/tags/{tag}"
	opCreateTag    = "POST /v2/tags"
	opTagDroplets  = "POST /v2/tags/{tag}/resources"
	opDeleteTagged = "DELETE /v2/droplets"
	opRemoveTag    = "DELETE /v2/tags/{tag}"
)

// CheckTagRead returns nil if the token may read tags, that one for example,
// which need not exist, and ErrForbidden if not.
func (c *Client) CheckTagRead(ctx context.Context, tag string) error {
	_, err := c.do(ctx, http.MethodGet, "v2/tags/"+url.PathEscape(tag), nil, nil)
	if err = c.fail(opGetTag, err); errors.Is(err, ig.ErrNotFound) {
		return nil
	}
	return err
}

// TagDroplets implements instancegroup.Cloud. It makes the tag if it has not made
// it yet, or if somebody removed it.
func (c *Client) TagDroplets(ctx context.Context, tag string, ids []int64) error {
	req := &godo.TagResourcesRequest{}
	for _, id := range ids {
		req.Resources = append(req.Resources, godo.Resource{ID: strconv.FormatInt(id, 10), Type: godo.DropletResourceType})
	}
	if ig.IsDeleteTag(tag) {
		c.auth.forget(ids...)
	}
	var err error
	for range 2 {
		if _, made := c.made.Load(tag); !made {
			if _, err := c.do(ctx, http.MethodPost, "v2/tags", &godo.TagCreateRequest{Name: tag}, nil); err != nil {
				return c.fail(opCreateTag, err)
			}
			c.made.Store(tag, true)
		}
		_, err = c.api.Tags.TagResources(ctx, url.PathEscape(tag), req)
		if err = c.fail(opTagDroplets, err); !errors.Is(err, ig.ErrNotFound) {
			break
		}
		c.made.Delete(tag)
	}
	return err
}

// DeleteTagged implements instancegroup.Cloud.
//
// Invariant: nothing is deleted by a tag that is not made for that. The tags of
// users and groups are on Droplets that are to live. (TestDeleteTaggedRefuses)
func (c *Client) DeleteTagged(ctx context.Context, tag string) (string, error) {
	if !ig.IsDeleteTag(tag) {
		return "", &ig.CloudError{Class: ig.ErrInvalid, Op: opDeleteTagged, Status: http.StatusBadRequest,
			Message: fmt.Sprintf("not sent: nothing is deleted by the tag %q", tag)}
	}
	resp, err := c.api.Droplets.DeleteByTag(ctx, url.QueryEscape(tag))
	if err != nil {
		return "", c.fail(opDeleteTagged, err)
	}
	return c.requestID(resp.Header.Get("x-request-id")), nil
}

// RemoveTag implements instancegroup.Cloud.
func (c *Client) RemoveTag(ctx context.Context, tag string) error {
	_, err := c.api.Tags.Delete(ctx, url.PathEscape(tag))
	return c.fail(opRemoveTag, err)
}

// Tag is a tag of the account.
type Tag struct {
	Name     string
	Carriers int // whatever carries it, Droplets or not
}

// Tags returns all tags of the account.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	type tag struct {
		Name      string `json:"name"`
		Resources struct {
			Count int `json:"count"`
		} `json:"resources"`
	}
	tags, err := readAll(ctx, c, "GET /v2/tags", slimList[tag](c, "v2/tags", url.Values{}, "tags"))
	if err != nil {
		return nil, err
	}
	out := make([]Tag, len(tags))
	for i, t := range tags {
		out[i] = Tag{Name: t.Name, Carriers: t.Resources.Count}
	}
	return out, nil
}
