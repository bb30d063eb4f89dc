package state

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
)

const (
	program = "fleeting-plugin-digitalocean"

	setDirectory = "set StateDirectory=" + program + " in the runner's systemd unit, " +
		"or XDG_STATE_HOME to a directory that the runner's user can write to"
)

// directory returns the directory in which the state of all groups is.
func directory(root bool) (string, error) {
	// systemd sets it to what StateDirectory= of a unit names. A command that root runs
	// outside of the unit must come to the same directory.
	if dirs := filepath.SplitList(os.Getenv("STATE_DIRECTORY")); len(dirs) > 0 && filepath.IsAbs(dirs[0]) {
		if filepath.Base(dirs[0]) == program {
			return filepath.Clean(dirs[0]), nil
		}
		return filepath.Join(dirs[0], program), nil
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program), nil
	}
	if root {
		return filepath.Join("/var/lib", program), nil
	}
	home, err := os.UserHomeDir()
	if err != nil { // a service may have none, but an entry in the user database
		u, unknown := user.Current()
		if unknown != nil || !filepath.IsAbs(u.HomeDir) {
			return "", err
		}
		home = u.HomeDir
	}
	return filepath.Join(home, ".local", "state", program), nil
}

// files returns the paths of a group's lock and state.json. Its name alone is not enough:
// a simulator may have a group of that name too.
func (h home) files(apiURL, group string) (lock, state string) {
	sum := sha256.Sum256([]byte(apiURL))
	base := filepath.Join(h.dir, fmt.Sprintf("%s-%x", group, sum[:4]))
	return base + ".lock", base + ".json"
}

// check reports whether the state directory exists. It creates it on request.
func (h home) check(create bool) (bool, error) {
	err := h.dirErr
	if err == nil && create {
		err = os.MkdirAll(h.dir, 0o700)
	}
	if err != nil {
		return false, fmt.Errorf("state directory: %w; %s", err, setDirectory)
	}
	found, err := checkAccess(h.dir, fs.ModeDir, 0o022)
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
	self, mode := os.Geteuid(), info.Mode().Perm()
	switch {
	case !ok:
		return true, nil
	case owner != self && owner != 0:
		return false, fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run it as that user, or chown %[1]s", path, owner, self)
	case mode&forbidden != 0:
		return false, fmt.Errorf("other users have access to %s (mode %04o): chmod it to %04o", path, mode, mode&^forbidden)
	}
	return true, nil
}
