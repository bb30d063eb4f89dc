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
)

// maxConfig bounds what is read of a config.toml, in bytes: more is none.
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
		text, err := io.ReadAll(io.LimitReader(stdin, maxConfig+1))
		if err == nil && len(text) > maxConfig {
			err = fmt.Errorf("standard input: more than %d MiB", maxConfig>>20)
		}
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
		return nil, configHint(fmt.Errorf("%s: %w", path, err))
	}
	info, err := os.Stat(real)
	return &configFile{real, string(text), info}, err
}

// configHint is what to do about a config.toml that cannot be opened.
func configHint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return hinted{err, "sudo " + program + " migrate ..."}
	case errors.Is(err, fs.ErrNotExist):
		return hinted{err, "name the runner's file: " + program + " migrate FILE"}
	}
	return err
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
	if f.path == "" || ofRoot(f.info) {
		return "/var/lib/gitlab-runner"
	}
	return filepath.ToSlash(f.beside("."))
}

// replace puts text in the place of the file, in one step, with its mode and owner, after the secrets are in their files
// and the old text is in the backup. When it fails nothing has changed.
func (f *configFile) replace(text string, secrets []migration.Secret) (backup string, err error) {
	var made []string
	defer func() {
		for _, path := range made {
			if err != nil {
				os.Remove(path)
			}
		}
	}()
	// A file that may not be written to is not replaced either.
	w, err := os.OpenFile(f.path, os.O_WRONLY, 0)
	if err != nil {
		return "", configHint(err)
	}
	_ = w.Close() // nothing was written
	fresh, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+".*")
	if err != nil {
		return "", configHint(err)
	}
	made = append(made, fresh.Name())
	if err := f.fill(fresh, text, f.info.Mode().Perm()); err != nil {
		return "", err
	}
	for _, s := range secrets {
		there, err := f.keepSecret(s)
		if err != nil {
			return "", err
		}
		if !there {
			made = append(made, s.File)
		}
	}
	backup = f.path + ".before-migrate"
	err = f.create(backup, f.text)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		backup = fmt.Sprintf("%s.before-migrate.%d", f.path, n)
		err = f.create(backup, f.text)
	}
	if err != nil {
		return "", err
	}
	made = append(made, backup)

	// The runner writes the file too, when one is registered.
	if now, err := os.ReadFile(f.path); err != nil || string(now) != f.text {
		return "", errors.Join(err, fmt.Errorf("%s was changed by somebody else meanwhile: run it again", f.path))
	}
	if err := os.Rename(fresh.Name(), f.path); err != nil {
		return "", err
	}
	if dir, err := os.Open(filepath.Dir(f.path)); err == nil { // makes the rename last, where that can be
		_ = dir.Sync()
		_ = dir.Close()
	}
	return backup, nil
}

// fill writes a new file to its end, with the owner of the config.toml. It closes it.
func (f *configFile) fill(file *os.File, text string, mode fs.FileMode) error {
	_, err := io.WriteString(file, text)
	err = errors.Join(err, file.Chmod(mode), keepOwner(file, f.info), file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", file.Name(), err)
	}
	return nil
}

// create makes a file that only its owner, who is the config.toml's, can read.
func (f *configFile) create(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.fill(file, text, 0o600); err != nil {
		os.Remove(path)
		return err
	}
	return nil
}

// keepSecret writes a token to its file. there reports that it was in it already.
func (f *configFile) keepSecret(s migration.Secret) (there bool, err error) {
	err = f.create(s.File, s.Value.Reveal()+"\n")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, hinted{err, "sudo install -d -m 700 " + filepath.Dir(s.File)}
	case !errors.Is(err, fs.ErrExist):
		return false, err
	}
	text, err := config.ThisHost().ReadFile(s.File, 64<<10)
	if err == nil && string(bytes.TrimSpace(text)) != s.Value.Reveal() {
		err = hinted{fmt.Errorf("%s is there already, and has another token than %s", s.File, f.path),
			"give --write-token-file, or move that one away"}
	}
	return true, err
}
