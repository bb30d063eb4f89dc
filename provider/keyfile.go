package provider

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

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
	key, err := config.ThisHost().ReadFile(path, maxKeyFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeKey(log, path)
	case err == nil:
		warnIfReadable(log, path)
	}
	return key, err
}

// Exposed reports whether others than its owner can read a file. Windows keeps that elsewhere than in the mode.
func Exposed(path string) bool {
	info, err := os.Stat(path)
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}

// warnIfReadable tells about a file with a secret that not only its owner can read.
func warnIfReadable(log hclog.Logger, path string) {
	if Exposed(path) {
		log.Warn("others can read a file with a secret", "path", path, "hint", "chmod 600 "+path)
	}
}

// CheckFiles makes a start's checks of the files with secrets, and makes no file. keyPath is connector_config's, which the runner
// reads. exposed are those that others can read.
func CheckFiles(c config.Config, token config.Token, keyPath string) (exposed []string, err error) {
	for _, path := range []string{token.File, c.SSHKeyFile, keyPath} {
		if Exposed(path) {
			exposed = append(exposed, path)
		}
	}
	var connector provider.ConnectorConfig
	if keyPath != "" {
		if connector.Key, err = config.ThisHost().ReadFile(keyPath, maxKeyFile); err != nil {
			return exposed, fmt.Errorf("connector_config.key_path: %w", err)
		}
	}
	if _, err := os.Stat(c.SSHKeyFile); errors.Is(err, fs.ErrNotExist) {
		c.SSHKeyFile = "" // a start makes it
	}
	_, err = loadCredentials(hclog.NewNullLogger(), c, connector)
	return exposed, err
}

// makeKey writes a new key to path.
func makeKey(log hclog.Logger, path string) ([]byte, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the key's directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil { // somebody else may have made one a moment ago: the next start finds it
		return nil, fmt.Errorf("make the key: %w", err)
	}
	_, werr := f.Write(key)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		os.Remove(path) // half a key would be in the way for ever
		return nil, fmt.Errorf("make the key: %w", err)
	}
	log.Info("created the private key of ssh_key_file", "path", path)
	return key, nil
}
