package provider

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

// hostLock keeps two plugin processes on one host from managing one group, and
// remembers what the processes before this one left: the ids of their runs, how
// many Droplets the last may have had, and when an Init was last refused. All of it is a help, not a truth: the files may
// be lost at any time, and a manager on another host has its own.
type hostLock struct {
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

// lockGroup takes the lock of (apiURL, name) on this host, or fails and names
// the process that holds it.
func lockGroup(ctx context.Context, log hclog.Logger, apiURL, name string) (*hostLock, error) {
	dir, err := stateDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("a directory for the group's lock file: %w; set HOME or XDG_CACHE_HOME to one that can be written", err)
	}
	// The name alone is not enough: a simulator may have a group of that name too.
	sum := sha256.Sum256([]byte(apiURL))
	l := &hostLock{base: filepath.Join(dir, fmt.Sprintf("%s-%x", name, sum[:4]))}
	l.flock = flock.New(l.base+".lock", flock.SetPermissions(0o600))

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

// holder returns the process id that the lock's holder noted.
func (l *hostLock) holder() string {
	b, err := os.ReadFile(l.base + ".pid")
	if pid, perr := strconv.Atoi(string(b)); err == nil && perr == nil {
		return strconv.Itoa(pid)
	}
	return "unknown"
}

// deadRuns returns the earlier runs of the group on this host. We hold the lock,
// so they have ended.
func (l *hostLock) deadRuns() []string { return l.runs }

// begin notes this process's run, before it makes its first Droplet.
func (l *hostLock) begin(run string) error {
	runs := append(slices.Clone(l.runs), run)
	return os.WriteFile(l.base+".runs", []byte(strings.Join(runs[max(0, len(runs)-maxRuns):], "\n")), 0o600)
}

// note writes down how many Droplets this run may have. Renamed, not written over:
// the process may be killed in between.
func (l *hostLock) note(log hclog.Logger, c instancegroup.Census) {
	fresh := l.base + ".count.new"
	err := os.WriteFile(fresh, fmt.Appendf(nil, "%d %d", c.Droplets, c.At.Unix()), 0o600)
	if err == nil {
		err = os.Rename(fresh, l.base+".count")
	}
	if err != nil && !l.unnoted {
		l.unnoted = true
		log.Warn("could not note the number of Droplets beside the lock", "err", err)
	}
}

// before returns what the last process noted; zero if it noted nothing, or ended
// in good order.
func (l *hostLock) before() instancegroup.Census {
	var c instancegroup.Census
	var at int64
	b, _ := os.ReadFile(l.base + ".count")
	if n, _ := fmt.Sscan(string(b), &c.Droplets, &at); n != 2 {
		return instancegroup.Census{}
	}
	c.At = time.Unix(at, 0)
	return c
}

func (l *hostLock) readRuns() []string {
	b, _ := os.ReadFile(l.base + ".runs")
	return slices.DeleteFunc(strings.Fields(string(b)), func(s string) bool { return !instancegroup.IsSuffix(s) })
}

// close gives the lock up at the end of a run. clean says that the run left
// nothing, so that nobody needs to remember it.
func (l *hostLock) close(clean bool) {
	if clean {
		os.Remove(l.base + ".runs")
		os.Remove(l.base + ".count")
	}
	l.release()
}

// release gives the lock up. The file stays: removing it would let two
// processes lock two files of one name.
func (l *hostLock) release() {
	os.Remove(l.base + ".pid")
	_ = l.flock.Unlock() // the end of the process does it too
}

// stateDir is where the lock files are: the user's cache directory. A system
// service may have no HOME in its environment; the user database knows it then.
func stateDir() (string, error) {
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
