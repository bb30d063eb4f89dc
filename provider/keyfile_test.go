package provider

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// TestKeyFile: made when missing, for its owner alone, and kept.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "id_ed25519")
	load := func(path string) (*credentials, string, error) {
		var book logBook
		k, err := loadCredentials(book.logger(), config.Config{Name: "ci", SSHKeyFile: path}, provider.ConnectorConfig{})
		return k, book.String(), err
	}
	made, _, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	k, log, err := load(path)
	if err != nil || log != "" || k.public != made.public {
		t.Fatalf("%v; log %q; made %s, kept %s", err, log, made.public, k.public)
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
	locked := &pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")}
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
		{file("huge", strings.Repeat("x", maxKeyFile+1)), ": it is larger than 65536 bytes"},
		{dir, ": it is not a regular file"},
		{filepath.Join(dir, "junk", "id"), ": stat " + filepath.Join(dir, "junk", "id") + ": not a directory"},
	} {
		_, err := loadCredentials(hclog.NewNullLogger(), config.Config{Name: "ci", SSHKeyFile: tt.path}, provider.ConnectorConfig{})
		if err == nil || !strings.HasPrefix(err.Error(), "plugin_config.ssh_key_file: "+tt.path+tt.want) || strings.Contains(err.Error(), sentinel) {
			t.Errorf("got  %v\nwant plugin_config.ssh_key_file: %s%s", err, tt.path, tt.want)
		}
	}
	_, err := loadCredentials(hclog.NewNullLogger(), config.Config{Name: "ci"}, provider.ConnectorConfig{Key: []byte(sentinel)})
	if err == nil || err.Error() != "connector_config.key_path: not an SSH private key in PEM or OpenSSH form: ssh: no key found" {
		t.Error(err)
	}
}
