package state

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// HeldError says that another process holds a group's lock, and what it is.
type HeldError struct {
	Group   string
	PID     int  // 0 = unknown
	Sibling bool // the runner that started it is ours too
	Orphan  bool // the runner that started it has ended
}

func (e *HeldError) Error() string {
	pid := "unknown"
	if e.PID != 0 {
		pid = fmt.Sprint(e.PID)
	}
	switch {
	case e.Sibling:
		return fmt.Sprintf("group %q is managed by another plugin process of this runner, pid %s: two [[runners]] sections have one plugin_config.name, "+
			"or the runner's token was rotated (GitLab Runner before 19.2 then starts a second plugin beside the first). "+
			"Give each section a name of its own, or restart the runner", e.Group, pid)
	case e.Orphan:
		return fmt.Sprintf("group %q is managed by a plugin process whose runner has ended, pid %s. Stop that process", e.Group, pid)
	}
	return fmt.Sprintf("group %q is managed by another process on this host, pid %s: the plugin of another runner, or a command. "+
		"Give each [[runners]] section a plugin_config.name of its own, or stop that process", e.Group, pid)
}

// How long to wait for a holder. The runner holds one mutex for all its runners while a
// plugin starts, so a living one is not waited for.
const (
	orphanWait  = 5 * time.Second // it notices within a second that its runner has ended
	unknownWait = time.Second     // it writes its pid at once, or does not live any more
	lockPoll    = 100 * time.Millisecond
)

func (e *HeldError) patience() time.Duration {
	switch {
	case e.Orphan:
		return orphanWait
	case e.PID == 0:
		return unknownWait
	}
	return 0
}

// acquire takes a lock. Without an error there is no file if nothing can be locked here.
func (h home) acquire(ctx context.Context, log hclog.Logger, dir *directory, name, group string) (*os.File, error) {
	f, err := dir.open(name, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("lock of group %q: %w", group, err)
	}
	held, err := h.wait(ctx, log, f, group)
	if err == nil && held == nil {
		note(log, f, h.proc.self())
		return f, nil
	}
	f.Close()
	if errors.Is(err, errors.ErrUnsupported) {
		log.Warn("files cannot be locked here: a second plugin process of this group would go unnoticed, and nothing is remembered", "file", dir.path(name), "err", err)
		return nil, nil
	}
	switch {
	case held != nil && err != nil:
		return nil, fmt.Errorf("%w (%w)", held, err)
	case held != nil:
		return nil, held
	}
	return nil, fmt.Errorf("lock %s: %w", dir.path(name), err)
}

// wait locks f, or returns who holds it.
func (h home) wait(ctx context.Context, log hclog.Logger, f *os.File, group string) (*HeldError, error) {
	began := time.Now()
	for logged := false; ; {
		locked, err := h.lock(f, false)
		if locked || err != nil {
			return nil, err
		}
		held := h.proc.describe(holderIn(f))
		held.Group = group
		if time.Since(began) >= held.patience() {
			return held, nil
		}
		if held.Orphan && !logged {
			log.Info("waiting for a plugin process whose runner has ended", "pid", held.PID)
			logged = true
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return held, ctx.Err()
		}
	}
}

// holds reports whether somebody holds a lock, and who.
func (h home) holds(dir *directory, name string) (held bool, pid int, err error) {
	f, err := dir.open(name, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	// For a moment this is in the way of a manager that starts, which waits for a
	// holder that it does not know.
	locked, err := h.lock(f, true)
	if locked || errors.Is(err, errors.ErrUnsupported) {
		return false, 0, nil
	}
	return true, h.proc.describe(holderIn(f)).PID, err
}

// note writes the holder into its lock.
func note(log hclog.Logger, f *os.File, who holder) {
	content, _ := json.Marshal(who) // numbers and strings
	_, err := f.WriteAt(content, 0)
	if err = cmp.Or(f.Truncate(int64(len(content))), err); err != nil {
		log.Warn("could not write the process id into the lock", "file", f.Name(), "err", err)
	}
}

// holderIn returns what note wrote; zero if it has not yet.
func holderIn(f *os.File) holder {
	var who holder
	content, err := io.ReadAll(io.NewSectionReader(f, 0, 4<<10))
	if err != nil || json.Unmarshal(content, &who) != nil {
		return holder{}
	}
	return who
}

// release gives a lock up. The file stays: removing it would let two processes lock two
// files of one name.
func release(f *os.File) {
	_ = f.Truncate(0) // nobody holds it any more
	f.Close()
}
