package state

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// HeldError says that another process holds a group's lock, and what it is.
type HeldError struct {
	Group   string
	PID     int  // 0 = unknown, as always without a /proc
	Sibling bool // the runner that started it is ours too
	Orphan  bool // the runner that started it has ended
	command bool // it is no plugin's, but Try's
}

func (e *HeldError) Error() string {
	by, do := "another process on this host, pid %s: the plugin of another runner, or a command",
		"Give each [[runners]] section a plugin_config.name of its own, or stop that process"
	switch {
	case e.Sibling:
		by = "another plugin process of this runner, pid %s: two [[runners]] sections have one plugin_config.name, " +
			"or the runner's token was rotated (GitLab Runner before 19.2 then starts a second plugin beside the first)"
		do = "Give each section a name of its own, or restart the runner"
	case e.Orphan:
		by, do = "a plugin process whose runner has ended, pid %s", "Stop that process"
	}
	pid := "unknown"
	if e.PID != 0 {
		pid = fmt.Sprint(e.PID)
	}
	return fmt.Sprintf("group %q is managed by "+by+". %s", e.Group, pid, do)
}

const (
	orphanWait  = 5 * time.Second // it notices within a second that its runner has ended
	unknownWait = time.Second     // it writes its pid at once, or does not live any more
	lockPoll    = 100 * time.Millisecond
)

// patience returns how long to wait for a holder. The runner holds one mutex for all its
// runners while a plugin starts, so a living one is not waited for.
func (e *HeldError) patience() time.Duration {
	switch {
	case e.Orphan:
		return orphanWait
	case e.PID == 0:
		return unknownWait
	}
	return 0
}

// acquire takes the lock.
func (h home) acquire(ctx context.Context, command bool) (*flock.Flock, error) {
	if _, err := checkAccess(h.lock, 0); err != nil {
		return nil, err
	}
	lock := flock.New(h.lock)
	for began := time.Now(); ; {
		locked, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("%s: %w; %s", h.lock, err, setDirectory)
		}
		if locked {
			content, _ := json.Marshal(holder{os.Getpid(), os.Getppid(), command}) // which has JSON
			_ = os.WriteFile(h.lock, content, 0o600)                               // without it we are unknown to others
			return lock, nil
		}
		held := h.heldBy() // now, which may be another one than a moment ago
		if time.Since(began) >= held.patience() {
			return nil, held
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, fmt.Errorf("%w (%w)", held, ctx.Err())
		}
	}
}

// isHeld returns who holds the lock, nil if nobody does.
func (h home) isHeld() (*HeldError, error) {
	found, err := checkAccess(h.lock, 0)
	if err != nil || !found {
		return nil, err
	}
	// For a moment this is in the way of a manager that starts, which waits for a
	// holder that it does not know.
	lock := flock.New(h.lock, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if err != nil {
		return nil, err
	}
	if free {
		return nil, lock.Unlock()
	}
	return h.heldBy(), nil
}

// holder is how the holder of a lock writes itself into the lock's file.
type holder struct {
	PID     int  `json:"pid"`
	Parent  int  `json:"parent"` // a plugin's is its runner, while that lives
	Command bool `json:"command,omitempty"`
}

// heldBy returns what the holder is. It is unknown while the lock's file tells of nobody,
// or of the one before.
func (h home) heldBy() *HeldError {
	held := &HeldError{Group: h.group}
	var wrote holder
	content, _ := os.ReadFile(h.lock)
	_ = json.Unmarshal(content, &wrote) // else of no process
	if parent, lives := parentOf(wrote.PID); lives {
		held.PID, held.command, held.Orphan = wrote.PID, wrote.Command, parent != wrote.Parent
		held.Sibling = !held.Orphan && parent == os.Getppid()
	}
	return held
}

// parentOf asks /proc, which not every system has.
func parentOf(pid int) (parent int, lives bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // which escapes the program's name
	if err != nil {
		return 0, false
	}
	_, rest, _ := strings.Cut(string(status), "\nPPid:\t")
	line, _, _ := strings.Cut(rest, "\n")
	parent, err = strconv.Atoi(line)
	return parent, err == nil
}
