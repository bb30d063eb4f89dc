package state

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestWaits: holders are told apart, and each is waited for as long as it is worth.
func TestWaits(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	// A program's name may look like the rest of its status.
	if err := os.WriteFile("/proc/self/comm", []byte("a\nPPid:\t1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, runner := os.Getpid(), os.Getppid()
	grandparent, _ := parentOf(runner)
	for _, test := range []struct {
		name  string
		holds holder
		want  time.Duration
		err   HeldError
		text  string
	}{
		{"of our runner", holder{self, runner}, 0, HeldError{PID: self, Sibling: true}, "is managed by another plugin process of this runner, pid %d: two [[runners]] sections have one plugin_config.name, or the runner's token was rotated"},
		{"of another runner", holder{runner, grandparent}, 0, HeldError{PID: runner}, "is managed by another process on this host, pid %d: the plugin of another runner, or a command"},
		{"orphan", holder{self, 1 << 30}, orphanWait, HeldError{PID: self, Orphan: true}, "is managed by a plugin process whose runner has ended, pid %d. Stop that process"},
		{"it has ended", holder{1 << 30, runner}, unknownWait, HeldError{}, "is managed by another process on this host, pid unknown: "},
		{"it has written nothing yet", holder{}, unknownWait, HeldError{}, "is managed by another process on this host, pid unknown: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := ciIn(t.TempDir())
				first := h.mustOpen(t, io.Discard)
				if s := h.mustPeek(t); s.PID != self {
					t.Errorf("it has written %+v", s)
				}
				content, err := json.Marshal(test.holds)
				if err := errors.Join(err, os.WriteFile(h.lock, content, 0o600)); err != nil {
					t.Fatal(err)
				}
				refused := func(ctx context.Context, after time.Duration) error {
					t.Helper()
					began := time.Now()
					_, err := h.open(ctx, hclog.NewNullLogger(), true)
					test.err.Group = "ci"
					if held, ok := errors.AsType[*HeldError](err); !ok || *held != test.err || time.Since(began) != after ||
						!strings.Contains(held.Error(), strings.ReplaceAll(test.text, "%d", strconv.Itoa(held.PID))) {
						t.Errorf("after %s: got  %+v (%v)\nwant after %s %+v (%s)", time.Since(began), held, err, after, test.err, test.text)
					}
					return err
				}
				_ = refused(t.Context(), test.want)
				if s := h.mustPeek(t); !s.Held || s.PID != test.err.PID {
					t.Errorf("seen from outside: %+v", s)
				}
				if test.want == 0 {
					first.Drop()
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), lockPoll/2)
				defer cancel()
				if err := refused(ctx, lockPoll/2); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("a bounded wait: %v", err)
				}
				time.AfterFunc(test.want/2, first.Drop)
				h.mustOpen(t, io.Discard).Drop()
			})
		})
	}
}
