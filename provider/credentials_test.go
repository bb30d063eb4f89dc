package provider

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// publicHalf is the line of authorized_keys that belongs to a private key.
func publicHalf(t *testing.T, private []byte) string {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func someKey(t *testing.T) []byte {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keyNames are the names of the account's keys; that of the plugin process that runs
// now reads "generated".
func keyNames(sim *dosim.Sim, now *credentials) []string {
	var all []string
	for _, k := range sim.Keys() {
		if now.generated && k.Name == now.name {
			k.Name = "generated"
		}
		all = append(all, k.Name)
	}
	return all
}

// TestWhichKeyIsDeleted: the plugin takes off the account what it put there for
// itself, and nothing else.
func TestWhichKeyIsDeleted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		static  bool   // connector_config has a key
		file    bool   // ssh_key_file
		there   bool   // the account has it before Init, as "laptop"
		stays   string // on the account, after Shutdown
		uploads int
	}{
		{name: "generated", uploads: 1},
		{name: "connector_config's, there already", static: true, there: true, stays: "laptop"},
		{name: "connector_config's, not there", static: true, stays: "fleeting-ci-static", uploads: 1},
		{name: "ssh_key_file's, there already", file: true, there: true, stays: "laptop"},
		{name: "ssh_key_file's, not there", file: true, stays: "fleeting-ci-static", uploads: 1},
		{name: "connector_config's goes before ssh_key_file's", static: true, file: true, there: true, stays: "laptop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, o, settings := someKey(t), options{}, provider.Settings{}
			if tt.static {
				settings.Key = key
			}
			if tt.file {
				path, content := filepath.Join(t.TempDir(), "id"), key
				if tt.static {
					content = someKey(t)
				}
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				o["ssh_key_file"] = path
			}
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				if tt.there {
					sim.AddKey("laptop", publicHalf(t, key))
				}
				g := configured(t, sim, o)
				if _, err := g.Init(t.Context(), hclog.NewNullLogger(), settings); err != nil {
					t.Fatal(err)
				}
				keys := g.running.Load().keys
				if got, want := strings.Join(keyNames(sim, keys), " "), cmp.Or(tt.stays, "generated"); got != want {
					t.Errorf("keys on the account %q, want %q", got, want)
				}
				if n := sim.RequestCounts()["POST /v2/account/keys"]; n != tt.uploads {
					t.Errorf("%d uploads, want %d", n, tt.uploads)
				}
				increase(t, g, 1)
				if got, want := sim.Droplets()[0].AuthorizedKeys, publicHalf(t, keys.private); !slices.Equal(got, []string{want}) {
					t.Errorf("the Droplet accepts %v, want %s", got, want)
				}
				if !keys.generated && string(keys.private) != string(key) {
					t.Error("another key is used")
				}
				if run, ok := instancegroup.RunOfKey("ci", keys.name); ok != keys.generated || run != "" && run != instancegroup.RunOf("ci", names(sim)[0]) {
					t.Errorf("the key's name is %s, beside the Droplet %s", keys.name, names(sim))
				}
				err := g.Shutdown(t.Context())
				if got := strings.Join(keyNames(sim, keys), " "); err != nil || got != tt.stays {
					t.Errorf("keys afterwards %q, want %q; %v", got, tt.stays, err)
				}
			})
		})
	}
}

// TestUnconfirmedUpload: a key whose upload was carried out and not confirmed is deleted by
// the next start.
func TestUnconfirmedUpload(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		sim.Inject(dosim.Fault{Op: "POST /v2/account/keys", Reset: true, Applied: true},
			dosim.Fault{Op: "GET /v2/account/keys/{id}", Status: 503, Times: 3})
		g := configured(t, sim, nil)
		if _, _, err := tryInit(t, g); err == nil || len(sim.Keys()) != 1 {
			t.Fatalf("%v, and %d keys", err, len(sim.Keys()))
		}
		left := sim.Keys()[0].Name
		time.Sleep(31 * time.Second) // the refusal is over
		start(t, sim, nil)
		if keys := sim.Keys(); len(keys) != 1 || keys[0].Name == left {
			t.Errorf("the keys are %v, and %s is the first start's", keys, left)
		}
	})
}

// TestDeletedKey: Droplets are created without a key of ssh_keys that somebody deleted.
func TestDeletedKey(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		stays, goes := sim.AddKey("stays", publicHalf(t, someKey(t))), sim.AddKey("goes", publicHalf(t, someKey(t)))
		g := start(t, sim, options{"ssh_keys": []any{stays.ID, goes.ID}})
		sim.DeleteKey(goes.ID)
		increase(t, g, 1)
		increase(t, g, 1)
		if n := sim.RequestCounts()["POST /v2/droplets"]; n != 3 {
			t.Errorf("%d creates, want one that is refused and two", n)
		}
	})
}

// TestKeysOfPeopleStay: of keys that others left, Init deletes those of plugin
// processes of this host that have ended. A key of ssh_keys stays whatever its name,
// and so does that of a manager elsewhere.
func TestKeysOfPeopleStay(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		add := func(name string) dosim.Key { return sim.AddKey(name, publicHalf(t, someKey(t))) }
		operator := add("fleeting-ci-operator")
		others := []string{operator.Name, "laptop", "fleeting-ci-static", "fleeting-ci-", "fleeting-ci-big-7k2m9qxabc", "fleeting-ci2-7k2m9qxabc",
			"fleeting-ci-7k2m9qxabc"} // the last is of a living manager
		for _, name := range others[1:] {
			add(name)
		}
		file, private := filepath.Join(t.TempDir(), "id"), someKey(t)
		if err := os.WriteFile(file, private, 0o600); err != nil {
			t.Fatal(err)
		}
		first := start(t, sim, options{"ssh_keys": []any{operator.ID}})
		increase(t, first, 1)
		crash(first)
		run := instancegroup.RunOf("ci", names(sim)[0])
		byID, byFingerprint := add("fleeting-ci-"+run+"000001"), add("fleeting-ci-"+run+"000002")
		ours := sim.AddKey("fleeting-ci-"+run+"000003", publicHalf(t, private)) // of ssh_key_file
		others = append(others, byID.Name, byFingerprint.Name, ours.Name)

		second := start(t, sim, options{"ssh_key_file": file, "ssh_keys": []any{operator.ID, byID.ID, strings.ToUpper(byFingerprint.Fingerprint)}})
		keys := second.running.Load().keys
		if got := keyNames(sim, keys); !slices.Equal(got, others) {
			t.Errorf("after the second start: %q, want %q", got, others)
		}
		if err := second.Shutdown(t.Context()); err != nil || !slices.Equal(keyNames(sim, keys), others) {
			t.Errorf("at the end: %v, %q, want %q", err, keyNames(sim, keys), others)
		}
	})
}

// TestKeyIsUploadedAgain: a key that somebody took off the account keeps no group from
// growing, also where the token may not look it up.
func TestKeyIsUploadedAgain(t *testing.T) {
	for _, fault := range []dosim.Fault{{Op: "-"}, {Op: "GET /v2/account/keys*", Status: 403, Times: -1}} {
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			sim.Inject(fault)
			g := start(t, sim, nil)
			sim.DeleteKey(sim.Keys()[0].ID)
			time.Sleep(time.Hour)
			increase(t, g, 2)
			if n := sim.RequestCounts()["POST /v2/account/keys"]; len(sim.Keys()) != 1 || n != 2 {
				t.Errorf("%s: keys %v, %d uploads, want 2", fault, sim.Keys(), n)
			}
			if fault.Op == "-" { // and what is gone need not be deleted
				sim.DeleteKey(sim.Keys()[0].ID)
			}
			if err := g.Shutdown(t.Context()); err != nil || len(sim.Keys()) != 0 {
				t.Errorf("%s: %v; keys are left: %v", fault, err, sim.Keys())
			}
		})
	}
}

// TestNoKeyAfterShutdown: an Increase that finds its key gone after Shutdown has
// deleted it does not upload it again.
func TestNoKeyAfterShutdown(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Delay: 2 * time.Second, Times: -1})
		var wg sync.WaitGroup
		wg.Go(func() {
			if n, err := g.Increase(t.Context(), 1); n != 0 || err == nil {
				t.Errorf("Increase = %d, %v", n, err)
			}
		})
		synctest.Wait()
		_ = g.Shutdown(t.Context())
		wg.Wait()
		nothingLeft(t, sim)
	})
}

// TestPassword: static credentials with a password and no key are left to be
// just that, since the runner prefers a key.
func TestPassword(t *testing.T) {
	for _, tt := range []struct {
		connector provider.ConnectorConfig
		key       bool
	}{
		{provider.ConnectorConfig{}, true},
		{provider.ConnectorConfig{UseStaticCredentials: true}, true},
		{provider.ConnectorConfig{UseStaticCredentials: true, Password: "p"}, false},
		{provider.ConnectorConfig{UseStaticCredentials: true, Password: "p", Key: someKey(t)}, true},
		{provider.ConnectorConfig{Password: "p"}, true},
	} {
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			g := configured(t, sim, nil)
			_, err := g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{ConnectorConfig: tt.connector})
			if err != nil || (g.running.Load().connector.Key != nil) != tt.key {
				t.Errorf("%+v: %v, or with a key and not with a password, or the other way round", tt.connector, err)
			}
			_ = g.Shutdown(t.Context())
		})
	}
}
