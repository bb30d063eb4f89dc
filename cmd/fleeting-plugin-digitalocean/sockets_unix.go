//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// sweepSockets removes the directories in temp whose plugin was killed and could not: they
// are this user's own, have one socket, and nobody listens there any more.
func sweepSockets(temp string) {
	dirs, _ := filepath.Glob(filepath.Join(temp, socketDirs+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue
		}
		if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != os.Geteuid() {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 || entries[0].Type() != os.ModeSocket {
			continue // its plugin has just begun
		}
		socket := filepath.Join(dir, entries[0].Name())
		conn, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			conn.Close()
			continue
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(socket)
			os.Remove(dir)
		}
	}
}
