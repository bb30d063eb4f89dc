package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

// maxConfig bounds what is read of a config.toml, in bytes.
const maxConfig = 16 << 20

// configFile is a config.toml as it was read.
type configFile struct {
	path string // where it really is, behind links; empty = standard input
	text string
	info fs.FileInfo // of a file
}

// fromStdin reports whether a path is standard input.
func fromStdin(path string) bool { return path == "-" || path == "/dev/stdin" }

// openConfig reads a config.toml. A pipe that has a name is not opened: that can block for ever.
func openConfig(path string, stdin io.Reader) (*configFile, error) {
	if fromStdin(path) {
		text, err := io.ReadAll(stdin)
		return &configFile{text: string(text)}, err
	}
	var text []byte
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		text, err = config.ThisHost().ReadFile(real, maxConfig)
	}
	if cause, ok := errors.AsType[*fs.PathError](err); ok { // which may be of a directory
		err = cause.Err
	}
	if err != nil {
		return nil, unopened(fmt.Errorf("%s: %w", path, err), whichFile)
	}
	info, err := os.Stat(real)
	return &configFile{real, string(text), info}, err
}

// beside returns a file in the same directory; of standard input, that of GitLab's packages.
func (f *configFile) beside(name string) string {
	if f.path == "" {
		return "/etc/gitlab-runner/" + name
	}
	path := filepath.Join(filepath.Dir(f.path), name)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// stateDir is where the runner of this file can keep what outlives a restart: root's in /var/lib, as GitLab's packages
// have it, anybody else's beside the file.
func (f *configFile) stateDir() string {
	if f.path != "" {
		if uid, ok := state.OwnerOf(f.info); !ok || uid != 0 {
			return filepath.ToSlash(f.beside("."))
		}
	}
	return "/var/lib/gitlab-runner"
}

// replace puts text in the place of the file, in one step, with its mode and owner, after the secrets are in their files
// and the old text is in the backup. When it fails nothing has changed.
func (f *configFile) replace(text string, secrets []migration.Secret) (backup string, err error) {
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range made {
			os.Remove(path)
		}
		if errors.Is(err, fs.ErrPermission) {
			err = unopened(err, "")
		}
	}()
	create := func(path, text string, mode fs.FileMode) error {
		err := f.create(path, text, mode)
		if err == nil {
			made = append(made, path)
		}
		return err
	}
	fresh := f.path + ".migrated"
	if err := create(fresh, text, f.info.Mode().Perm()); err != nil {
		return "", err
	}
	for _, s := range secrets {
		err := create(s.File, s.Value.Reveal()+"\n", 0o600)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", hinted{err, "sudo install -d -m 700 " + filepath.Dir(s.File)}
		case errors.Is(err, fs.ErrExist):
			err = f.holds(s)
		}
		if err != nil {
			return "", err
		}
	}
	backup = f.path + ".before-migrate"
	err = create(backup, f.text, 0o600)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		backup = fmt.Sprintf("%s.before-migrate.%d", f.path, n)
		err = create(backup, f.text, 0o600)
	}
	if err != nil {
		return "", err
	}
	// The runner writes the file too, when one is registered.
	if now, err := os.ReadFile(f.path); err != nil || string(now) != f.text {
		return "", errors.Join(err, fmt.Errorf("%s was changed by somebody else meanwhile: run it again", f.path))
	}
	return backup, os.Rename(fresh, f.path)
}

// create makes a file, with the owner of the config.toml.
func (f *configFile) create(path, text string, mode fs.FileMode) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(file, text)
	err = errors.Join(err, file.Chmod(mode), keepOwner(file, f.info), file.Sync(), file.Close())
	if err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// holds fails unless the secret is in its file already.
func (f *configFile) holds(s migration.Secret) error {
	text, err := config.ThisHost().ReadFile(s.File, 64<<10)
	if err == nil && string(bytes.TrimSpace(text)) != s.Value.Reveal() {
		err = hinted{fmt.Errorf("%s is there already, and has another token than %s", s.File, f.path),
			"give --write-token-file, or move that one away"}
	}
	return err
}
