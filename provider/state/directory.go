package state

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
)

const program = "fleeting-plugin-digitalocean"

// Dir returns the directory in which the state of all groups is.
func Dir() (string, error) {
	return dirOf(runtime.GOOS, os.Getenv, os.Geteuid() == 0, homeDir)
}

func dirOf(goos string, getenv func(string) string, root bool, home func() (string, error)) (string, error) {
	// systemd sets it to what StateDirectory= of a unit names.
	if dirs := filepath.SplitList(getenv("STATE_DIRECTORY")); len(dirs) > 0 && filepath.IsAbs(dirs[0]) {
		if filepath.Base(dirs[0]) == program {
			return filepath.Clean(dirs[0]), nil
		}
		return filepath.Join(dirs[0], program), nil
	}
	if xdg := getenv("XDG_STATE_HOME"); filepath.IsAbs(xdg) {
		return filepath.Join(xdg, program), nil
	}
	if local := getenv("LocalAppData"); goos == "windows" && local != "" {
		return filepath.Join(local, program), nil
	}
	if root && goos != "darwin" {
		return filepath.Join("/var/lib", program), nil
	}
	dir, err := home()
	if err != nil {
		return "", fmt.Errorf("no directory for the state of the plugin: %w; %s", err, setDirectory)
	}
	switch goos {
	case "windows":
		return filepath.Join(dir, "AppData", "Local", program), nil
	case "darwin":
		return filepath.Join(dir, "Library", "Application Support", program), nil
	}
	return filepath.Join(dir, ".local", "state", program), nil
}

const setDirectory = "set StateDirectory=" + program + " in the runner's systemd unit, " +
	"or XDG_STATE_HOME to a directory that the runner's user can write to"

// homeDir asks the user database where HOME is unset, as it is for a system service.
func homeDir() (string, error) {
	dir, err := os.UserHomeDir()
	if err == nil {
		return dir, nil
	}
	if u, uerr := user.Current(); uerr == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir, nil
	}
	return "", err
}

// keyOf names the files of a group. Its name alone is not enough: a simulator may have a
// group of that name too.
func keyOf(apiURL, group string) (string, error) {
	if group == "." || !filepath.IsLocal(group) || strings.ContainsAny(group, `/\:`) {
		return "", fmt.Errorf("%q cannot be the name of a group: it is no plain file name", group)
	}
	sum := sha256.Sum256([]byte(normalURL(apiURL)))
	return fmt.Sprintf("%s-%x", group, sum[:4]), nil
}

// normalURL returns one spelling for all that mean the same API.
func normalURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.Host = strings.ToLower(u.Host) // Parse has lowered the scheme
	if port := u.Port(); port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	return strings.TrimRight(u.String(), "/")
}

// directory is the state directory. Only this user, or root, can change it.
type directory struct {
	*os.Root
	narrow bool // permissions that are too wide are narrowed, not refused
}

// openDirectory returns nil if there is no directory and none is to be created.
func openDirectory(path string, create bool) (*directory, error) {
	if create {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("state directory: %w; %s", err, setDirectory)
		}
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state directory: %w; %s", err, setDirectory)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("state directory: %s is a %s, not a directory, and symbolic links are not followed; %s", path, kind(info), setDirectory)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w; %s", err, setDirectory)
	}
	d := &directory{Root: root, narrow: create}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was replaced while it was opened", path)
	}
	if err == nil {
		err = d.secure(".", info, 0o022)
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return d, nil
}

// path returns the whole path of a file, for people.
func (d *directory) path(name string) string { return filepath.Join(d.Name(), name) }

// open opens a file, creates it if flag says so, and follows no symbolic link.
func (d *directory) open(name string, flag int) (*os.File, error) {
	// Before the file is opened, for a pipe would block. Nobody else can change the
	// directory in between.
	info, err := d.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is a %s, not a regular file: remove it", d.path(name), kind(info))
	}
	if err == nil {
		if err := d.secure(name, info, 0o077); err != nil {
			return nil, err
		}
	}
	f, err := d.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; %s", d.path(name), err, setDirectory)
	}
	return f, nil
}

// secure sees that nobody but this user, or root, has the forbidden permissions.
func (d *directory) secure(name string, info fs.FileInfo, forbidden fs.FileMode) error {
	owner, ok := ownerOf(info)
	if !ok {
		return nil
	}
	mode := info.Mode().Perm()
	tooWide, err := checkAccess(d.path(name), owner, os.Geteuid(), mode, forbidden, d.narrow)
	if err != nil || !tooWide {
		return err
	}
	return d.Chmod(name, mode&^forbidden)
}

// checkAccess decides whether a file or directory can be trusted, and whether its
// permissions must be narrowed for that.
func checkAccess(path string, owner, self int, mode, forbidden fs.FileMode, narrow bool) (tooWide bool, err error) {
	tooWide = mode&forbidden != 0
	if owner != self && owner != 0 {
		return false, fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run it as that user, or chown %[1]s", path, owner, self)
	}
	if tooWide && (owner != self || !narrow) {
		return false, fmt.Errorf("other users have access to %s (mode %04o): chmod it to %04o", path, mode, mode&^forbidden)
	}
	return tooWide, nil
}

func kind(info fs.FileInfo) string {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return "symbolic link"
	case info.IsDir():
		return "directory"
	case info.Mode().IsRegular():
		return "file"
	}
	return "special file"
}

// read returns a file, nil if there is none, and maxContent+1 bytes of one that is
// larger than maxContent.
func (d *directory) read(name string) ([]byte, error) {
	f, err := d.open(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxContent+1))
}

// replace writes a file whole. The process may be killed at any point of it: there is
// either the old file or the new one.
func (d *directory) replace(name string, content []byte) error {
	fresh := name + ".new"
	_ = d.Remove(fresh) // left by a kill
	f, err := d.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.Rename(fresh, name)
	}
	if err != nil {
		_ = d.Remove(fresh)
	}
	return err
}
