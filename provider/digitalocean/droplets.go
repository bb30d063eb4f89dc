package digitalocean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/sync/errgroup"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

var (
	opList   = op("GET /v2/droplets", "droplet:read", "tag:read")
	opGet    = op("GET /v2/droplets/{id}", "droplet:read")
	opCreate = op("POST /v2/droplets", "droplet:create", "droplet:read", "tag:create", "image:read", "sizes:read", "regions:read", "actions:read")
	opDelete = op("DELETE /v2/droplets/{id}", "droplet:delete")

	opGetTag       = op("GET /v2/tags/{tag}", "tag:read")
	opCreateTag    = op("POST /v2/tags", "tag:create")
	opTagDroplets  = op("POST /v2/tags/{tag}/resources", "tag:create", "droplet:update")
	opDeleteTagged = op("DELETE /v2/droplets", "droplet:delete")
	opRemoveTag    = op("DELETE /v2/tags/{tag}", "tag:delete")
)

// droplet is what is read of a Droplet. godo's own type would decode all of every
// Droplet's region, size and image, which is most of a page: 4 times as many
// allocations. (BenchmarkDecode)
type droplet struct {
	ID       int64
	Name     string
	Status   string
	Tags     []string
	Region   struct{ Slug string }
	SizeSlug string `json:"size_slug"`
	Size     struct {
		PriceHourly float64 `json:"price_hourly"`
	}
	Image    ig.Image
	Networks struct{ V4, V6 []address }
	Created  string `json:"created_at"`
}

type address struct {
	Type string
	IP   string `json:"ip_address"`
}

// sound reports whether a Droplet has all that it is decided by. What else is odd is
// zero.
func (d droplet) sound() bool {
	return d.ID > 0 && d.Name != "" && d.Status != "" && !slices.Contains(d.Tags, "")
}

func (d droplet) Droplet() ig.Droplet {
	created, _ := time.Parse(time.RFC3339, d.Created) // else zero: unknown
	return ig.Droplet{
		ID: d.ID, Name: d.Name, Status: d.Status, Tags: d.Tags, Region: d.Region.Slug, Size: d.SizeSlug,
		Image: d.Image, PriceHourly: d.Size.PriceHourly, Created: created,
		PublicIPv4: first(d.Networks.V4, "public"), PrivateIPv4: first(d.Networks.V4, "private"),
		PublicIPv6: first(d.Networks.V6, "public"),
	}
}

// first goes by type, never by position: the order is not documented.
func first(addresses []address, kind string) string {
	for _, a := range addresses {
		if a.Type == kind {
			return a.IP
		}
	}
	return ""
}

const (
	perPage  = 200 // the most that DigitalOcean puts on a page
	maxPages = 190 // what a token can read in one minute

	// atOnce is how many pages of a list are read at the same time. A Group gives a list
	// 9 s, and a page may take readTimeout. From the second list on, N Droplets take
	// ceil(N/3200) answers' time: a group survives an API that takes 8 s to answer with up
	// to 3,200 Droplets, 4.5 s with up to 6,400, 3 s with up to 9,600. (TestSlowLists)
	atOnce = 16
)

func (c *Client) List(ctx context.Context, tag string, gpus bool) (ig.List, error) {
	var l, other ig.List
	var reads errgroup.Group
	reads.Go(func() (err error) { l, err = c.list(ctx, url.Values{"tag_name": {tag}}); return err })
	if gpus {
		// DigitalOcean leaves GPU Droplets out of every other list, and does
		// not combine type with tag_name.
		reads.Go(func() (err error) { other, err = c.list(ctx, url.Values{"type": {"gpus"}}); return err })
	}
	if err := reads.Wait(); err != nil {
		return ig.List{}, err
	}
	l.Droplets = slices.DeleteFunc(append(l.Droplets, other.Droplets...), func(d ig.Droplet) bool { return !ig.HasTag(d, tag) })
	l.Droplets = byID(l.Droplets)
	l.Requests += other.Requests
	l.Budget = c.budget.report()
	if !ig.IsDeleteTag(tag) {
		known := new(sync.Map)
		for _, d := range l.Droplets {
			known.Store(d.ID, nil)
		}
		c.tokens.known.Store(known)
	}
	return l, nil
}

// byID sorts Droplets, and drops those that are there twice.
func byID(droplets []ig.Droplet) []ig.Droplet {
	slices.SortFunc(droplets, func(a, b ig.Droplet) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(droplets, func(a, b ig.Droplet) bool { return a.ID == b.ID })
}

// list reads all Droplets that match query. A list can shift between its pages while
// Droplets come and go. One that has fewer entries than each of its pages says there
// are is read again, once: then the number is taken to be wrong, as it may be for a while
// after Droplets went. An empty one is not believed so: it would say that all are gone.
func (c *Client) list(ctx context.Context, query url.Values) (l ig.List, err error) {
	for range 2 {
		pages, err := readPages[droplet](ctx, c, opList, "droplets", query)
		if err != nil {
			return ig.List{}, err
		}
		l.Droplets, l.Date = nil, pages[0].date
		l.Requests += len(pages)
		total := pages[0].total
		for _, p := range pages {
			total = min(total, p.total) // as Droplets go, it falls from page to page
			for _, d := range p.entries {
				// One that is found by a tag and shows none would be taken for somebody else's.
				if !d.sound() || d.Tags == nil && query.Has("tag_name") {
					return ig.List{}, c.fail(opList, errors.New("the answer has a Droplet without id, name, status or tags"))
				}
				l.Droplets = append(l.Droplets, d.Droplet())
			}
		}
		if l.Droplets = byID(l.Droplets); len(l.Droplets) >= total {
			return l, nil
		}
	}
	if len(l.Droplets) == 0 {
		return ig.List{}, c.fail(opList, errors.New("the list is empty, and yet says that it is not: to believe it would be to take all for gone"))
	}
	return l, nil
}

// getAll returns the entries of any other list, which are under name in the answers.
func getAll[T any](ctx context.Context, c *Client, op, name string, query url.Values) ([]T, error) {
	pages, err := readPages[T](ctx, c, op, name, query)
	var all []T
	for _, p := range pages {
		all = append(all, p.entries...)
	}
	return all, err
}

// readPages reads as many pages as the list had last, together, then those that
// they tell of: by the list's length or by a link to the next, whichever says that there
// are more. What is remembered too much is an empty page.
func readPages[T any](ctx context.Context, c *Client, op, name string, query url.Values) ([]page[T], error) {
	key := op + "?" + query.Encode()
	want := 1
	if n, ok := c.pages.Load(key); ok {
		want = n.(int)
	}
	var pages []page[T]
	for len(pages) < want {
		next := make([]page[T], want-len(pages))
		var reads errgroup.Group
		reads.SetLimit(atOnce)
		for i := range next {
			reads.Go(func() (err error) {
				q := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(len(pages) + i + 1)}}
				maps.Copy(q, query)
				p := &next[i]
				p.reply, err = c.send(ctx, request{op: op, query: q, into: &p.entries, under: name})
				if err == nil && p.total == 0 && !p.linked && len(p.entries) >= perPage {
					err = c.fail(op, errors.New("the answer does not say how long the list is"))
				}
				return err
			})
		}
		if err := reads.Wait(); err != nil {
			if errors.Is(err, ig.ErrNotFound) { // a page beyond the end
				c.pages.Delete(key)
			}
			return nil, err
		}
		pages = append(pages, next...)
		want = (pages[0].total-1)/perPage + 1
		for i, p := range pages {
			if p.next {
				want = max(want, i+2)
			}
		}
		if want > maxPages {
			return nil, c.fail(op, fmt.Errorf("the list has more than %d pages", maxPages))
		}
		c.pages.Store(key, max(1, want))
	}
	return pages, nil
}

// page is one page of a list.
type page[T any] struct {
	reply
	entries []T
}

func (c *Client) Get(ctx context.Context, id int64) (ig.Droplet, error) {
	var d droplet
	_, err := c.send(ctx, request{op: opGet, name: fmt.Sprint(id), into: &d, under: "droplet"})
	if err == nil && (d.ID != id || !d.sound()) {
		return ig.Droplet{}, c.fail(opGet, errors.New("the answer does not have that Droplet"))
	}
	return d.Droplet(), err
}

// Create does not send godo's type of the request, which has ids of 32 bits on some
// platforms, and null for lists that are empty.
func (c *Client) Create(ctx context.Context, r ig.CreateRequest) (ig.Created, error) {
	body := map[string]any{"names": r.Names, "region": r.Region, "size": r.Size, "tags": append([]string{}, r.Tags...),
		"ipv6": r.IPv6, "monitoring": r.Monitoring, "backups": r.Backups}
	keys := []any{}
	for _, k := range r.SSHKeys { // ids as numbers, all else as fingerprints
		var key any = k
		if id, err := strconv.ParseInt(k, 10, 64); err == nil {
			key = id
		}
		keys = append(keys, key)
	}
	body["ssh_keys"], body["image"] = keys, r.Image.Slug
	if r.Image.Slug == "" {
		body["image"] = r.Image.ID
	}
	if !r.PublicNetworking { // true is DigitalOcean's default
		body["public_networking"] = false
	}
	if r.WithDropletAgent != nil {
		body["with_droplet_agent"] = *r.WithDropletAgent
	}
	for name, value := range map[string]string{"vpc_uuid": r.VPC, "subnet_uuid": r.Subnet, "user_data": r.UserData} {
		if value != "" {
			body[name] = value
		}
	}
	var said struct {
		Droplets []droplet `json:"droplets"`
		Droplet  droplet   `json:"droplet"` // of a create by a single name
	}
	a, err := c.send(ctx, request{op: opCreate, body: body, into: &said})
	if err != nil {
		return ig.Created{}, err
	}
	created := ig.Created{RequestID: a.requestID}
	for _, d := range append(said.Droplets, said.Droplet) { // what is odd is left out: lists will show it
		if d.ID > 0 && d.Name != "" {
			created.Droplets = append(created.Droplets, d.Droplet())
			c.tokens.known.Load().Store(d.ID, nil)
		}
	}
	return created, nil
}

func (c *Client) Delete(ctx context.Context, id int64) (string, error) {
	a, err := c.send(ctx, request{op: opDelete, name: fmt.Sprint(id)})
	if err == nil {
		c.tokens.known.Load().Delete(id)
	}
	return a.requestID, err
}

// CheckTagRead returns ErrForbidden if the token may not read tags; that one need not exist.
func (c *Client) CheckTagRead(ctx context.Context, tag string) error {
	_, err := c.send(ctx, request{op: opGetTag, name: tag})
	if errors.Is(err, ig.ErrNotFound) {
		return nil
	}
	return err
}

func (c *Client) TagDroplets(ctx context.Context, tag string, ids []int64) error {
	body := &godo.TagResourcesRequest{}
	for _, id := range ids {
		body.Resources = append(body.Resources, godo.Resource{ID: strconv.FormatInt(id, 10), Type: godo.DropletResourceType})
		if ig.IsDeleteTag(tag) {
			c.tokens.known.Load().Delete(id)
		}
	}
	put := request{op: opTagDroplets, name: tag, body: body}
	if _, made := c.made.Load(tag); made {
		if _, err := c.send(ctx, put); !errors.Is(err, ig.ErrNotFound) { // else somebody removed it
			return err
		}
	}
	_, err := c.send(ctx, request{op: opCreateTag, body: &godo.TagCreateRequest{Name: tag}})
	if err == nil {
		c.made.Store(tag, true)
		_, err = c.send(ctx, put)
	}
	return err
}

// Invariant: nothing is deleted by a tag that is not made for that. The tags of
// users and groups are on Droplets that are to live. (TestDeleteTaggedRefuses)
func (c *Client) DeleteTagged(ctx context.Context, tag string) (string, error) {
	if !ig.IsDeleteTag(tag) {
		return "", c.fail(opDeleteTagged, &ig.CloudError{Class: ig.ErrRefused, Message: "not sent: nothing is deleted by the tag " + tag})
	}
	a, err := c.send(ctx, request{op: opDeleteTagged, query: url.Values{"tag_name": {tag}}})
	return a.requestID, err
}

func (c *Client) RemoveTag(ctx context.Context, tag string) error {
	_, err := c.send(ctx, request{op: opRemoveTag, name: tag})
	return err
}
