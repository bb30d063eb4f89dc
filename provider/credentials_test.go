package provider

import (
	"cmp"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
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
	equal(t, "error of newKey", nil, err)
	return key
}

// keyNames are the names of the account's keys; that of the plugin process that runs
// now reads "generated".
func keyNames(sim *dosim.Sim, now *InstanceGroup) (all []string) {
	for _, k := range sim.Keys() {
		if now != nil && now.running.Load().keys.generated && k.Name == now.running.Load().keys.name {
			k.Name = "generated"
		}
		all = append(all, k.Name)
	}
	return all
}

// TestWhichKeyIsDeleted: the plugin takes off the account what it put there for itself,
// and nothing else. The runner is given the key, which it prefers to a password, unless
// there are static credentials with a password and no key.
func TestWhichKeyIsDeleted(t *testing.T) {
	password := provider.ConnectorConfig{UseStaticCredentials: true, Password: "p"}
	for name, tt := range map[string]struct {
		static    bool   // connector_config has a key
		file      bool   // ssh_key_file
		there     bool   // the account has it before Init, as "laptop"
		stays     string // on the account, after Shutdown
		uploads   int
		connector provider.ConnectorConfig
		kept      bool // from the runner
	}{
		"generated":                         {uploads: 1},
		"connector_config's, there already": {static: true, there: true, stays: "laptop"},
		"connector_config's, not there":     {static: true, stays: "fleeting-ci-static", uploads: 1},
		"ssh_key_file's, there already":     {file: true, there: true, stays: "laptop"},
		"ssh_key_file's, not there":         {file: true, stays: "fleeting-ci-static", uploads: 1},
		"connector_config's goes before it": {static: true, file: true, there: true, stays: "laptop"},
		"static credentials":                {uploads: 1, connector: provider.ConnectorConfig{UseStaticCredentials: true}},
		"a password":                        {uploads: 1, connector: provider.ConnectorConfig{Password: "p"}},
		"static credentials, and one":       {uploads: 1, connector: password, kept: true},
		"static credentials, and both":      {static: true, stays: "fleeting-ci-static", uploads: 1, connector: password},
	} {
		t.Run(name, func(t *testing.T) {
			key, o, settings := someKey(t), options{}, provider.Settings{ConnectorConfig: tt.connector}
			if tt.file {
				o["ssh_key_file"] = file(t, "", string(key))
			}
			if tt.static {
				key = someKey(t)
				settings.Key = key
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
				equal(t, "keys on the account", cmp.Or(tt.stays, "generated"), strings.Join(keyNames(sim, g), " "))
				equal(t, "uploads", tt.uploads, sim.RequestCounts()["POST /v2/account/keys"])
				equal(t, "the runner has a key", !tt.kept, g.running.Load().connector.Key != nil)
				increase(t, g, 1)
				equal(t, "keys of the Droplet", []string{publicHalf(t, keys.private)}, sim.Droplets()[0].AuthorizedKeys)
				equal(t, "another key is used", keys.generated, string(keys.private) != string(key))
				run := instancegroup.RunOfKey("ci", keys.name)
				if made := run != ""; made != keys.generated || made && run != instancegroup.RunOf("ci", names(sim)[0]) {
					t.Errorf("the key's name is %s, beside the Droplet %s", keys.name, names(sim))
				}
				equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
				equal(t, "keys afterwards", tt.stays, strings.Join(keyNames(sim, g), " "))
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
		_, _, err := tryInit(t, configured(t, sim, nil))
		fails(t, err, "upload the SSH key")
		equal(t, "keys", 1, len(sim.Keys()))
		time.Sleep(31 * time.Second) // the refusal is over
		equal(t, "keys", []string{"generated"}, keyNames(sim, start(t, sim, nil)))
	})
}

// TestDeletedKey: a key that somebody took off the account keeps no group from growing.
// The group's own is uploaded again, also where the token may not look it up; Droplets are
// created without one of ssh_keys.
func TestDeletedKey(t *testing.T) {
	for _, fault := range []dosim.Fault{{Op: "-"}, {Op: "GET /v2/account/keys*", Status: 403, Times: -1}} {
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			sim.Inject(fault)
			stays, goes := sim.AddKey("stays", publicHalf(t, someKey(t))), sim.AddKey("goes", publicHalf(t, someKey(t)))
			g := start(t, sim, options{"ssh_keys": []any{stays.ID, goes.ID}})
			sim.DeleteKey(sim.Keys()[2].ID)
			time.Sleep(time.Hour)
			increase(t, g, 2)
			equal(t, "keys", []string{"stays", "goes", "generated"}, keyNames(sim, g))
			equal(t, "uploads", 2, sim.RequestCounts()["POST /v2/account/keys"])
			if fault.Op == "-" {
				sim.DeleteKey(goes.ID)
				increase(t, g, 1)
				increase(t, g, 1)
				equal(t, "creates, two of them refused", 5, sim.RequestCounts()["POST /v2/droplets"])
				sim.DeleteKey(sim.Keys()[1].ID) // what is gone need not be deleted
			}
			equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
			equal(t, "the own key stays", false, slices.Contains(keyNames(sim, g), "generated"))
		})
	}
}

// TestKeysOfPeopleStay: of keys that others left, Init deletes those of plugin
// processes of this host that have ended. A key of ssh_keys stays whatever its name,
// and so does that of a manager elsewhere.
func TestKeysOfPeopleStay(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		add := func(name string) dosim.Key { return sim.AddKey(name, publicHalf(t, someKey(t))) }
		operator := add("fleeting-ci-operator")
		for _, name := range []string{"laptop", "fleeting-ci-static", "fleeting-ci-", "fleeting-ci-big-7k2m9qxabc",
			"fleeting-ci2-7k2m9qxabc", "fleeting-ci-7k2m9qxabc"} { // the last is of a living manager
			add(name)
		}
		others := keyNames(sim, nil)
		first := start(t, sim, options{"ssh_keys": []any{operator.ID}})
		increase(t, first, 1)
		crash(first)
		dead, private := "fleeting-ci-"+instancegroup.RunOf("ci", names(sim)[0]), someKey(t)
		byID, byFingerprint := add(dead+"000001"), add(dead+"000002")
		others = append(others, byID.Name, byFingerprint.Name, sim.AddKey(dead+"000003", publicHalf(t, private)).Name)

		second := start(t, sim, options{"ssh_key_file": file(t, "", string(private)),
			"ssh_keys": []any{operator.ID, byID.ID, strings.ToUpper(byFingerprint.Fingerprint)}})
		equal(t, "after the second start", others, keyNames(sim, second))
		keys := second.running.Load().keys
		equal(t, "keys of no run", 0, len(keys.stale(t.Context(), keys.api, []string{""}))) // as a damaged state.json may have it
		equal(t, "error of Shutdown", nil, second.Shutdown(t.Context()))
		equal(t, "at the end", others, keyNames(sim, second))
	})
}

// TestNoKeyAfterShutdown: an Increase that finds its key gone after Shutdown has
// deleted it does not upload it again.
func TestNoKeyAfterShutdown(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Delay: 2 * time.Second, Times: -1})
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := g.Increase(t.Context(), 1)
			fails(t, err, "")
		})
		synctest.Wait()
		_ = g.Shutdown(t.Context())
		wg.Wait()
		equal(t, "left", []string(nil), leftovers(sim))
	})
}

// TestKeyFile: made when missing, for its owner alone, and kept.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "id_ed25519")
	load := func() (*credentials, string) {
		var book logBook
		k, err := loadCredentials(book.logger(), config.Config{Account: config.Account{Name: "ci"}, SSHKeyFile: path}, provider.ConnectorConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return k, book.String()
	}
	made, _ := load()
	kept, log := load()
	equal(t, "log", "", log)
	equal(t, "the key", made.public, kept.public)
	equal(t, "its kind", "ssh-ed25519", strings.Fields(kept.public)[0])
	for at, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		if info, err := os.Stat(at); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", at, info.Mode(), err, want)
		}
	}
	files, _ := os.ReadDir(filepath.Dir(path))
	equal(t, "files", 1, len(files))
	equal(t, "error of chmod", nil, os.Chmod(path, 0o644))
	_, log = load()
	fails(t, errors.New(log), "others can read a file with a secret", "chmod 600 "+path)
}

// TestKeyFaults: what is no usable key is told, with its place and none of it.
func TestKeyFaults(t *testing.T) {
	const sentinel, form = "c2VudGluZWwgb2YgYSBrZXk", ": not an SSH private key in PEM or OpenSSH form: "
	locked := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")}
	dir := t.TempDir()
	for _, tt := range []struct{ path, want string }{
		{file(t, "", string(pem.EncodeToMemory(locked))), ": the key needs a passphrase; use one without"},
		{file(t, "", sentinel), form + "ssh: no key found"},
		{file(t, "", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+sentinel+"=\n-----END OPENSSH PRIVATE KEY-----\n"), form},
		{file(t, "", ""), form + "ssh: no key found"},
		{file(t, "", strings.Repeat("x", maxKeyFile+1)), ": it is larger than 65536 bytes"},
		{dir, ": it is not a regular file"},
		{filepath.Join(file(t, "", ""), "id"), ": stat "},
	} {
		_, err := loadCredentials(hclog.NewNullLogger(), config.Config{Account: config.Account{Name: "ci"}, SSHKeyFile: tt.path}, provider.ConnectorConfig{})
		fails(t, err, "plugin_config.ssh_key_file: "+tt.path+tt.want)
		equal(t, "tells of the key", false, strings.Contains(err.Error(), sentinel))
		_, checked := CheckFiles(config.Config{SSHKeyFile: tt.path}, config.Token{}, "")
		equal(t, "CheckFiles", err.Error(), fmt.Sprint(checked))
	}
	_, err := loadCredentials(hclog.NewNullLogger(), config.Config{Account: config.Account{Name: "ci"}}, provider.ConnectorConfig{Key: []byte(sentinel)})
	fails(t, err, "connector_config.key_path"+form+"ssh: no key found")
}

// TestCheckFiles: what a start refuses or warns of is found without one, and no key is made.
func TestCheckFiles(t *testing.T) {
	key, missing := file(t, "", string(someKey(t))), filepath.Join(t.TempDir(), "missing")
	for _, tt := range []struct{ keyFile, keyPath, want string }{
		{"", "", ""}, {missing, "", ""}, {key, "", ""}, {"", key, ""},
		{missing, missing, "connector_config.key_path: stat " + missing},
		{key, file(t, "", "no key"), "connector_config.key_path: not an SSH private key in PEM or OpenSSH form: "},
		{file(t, "", "no key"), key, ""}, // which is not used
	} {
		_, err := CheckFiles(config.Config{SSHKeyFile: tt.keyFile}, config.Token{}, tt.keyPath)
		if (err != nil) != (tt.want != "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if _, err := os.Stat(missing); err == nil {
		t.Error("it made a key")
	}
	if runtime.GOOS == "windows" {
		t.Skip("it has no modes")
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o640: 3, 0o604: 3, 0o620: 3} {
		equal(t, "error of chmod", nil, os.Chmod(key, mode))
		exposed, _ := CheckFiles(config.Config{SSHKeyFile: key}, config.Token{File: key}, key)
		equal(t, mode.String(), want, len(exposed))
	}
}
