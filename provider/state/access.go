package state

import (
	"fmt"
	"io/fs"
	"os"
)

const setDirectory = "set StateDirectory=" + program + " in the runner's systemd unit, " +
	"or XDG_STATE_HOME to a directory that the runner's user can write to"

// check reports whether the state directory exists. It creates it on request.
func (h home) check(create bool) (bool, error) {
	if create {
		if err := os.MkdirAll(h.dir, 0o700); err != nil {
			return false, fmt.Errorf("state directory: %w; %s", err, setDirectory)
		}
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
		wanted := map[fs.FileMode]string{0: "regular file", fs.ModeDir: "directory"}[want]
		return false, fmt.Errorf("%s is not a %s, and symbolic links are not followed: remove it", path, wanted)
	}
	owner, ok := OwnerOf(info)
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
