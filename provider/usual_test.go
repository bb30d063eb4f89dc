package provider

import (
	"context"
	"fmt"
	"net/http"

	"github.com/digitalocean/godo"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// usual is how others do it. It meets no faults here but 429s, which it reports
// to the runner as the errors that they are. The provisioner calls it from one
// goroutine.
type usual struct {
	provider.InstanceGroup // what is not measured
	client                 *godo.Client
	ids                    map[string]int
	seq                    int
}

func newUsual(transport http.RoundTripper) *usual {
	return &usual{client: godo.NewClient(&http.Client{Transport: bearer{transport}}), ids: map[string]int{}}
}

type bearer struct{ base http.RoundTripper }

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	return b.base.RoundTrip(r)
}

func (u *usual) Init(context.Context, hclog.Logger, provider.Settings) (provider.ProviderInfo, error) {
	return provider.ProviderInfo{ID: "usual", MaxSize: 10000}, nil
}

func (u *usual) Update(ctx context.Context, fn func(string, provider.State)) error {
	for page := 1; ; page++ {
		droplets, resp, err := u.client.Droplets.ListByTag(ctx, "usual", &godo.ListOptions{Page: page, PerPage: 200})
		if err != nil {
			return err
		}
		for _, d := range droplets {
			u.ids[d.Name] = d.ID
			state := provider.StateCreating
			if d.Status == "active" {
				state = provider.StateRunning
			}
			fn(d.Name, state)
		}
		if resp.Links == nil || resp.Links.IsLastPage() {
			return nil
		}
	}
}

func (u *usual) Increase(ctx context.Context, n int) (int, error) {
	for i := range n {
		u.seq++
		if _, _, err := u.client.Droplets.Create(ctx, &godo.DropletCreateRequest{Name: fmt.Sprintf("usual-%d", u.seq), Region: "nyc3",
			Size: "s-1vcpu-1gb", Image: godo.DropletCreateImage{Slug: "debian-13-x64"}, Tags: []string{"usual"}}); err != nil {
			return i, err
		}
	}
	return n, nil
}

func (u *usual) Decrease(ctx context.Context, names []string) ([]string, error) {
	for i, name := range names {
		if _, err := u.client.Droplets.Delete(ctx, u.ids[name]); err != nil {
			return names[:i], err
		}
	}
	return names, nil
}

func (u *usual) Shutdown(context.Context) error { return nil }
