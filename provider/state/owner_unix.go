//go:build unix

package state

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// checkOwner returns an error if a file belongs to anybody but this user and root, or has
// a forbidden mode.
func checkOwner(path string, info fs.FileInfo, forbidden fs.FileMode) error {
	owner, self, mode := int(info.Sys().(*syscall.Stat_t).Uid), os.Geteuid(), info.Mode().Perm()
	if owner != self && owner != 0 {
		return fmt.Errorf("%s belongs to user %d, and this process runs as user %d: run it as that user, or chown %[1]s", path, owner, self)
	}
	if mode&forbidden != 0 {
		return fmt.Errorf("other users have access to %s (mode %04o): chmod it to %04o", path, mode, mode&^forbidden)
	}
	return nil
}
