package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/sync/errgroup"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

var (
	opAccount = op("GET /v2/account", "account:read")
	opProject = op("POST /v2/projects/{id}/resources", "project:assign_resource")
)

// verifyTimeout bounds all questions about a token together.
const verifyTimeout = 8 * time.Second

// Account is the account, or the team, that the token is of.
type Account struct {
	ID, Name      string // of the team, or else of the account; "" = unknown
	DropletLimit  int
	Status        string // active, warning or locked
	StatusMessage string
	EmailVerified bool
	Email         string // of whoever made the token
}

// Account reads the account. The Client remembers it: a token that replaces this one
// must be of the same account.
func (c *Client) Account(ctx context.Context) (Account, error) {
	said, err := getOne(ctx, c, request{op: opAccount}, "account", func(a *godo.Account) bool { return a != nil })
	if err != nil {
		return Account{}, err
	}
	a := Account{said.UUID, said.Name, said.DropletLimit, said.Status, said.StatusMessage, said.EmailVerified, said.Email}
	if said.Team != nil && said.Team.UUID != "" {
		a.ID, a.Name = said.Team.UUID, said.Team.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.account.ID == "" && ctx.Value(byToken{}) == nil {
		c.account = a
	}
	return a, nil
}

// maxKnown is how many Droplets are remembered to know the account by: the youngest,
// which live longest.
const maxKnown = 10

// know remembers Droplets that an answer had, by ascending id: in place of all others if
// it is a complete list.
func (c *Client) know(complete bool, droplets []ig.Droplet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if complete {
		c.known = nil
	}
	for _, d := range droplets[max(0, len(droplets)-maxKnown):] {
		c.known = append(c.known, d.ID)
	}
	c.known = c.known[max(0, len(c.known)-maxKnown):]
}

// forget forgets Droplets that are being deleted: that the new token does not find them
// would say nothing. (TestDeletedDropletsAreNoWitnesses)
func (c *Client) forget(ids ...int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = slices.DeleteFunc(c.known, func(id int64) bool { return slices.Contains(ids, id) })
}

// verify asks whether the token of ctx is of the same account: by its id, or, where
// that cannot be read, by some of its Droplets.
func (c *Client) verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	c.mu.Lock()
	same, known := c.account, slices.Clone(c.known)
	c.mu.Unlock()
	found, err := c.Account(ctx)
	switch {
	case err != nil && !errors.Is(err, ig.ErrForbidden): // without account:read
		return err
	case same.ID == "" || found.ID == "":
	case found.ID == same.ID:
		return nil
	default:
		return otherAccount("the token is now one of the account or team %q (%s), and the Droplets are those of %q (%s): "+
			"put a token of that team where this one came from", found.Name, found.ID, same.Name, same.ID)
	}
	for _, id := range known {
		if _, err := c.Get(ctx, id); !errors.Is(err, ig.ErrNotFound) {
			return err
		}
	}
	if len(known) == 0 {
		return nil
	}
	return otherAccount("the token has changed, and the new one finds none of the Droplets %s that the old one "+
		"had: it seems to be another account's. Put one of the same team there, with account:read; if it is, and those were deleted, restart the runner",
		strings.Trim(fmt.Sprint(known), "[]"))
}

func otherAccount(format string, args ...any) error {
	return &ig.CloudError{Class: ig.ErrOtherAccount, Message: "not sent: " + fmt.Sprintf(format, args...)}
}

// Usage implements instancegroup.Cloud. All counts come from lists, which lack
// the youngest Droplets, so the differences do not. GPU Droplets are in a list
// of their own, which has everybody's.
func (c *Client) Usage(ctx context.Context, tag string) (ig.Usage, error) {
	var account Account
	var all, ours int
	var gpus ig.List
	var reads errgroup.Group
	reads.Go(func() (err error) { all, err = c.total(ctx, url.Values{}); return err })
	reads.Go(func() (err error) { ours, err = c.total(ctx, url.Values{"tag_name": {tag}}); return err })
	reads.Go(func() (err error) { gpus, err = c.list(ctx, url.Values{"type": {"gpus"}}); return err })
	reads.Go(func() (err error) {
		if account, err = c.Account(ctx); errors.Is(err, ig.ErrForbidden) {
			return nil // the limit is unknown
		}
		return err
	})
	if err := reads.Wait(); err != nil {
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
	p, err := readPage[droplet](ctx, c, opList, "droplets", query)
	return p.total, err
}

// AssignProject implements instancegroup.Cloud.
func (c *Client) AssignProject(ctx context.Context, project string, ids []int64) error {
	var resources []string
	for _, id := range ids {
		resources = append(resources, fmt.Sprint("do:droplet:", id))
	}
	_, err := c.do(ctx, request{op: opProject, name: project, body: map[string][]string{"resources": resources}})
	return err
}
