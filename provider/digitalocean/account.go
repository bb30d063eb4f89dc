package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	opAccount = "GET /v2/account"
	opProject = "POST /v2/projects/{id}/resources"
)

// Account is the account, or the team, that the token is of.
type Account struct {
	ID, Name      string // of the team, or else of the account; "" = unknown
	DropletLimit  int
	Status        string // active, warning or locked
	StatusMessage string
	EmailVerified bool
	Email         string // of whoever made the token
}

// Account reads the account. The Client remembers its ID: a token that replaces
// this one must be of the same account.
func (c *Client) Account(ctx context.Context) (Account, error) {
	a, err := getOne(ctx, c, request{op: opAccount}, "account", func(a *godo.Account) bool { return a != nil })
	if err != nil {
		return Account{}, err
	}
	id := identify(a)
	c.auth.belongTo(id)
	return Account{ID: id.id, Name: id.name, DropletLimit: a.DropletLimit, Status: a.Status, StatusMessage: a.StatusMessage, EmailVerified: a.EmailVerified, Email: a.Email}, nil
}

// identity is what distinguishes an account.
type identity struct{ id, name string }

func identify(a *godo.Account) identity {
	switch {
	case a == nil:
		return identity{}
	case a.Team != nil && a.Team.UUID != "":
		return identity{a.Team.UUID, a.Team.Name}
	}
	return identity{a.UUID, a.Name}
}

func (i identity) String() string {
	if i.name == "" {
		return i.id
	}
	return fmt.Sprintf("%q (%s)", i.name, i.id)
}

// Usage implements instancegroup.Cloud. All counts come from lists, which lack
// the youngest Droplets, so the differences do not. GPU Droplets are in a list
// of their own, which has everybody's.
func (c *Client) Usage(ctx context.Context, tag string) (ig.Usage, error) {
	var account Account
	var all, ours int
	var gpus ig.List
	reads := []func() error{
		func() (err error) { all, err = c.total(ctx, url.Values{}); return err },
		func() (err error) { ours, err = c.total(ctx, url.Values{"tag_name": {tag}}); return err },
		func() (err error) { gpus, err = c.list(ctx, url.Values{"type": {"gpus"}}); return err },
		func() (err error) {
			if account, err = c.Account(ctx); errors.Is(err, ig.ErrForbidden) {
				return nil // the limit is unknown
			}
			return err
		},
	}
	if err := together(len(reads), func(i int) error { return reads[i]() }); err != nil {
		return ig.Usage{}, err
	}
	u := ig.Usage{Limit: account.DropletLimit, Others: max(0, all-ours)}
	for _, d := range gpus.Droplets {
		if !ig.HasTag(d, tag) {
			u.Others++
		}
	}
	return u, nil
}

// total asks how many Droplets match query.
func (c *Client) total(ctx context.Context, query url.Values) (int, error) {
	query.Set("per_page", "1")
	var answer paging
	if _, err := c.send(ctx, request{op: opList, query: query}, &answer); err != nil {
		return 0, err
	}
	if answer.Meta == nil || answer.Meta.Total < 0 {
		return 0, c.fail(opList, errors.New("the answer does not say how many Droplets there are"))
	}
	return answer.Meta.Total, nil
}

// AssignProject implements instancegroup.Cloud.
func (c *Client) AssignProject(ctx context.Context, project string, ids []int64) error {
	var resources []string
	for _, id := range ids {
		resources = append(resources, fmt.Sprint("do:droplet:", id))
	}
	_, err := c.send(ctx, request{op: opProject, name: project, body: map[string][]string{"resources": resources}}, &struct{}{})
	return err
}
