package digitalocean

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// droplet is what we read of a Droplet. godo's own type would decode each one's
// region, size and image in full, which is most of a page.
type droplet struct {
	ID     int      `json:"id"`
	Name   string   `json:"name"`
	Status string   `json:"status"`
	Tags   []string `json:"tags"`
	Region struct {
		Slug string `json:"slug"`
	} `json:"region"`
	SizeSlug string `json:"size_slug"`
	Size     struct {
		PriceHourly float64 `json:"price_hourly"`
	} `json:"size"`
	Image struct {
		Slug string `json:"slug"`
		ID   int    `json:"id"`
	} `json:"image"`
	Networks godo.Networks `json:"networks"`
	Created  string        `json:"created_at"`
}

func (d droplet) Droplet() ig.Droplet {
	created, _ := time.Parse(time.RFC3339, d.Created) // none: the zero time, before any Init
	out := ig.Droplet{
		ID: d.ID, Name: d.Name, Status: d.Status, Tags: d.Tags, Region: d.Region.Slug, Size: d.SizeSlug,
		Image: ig.Image(d.Image), PriceHourly: d.Size.PriceHourly, Created: created,
	}
	// By type, never by position: the order is not documented.
	for _, n := range d.Networks.V4 {
		switch {
		case n.Type == "public" && out.PublicIPv4 == "":
			out.PublicIPv4 = n.IPAddress
		case n.Type == "private" && out.PrivateIPv4 == "":
			out.PrivateIPv4 = n.IPAddress
		}
	}
	for _, n := range d.Networks.V6 {
		if n.Type == "public" && out.PublicIPv6 == "" {
			out.PublicIPv6 = n.IPAddress
		}
	}
	return out
}

const (
	opList   = "GET /v2/droplets"
	opGet    = "GET /v2/droplets/{id}"
	opCreate = "POST /v2/droplets"
	opDelete = "DELETE /v2/droplets/{id}"
)

// listTries is how often a list is read that shifts between its pages.
const listTries = 3

// List implements instancegroup.Cloud.
func (c *Client) List(ctx context.Context, tag string, gpus bool) (ig.List, error) {
	var l, g ig.List
	var err, gerr error
	var wg sync.WaitGroup
	wg.Go(func() { l, err = c.list(ctx, url.Values{"tag_name": {tag}}) })
	if gpus {
		// DigitalOcean leaves GPU Droplets out of every other list, and does
		// not combine type with tag_name.
		wg.Go(func() { g, gerr = c.list(ctx, url.Values{"type": {"gpus"}}) })
	}
	wg.Wait()
	if err := cmp.Or(err, gerr); err != nil {
		return ig.List{}, err
	}
	// DigitalOcean has filtered by the tag. A token without tag:read is shown no tags
	// at all, which is not that Droplets have none.
	for i := range l.Droplets {
		if d := &l.Droplets[i]; len(d.Tags) == 0 {
			d.Tags, d.TagsHidden, l.TagsHidden = []string{tag}, true, true
		}
	}
	l.Droplets = append(l.Droplets, g.Droplets...)
	l.Requests += g.Requests
	l.Droplets = slices.DeleteFunc(l.Droplets, func(d ig.Droplet) bool {
		return !hasTag(d.Tags, tag)
	})
	slices.SortFunc(l.Droplets, func(a, b ig.Droplet) int { return a.ID - b.ID })
	l.Droplets = slices.CompactFunc(l.Droplets, func(a, b ig.Droplet) bool { return a.ID == b.ID })
	l.Budget = c.budget.report()
	return l, nil
}

// hasTag compares as DigitalOcean does, which ignores case.
func hasTag(tags []string, tag string) bool {
	return slices.ContainsFunc(tags, func(t string) bool { return strings.EqualFold(t, tag) })
}

// list reads all pages of the Droplets that match query. A list can shift
// between its pages while Droplets come and go; one that has fewer entries than
// each of its pages says there are is read again, unless it was the same before: then
// it is the number that is wrong, as it may be for a while after Droplets went. An
// empty one is not believed so: it would say that all are gone. (Should one Droplet go
// and another slip through that very moment, the Group has to find out: it believes no
// single list of several pages.)
func (c *Client) list(ctx context.Context, query url.Values) (ig.List, error) {
	var requests int
	var before map[int]bool // what was read before
	var said int            // how many there are
	for range listTries {
		read, err := c.readPages(ctx, query)
		requests += len(read)
		if err != nil {
			return ig.List{}, c.fail(opList, err)
		}
		l := ig.List{Date: read[0].date, Requests: requests}
		ids := map[int]bool{}
		total := read[0].total
		for _, p := range read {
			total = min(total, p.total) // as Droplets go, it falls from page to page
			for _, d := range p.droplets {
				if !ids[d.ID] {
					ids[d.ID] = true
					l.Droplets = append(l.Droplets, d)
				}
			}
		}
		if len(l.Droplets) >= total || len(ids) > 0 && maps.Equal(ids, before) {
			return l, nil
		}
		before, said = ids, total
	}
	if len(before) == 0 {
		return ig.List{}, c.fail(opList, fmt.Errorf("the list%s is empty, %d times, and yet is said to have %d Droplets: "+
			"to believe it would be to take them for gone", of(query), listTries, said))
	}
	return ig.List{}, c.fail(opList, fmt.Errorf("the list%s changed between its pages %d times", of(query), listTries))
}

// of says which list it is, if there are several.
func of(query url.Values) string {
	if query.Get("type") == "gpus" {
		return " of GPU Droplets"
	}
	return ""
}

// page is one page of a list of Droplets.
type page struct {
	droplets []ig.Droplet
	total    int // of all pages, as this one says
	more     bool
	date     time.Time
}

// atOnce is how many pages of a list are read at the same time: a page takes up
// to a second, and a list of 2,000 Droplets has 10.
const atOnce = 8

// readPages reads the first page, then those that it tells of, together, then
// whatever there is beyond them.
func (c *Client) readPages(ctx context.Context, query url.Values) ([]page, error) {
	first, err := c.readPage(ctx, query, 1)
	if err != nil {
		return nil, err
	}
	read := []page{first}
	if first.more {
		known := min((first.total+perPage-1)/perPage, maxPages)
		rest := make([]page, max(0, known-1))
		errs := make([]error, len(rest))
		slots := make(chan struct{}, atOnce)
		var wg sync.WaitGroup
		for i := range rest {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				rest[i], errs[i] = c.readPage(ctx, query, i+2)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		read = append(read, rest...)
	}
	for read[len(read)-1].more {
		if len(read) >= maxPages {
			return nil, fmt.Errorf("the list has more than %d pages", maxPages)
		}
		next, err := c.readPage(ctx, query, len(read)+1)
		if err != nil {
			return nil, err
		}
		read = append(read, next)
	}
	return read, nil
}

func (c *Client) readPage(ctx context.Context, query url.Values, n int) (page, error) {
	q := maps.Clone(query)
	q.Set("per_page", strconv.Itoa(perPage))
	q.Set("page", strconv.Itoa(n))
	var answer struct {
		Droplets *[]droplet `json:"droplets"`
		paging
	}
	header, err := c.get(ctx, "v2/droplets", q, &answer)
	if err != nil {
		return page{}, err
	}
	if answer.Droplets == nil && (answer.Meta == nil || answer.Meta.Total != 0) {
		return page{}, errNoList
	}
	if answer.Droplets == nil { // null, and a total of 0
		answer.Droplets = &[]droplet{}
	}
	p := page{droplets: make([]ig.Droplet, 0, len(*answer.Droplets))}
	p.date, _ = http.ParseTime(header.Get("Date"))
	if answer.Meta != nil {
		p.total = answer.Meta.Total
	}
	// A full page that tells of no next one, and yet of more Droplets, is not the last.
	p.more = answer.more() || len(*answer.Droplets) >= perPage && p.total > n*perPage
	for _, d := range *answer.Droplets {
		if d.ID <= 0 {
			return page{}, errors.New("the answer has a Droplet without an id")
		}
		p.droplets = append(p.droplets, d.Droplet())
	}
	return p, nil
}

// Get implements instancegroup.Cloud.
func (c *Client) Get(ctx context.Context, id int) (ig.Droplet, error) {
	var answer struct {
		Droplet *droplet `json:"droplet"`
	}
	_, err := c.get(ctx, "v2/droplets/"+strconv.Itoa(id), nil, &answer)
	if err == nil && (answer.Droplet == nil || answer.Droplet.ID != id) {
		err = fmt.Errorf("the answer is not Droplet %d", id)
	}
	if err != nil {
		return ig.Droplet{}, c.fail(opGet, err)
	}
	return answer.Droplet.Droplet(), nil
}

// Create implements instancegroup.Cloud.
func (c *Client) Create(ctx context.Context, r ig.CreateRequest) (ig.Created, error) {
	body := &godo.DropletMultiCreateRequest{
		Names:            r.Names,
		Region:           r.Region,
		Size:             r.Size,
		Image:            godo.DropletCreateImage{ID: r.Image.ID, Slug: r.Image.Slug},
		SSHKeys:          sshKeys(r.SSHKeys),
		Backups:          r.Backups,
		IPv6:             r.IPv6,
		Monitoring:       r.Monitoring,
		UserData:         r.UserData,
		Tags:             r.Tags,
		VPCUUID:          r.VPC,
		WithDropletAgent: r.WithDropletAgent,
	}
	if !r.PublicNetworking { // true is DigitalOcean's default
		body.PublicNetworking = new(false)
	}
	var answer struct {
		Droplets []droplet `json:"droplets"`
		Droplet  *droplet  `json:"droplet"` // of a create by a single name
	}
	header, err := c.send(ctx, http.MethodPost, "v2/droplets", body, &answer)
	if err != nil {
		return ig.Created{}, c.fail(opCreate, err)
	}
	if answer.Droplet != nil {
		answer.Droplets = append(answer.Droplets, *answer.Droplet)
	}
	created := ig.Created{RequestID: c.requestID(header.Get("x-request-id"))}
	for _, d := range answer.Droplets {
		created.Droplets = append(created.Droplets, d.Droplet())
	}
	return created, nil
}

// sshKeys sends ids as numbers and all else as fingerprints.
func sshKeys(keys []string) []godo.DropletCreateSSHKey {
	out := make([]godo.DropletCreateSSHKey, 0, len(keys))
	for _, k := range keys {
		if id, err := strconv.Atoi(k); err == nil {
			out = append(out, godo.DropletCreateSSHKey{ID: id})
		} else {
			out = append(out, godo.DropletCreateSSHKey{Fingerprint: k})
		}
	}
	return out
}

// Delete implements instancegroup.Cloud.
func (c *Client) Delete(ctx context.Context, id int) (string, error) {
	header, err := c.send(ctx, http.MethodDelete, "v2/droplets/"+strconv.Itoa(id), nil, nil)
	if err != nil {
		return "", c.fail(opDelete, err)
	}
	return c.requestID(header.Get("x-request-id")), nil
}
