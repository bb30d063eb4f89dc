package provider

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/digitalocean/godo"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// usual is how others do it. It meets no faults here but 429s, which it reports
// to the runner as the errors that they are.
type usual struct {
	provider.InstanceGroup // what is not measured
	by                     string
	client                 *godo.Client
	mu                     sync.Mutex
	ids                    map[string]int
	seq                    int
}

func newUsual(by string, transport http.RoundTripper) *usual {
	client := godo.NewFromToken(dosim.DefaultToken)
	client.HTTPClient.Transport = bearer{transport}
	return &usual{by: by, client: client, ids: map[string]int{}}
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
		u.mu.Lock()
		for _, d := range droplets {
			u.ids[d.Name] = d.ID
			state := provider.StateCreating
			if d.Status == "active" {
				state = provider.StateRunning
			}
			fn(d.Name, state)
		}
		u.mu.Unlock()
		if resp.Links == nil || resp.Links.IsLastPage() {
			return nil
		}
	}
}

func (u *usual) Increase(ctx context.Context, n int) (int, error) {
	if u.by == "concurrent one by one" {
		return u.together(n, func(int) error { _, err := u.create(ctx); return err })
	}
	for i := range n {
		id, err := u.create(ctx)
		if err != nil {
			return i, err
		}
		for u.by == "one by one and wait" {
			time.Sleep(3 * time.Second)
			if d, _, err := u.client.Droplets.Get(ctx, id); err == nil && d.Status == "active" {
				break
			}
		}
	}
	return n, nil
}

func (u *usual) create(ctx context.Context) (int, error) {
	u.mu.Lock()
	u.seq++
	name := fmt.Sprintf("usual-%d", u.seq)
	u.mu.Unlock()
	d, _, err := u.client.Droplets.Create(ctx, &godo.DropletCreateRequest{Name: name, Region: "nyc3", Size: "s-1vcpu-1gb",
		Image: godo.DropletCreateImage{Slug: "debian-13-x64"}, Tags: []string{"usual"}})
	if err != nil {
		return 0, err
	}
	return d.ID, nil
}

func (u *usual) Decrease(ctx context.Context, names []string) ([]string, error) {
	var done []string
	remove := func(i int) error {
		u.mu.Lock()
		id := u.ids[names[i]]
		u.mu.Unlock()
		if _, err := u.client.Droplets.Delete(ctx, id); err != nil {
			return err
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		done = append(done, names[i])
		return nil
	}
	if u.by == "concurrent one by one" {
		_, err := u.together(len(names), remove)
		return done, err
	}
	for i := range names {
		if err := remove(i); err != nil {
			return done, err
		}
	}
	return done, nil
}

// together does n things, ten at a time, until one fails.
func (u *usual) together(n int, do func(i int) error) (done int, failure error) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, 10)
	for i := range n {
		slots <- struct{}{}
		u.mu.Lock()
		failed := failure != nil
		u.mu.Unlock()
		if failed {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			err := do(i)
			u.mu.Lock()
			defer u.mu.Unlock()
			if err != nil {
				failure = err
			} else {
				done++
			}
		})
	}
	wg.Wait()
	return done, failure
}

func (u *usual) Shutdown(context.Context) error { return nil }
