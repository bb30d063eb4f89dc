package digitalocean

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

const (
	testToken = "dop_v1_0123456789abcdef"
	groupTag  = "fleeting-group:ci"

	someDroplet = 512_000_001
	someKey     = "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"
	someVPC     = "00000001-0f0c-4000-8000-000000000001"
	somePublic  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

	// readTries is how often a GET is sent whose answers do not say how long to wait.
	readTries = 3
)

// operation is one thing that the plugin asks of DigitalOcean.
type operation struct {
	name string
	op   string // the request, as CloudError.Op and the simulator name it
	call func(context.Context, *Client) (value any, err error)
}

// reads says that the operation changes nothing, so that it may be repeated.
func (o operation) reads() bool { return o.op[:3] == "GET" }

// bodied says that success has a body that must make sense.
func (o operation) bodied() bool {
	return o.reads() && o.op != opGetTag || o.op == opCreate || o.op == opUploadKey
}

// operations are all of them.
var operations = []operation{
	{"List", opList, func(ctx context.Context, c *Client) (any, error) { return c.List(ctx, groupTag, false) }},
	{"Get", opGet, func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, someDroplet) }},
	{"Create", opCreate, func(ctx context.Context, c *Client) (any, error) {
		return c.Create(ctx, ig.CreateRequest{Names: []string{"ci-7k2m9qxa"}, Region: "nyc3", Size: "s-1vcpu-1gb",
			Image: ig.Image{Slug: "debian-13-x64"}, SSHKeys: []string{someKey}, Tags: []string{"fleeting"}})
	}},
	{"Delete", opDelete, func(ctx context.Context, c *Client) (any, error) { return c.Delete(ctx, someDroplet) }},
	{"TagDroplets", opTagDroplets, without(func(ctx context.Context, c *Client) error {
		return c.TagDroplets(ctx, "fleeting-delete:ci", []int64{someDroplet})
	})},
	{"CheckTagRead", opGetTag, without(func(ctx context.Context, c *Client) error { return c.CheckTagRead(ctx, groupTag) })},
	{"DeleteTagged", opDeleteTagged, func(ctx context.Context, c *Client) (any, error) { return c.DeleteTagged(ctx, "fleeting-delete:ci") }},
	{"RemoveTag", opRemoveTag, without(func(ctx context.Context, c *Client) error { return c.RemoveTag(ctx, "fleeting-delete:ci") })},
	{"AssignProject", opProject, without(func(ctx context.Context, c *Client) error {
		return c.AssignProject(ctx, "00000002-9a3e-4000-8000-000000000002", []int64{someDroplet})
	})},
	{"ImagesWithTag", opImages, func(ctx context.Context, c *Client) (any, error) { return c.ImagesWithTag(ctx, "golden") }},
	{"PublicSlugs", opImages, func(ctx context.Context, c *Client) (any, error) { return c.PublicSlugs(ctx) }},
	{"Image", opImage, func(ctx context.Context, c *Client) (any, error) { return c.Image(ctx, "debian-13-x64") }},
	{"Usage", opAccount, func(ctx context.Context, c *Client) (any, error) { return c.Usage(ctx, groupTag) }},
	{"Account", opAccount, func(ctx context.Context, c *Client) (any, error) { return c.Account(ctx) }},
	{"Sizes", opSizes, func(ctx context.Context, c *Client) (any, error) { return c.Sizes(ctx) }},
	{"Regions", opRegions, func(ctx context.Context, c *Client) (any, error) { return c.Regions(ctx) }},
	{"VPCRegion", opVPC, func(ctx context.Context, c *Client) (any, error) { return c.VPCRegion(ctx, someVPC) }},
	{"VPCs", opVPCs, func(ctx context.Context, c *Client) (any, error) { return c.VPCs(ctx) }},
	{"HasKey", opKey, without(func(ctx context.Context, c *Client) error { return c.HasKey(ctx, someKey) })},
	{"UploadKey", opUploadKey, without(func(ctx context.Context, c *Client) error {
		return c.UploadKey(ctx, "fleeting-ci-7k2m9qxa", somePublic)
	})},
	{"DeleteKey", opDeleteKey, without(func(ctx context.Context, c *Client) error { return c.DeleteKey(ctx, someKey) })},
	{"Keys", opKeys, func(ctx context.Context, c *Client) (any, error) { return c.Keys(ctx) }},
}

// without is a call whose success has no value.
func without(call func(context.Context, *Client) error) func(context.Context, *Client) (any, error) {
	return func(ctx context.Context, c *Client) (any, error) { return nil, call(ctx, c) }
}

// zero reports whether an operation's value is none.
func zero(v any) bool { return v == nil || reflect.ValueOf(v).IsZero() }

// Requests of each kind.
func sendList(c *Client) error   { _, err := c.List(context.Background(), groupTag, false); return err }
func sendGet(c *Client) error    { _, err := c.Get(context.Background(), 1); return err }
func sendDelete(c *Client) error { _, err := c.Delete(context.Background(), 1); return err }
func sendCreate(c *Client) error {
	_, err := c.Create(context.Background(), ig.CreateRequest{Names: []string{"ci-1"}})
	return err
}

// over makes a Client whose requests transport carries.
func over(t testing.TB, transport http.RoundTripper) *Client {
	t.Helper()
	return newClient(t, Options{UserAgent: "test/1", Transport: transport})
}

// newClient makes a Client of the real API's address and testToken, unless o has others.
func newClient(t testing.TB, o Options) *Client {
	t.Helper()
	if o.URL == "" {
		o.URL = "https://api.digitalocean.com"
	}
	if o.Token == nil {
		o.Token = func() (string, error) { return testToken, nil }
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// simulated makes a Client of a simulated DigitalOcean.
func simulated(t testing.TB) (*dosim.Sim, *Client) {
	t.Helper()
	sim := dosim.New(dosim.Options{Token: testToken, DropletLimit: 5000})
	t.Cleanup(sim.Close)
	return sim, over(t, sim.Transport())
}

// answering is a server in a function.
type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := f(r)
	if resp != nil {
		resp.Request = r
	}
	return resp, err
}

// answer makes a response; headers come in pairs.
func answer(status int, body string, headers ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// always answers every request the same, and counts them.
func always(count *int, status int, body string, headers ...string) answering {
	var mu sync.Mutex
	return func(*http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		*count++
		return answer(status, body, headers...), nil
	}
}

// saying makes a Client whose every request is answered with that body.
func saying(t testing.TB, body string) *Client {
	t.Helper()
	return over(t, always(new(int), 200, body))
}

// listing is a list of n small Droplets, in pages.
type listing struct {
	n       int
	latency time.Duration   // of an answer
	strict  bool            // there is no page beyond the end
	total   func(n int) int // what it says of its length, beside links; nil = the truth, without links

	mu       sync.Mutex
	requests int
}

func (l *listing) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	select {
	case <-time.After(l.latency):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if r.URL.Query().Get("type") != "" {
		return answer(200, pageOf(0)), nil
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("page"))
	if l.strict && (n-1)*perPage >= l.n {
		return answer(404, `{"id":"not_found","message":"The resource you were accessing could not be found."}`), nil
	}
	ids := upTo((n-1)*perPage+1, min(n*perPage, l.n))
	if l.total == nil {
		return answer(200, pageOf(l.n, ids...)), nil
	}
	links := `{}`
	if n*perPage < l.n {
		links = fmt.Sprintf(`{"pages":{"next":"https://api.digitalocean.com/v2/droplets?page=%d"}}`, n+1)
	}
	return answer(200, strings.Replace(pageOf(l.total(l.n), ids...), `"meta"`, `"links":`+links+`,"meta"`, 1)), nil
}

// upTo are the numbers from one to another.
func upTo(from, to int) (all []int) {
	for ; from <= to; from++ {
		all = append(all, from)
	}
	return all
}

// pageOf is one page of a list of Droplets.
func pageOf(total int, ids ...int) string {
	var droplets []string
	for _, id := range ids {
		droplets = append(droplets, fmt.Sprintf(`{"id":%d,"name":"ci-%08d","status":"active","tags":[%q]}`, id, id, groupTag))
	}
	return fmt.Sprintf(`{"droplets":[%s],"meta":{"total":%d}}`, strings.Join(droplets, ","), total)
}

// cloudError returns err as the CloudError that it has to be.
func cloudError(t *testing.T, err error) *ig.CloudError {
	t.Helper()
	e, ok := errors.AsType[*ig.CloudError](err)
	if !ok {
		t.Fatalf("the error is %T, not a CloudError: %v", err, err)
	}
	return e
}
