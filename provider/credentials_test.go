package provider

import (
	"crypto/ed25519"
	"encoding/pem"
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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
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

// TestWhoseKeyIsDeleted: the plugin takes off the account what it put there for
// itself, and nothing else.
func TestWhoseKeyIsDeleted(t *testing.T) {
	for _, tt := range []struct {
		name    string
		static  bool // connector_config has a key
		file    bool // ssh_key_file
		there   bool // the account has it before Init
		during  string
		after   string
		uploads int
	}{
		{name: "generated", during: "fleeting-ci-<run>", after: "", uploads: 1},
		{name: "connector_config's, there already", static: true, there: true, during: "laptop", after: "laptop", uploads: 0},
		{name: "connector_config's, not there", static: true, during: "fleeting-ci-static", after: "fleeting-ci-static", uploads: 1},
		{name: "ssh_key_file's, there already", file: true, there: true, during: "laptop", after: "laptop", uploads: 0},
		{name: "ssh_key_file's, not there", file: true, during: "fleeting-ci-static", after: "fleeting-ci-static", uploads: 1},
		{name: "connector_config's goes before ssh_key_file's", static: true, file: true, there: true, during: "laptop", after: "laptop", uploads: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ownState(t)
			key, o, settings := someKey(t), options{}, provider.Settings{}
			if tt.static {
				settings.Key = key
			}
			if tt.file {
				path := filepath.Join(t.TempDir(), "id")
				content := key
				if tt.static {
					content = someKey(t)
				}
				if err := os.WriteFile(path, content, 0o600); err != nil {
					t.Fatal(err)
				}
				o["ssh_key_file"] = path
			}
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{})
				defer sim.Close()
				if tt.there {
					sim.AddKey("laptop", publicHalf(t, key))
				}
				g := configured(t, sim, o)
				if _, err := g.Init(t.Context(), hclog.NewNullLogger(), settings); err != nil {
					t.Fatal(err)
				}
				names := func() string {
					var all []string
					for _, k := range sim.Keys() {
						all = append(all, strings.Replace(k.Name, g.running.Load().keys.run, "<run>", 1))
					}
					return strings.Join(all, " ")
				}
				if got := names(); got != tt.during {
					t.Errorf("keys on the account %q, want %q", got, tt.during)
				}
				if n := sim.RequestCounts()["POST /v2/account/keys"]; n != tt.uploads {
					t.Errorf("%d uploads, want %d", n, tt.uploads)
				}
				if _, err := g.Increase(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
				if tt.static || tt.file {
					if got := sim.Droplets()[0].AuthorizedKeys; !slices.Equal(got, []string{publicHalf(t, key)}) {
						t.Errorf("the Droplet accepts %v", got)
					}
				}
				if err := g.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if got := names(); got != tt.after {
					t.Errorf("keys afterwards %q, want %q", got, tt.after)
				}
				if v := sim.Violations(); len(v) > 0 {
					t.Error(v)
				}
			})
		})
	}
}

// TestKeyTroubles: what can become of the key on the account does not keep the
// group from growing.
func TestKeyTroubles(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before []dosim.Fault        // Init
		during func(sim *dosim.Sim) // before Increase
		sleep  time.Duration        // before Increase
		extra  []string             // keys of people
		check  func(sim *dosim.Sim) bool
	}{
		{name: "DigitalOcean knows it only after seconds", before: []dosim.Fault{{Op: "POST /v2/account/keys", Behaviour: dosim.KeyLate, For: 3 * time.Second}}},
		{name: "somebody took it off the account", during: func(sim *dosim.Sim) { sim.DeleteKey(sim.Keys()[0].ID) }, sleep: time.Hour,
			check: func(sim *dosim.Sim) bool { return sim.RequestCounts()["POST /v2/account/keys"] == 2 }},
		{name: "the answer to its upload was lost", before: []dosim.Fault{{Op: "POST /v2/account/keys", Reset: true, Applied: true}},
			check: func(sim *dosim.Sim) bool { return sim.RequestCounts()["POST /v2/account/keys"] == 1 }},
		{name: "the token may not read keys", before: []dosim.Fault{{Op: "GET /v2/account/keys*", Status: 403, Times: -1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{})
				defer sim.Close()
				sim.Inject(tt.before...)
				g := start(t, sim, nil)
				if tt.during != nil {
					tt.during(sim)
				}
				time.Sleep(tt.sleep)
				if n, err := g.Increase(t.Context(), 2); n != 2 || err != nil {
					t.Errorf("Increase(2) = %d, %v", n, err)
				}
				if len(sim.Keys()) != 1 || tt.check != nil && !tt.check(sim) {
					t.Errorf("keys %v, requests %v", sim.Keys(), sim.RequestCounts())
				}
				if err := g.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if len(sim.Keys()) != 0 {
					t.Errorf("keys are left: %v", sim.Keys())
				}
			})
		})
	}
}

// TestNoKeyAfterShutdown: an Increase that finds its key gone after Shutdown has
// deleted it does not upload it again.
func TestNoKeyAfterShutdown(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		g := start(t, sim, nil)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Delay: 2 * time.Second, Times: -1})
		var increase sync.WaitGroup
		increase.Go(func() {
			if n, err := g.Increase(t.Context(), 1); n != 0 || err == nil {
				t.Errorf("Increase = %d, %v", n, err)
			}
		})
		synctest.Wait()
		_ = g.Shutdown(t.Context())
		increase.Wait()
		nothingLeft(t, sim)
	})
}

// TestSweepAtTheEnd: a run that took Droplets over, and leaves none, leaves no key of
// the run that made them either.
func TestSweepAtTheEnd(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		first := start(t, sim, nil)
		if _, err := first.Increase(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		crash(first)
		second := start(t, sim, nil)
		sim.AddKey("fleeting-ci-7k2m9qxa", publicHalf(t, someKey(t))) // of a run elsewhere
		time.Sleep(time.Minute)
		if _, err := second.Decrease(t.Context(), []string{sim.Droplets()[0].Name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_ = second.Shutdown(t.Context())
		if keys := sim.Keys(); len(keys) != 1 || keys[0].Name != "fleeting-ci-7k2m9qxa" {
			t.Errorf("left: %+v, want only that of the run elsewhere", keys)
		}
	})
}

// TestSweep: the keys of dead runs go once no Droplet of the group is left, and
// no others.
func TestSweep(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		others := []string{"laptop", "fleeting-ci-static", "fleeting-ci-big-7k2m9qxa", "fleeting-ci2-7k2m9qxa", "fleeting-ci-"}
		for _, name := range others {
			sim.AddKey(name, publicHalf(t, someKey(t)))
		}
		names := func() []string {
			var all []string
			for _, k := range sim.Keys() {
				all = append(all, k.Name)
			}
			return all
		}

		first := start(t, sim, nil)
		if _, err := first.Increase(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		crash(first)

		second := start(t, sim, nil) // takes its Droplet over
		if len(names()) != len(others)+2 {
			t.Errorf("while there is a Droplet: %q, want the first run's key and the second's", names())
		}
		time.Sleep(time.Minute)
		if _, err := second.Decrease(t.Context(), []string{sim.Droplets()[0].Name}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		crash(second)

		third := start(t, sim, nil)
		if want := append(slices.Clone(others), "fleeting-ci-"+third.running.Load().keys.run); !slices.Equal(names(), want) {
			t.Errorf("with no Droplet: %q, want %q", names(), want)
		}
		_ = third.Shutdown(t.Context())
		if !slices.Equal(names(), others) {
			t.Errorf("at the end: %q, want %q", names(), others)
		}
		if v := sim.Violations(); len(v) > 0 {
			t.Error(v)
		}
	})
}

// TestPassword: static credentials with a password and no key are left to be
// just that, since the runner prefers a key.
func TestPassword(t *testing.T) {
	c := config.Config{Name: "ci"}
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
		k, err := loadCredentials(hclog.NewNullLogger(), c, tt.connector)
		if err != nil || (k.privateKey() != nil) != tt.key {
			t.Errorf("%+v: key %v, %v", tt.connector, k.privateKey() != nil, err)
		}
	}
}

// TestKeyFile: made when missing, for its owner alone, and kept.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "id_ed25519")
	load := func(path string) (*credentials, string, error) {
		var book logBook
		k, err := loadCredentials(book.logger(), config.Config{Name: "ci", SSHKeyFile: path}, provider.ConnectorConfig{})
		return k, book.String(), err
	}
	var all sync.WaitGroup
	made := make([]string, 8)
	for i := range made {
		all.Go(func() {
			if k, _, err := load(path); err == nil { // one may find it half written, and is told so
				made[i] = k.public
			}
		})
	}
	all.Wait()
	k, log, err := load(path)
	if err != nil || log != "" {
		t.Fatalf("%v; log %q", err, log)
	}
	for _, public := range made {
		if public != "" && public != k.public {
			t.Errorf("two keys were made: %s and %s", public, k.public)
		}
	}
	if !strings.HasPrefix(k.public, "ssh-ed25519 ") {
		t.Errorf("made a key of another kind: %s", k.public)
	}
	for at, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(at); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", at, info.Mode(), err, want)
		}
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("besides the key there is %v", files)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, log, err := load(path); err != nil || !strings.Contains(log, "others can read a file with a secret") || !strings.Contains(log, "chmod 600 "+path) {
		t.Errorf("a key that others can read: %v; log %q", err, log)
	}
}

// TestKeyFaults: what is no usable key is told, with its place and none of it.
func TestKeyFaults(t *testing.T) {
	_, private, _ := ed25519.GenerateKey(nil)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sentinel := "c2VudGluZWwgb2YgYSBrZXk"
	for _, tt := range []struct{ path, want string }{
		{file("locked", string(pem.EncodeToMemory(locked))), ": the key needs a passphrase; use one without"},
		{file("junk", sentinel), ": not an SSH private key in PEM or OpenSSH form: ssh: no key found"},
		{file("cut", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+sentinel+"=\n-----END OPENSSH PRIVATE KEY-----\n"), ": not an SSH private key in PEM or OpenSSH form: "},
		{file("empty", ""), ": not an SSH private key in PEM or OpenSSH form: ssh: no key found"},
		{file("huge", strings.Repeat("x", maxKeyFile+1)), ": not a private key: 65537 bytes, mode -rw-------"},
		{dir, ": not a private key: "},
		{filepath.Join(dir, "junk", "id"), ": stat " + filepath.Join(dir, "junk", "id") + ": not a directory"},
	} {
		_, err := loadCredentials(hclog.NewNullLogger(), config.Config{Name: "ci", SSHKeyFile: tt.path}, provider.ConnectorConfig{})
		if err == nil || !strings.HasPrefix(err.Error(), "plugin_config.ssh_key_file: "+tt.path+tt.want) || strings.Contains(err.Error(), sentinel) {
			t.Errorf("got  %v\nwant plugin_config.ssh_key_file: %s%s", err, tt.path, tt.want)
		}
	}
	_, err = loadCredentials(hclog.NewNullLogger(), config.Config{Name: "ci"}, provider.ConnectorConfig{Key: []byte(sentinel)})
	if err == nil || err.Error() != "connector_config.key_path: not an SSH private key in PEM or OpenSSH form: ssh: no key found" {
		t.Error(err)
	}
}

// A key whose deletion is answered late is not said to stay.
func TestShutdownThoughAnswersAreSlow(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		g := start(t, sim, nil)
		sim.Inject(dosim.Fault{Op: "*", Delay: 5500 * time.Millisecond, Times: -1})
		if err := g.Shutdown(t.Context()); err != nil || len(sim.Keys()) > 0 {
			t.Errorf("%v; keys %v", err, sim.Keys())
		}
	})
}
