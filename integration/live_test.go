package integration

import (
	"context"
	"os"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/integration"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// TestLive is upstream's suite on a real account: three of the smallest Droplets
// for some minutes, and nothing left at the end.
func TestLive(t *testing.T) {
	token := os.Getenv("DIGITALOCEAN_LIVE_TOKEN")
	if token == "" {
		t.Skip("a real account costs money: set DIGITALOCEAN_LIVE_TOKEN, or type make live")
	}
	group := "live-" + instancegroup.NewSuffix(instancegroup.NewRun())
	api, err := digitalocean.New(digitalocean.Options{
		URL: "https://api.digitalocean.com", Token: func() (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
		defer cancel()
		tag := instancegroup.GroupTag(group)
		for left, err := api.List(ctx, tag, false); err != nil || len(left.Droplets) > 0; left, err = api.List(ctx, tag, false) {
			for _, d := range left.Droplets {
				t.Errorf("Droplet %d (%s) was left; it is destroyed now", d.ID, d.Name)
				_, _ = api.Delete(ctx, d.ID) // looked for again
			}
			select {
			case <-time.After(10 * time.Second):
			case <-ctx.Done():
				t.Fatalf("Droplets may be left, and are billed: look for the tag %s: %v", tag, err)
			}
		}
		_ = api.RemoveTag(ctx, tag)
	})
	integration.TestProvisioning(t, simulated.Plugin, integration.Config{
		PluginConfig: map[string]any{
			"name": group, "token": token, "region": []string{"fra1", "ams3", "nyc3"},
			"size": []string{"s-1vcpu-512mb-10gb", "s-1vcpu-1gb"}, "image": "debian-13-x64", "max_instances": 3,
		},
		ConnectorConfig: provider.ConnectorConfig{Timeout: 3 * time.Minute},
		MaxInstances:    3,
		UseExternalAddr: true,
	})
}
