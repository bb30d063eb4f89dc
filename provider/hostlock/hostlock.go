// Package hostlock is what the processes that manage a group on one host know of
// each other: who manages it now, and what those before left.
package hostlock

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Lock keeps two processes on one host from managing one group, and remembers what
// the processes before this one left: the ids of their runs, how many Droplets the
// last may have had, which Droplets were let go, which places have no capacity, and when an Init was last
// refused. All of it is a help, not a truth: the files may be lost at any time, and
// a manager on another host has its own.
type Lock struct {
	flock *flock.Flock
	base  string   // path of the files, without their ending
	runs  []string // earlier runs, oldest first

	unnoted bool // that the census cannot be written has been told; owned by note
}

const (
	// orphanWait is how long a plugin waits for the one before it: a plugin
	// whose runner died notices within a second, and is gone within ten.
	orphanWait = 12 * time.Second
	lockPoll   = 250 * time.Millisecond

	// maxRuns bounds the memory of runs. Each ended without Shutdown, or left
	// Droplets.
	maxRuns = 16
)

// Take takes the lock of (apiURL, name) on this host, or fails and names the
// process that holds it. It waits for one that is about to go.
func Take(ctx context.Context, log hclog.Logger, apiURL, name string) (*Lock, error) {
	l, err := open(apiURL, name)
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, orphanWait)
	defer cancel()
	locked, err := l.flock.TryLock()
	if err == nil && !locked {
		log.Info("another plugin process manages this group; waiting for it to go", "pid", l.holder())
		locked, err = l.flock.TryLockContext(wait, lockPoll)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("lock %s.lock: %w", l.base, err)
	}
	if !locked {
		return nil, fmt.Errorf("group %q is managed by another plugin process on this host, pid %s. "+
			"Give each [[runners]] section a plugin_config.name of its own, or stop that process", name, l.holder())
	}
	// Beside the lock, not in it: Windows lets nobody read a locked file.
	if err := os.WriteFile(l.base+".pid", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		log.Warn("could not note the process id beside the lock", "err", err)
	}
	l.runs = l.readRuns()
	return l, nil
}

// Try takes the lock if nobody holds it, for whoever is no manager: it notes nothing
// beside it. It returns nil, and the manager's process id, if somebody does.
func Try(apiURL, name string) (l *Lock, holder string, err error) {
	if l, err = open(apiURL, name); err != nil {
		return nil, "", err
	}
	locked, err := l.flock.TryLock()
	if err != nil {
		return nil, "", fmt.Errorf("lock %s.lock: %w", l.base, err)
	}
	if !locked {
		return nil, l.holder(), nil
	}
	l.runs = l.readRuns()
	return l, "", nil
}

// open finds the files of (apiURL, name), and makes their directory.
func open(apiURL, name string) (*Lock, error) {
	if filepath.Base(name) != name {
		return nil, fmt.Errorf("%q is no name of a group", name)
	}
	dir, err := Dir()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("a directory for the group's lock file: %w; set HOME or XDG_CACHE_HOME to one that can be written", err)
	}
	// The name alone is not enough: a simulator may have a group of that name too.
	sum := sha256.Sum256([]byte(apiURL))
	l := &Lock{base: filepath.Join(dir, fmt.Sprintf("%s-%x", name, sum[:4]))}
	l.flock = flock.New(l.base+".lock", flock.SetPermissions(0o600))
	return l, nil
}

// holder returns the process id that the lock's holder noted.
func (l *Lock) holder() string {
	b, err := os.ReadFile(l.base + ".pid")
	if pid, perr := strconv.Atoi(string(b)); err == nil && perr == nil {
		return strconv.Itoa(pid)
	}
	return "unknown"
}

// DeadRuns returns the earlier runs of the group on this host. We hold the lock,
// so they have ended.
func (l *Lock) DeadRuns() []string { return l.runs }

// Begin notes this process's run, before it makes its first Droplet.
func (l *Lock) Begin(run string) error {
	runs := append(slices.Clone(l.runs), run)
	return os.WriteFile(l.base+".runs", []byte(strings.Join(runs[max(0, len(runs)-maxRuns):], "\n")), 0o600)
}

// Note writes down how many Droplets this run may have.
func (l *Lock) Note(log hclog.Logger, c instancegroup.Census) {
	if err := l.replace(".count", fmt.Sprintf("%d %d", c.Droplets, c.At.Unix())); err != nil && !l.unnoted {
		l.unnoted = true
		log.Warn("could not note the number of Droplets beside the lock", "err", err)
	}
}

// replace writes one of the files. Renamed, not written over: the process may be
// killed in between.
func (l *Lock) replace(ending, content string) error {
	fresh := l.base + ending + ".new"
	if err := os.WriteFile(fresh, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, l.base+ending)
}

// Before returns what the last process noted; zero if it noted nothing, or ended
// in good order.
func (l *Lock) Before() instancegroup.Census {
	var c instancegroup.Census
	var at int64
	b, _ := os.ReadFile(l.base + ".count")
	if n, _ := fmt.Sscan(string(b), &c.Droplets, &at); n != 2 {
		return instancegroup.Census{}
	}
	c.At = time.Unix(at, 0)
	return c
}

// maxLetGo bounds the memory of what was let go: the latest stay.
const maxLetGo = 256

// NoteLetGo writes down the Droplets that were let go, in the order of their ids.
func (l *Lock) NoteLetGo(log hclog.Logger, ids []int) {
	var lines []string
	for _, id := range ids[max(0, len(ids)-maxLetGo):] {
		lines = append(lines, strconv.Itoa(id))
	}
	if err := l.replace(".letgo", strings.Join(lines, "\n")); err != nil {
		log.Warn("could not note beside the lock which Droplets were let go", "err", err)
	}
}

// LetGo returns the Droplets that runs of this host have let go, as far as any of them
// may have left others.
func (l *Lock) LetGo() []int {
	var ids []int
	b, _ := os.ReadFile(l.base + ".letgo")
	for _, word := range strings.Fields(string(b)) {
		if id, err := strconv.Atoi(word); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// LetGo is Lock.LetGo for whoever does not hold the lock.
func LetGo(apiURL, name string) ([]int, error) {
	l, err := open(apiURL, name)
	if err != nil {
		return nil, err
	}
	return l.LetGo(), nil
}

// NoteTagLost writes down whether the group's tag is being put back on its Droplets.
func (l *Lock) NoteTagLost(log hclog.Logger, lost bool) {
	err := os.Remove(l.base + ".taglost")
	if lost {
		err = l.replace(".taglost", "")
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		log.Warn("could not note beside the lock that the group's tag is being put back", "err", err)
	}
}

// TagLost returns what the last process noted.
func (l *Lock) TagLost() bool {
	_, err := os.Stat(l.base + ".taglost")
	return err == nil
}

// NoteRests writes down until when places have no capacity, for people who ask.
func (l *Lock) NoteRests(log hclog.Logger, rests map[instancegroup.Placement]time.Time) {
	var lines []string
	for at, until := range rests {
		lines = append(lines, fmt.Sprintf("%s %s %d", at.Size, at.Region, until.Unix()))
	}
	if err := l.replace(".rests", strings.Join(lines, "\n")); err != nil {
		log.Debug("could not note the resting places beside the lock", "err", err)
	}
}

// Rests returns the places that rest now, as the manager noted them. The lock need
// not be held.
func Rests(apiURL, name string) (map[instancegroup.Placement]time.Time, error) {
	l, err := open(apiURL, name)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(l.base + ".rests")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	rests := map[instancegroup.Placement]time.Time{}
	for line := range strings.Lines(string(b)) {
		var at instancegroup.Placement
		var until int64
		if n, _ := fmt.Sscan(line, &at.Size, &at.Region, &until); n == 3 && time.Now().Unix() < until {
			rests[at] = time.Unix(until, 0)
		}
	}
	return rests, nil
}

func (l *Lock) readRuns() []string {
	b, _ := os.ReadFile(l.base + ".runs")
	return slices.DeleteFunc(strings.Fields(string(b)), func(s string) bool { return !instancegroup.IsSuffix(s) })
}

// Close gives the lock up at the end of a run. remember are the runs that somebody still
// needs to know of.
func (l *Lock) Close(remember []string) {
	if len(remember) > 0 {
		_ = l.replace(".runs", strings.Join(remember, "\n")) // else more is remembered
	} else {
		os.Remove(l.base + ".runs")
		os.Remove(l.base + ".count")
		os.Remove(l.base + ".letgo")
		os.Remove(l.base + ".taglost")
	}
	os.Remove(l.base + ".rests")
	l.Release()
}

// Release gives the lock up. The file stays: removing it would let two
// processes lock two files of one name.
func (l *Lock) Release() {
	os.Remove(l.base + ".pid")
	l.Drop()
}

// Drop gives the lock up and leaves the files beside it as they are, like the death
// of the process.
func (l *Lock) Drop() { _ = l.flock.Unlock() }

// Dir is where the lock files are: the user's cache directory. A system
// service may have no HOME in its environment; the user database knows it then.
func Dir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		u, uerr := user.Current()
		if uerr != nil || u.HomeDir == "" {
			return "", err
		}
		dir = filepath.Join(u.HomeDir, ".cache")
	}
	return filepath.Join(dir, "fleeting-plugin-digitalocean"), nil
}
