package digitalocean

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/digitalocean/godo"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// droplet is what is read of a Droplet. godo's own type would decode all of every
// Droplet's region, size and image, which is most of a page: 4 times as many
// allocations. (BenchmarkDecode)
type droplet struct {
	ID     int64    `json:"id"`
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
		ID   int64  `json:"id"`
	} `json:"image"`
	Networks struct {
		V4 []address `json:"v4"`
		V6 []address `json:"v6"`
	} `json:"networks"`
	Created string `json:"created_at"`
}

type address struct {
	IP   string `json:"ip_address"`
	Type string `json:"type"`
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
		Image: ig.Image(d.Image), PriceHourly: d.Size.PriceHourly, Created: created,
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

var (
	opList   = op("GET /v2/droplets", "droplet:read", "tag:read")
	opGet    = op("GET /v2/droplets/{id}", "droplet:read")
	opCreate = op("POST /v2/droplets", "droplet:create", "droplet:read", "tag:create", "image:read", "sizes:read", "regions:read", "actions:read")
	opDelete = op("DELETE /v2/droplets/{id}", "droplet:delete")
)

// Get implements instancegroup.Cloud.
func (c *Client) Get(ctx context.Context, id int64) (ig.Droplet, error) {
	d, err := getOne(ctx, c, request{op: opGet, name: fmt.Sprint(id)}, "droplet", func(d droplet) bool { return d.ID == id && d.sound() })
	if err != nil {
		return ig.Droplet{}, err
	}
	return d.Droplet(), nil
}

// createRequest is godo's, with ids of 64 bits.
type createRequest struct {
	godo.DropletMultiCreateRequest
	Image   any   `json:"image"`
	SSHKeys []any `json:"ssh_keys"`
}

// Create implements instancegroup.Cloud.
func (c *Client) Create(ctx context.Context, r ig.CreateRequest) (ig.Created, error) {
	body := createRequest{
		DropletMultiCreateRequest: godo.DropletMultiCreateRequest{
			Names:            r.Names,
			Region:           r.Region,
			Size:             r.Size,
			Backups:          r.Backups,
			IPv6:             r.IPv6,
			Monitoring:       r.Monitoring,
			UserData:         r.UserData,
			Tags:             append([]string{}, r.Tags...), // never null
			VPCUUID:          r.VPC,
			SubnetUUID:       r.Subnet,
			WithDropletAgent: r.WithDropletAgent,
		},
		Image:   r.Image.Slug,
		SSHKeys: []any{}, // never null
	}
	if !r.PublicNetworking { // true is DigitalOcean's default
		body.PublicNetworking = new(false)
	}
	if r.Image.Slug == "" {
		body.Image = r.Image.ID
	}
	for _, k := range r.SSHKeys { // ids as numbers, all else as fingerprints
		if id, err := strconv.ParseInt(k, 10, 64); err == nil {
			body.SSHKeys = append(body.SSHKeys, id)
		} else {
			body.SSHKeys = append(body.SSHKeys, k)
		}
	}
	resp, said, err := c.send(ctx, request{op: opCreate, body: body})
	if err != nil {
		return ig.Created{}, err
	}
	var answer struct {
		Droplets []droplet `json:"droplets"`
		Droplet  droplet   `json:"droplet"` // of a create by a single name
	}
	if err := lenient(json.Unmarshal(said, &answer)); err != nil {
		return ig.Created{}, c.fail(opCreate, err)
	}
	created := ig.Created{RequestID: c.requestID(resp.Header.Get("x-request-id"))}
	for _, d := range append(answer.Droplets, answer.Droplet) { // what is odd is left out: lists will show it
		if d.ID > 0 && d.Name != "" {
			created.Droplets = append(created.Droplets, d.Droplet())
		}
	}
	c.know(false, created.Droplets)
	return created, nil
}

// Delete implements instancegroup.Cloud.
func (c *Client) Delete(ctx context.Context, id int64) (string, error) {
	requestID, err := c.do(ctx, request{op: opDelete, name: fmt.Sprint(id)})
	if err == nil {
		c.forget(id)
	}
	return requestID, err
}
