//go:build unix

package state

import (
	"io/fs"
	"syscall"
)

// OwnerOf returns the number of the user that a file belongs to.
func OwnerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
