package integration

import (
	"crypto/ed25519"
	"encoding/pem"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/integration"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

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
