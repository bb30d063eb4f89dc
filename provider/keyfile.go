package provider

import (
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
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

// makeKey writes a new key to path, which only its owner can read.
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
