package state

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
)

const (
	program = "fleeting-plugin-digitalocean"

	setDirectory = "set StateDirectory=" + program + " in the runner's systemd unit, " +
		"or XDG_STATE_HOME to a directory that the runner's user can write to"
)

// Dir returns the directory in which the state of all groups is.
func Dir() (string, error) {
	return dirOf(os.Getenv, runtime.GOOS != "windows" && os.Geteuid() == 0, homeDir)
}

func dirOf(getenv func(string) string, root bool, home func() (string, error)) (string, error) {
	// systemd sets it to what StateDirectory= of a unit names.
	if dirs := filepath.SplitList(getenv("STATE_DIRECTORY")); len(dirs) > 0 && filepath.IsAbs(dirs[0]) {
		if filepath.Base(dirs[0]) == program {
			return filepath.Clean(dirs[0]), nil
		}
		return filepath.Join(dirs[0], program), nil
	}
	for _, key := range []string{"XDG_STATE_HOME", "LocalAppData"} { // the second is Windows'
		if dir := getenv(key); filepath.IsAbs(dir) {
			return filepath.Join(dir, program), nil
		}
	}
	if root {
		return filepath.Join("/var/lib", program), nil
	}
	dir, err := home()
	if err != nil {
		return "", fmt.Errorf("no directory for the state of the plugin: %w; %s", err, setDirectory)
	}
	return filepath.Join(dir, ".local", "state", program), nil
}

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

// checkDir reports whether the state directory exists. It creates it on request.
func checkDir(path string, create bool) (bool, error) {
	if create {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return false, fmt.Errorf("state directory: %w; %s", err, setDirectory)
		}
	}
	found, err := checkAccess(path, fs.ModeDir, 0o022)
	if err != nil {
		return false, fmt.Errorf("state directory: %w", err)
	}
	return found, nil
}

// checkFile reports whether one of our files exists. It must be called before the file
// is opened, since a pipe would block; nobody else can change the directory in between.
func checkFile(path string) (bool, error) { return checkAccess(path, 0, 0o077) }

// checkAccess reports whether path exists. It is an error if it is of another type, or
// if anybody but this user and root has the forbidden permissions: what they may have
// written is not to be believed. Symbolic links are not followed.
func checkAccess(path string, want, forbidden fs.FileMode) (bool, error) {
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode().Type() != want {
		wanted := "regular file"
		if want == fs.ModeDir {
			wanted = "directory"
		}
		return false, fmt.Errorf("%s is not a %s, and symbolic links are not followed: remove it", path, wanted)
	}
	owner, ok := ownerOf(info)
	if !ok {
		return true, nil
	}
	return true, checkPermissions(path, owner, os.Geteuid(), info.Mode().Perm(), forbidden)
}

func checkPermissions(path string, owner, self int, mode, forbidden fs.FileMode) error {
	if owner != self && owner != 0 {
		return fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run it as that user, or chown %[1]s", path, owner, self)
	}
	if mode&forbidden != 0 {
		return fmt.Errorf("other users have access to %s (mode %04o): chmod it to %04o", path, mode, mode&^forbidden)
	}
	return nil
}
