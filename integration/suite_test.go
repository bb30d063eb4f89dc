package integration

import (
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/integration"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// quick is a DigitalOcean that does in a second what takes half a minute.
var quick = dosim.Options{BootTime: time.Second, DeleteTime: 300 * time.Millisecond, ListLag: 200 * time.Millisecond}

// TestProvisioning is upstream's conformance suite: the built binary over real
// gRPC, scaled from 0 to 3, reached by SSH, and scaled back to 0.
func TestProvisioning(t *testing.T) {
	t.Parallel()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	static, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		plugin    map[string]any
		connector provider.ConnectorConfig
		external  bool
	}{
		{name: "generated key, public address", external: true},
		{name: "static key", external: true,
			connector: provider.ConnectorConfig{Username: "root", Key: pem.EncodeToMemory(static), UseStaticCredentials: true}},
		{name: "key file, private address", plugin: map[string]any{"ssh_key_file": t.TempDir() + "/id_ed25519"}},
		{name: "no public networking", plugin: map[string]any{"public_networking": false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			c.connector.ProtocolPort = w.Fleet.Port()
			c.connector.Timeout = 30 * time.Second
			integration.TestProvisioning(t, simulated.Plugin, integration.Config{
				PluginConfig:    w.config(c.plugin),
				ConnectorConfig: c.connector,
				MaxInstances:    3,
				UseExternalAddr: c.external,
			})
			w.assertNothingLeft(t)
			if bills := w.Sim.Ledger(); len(bills) != 3 {
				t.Errorf("%d Droplets were made, want 3: %v", len(bills), bills)
			}
		})
	}
}

// TestErrorsOverGRPC: an error reaches the runner with its text and the code Unknown, at
// which the runner starts nothing anew, and never as a count.
func TestErrorsOverGRPC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick)
	config, err := json.Marshal(w.config(map[string]any{"name": "grpc"}))
	if err != nil {
		t.Fatal(err)
	}
	r, err := fleeting.RunPlugin(simulated.Plugin, config, fleeting.WithPluginLogger(hclog.NewNullLogger()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Kill()
	g := r.InstanceGroup()
	if _, err := g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{}); err != nil {
		t.Fatal(err)
	}
	w.Sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Message: "Region is not available", Times: -1})
	_, refused := g.Increase(t.Context(), 2)
	_, unknown := g.ConnectInfo(t.Context(), "grpc-none")
	for err, want := range map[error]string{
		refused:                               "s-1vcpu-1gb in fra1: POST /v2/droplets: 422 Region is not available",
		unknown:                               "instance grpc-none is not in group grpc",
		g.Heartbeat(t.Context(), "grpc-none"): provider.ErrInstanceUnhealthy.Error(),
	} {
		if status.Code(err) != codes.Unknown || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, without %q", status.Code(err), err, want)
		}
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	w.assertNothingLeft(t)
}
