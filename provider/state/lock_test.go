package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
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
	// A program's name may look like the rest of its line in /proc.
	if err := os.WriteFile("/proc/self/comm", []byte("a) S 1 ("), 0o600); err != nil {
		t.Fatal(err)
	}
	me, _ := processOf(os.Getpid())
	other, _ := processOf(os.Getppid())
	write := func(h home, holder process) {
		content, err := json.Marshal(holder)
		if err == nil {
			err = os.WriteFile(h.lock(), content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		holder process
		want   time.Duration
		err    HeldError
		text   string
	}{
		{"of our runner", me, 0, HeldError{PID: me.PID, Sibling: true},
			fmt.Sprintf(`group "ci" is managed by another plugin process of this runner, pid %d: two [[runners]] sections have one plugin_config.name, `+
				`or the runner's token was rotated (GitLab Runner before 19.2 then starts a second plugin beside the first). `+
				`Give each section a name of its own, or restart the runner`, me.PID)},
		{"of another runner", other, 0, HeldError{PID: other.PID},
			fmt.Sprintf(`group "ci" is managed by another process on this host, pid %d: the plugin of another runner, or a command. `+
				`Give each [[runners]] section a plugin_config.name of its own, or stop that process`, other.PID)},
		{"orphan", process{me.PID, me.Start, 1 << 30}, orphanWait, HeldError{PID: me.PID, Orphan: true},
			fmt.Sprintf(`group "ci" is managed by a plugin process whose runner has ended, pid %d. Stop that process`, me.PID)},
		{"its pid is another's now", process{me.PID, "1", me.Parent}, unknownWait, HeldError{}, "on this host, pid unknown: "},
		{"it has ended", process{1 << 30, me.Start, me.Parent}, unknownWait, HeldError{}, "on this host, pid unknown: "},
		{"it has written nothing yet", process{}, unknownWait, HeldError{}, "on this host, pid unknown: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := homeIn(t.TempDir())
				first := h.mustOpen(t)
				if s := h.mustPeek(t); s.PID != me.PID {
					t.Errorf("it has written %+v", s)
				}
				write(h, test.holder)
				began := time.Now()
				_ = h.wantHeld(t, t.Context(), test.err, test.text)
				if d := time.Since(began); d != test.want {
					t.Errorf("refused after %s, want %s", d, test.want)
				}
				if s := h.mustPeek(t); !s.Held || s.PID != test.err.PID {
					t.Errorf("seen from outside: %+v", s)
				}
				if test.want == 0 {
					first.Drop()
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), lockPoll/2)
				defer cancel()
				began = time.Now()
				if err := h.wantHeld(t, ctx, test.err, test.text); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != lockPoll/2 {
					t.Errorf("a bounded wait took %s: %v", time.Since(began), err)
				}
				time.AfterFunc(test.want/2, first.Drop)
				h.mustOpen(t).Drop()
			})
		})
	}
}

// TestOtherGroups, and other accounts, are of no concern.
func TestOtherGroups(t *testing.T) {
	h := homeIn(t.TempDir())
	defer h.mustOpen(t).Drop()
	for _, other := range [][2]string{{api, "ci2"}, {"http://127.0.0.1:8080", "ci"}} {
		s, err := h.open(t.Context(), hclog.NewNullLogger(), other[0], other[1], true)
		if err != nil {
			t.Fatal(err)
		}
		s.Drop()
	}
}
