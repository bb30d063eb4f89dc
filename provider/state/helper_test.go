package state

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
)

const api = "https://api.digitalocean.com"

func homeIn(dir string) home { return home{dir: dir, host: "droplet-1"} }

func (h home) mustOpen(t *testing.T) *State {
	t.Helper()
	s, err := h.open(t.Context(), hclog.NewNullLogger(), api, "ci", true)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (h home) mustPeek(t *testing.T) Snapshot {
	t.Helper()
	s, err := h.peek(api, "ci")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantHeld opens, and returns why that is not to be.
func (h home) wantHeld(t *testing.T, ctx context.Context, want HeldError, text string) error {
	t.Helper()
	_, err := h.open(ctx, hclog.NewNullLogger(), api, "ci", true)
	want.Group = "ci"
	if held, ok := errors.AsType[*HeldError](err); !ok || *held != want || !strings.Contains(held.Error(), text) {
		t.Errorf("got  %+v (%v)\nwant %+v (%s)", held, err, want, text)
	}
	return err
}

func (h home) lock() string {
	lock, _ := h.files(api, "ci")
	return lock
}

// file is the path of state.json of the group "ci".
func (h home) file() string {
	_, path := h.files(api, "ci")
	return path
}

// logTo returns a logger whose lines have no time.
func logTo(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: w, DisableTime: true})
}
