package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
// delete. DigitalOcean is always told its fingerprint, which no other key has.
type credentials struct {
	log    hclog.Logger
	group  string
	extra  []string // more keys of the account, for people
	source string   // where the pair comes from, for messages

	private     []byte // PEM
	public      string // one line of authorized_keys
	fingerprint string // MD5, as DigitalOcean has it
	generated   bool   // in this process
	swept       int    // keys of earlier runs that open deleted
	password    bool   // the runner logs in with a password instead

	// Set by open, and not changed afterwards.
	api *digitalocean.Client
	run string

	turn     chan struct{} // held by whoever looks the key up, uploads or deletes it; owns what follows
	uploaded bool          // the account may have it from us
	closed   bool
}

// loadCredentials finds or makes the pair. It asks DigitalOcean nothing.
func loadCredentials(log hclog.Logger, c config.Config, connector provider.ConnectorConfig) (*credentials, error) {
	k := &credentials{
		log:   log,
		group: c.Name,
		extra: c.SSHKeys,
		// The runner prefers a key to a password, so it must not be given both.
		password: connector.UseStaticCredentials && connector.Password != "" && len(connector.Key) == 0,
		turn:     make(chan struct{}, 1),
	}
	var err error
	switch {
	case len(connector.Key) > 0:
		k.source, k.private = "connector_config.key_path", connector.Key
	case c.SSHKeyFile != "":
		k.source = "plugin_config.ssh_key_file: " + c.SSHKeyFile
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

// privateKey returns what the runner dials with; nil = the password it has.
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
	k.api, k.run = api, run
	if sweep {
		k.sweep(ctx, nil)
	}
	return k.ensure(ctx)
}

// ids returns the keys to create Droplets with. refused says that DigitalOcean
// did not know them a moment ago: a key that somebody took off the account is
// then uploaded again.
func (k *credentials) ids(ctx context.Context, refused bool) ([]string, error) {
	if refused {
		if err := k.ensure(ctx); err != nil {
			return nil, err
		}
	}
	return append([]string{k.fingerprint}, k.extra...), nil
}

// ensure finds the key on the account, or uploads it.
func (k *credentials) ensure(ctx context.Context) error {
	if err := k.take(ctx); err != nil {
		return err
	}
	defer k.give()
	if k.closed {
		return errors.New("the group is shut down")
	}
	if !k.generated || k.uploaded { // else nobody can have it yet
		err := k.api.HasKey(ctx, k.fingerprint)
		if err == nil {
			return nil
		}
		// Without the scope ssh_key:read, the upload tells whether it is there.
		if !errors.Is(err, instancegroup.ErrNotFound) && !errors.Is(err, instancegroup.ErrForbidden) {
			return fmt.Errorf("look up the SSH key %s: %w", k, err)
		}
	}
	name := instancegroup.KeyName(k.group, k.run)
	if !k.generated {
		name = instancegroup.KeyName(k.group, "static") // not a minted suffix: never swept
	}
	k.uploaded = true
	// An answer that is lost is settled by a look-up.
	if err := k.api.UploadKey(ctx, name, k.public); err != nil && k.api.HasKey(ctx, k.fingerprint) != nil {
		return fmt.Errorf("upload the SSH key %s: %w", k, err)
	}
	k.log.Info("SSH key is on the account", "name", name, "fingerprint", k.fingerprint)
	return nil
}

// sweep deletes the generated keys of the group's earlier runs: of those, or of all if
// runs is nil. It is a courtesy: failing is a warning.
func (k *credentials) sweep(ctx context.Context, runs []string) {
	keys, err := k.api.Keys(ctx)
	if err != nil {
		k.log.Warn("could not look for SSH keys that earlier runs left", "err", err)
		return
	}
	for _, key := range keys {
		run, ok := instancegroup.RunOfKey(k.group, key.Name)
		if !ok || key.Fingerprint == k.fingerprint || runs != nil && !slices.Contains(runs, run) {
			continue
		}
		if err := k.api.DeleteKey(ctx, key.Fingerprint); err != nil {
			k.log.Warn("an SSH key of an earlier run stays on the account", "name", key.Name, "err", err)
			continue
		}
		k.swept++
		k.log.Info("deleted the SSH key that an earlier run left", "name", key.Name)
	}
}

// close deletes a generated key from the account. Afterwards none is uploaded
// any more.
func (k *credentials) close(ctx context.Context) error {
	err := k.take(ctx)
	if err == nil {
		defer k.give()
		k.closed = true
		if !k.generated || !k.uploaded {
			return nil
		}
		err = k.delete(ctx)
	}
	if err != nil {
		k.log.Warn("the SSH key stays on the account; a later start sweeps it once the group has no Droplets",
			"name", instancegroup.KeyName(k.group, k.run), "err", err)
		return fmt.Errorf("delete the SSH key %s: %w", instancegroup.KeyName(k.group, k.run), err)
	}
	k.uploaded = false
	return nil
}

// delete tries to, a few times.
func (k *credentials) delete(ctx context.Context) (err error) {
	for range deleteTries {
		attempt, cancel := context.WithTimeout(ctx, deleteBound)
		err = k.api.DeleteKey(attempt, k.fingerprint)
		cancel()
		if err == nil || errors.Is(err, instancegroup.ErrNotFound) {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

const (
	deleteTries = 3
	deleteBound = 8 * time.Second // of one attempt: two that are not answered fit into a Shutdown
)

func (k *credentials) take(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *credentials) give() { <-k.turn }
