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

const (
	opGetTag       = "GET /v2/tags/{tag}"
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
			if _, err := c.send(ctx, http.MethodPost, "v2/tags", &godo.TagCreateRequest{Name: tag}, &struct{}{}); err != nil {
				return c.fail(opCreateTag, err)
			}
			c.made.Store(tag, true)
		}
		_, err = c.send(ctx, http.MethodPost, tagPath(tag)+"/resources", req, nil)
		if err = c.fail(opTagDroplets, err); !errors.Is(err, ig.ErrNotFound) {
			break
		}
		c.made.Delete(tag)
	}
	return err
}

// HasTag implements instancegroup.Cloud.
func (c *Client) HasTag(ctx context.Context, tag string) (bool, error) {
	var answer struct {
		Tag *godo.Tag `json:"tag"`
	}
	_, err := c.get(ctx, tagPath(tag), nil, &answer)
	if err == nil && (answer.Tag == nil || answer.Tag.Name == "") {
		err = errors.New("the answer has no tag")
	}
	if err = c.fail(opGetTag, err); errors.Is(err, ig.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
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
	header, err := c.send(ctx, http.MethodDelete, "v2/droplets?"+url.Values{"tag_name": {tag}}.Encode(), nil, nil)
	if err != nil {
		return "", c.fail(opDeleteTagged, err)
	}
	return c.requestID(header.Get("x-request-id")), nil
}

// Tag is a tag of the account.
type Tag struct {
	Name     string
	Carriers int // whatever carries it, Droplets or not
}

// Tags lists all tags of the account.
func (c *Client) Tags(ctx context.Context) ([]Tag, error) {
	tags, err := readAll(ctx, c, "v2/tags", nil, func(l lists) *[]godo.Tag { return l.Tags })
	if err != nil {
		return nil, err
	}
	out := make([]Tag, len(tags))
	for i, t := range tags {
		out[i] = Tag{Name: t.Name}
		if r := t.Resources; r != nil {
			out[i].Carriers = r.Count
		}
	}
	return out, nil
}

// DeleteTag implements instancegroup.Cloud.
func (c *Client) DeleteTag(ctx context.Context, tag string) error {
	_, err := c.send(ctx, http.MethodDelete, tagPath(tag), nil, nil)
	return c.fail(opDeleteTag, err)
}

func tagPath(tag string) string { return "v2/tags/" + url.PathEscape(tag) }
