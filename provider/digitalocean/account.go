package digitalocean

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	opAccount = "GET /v2/account"
	opProject = "POST /v2/projects/{id}/resources"
)

// DropletLimit returns how many Droplets the account may have.
func (c *Client) DropletLimit(ctx context.Context) (int, error) {
	var answer struct {
		Account *godo.Account `json:"account"`
	}
	_, err := c.get(ctx, "v2/account", nil, &answer)
	if err == nil && answer.Account == nil {
		err = errors.New("the answer has no account")
	}
	if err != nil {
		return 0, c.fail(opAccount, err)
	}
	return answer.Account.DropletLimit, nil
}

// Usage implements instancegroup.Cloud. Both counts come from lists, which lack
// the youngest Droplets, so the difference does not.
func (c *Client) Usage(ctx context.Context, tag string) (ig.Usage, error) {
	limit, err := c.DropletLimit(ctx)
	if err != nil {
		return ig.Usage{}, err
	}
	all, err := c.total(ctx, url.Values{})
	if err != nil {
		return ig.Usage{}, err
	}
	ours, err := c.total(ctx, url.Values{"tag_name": {tag}})
	if err != nil {
		return ig.Usage{}, err
	}
	return ig.Usage{Limit: limit, Others: max(0, all-ours)}, nil
}

// total asks how many Droplets match query.
func (c *Client) total(ctx context.Context, query url.Values) (int, error) {
	query.Set("per_page", "1")
	var answer paging
	_, err := c.get(ctx, "v2/droplets", query, &answer)
	if err == nil && (answer.Meta == nil || answer.Meta.Total < 0) {
		err = errors.New("the answer does not tell how many Droplets there are")
	}
	if err != nil {
		return 0, c.fail(opList, err)
	}
	return answer.Meta.Total, nil
}

// AssignProject implements instancegroup.Cloud.
func (c *Client) AssignProject(ctx context.Context, project string, ids []int) error {
	var body struct {
		Resources []string `json:"resources"`
	}
	for _, id := range ids {
		body.Resources = append(body.Resources, "do:droplet:"+strconv.Itoa(id))
	}
	_, err := c.send(ctx, http.MethodPost, "v2/projects/"+url.PathEscape(project)+"/resources", body, &struct{}{})
	return c.fail(opProject, err)
}
