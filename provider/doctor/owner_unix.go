//go:build unix

package doctor

import (
	"os"
	"syscall"
)

// ownerOf returns the user that a file belongs to, or -1.
func ownerOf(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}
