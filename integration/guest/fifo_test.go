//go:build unix

package guest_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// fifo tells without polling whether processes live: they hold its writing end
// from their start ("exec 3>path") to the end of the last of them.
type fifo struct {
	path string
	r    *os.File
}

func openFIFO(t *testing.T) *fifo {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alive")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return &fifo{path: path}
}

// waitForStart returns when a process has opened the fifo.
func (f *fifo) waitForStart(t *testing.T) {
	t.Helper()
	opened := make(chan error, 1)
	go func() {
		var err error
		f.r, err = os.Open(f.path) // returns when someone opens it for writing
		opened <- err
	}()
	select {
	case err := <-opened:
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.r.Close() })
	case <-time.After(patience):
		t.Fatal("the command did not start")
	}
}

// waitForEnd returns when the last process that has the fifo is gone.
func (f *fifo) waitForEnd(t *testing.T) {
	t.Helper()
	if err := f.r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, f.r)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Fatal("a process is left behind")
	case err != nil:
		t.Fatal(err)
	}
}
