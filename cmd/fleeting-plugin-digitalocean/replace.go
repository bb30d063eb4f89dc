package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

// maxConfig bounds what is read of a config.toml, in bytes: more is none.
const maxConfig = 16 << 20

// configFile is a config.toml as it was read.
type configFile struct {
	path string // where it really is, behind links
	text string
	info fs.FileInfo
}

// openConfig reads a config.toml.
func openConfig(path string) (*configFile, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, configHint(err)
	}
	// Looked at before it is opened: opening a pipe that nobody writes to blocks.
	info, err := os.Stat(real)
	if err != nil {
		return nil, configHint(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: not a regular file of at most %d MiB", path, maxConfig>>20)
	}
	file, err := os.Open(real)
	if err != nil {
		return nil, configHint(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return nil, err
	}
	return &configFile{real, string(text), info}, nil
}

// beside is a file in the same directory.
func (f *configFile) beside(name string) string {
	path := filepath.Join(filepath.Dir(f.path), name)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// stateDir is where the runner of this file can keep what outlives a restart: root's
// in /var/lib, as GitLab's packages have it, anybody else's beside the file.
func (f *configFile) stateDir() string {
	if ofRoot(f.info) {
		return "/var/lib/gitlab-runner"
	}
	return filepath.ToSlash(f.beside("."))
}

// replace puts text in the place of the file, in one step, with its mode and owner,
// after the secrets are in their files and the old text is in the backup. When it
// fails nothing has changed.
func (f *configFile) replace(text string, secrets []migration.Secret) (backup string, err error) {
	var made []string
	defer func() {
		if err != nil {
			for _, path := range made {
				os.Remove(path)
			}
		}
	}()
	// A file that may not be written to is not replaced either.
	if w, err := os.OpenFile(f.path, os.O_WRONLY, 0); err != nil {
		return "", configHint(err)
	} else if err := w.Close(); err != nil {
		return "", err
	}

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
	if backup, err = f.backUp(); err != nil {
		return "", err
	}
	made = append(made, backup)

	// The runner writes the file too, when one is registered.
	now, err := os.ReadFile(f.path)
	if err == nil && string(now) != f.text {
		err = fmt.Errorf("%s was changed by somebody else meanwhile: run it again", f.path)
	}
	if err == nil {
		err = os.Rename(fresh.Name(), f.path)
	}
	if err != nil {
		return "", err
	}
	syncDir(filepath.Dir(f.path))
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

// keepSecret writes a token to its file. there says that it was in it already.
func (f *configFile) keepSecret(s migration.Secret) (there bool, err error) {
	err = f.create(s.File, s.Value.Reveal()+"\n")
	switch {
	case errors.Is(err, fs.ErrExist):
		text, err := os.ReadFile(s.File)
		if err != nil {
			return false, err
		}
		if string(bytes.TrimSpace(text)) != s.Value.Reveal() {
			return false, hinted{fmt.Errorf("%s is there already, and has another token than %s", s.File, f.path),
				"give another --token-file, or move that one away"}
		}
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, hinted{err, "sudo install -d -m 700 " + filepath.Dir(s.File)}
	}
	return false, err
}

// backUp copies the file to a name that is free.
func (f *configFile) backUp() (path string, err error) {
	for n := 1; ; n++ {
		path = f.path + ".before-migrate"
		if n > 1 {
			path += fmt.Sprintf(".%d", n)
		}
		if err = f.create(path, f.text); !errors.Is(err, fs.ErrExist) {
			return path, err
		}
	}
}

// syncDir makes a rename last. That it cannot be made so everywhere is no fault.
func syncDir(path string) {
	if dir, err := os.Open(path); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}
