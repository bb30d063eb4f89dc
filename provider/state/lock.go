package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
)

// HeldError says that another process holds a group's lock, and what it is.
type HeldError struct {
	Group   string
	PID     int  // 0 = unknown, as always on Windows
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

func tryLock(l *flock.Flock, shared bool) (bool, error) {
	if shared {
		return l.TryRLock()
	}
	return l.TryLock()
}

// acquire takes a lock. Without an error it is nil if nothing can be locked here.
func (h home) acquire(ctx context.Context, log hclog.Logger, path, group string) (*flock.Flock, error) {
	if _, err := checkFile(path); err != nil {
		return nil, fmt.Errorf("lock of group %q: %w", group, err)
	}
	lock := flock.New(path)
	var waitsFor HeldError
	var since time.Time
	for {
		locked, err := h.lock(lock, false)
		if locked {
			note(log, path, h.proc.self())
			return lock, nil
		}
		if errors.Is(err, errors.ErrUnsupported) {
			log.Warn("files cannot be locked here: a second plugin process of this group would go unnoticed, and nothing is remembered", "file", path, "err", err)
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("lock of group %q: %s: %w; %s", group, path, err, setDirectory)
		}
		held := h.proc.describe(holderIn(path))
		held.Group = group
		// An orphan that gives the lock up removes its pid first: it is unknown then.
		if *held != waitsFor {
			waitsFor, since = *held, time.Now()
			if held.Orphan {
				log.Info("waiting for a plugin process whose runner has ended", "pid", held.PID)
			}
		}
		if time.Since(since) >= held.patience() {
			return nil, held
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", held, ctx.Err())
		}
	}
}

// holds reports whether somebody holds a lock, and who.
func (h home) holds(path string) (held bool, pid int, err error) {
	found, err := checkFile(path)
	if err != nil || !found {
		return false, 0, err
	}
	// For a moment this is in the way of a manager that starts, which waits for a
	// holder that it does not know.
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	locked, err := h.lock(lock, true)
	if locked {
		return false, 0, lock.Unlock()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		return false, 0, nil
	}
	return err == nil, h.proc.describe(holderIn(path)).PID, err
}

// note writes the holder into its lock. Windows lets nobody write what is locked, and
// nobody read it.
func note(log hclog.Logger, path string, who holder) {
	content, _ := json.Marshal(who) // numbers and strings
	if err := os.WriteFile(path, content, 0o600); err != nil && runtime.GOOS != "windows" {
		log.Warn("could not write the process id into the lock", "file", path, "err", err)
	}
}

// holderIn returns what note wrote; zero if it has not yet.
func holderIn(path string) holder {
	var who holder
	content, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(content, &who) != nil {
		return holder{}
	}
	return who
}

// release gives a lock up. The file stays: removing it would let two processes lock two
// files of one name.
func release(lock *flock.Flock) {
	_ = os.Truncate(lock.Path(), 0) // nobody holds it any more
	_ = lock.Unlock()
}
