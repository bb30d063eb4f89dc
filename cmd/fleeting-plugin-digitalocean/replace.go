package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

// maxConfig bounds what is read of a config.toml, in bytes.
const maxConfig = 16 << 20

// configFile is a config.toml as it was read.
type configFile struct {
	path string // where it really is, behind links; empty = standard input
	dir  string // absolute; of standard input, that of GitLab's packages
	text string
	info fs.FileInfo // of a file
}

// fromStdin reports whether a path is standard input.
func fromStdin(path string) bool { return path == "-" || path == "/dev/stdin" }

// openConfig reads a config.toml. A pipe that has a name is not opened: that can block for ever.
func openConfig(path string) (*configFile, error) {
	if fromStdin(path) {
		text, err := io.ReadAll(os.Stdin)
		if err != nil {
			err = fmt.Errorf("standard input: %w", err)
		}
		return &configFile{dir: "/etc/gitlab-runner", text: string(text)}, err
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
	dir, err := filepath.Abs(filepath.Dir(real))
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(real)
	return &configFile{real, dir, string(text), info}, err
}

// stateDir is where the runner of this file can keep what outlives a restart: that of GitLab's packages, or beside the file.
func (f *configFile) stateDir() string {
	if strings.HasPrefix(f.dir, "/etc/") {
		return "/var/lib/gitlab-runner"
	}
	return filepath.ToSlash(f.dir)
}

// replace puts text in the place of the file, after its secrets and the backup are written. When it fails nothing has changed.
func (f *configFile) replace(text string, secrets []migration.Secret) (backup string, err error) {
	var made []string
	create := func(path, text string, mode fs.FileMode) {
		if err == nil {
			if err = f.create(path, text, mode); err == nil {
				made = append(made, path)
			}
		}
	}
	fresh, backup := f.path+".migrated", f.path+".before-migrate"
	create(fresh, text, f.info.Mode().Perm())
	for _, s := range secrets {
		there, _ := config.ThisHost().ReadFile(s.File, maxConfig)
		if strings.TrimSpace(string(there)) != s.Value.Reveal() {
			create(s.File, s.Value.Reveal()+"\n", 0o600)
		}
	}
	create(backup, f.text, 0o600)
	if err == nil {
		err = os.Rename(fresh, f.path)
	}
	if err != nil {
		for _, path := range made {
			os.Remove(path)
		}
	}
	return backup, err
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
