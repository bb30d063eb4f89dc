//go:build unix

package doctor

import (
	"fmt"
	"os"
	"syscall"
)

// otherOwner returns the number of the user that a file belongs to; "" = this process's, or not known.
func otherOwner(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Getuid() {
		return fmt.Sprint(s.Uid)
	}
	return ""
}
