//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a killed plugin left goes; what lives, has just begun, or is anything else, stays.
func TestSweepSockets(t *testing.T) {
	temp, err := os.MkdirTemp("", "s") // short: the path of a socket is bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(temp) })
	listen := func(name string) net.Listener {
		dir := filepath.Join(temp, name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("unix", filepath.Join(dir, "plugin1"))
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		return l
	}
	defer listen(socketDirs + "lives").Close()
	listen(socketDirs + "killed").Close()
	listen("another-program").Close()
	listen(socketDirs + "with-more").Close()
	for _, file := range []string{socketDirs + "with-more/notes", socketDirs + "file"} {
		if err := os.WriteFile(filepath.Join(temp, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(temp, socketDirs+"begins"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("another-program", filepath.Join(temp, socketDirs+"link")); err != nil {
		t.Fatal(err)
	}

	sweepSockets(temp)

	var left []string
	entries, _ := os.ReadDir(temp)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"another-program", socketDirs + "begins", socketDirs + "file", socketDirs + "link", socketDirs + "lives", socketDirs + "with-more"}
	if !slices.Equal(left, want) {
		t.Errorf("left: %q, want %q", left, want)
	}
}
