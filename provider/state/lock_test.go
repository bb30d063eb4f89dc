package state

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

// TestWaitsForWhoHoldsItNow: the holder may change while it is waited for, and may say only then who it is.
func TestWaitsForWhoHoldsItNow(t *testing.T) {
	living, orphan := holder{PID: os.Getpid(), Parent: os.Getppid()}, holder{PID: os.Getpid(), Parent: 1 << 30}
	for _, test := range []struct {
		before, then holder
		want         time.Duration
		got          bool
	}{
		{orphan, living, time.Second, false},
		{holder{}, orphan, 2 * time.Second, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			h, first := ci(t), mustOpen(t, nil)
			write := func(who holder) {
				content, _ := json.Marshal(who) // numbers
				_ = os.WriteFile(h.lock, content, 0o600)
			}
			write(test.before)
			time.AfterFunc(900*time.Millisecond, func() { write(test.then) })
			drop := time.AfterFunc(2*time.Second, first.Drop)
			began := time.Now()
			s, err := Open(t.Context(), hclog.NewNullLogger(), api, "ci")
			if took := time.Since(began).Round(time.Second); took != test.want || (err == nil) != test.got {
				t.Errorf("after %s: %v", took, err)
			}
			if err == nil {
				s.Drop()
			} else if drop.Stop() {
				first.Drop()
			}
		})
	}
}

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
		{"of our runner", holder{PID: self, Parent: runner}, 0, HeldError{PID: self, Sibling: true}, "by another plugin process of this runner, pid %d: two [[runners]] sections have one plugin_config.name, or the runner's token was rotated"},
		{"of another runner", holder{PID: runner, Parent: grandparent}, 0, HeldError{PID: runner}, "by another process on this host, pid %d: the plugin of another runner, or a command"},
		{"orphan", holder{PID: self, Parent: 1 << 30}, orphanWait, HeldError{PID: self, Orphan: true}, "by a plugin process whose runner has ended, pid %d. Stop that process"},
		{"it has ended", holder{PID: 1 << 30, Parent: runner}, unknownWait, HeldError{}, "by another process on this host, pid unknown: "},
		{"it has written nothing yet", holder{}, unknownWait, HeldError{}, "by another process on this host, pid unknown: "},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := ci(t)
			first := mustOpen(t, nil)
			if s := mustPeek(t); s.PID != self {
				t.Errorf("it has written %+v", s)
			}
			content, err := json.Marshal(test.holds)
			if err := errors.Join(err, os.WriteFile(h.lock, content, 0o600)); err != nil {
				t.Fatal(err)
			}
			test.err.Group = "ci"
			refused := func(ctx context.Context, after time.Duration) error {
				began := time.Now()
				_, err := Open(ctx, hclog.NewNullLogger(), api, "ci")
				text := "is managed " + strings.ReplaceAll(test.text, "%d", strconv.Itoa(test.err.PID))
				if held, ok := errors.AsType[*HeldError](err); !ok || *held != test.err || time.Since(began) != after || !strings.Contains(held.Error(), text) {
					t.Errorf("%s: after %s %v (%+v)\nwant after %s %+v (%s)", test.name, time.Since(began), err, held, after, test.err, text)
				}
				return err
			}
			_ = refused(t.Context(), test.want)
			if s := mustPeek(t); !s.Held || s.PID != test.err.PID {
				t.Errorf("%s, seen from outside: %+v", test.name, s)
			}
			if test.want > 0 {
				ctx, cancel := context.WithTimeout(t.Context(), lockPoll/2)
				defer cancel()
				if err := refused(ctx, lockPoll/2); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: a bounded wait: %v", test.name, err)
				}
				time.AfterFunc(test.want/2, first.Drop)
				first = mustOpen(t, nil)
			}
			first.Drop()
		})
	}
}
