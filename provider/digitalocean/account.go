package digitalocean

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	opAccount   = "GET /v2/account"
	opProject   = "POST /v2/projects/{id}/resources"
	opDeleteTag = "DELETE /v2/tags/{tag}"
)

// DropletLimit returns how many Droplets the account may have.
func (c *Client) DropletLimit(ctx context.Context) (int, error) {
	a, _, err := c.api.Account.Get(ctx)
	if err == nil && a == nil {
		err = errors.New("the answer has no account")
	}
	if err != nil {
		return 0, c.fail(opAccount, err)
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
	_, err = c.get(ctx, "v2/droplets", url.Values{"per_page": {"1"}}, &answer)
	if err == nil && (answer.Meta == nil || answer.Meta.Total < 0) {
		err = errors.New("the answer does not tell how many Droplets there are")
	}
	if err != nil {
		return ig.Usage{}, c.fail(opList, err)
	}
	return ig.Usage{Limit: limit, Total: answer.Meta.Total}, nil
}

// AssignProject implements instancegroup.Cloud.
func (c *Client) AssignProject(ctx context.Context, project string, ids []int) error {
	urns := make([]any, len(ids))
	for i, id := range ids {
		urns[i] = "do:droplet:" + strconv.Itoa(id)
	}
	_, _, err := c.api.Projects.AssignResources(ctx, project, urns...)
	return c.fail(opProject, err)
}

// DeleteTag implements instancegroup.Cloud.
func (c *Client) DeleteTag(ctx context.Context, tag string) error {
	_, err := c.api.Tags.Delete(ctx, tag)
	return c.fail(opDeleteTag, err)
}
