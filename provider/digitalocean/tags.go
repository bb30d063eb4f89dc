package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	opCreateTag    = "POST /v2/tags"
	opTagDroplets  = "POST /v2/tags/{tag}/resources"
	opDeleteTagged = "DELETE /v2/droplets"
	opDeleteTag    = "DELETE /v2/tags/{tag}"
)

// TagDroplets implements instancegroup.Cloud. It makes the tag if it has not made
// it yet, or if somebody removed it.
func (c *Client) TagDroplets(ctx context.Context, tag string, ids []int) error {
	req := &godo.TagResourcesRequest{}
	for _, id := range ids {
		req.Resources = append(req.Resources, godo.Resource{ID: strconv.Itoa(id), Type: godo.DropletResourceType})
	}
	var err error
	for range 2 {
		if _, made := c.made.Load(tag); !made {
			if _, _, err := c.api.Tags.Create(ctx, &godo.TagCreateRequest{Name: tag}); err != nil {
				return c.fail(opCreateTag, err)
			}
			c.made.Store(tag, true)
		}
		_, err = c.api.Tags.TagResources(ctx, tag, req)
		if err = c.fail(opTagDroplets, err); !errors.Is(err, ig.ErrNotFound) {
			break
		}
		c.made.Delete(tag)
	}
	return err
}

// DeleteTagged implements instancegroup.Cloud.
//
// Invariant: nothing is destroyed by a tag that is not minted for that. The tags
// of users and groups are on Droplets that are to live. (TestDeleteTaggedRefuses)
func (c *Client) DeleteTagged(ctx context.Context, tag string) (string, error) {
	if !ig.IsBulkTag(tag) {
		return "", &ig.CloudError{Class: ig.ErrInvalid, Op: opDeleteTagged, Status: http.StatusBadRequest,
			Message: fmt.Sprintf("not sent: nothing is destroyed by the tag %q", tag)}
	}
	resp, err := c.api.Droplets.DeleteByTag(ctx, tag)
	if err != nil {
		return "", c.fail(opDeleteTagged, err)
	}
	return c.requestID(resp.Header.Get("x-request-id")), nil
}

// DeleteTag implements instancegroup.Cloud.
func (c *Client) DeleteTag(ctx context.Context, tag string) error {
	_, err := c.api.Tags.Delete(ctx, tag)
	return c.fail(opDeleteTag, err)
}
