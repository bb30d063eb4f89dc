package provider

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// credentials is the key pair by which the runner reaches Droplets, and the
// account's copy of its public half.
//
// The pair is connector_config's if that has one, else that of ssh_key_file,
// else one that lives only in this process. Only the last is ever deleted from
// the account: a key that was there before, or that outlives us, is not ours to
// delete.
type credentials struct {
	log    hclog.Logger
	group  string
	extra  []string // more keys of the account, for people
	source string   // where the pair comes from, for messages

	private     []byte // PEM; nil if the runner is to use a password
	public      string // one line of authorized_keys
	fingerprint string // MD5, as DigitalOcean has it
	generated   bool   // in this process
	password    bool   // static credentials without a key: the runner uses its password

	mu  sync.Mutex // guards what follows, and serializes uploads
	api *digitalocean.Client
	run string
	id  int // of the key on the account
}

// loadCredentials finds or makes the pair. It asks DigitalOcean nothing.
func loadCredentials(log hclog.Logger, c config.Config, connector provider.ConnectorConfig) (*credentials, error) {
	k := &credentials{
		log:      log,
		group:    c.Name,
		extra:    c.SSHKeys,
		password: connector.UseStaticCredentials && len(connector.Key) == 0,
	}
	var err error
	switch {
	case len(connector.Key) > 0:
		k.source, k.private = "connector_config.key_path", connector.Key
	case c.SSHKeyFile != "":
		k.source = "plugin_config.ssh_key_file " + c.SSHKeyFile
		k.private, err = readOrMakeKey(log, c.SSHKeyFile)
	default:
		k.source, k.generated = "generated", true
		k.private, err = newKey()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.source, err)
	}
	signer, err := ssh.ParsePrivateKey(k.private)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, fmt.Errorf("%s: the key needs a passphrase; use one without", k.source)
	}
	if err != nil {
		// The parser's own words never hold any of the key.
		return nil, fmt.Errorf("%s: not an SSH private key in PEM or OpenSSH form: %w", k.source, err)
	}
	k.public = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	k.fingerprint = ssh.FingerprintLegacyMD5(signer.PublicKey())
	return k, nil
}

// String names the key without giving any of it away.
func (k *credentials) String() string { return k.source + " " + k.fingerprint }

// privateKey returns what the runner dials with.
func (k *credentials) privateKey() []byte {
	if k.password {
		return nil
	}
	return k.private
}

// open sees to it that the account has the key. It is the last step of Init.
// sweep says that the group has no Droplets, so that the keys which its dead
// runs left are of no use to anybody.
func (k *credentials) open(ctx context.Context, api *digitalocean.Client, run string, sweep bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.api, k.run = api, run
	if err := k.checkExtra(ctx); err != nil {
		return err
	}
	if sweep {
		k.sweep(ctx)
	}
	return k.ensure(ctx, !k.generated)
}

// ids returns the keys to create Droplets with. refused says that DigitalOcean
// did not know them a moment ago: a key that somebody took off the account is
// then uploaded again.
func (k *credentials) ids(ctx context.Context, refused bool) ([]string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if refused {
		if err := k.ensure(ctx, true); err != nil {
			return nil, err
		}
	}
	return append([]string{strconv.Itoa(k.id)}, k.extra...), nil
}

// ensure finds the key on the account, or uploads it. look is false for a key
// that nobody can have yet. Called with mu held.
func (k *credentials) ensure(ctx context.Context, look bool) error {
	if look {
		found, err := k.api.Key(ctx, k.fingerprint)
		if err == nil {
			k.id = found.ID
			return nil
		}
		// Without the scope ssh_key:read, the upload tells whether it is there.
		if !errors.Is(err, instancegroup.ErrNotFound) && !errors.Is(err, instancegroup.ErrForbidden) {
			return fmt.Errorf("look up the SSH key %s: %w", k, err)
		}
	}
	name := keyName(k.group, k.run)
	if !k.generated {
		name = keyName(k.group, "static") // not a minted suffix: never swept
	}
	key, err := k.api.UploadKey(ctx, name, k.public)
	if err != nil {
		// It may be there all the same: the answer was lost, or somebody else
		// uploaded it. A look-up by fingerprint settles that.
		found, lerr := k.api.Key(ctx, k.fingerprint)
		if lerr != nil {
			return fmt.Errorf("upload the SSH key %s: %w", k, err)
		}
		key = found
	}
	k.id = key.ID
	k.log.Info("SSH key is on the account", "group", k.group, "name", name, "id", key.ID, "fingerprint", k.fingerprint)
	return nil
}

// checkExtra tells about keys that creates would be refused for.
func (k *credentials) checkExtra(ctx context.Context) error {
	var faults []error
	for _, key := range k.extra {
		_, err := k.api.Key(ctx, key)
		switch {
		case errors.Is(err, instancegroup.ErrNotFound):
			faults = append(faults, fmt.Errorf("plugin_config.ssh_keys: the account has no key %s", key))
		case errors.Is(err, instancegroup.ErrUnauthorized):
			return err
		case err != nil:
			k.log.Warn("could not look up an SSH key", "group", k.group, "key", key, "err", err)
		}
	}
	return errors.Join(faults...)
}

// sweep deletes the generated keys of the group's dead runs. It is a courtesy:
// failing is a warning.
func (k *credentials) sweep(ctx context.Context) {
	keys, err := k.api.Keys(ctx)
	if err != nil {
		k.log.Warn("could not look for SSH keys that earlier runs left", "group", k.group, "err", err)
		return
	}
	for _, key := range keys {
		suffix, ok := strings.CutPrefix(key.Name, keyName(k.group, ""))
		if !ok || !instancegroup.IsSuffix(suffix) || key.Fingerprint == k.fingerprint {
			continue
		}
		if err := k.api.DeleteKey(ctx, key.ID); err != nil {
			k.log.Warn("an SSH key of an earlier run stays on the account", "group", k.group, "name", key.Name, "err", err)
			continue
		}
		k.log.Info("deleted the SSH key that an earlier run left", "group", k.group, "name", key.Name, "id", key.ID)
	}
}

// close deletes a generated key from the account.
func (k *credentials) close(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.generated || k.id == 0 {
		return nil
	}
	var err error
	for try := range closeTries {
		if try > 0 {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
		if err = k.api.DeleteKey(ctx, k.id); err == nil || errors.Is(err, instancegroup.ErrNotFound) {
			k.id = 0
			return nil
		}
	}
	k.log.Warn("the SSH key stays on the account; a later start sweeps it once the group has no Droplets",
		"group", k.group, "name", keyName(k.group, k.run), "err", err)
	return fmt.Errorf("delete the SSH key %s: %w", keyName(k.group, k.run), err)
}

// closeTries is how often the generated key's deletion is tried at the end.
const closeTries = 3

// keyName is the name of a group's key on the account. Generated keys end in
// the run, by which they are swept.
func keyName(group, suffix string) string { return "fleeting-" + group + "-" + suffix }

// newKey makes an ed25519 private key in OpenSSH's form.
func newKey() ([]byte, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

// maxKeyFile bounds what is read of a key file, in bytes; an RSA key of 16384
// bits has some 13,000.
const maxKeyFile = 64 << 10

// readOrMakeKey reads the private key at path, or makes one there that only its
// owner can read.
func readOrMakeKey(log hclog.Logger, path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeKey(log, path)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxKeyFile:
		return nil, fmt.Errorf("not a private key: %d bytes, mode %s", info.Size(), info.Mode())
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		log.Warn("others can read the private key", "path", path, "mode", info.Mode().Perm().String(), "hint", "chmod 600 "+path)
	}
	return os.ReadFile(path)
}

// makeKey writes a new key to path. It is written whole or not at all, and
// never over a file that somebody else made meanwhile.
func makeKey(log hclog.Logger, path string) ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the key's directory: %w", err)
	}
	f, err := os.CreateTemp(dir, ".ssh-key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("make the key: %w", err)
	}
	defer os.Remove(f.Name())
	_, werr := f.Write(key)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("make the key: %w", err)
	}
	if err := os.Link(f.Name(), path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			// No hard links here: rename, which is whole too.
			if err := os.Rename(f.Name(), path); err != nil {
				return nil, fmt.Errorf("make the key: %w", err)
			}
		} else if key, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	log.Info("made a private key that outlives restarts", "path", path)
	return slices.Clone(key), nil
}
