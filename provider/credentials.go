package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/semaphore"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// credentials is the key pair by which the runner reaches Droplets: connector_config's,
// else that of ssh_key_file, else one of this process, which alone is deleted from the
// account. DigitalOcean is always given the fingerprint, which no other key has.
type credentials struct {
	log    hclog.Logger
	group  string
	extra  []string // more keys of the account, for people
	source string   // where the pair comes from, for messages

	private     []byte // PEM
	public      string // one line of authorized_keys
	fingerprint string // MD5, as DigitalOcean has it
	generated   bool   // in this process

	// Set by open, and not changed afterwards.
	api  *digitalocean.Client
	name string // on the account

	busy        *semaphore.Weighted // of 1: a lock of what follows, and of the account's key, whose waiting ends with a context
	closed      bool
	unconfirmed bool // the account may have the key from an upload that failed
}

// loadCredentials finds or makes the pair. It asks DigitalOcean nothing.
func loadCredentials(log hclog.Logger, c config.Config, connector provider.ConnectorConfig) (*credentials, error) {
	k := &credentials{
		log:   log,
		group: c.Name,
		extra: c.SSHKeys,
		busy:  semaphore.NewWeighted(1),
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

// stale returns the keys that dead plugin processes of this host generated. That it cannot
// look for them is a warning.
//
// Invariant: a key of ssh_keys is never among them, whatever its name.
// (TestKeysOfPeopleStay)
func (k *credentials) stale(ctx context.Context, api *digitalocean.Client, dead []string) []digitalocean.Key {
	if len(dead) == 0 {
		return nil
	}
	keys, err := api.Keys(ctx)
	if err != nil {
		k.log.Warn("could not look for SSH keys that earlier plugin processes left", "err", err)
	}
	return slices.DeleteFunc(keys, func(key digitalocean.Key) bool {
		run := instancegroup.RunOfKey(k.group, key.Name)
		return run == "" || !slices.Contains(dead, run) || key.Fingerprint == k.fingerprint ||
			slices.Contains(k.extra, key.Fingerprint) || slices.Contains(k.extra, fmt.Sprint(key.ID))
	})
}

// open puts the key on the account and deletes the stale ones, as Init's last step.
func (k *credentials) open(ctx context.Context, api *digitalocean.Client, run string, stale []digitalocean.Key) error {
	k.api, k.name = api, instancegroup.KeyName(k.group, instancegroup.NewSuffix(run))
	if !k.generated {
		k.name = instancegroup.KeyName(k.group, "static") // of no run: nobody deletes it
	}
	var wg sync.WaitGroup
	for _, key := range stale {
		wg.Go(func() {
			if err := k.delete(ctx, key.Fingerprint); err != nil { // it is no reason to be late
				k.log.Warn("an SSH key of an earlier plugin process stays on the account", "name", key.Name, "err", err)
				return
			}
			k.log.Info("deleted the SSH key that an earlier plugin process left", "name", key.Name)
		})
	}
	err := k.ensure(ctx)
	wg.Wait()
	return err
}

// ids returns the keys to create Droplets with. refused says that DigitalOcean
// did not know them a moment ago: a key that somebody took off the account is
// then uploaded again, and done without if it is one of ssh_keys. (TestDeletedKey)
func (k *credentials) ids(ctx context.Context, refused bool) ([]string, error) {
	if refused {
		if err := k.ensure(ctx); err != nil {
			return nil, err
		}
		k.extra = slices.DeleteFunc(slices.Clone(k.extra), func(key string) bool {
			gone := errors.Is(k.api.HasKey(ctx, key), instancegroup.ErrNotFound)
			if gone {
				k.log.Warn("plugin_config.ssh_keys has a key that the account does not know any more: Droplets are created without it", "key", key)
			}
			return gone
		})
	}
	return append([]string{k.fingerprint}, k.extra...), nil
}

// ensure finds the key on the account, or uploads it.
func (k *credentials) ensure(ctx context.Context) error {
	if err := k.busy.Acquire(ctx, 1); err != nil {
		return err
	}
	defer k.busy.Release(1)
	if k.closed {
		return errors.New("the group is shut down")
	}
	if !k.generated { // else it is not there yet, or was taken away
		err := k.api.HasKey(ctx, k.fingerprint)
		if err == nil {
			return nil
		}
		// Without the scope ssh_key:read, the upload shows whether it is there.
		if !errors.Is(err, instancegroup.ErrNotFound) && !errors.Is(err, instancegroup.ErrForbidden) {
			return fmt.Errorf("look up the SSH key %s: %w", k, err)
		}
	}
	// An answer that is lost is settled by a look-up.
	if err := k.api.UploadKey(ctx, k.name, k.public); err != nil && k.api.HasKey(ctx, k.fingerprint) != nil {
		k.unconfirmed = errors.Is(err, instancegroup.ErrUnconfirmed)
		return fmt.Errorf("upload the SSH key %s: %w", k, err)
	}
	k.log.Info("SSH key is on the account", "name", k.name, "fingerprint", k.fingerprint)
	return nil
}

// close deletes a generated key from the account. Afterwards none is uploaded any more.
func (k *credentials) close(ctx context.Context) error {
	err := k.busy.Acquire(ctx, 1)
	if err == nil {
		defer k.busy.Release(1)
		k.closed = true
		if !k.generated {
			return nil
		}
		if err = k.delete(ctx, k.fingerprint); err == nil {
			return nil
		}
	}
	k.log.Warn("the SSH key stays on the account; the next start deletes it", "name", k.name, "err", err)
	return fmt.Errorf("delete the SSH key %s: %w", k.name, err)
}

// deleteBound is what the deletion of a key may take.
const deleteBound = 8 * time.Second

// delete takes a key off the account, if it is there. A failure is tried again a
// second later, twice: a key that stays is one that somebody has to explain, and after
// a 429 only one request of many is let through. (TestShutdownKeepsNoKey)
func (k *credentials) delete(ctx context.Context, fingerprint string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, deleteBound)
	defer cancel()
	for range 3 {
		if err = k.api.DeleteKey(ctx, fingerprint); err == nil || errors.Is(err, instancegroup.ErrNotFound) {
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
