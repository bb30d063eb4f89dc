//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a new file the owner of the one whose place it takes.
func keepOwner(file *os.File, of fs.FileInfo) error {
	old, ok := of.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if err := file.Chown(int(old.Uid), int(old.Gid)); err != nil {
		return fmt.Errorf("it belongs to user %d and group %d, which a new file cannot be given: %w", old.Uid, old.Gid, err)
	}
	return nil
}
