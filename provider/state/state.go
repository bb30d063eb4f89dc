// Package state is what the plugin processes of one group on one host know of each
// other: which of them manages the group now, and what those before it left.
//
// Of a group it keeps two files in one directory: a lock, and a small state.json. The
// second is a help, not a truth: it may be lost at any time, and a manager on another
// host has its own.
package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
)

// State is the state of one group on this host. It belongs to the process that holds the
// lock. Only Save and Drop may be called concurrently: a call of the runner's may
// outlast Shutdown.
type State struct {
	log hclog.Logger

	mu   sync.Mutex
	lock *flock.Flock // nil: there is nothing to lock
	path string       // of state.json, which mirrors doc; "": nothing is written
	doc  document

	dead    []string // the runs before this process
	failing bool     // the last write failed, which has been logged
}

// Open takes the lock of a group for the process that is to manage it. A living holder
// makes it fail at once with a *HeldError; it waits up to 5 s for one whose runner has
// ended. apiURL is in the spelling of package config.
func Open(ctx context.Context, log hclog.Logger, apiURL, group string) (*State, error) {
	return here(ctx, apiURL, group).open(ctx, log, true)
}

// Try is Open for a command that must not run beside a manager. It makes no directory:
// where there is none, nobody manages the group and nothing is remembered. It writes
// nothing but its process id into the lock. Drop gives the lock up.
func Try(ctx context.Context, log hclog.Logger, apiURL, group string) (*State, error) {
	return here(ctx, apiURL, group).open(ctx, log, false)
}

func (h home) open(ctx context.Context, log hclog.Logger, create bool) (*State, error) {
	s := &State{log: log}
	found, err := h.check(create)
	if err != nil {
		return nil, err
	}
	if !found {
		return s, nil
	}
	if s.lock, err = h.acquire(ctx); err != nil {
		return nil, err
	}
	doc, ignored, err := h.read()
	if err != nil {
		s.Drop()
		return nil, err
	}
	if ignored != nil {
		log.Warn("the state file is not used: Droplets of earlier plugin processes count as unknown", "file", h.state, "err", ignored)
	}
	if h.hostErr == nil {
		s.path = h.state
	}
	s.doc, s.dead = doc, doc.Runs
	s.doc.Version, s.doc.Host = version, h.host
	return s, nil
}

// refusalRest is how long a refusal stands. The runner starts a plugin whose Init
// failed again every second, and each start would spend requests on an account that has
// already said no.
const refusalRest = 30 * time.Second

// Refused returns a refusal that still stands. config is the one that this process was
// given: a person who corrected it must not be shown the old error.
func (s *State) Refused(config string) error {
	r := s.doc.Refused
	if r == nil || r.Config != config {
		return nil
	}
	left := refusalRest - time.Since(r.At)
	if left <= 0 || left > refusalRest { // more: the clock was set back
		return nil
	}
	return fmt.Errorf("%s\n(DigitalOcean is asked again in %s)", r.Text, left.Round(time.Second))
}

// Refuse remembers that an Init with this configuration (a hash) was refused. undone says
// that it left nothing: that takes back Begin, so that those that fail at their start push
// no other out of memory.
func (s *State) Refuse(config, text string, undone bool) {
	s.doc.Refused = &Refusal{At: time.Now(), Config: config, Text: text}
	if undone {
		s.doc.Runs = s.dead
	}
	s.write()
}

// DeadRuns returns the earlier plugin processes of the group on this host. We hold the
// lock, so they have ended.
func (s *State) DeadRuns() []string { return s.dead }

// Droplets returns the ids that were saved last, by name.
func (s *State) Droplets() map[string]int64 { return maps.Clone(s.doc.Droplets) }

// OnAccount notes the account that this process's token is of. If that is another one
// than before it returns the Droplets that were saved there, and forgets them.
func (s *State) OnAccount(id string) (elsewhere map[string]int64) {
	if id == "" || id == s.doc.Account {
		return nil
	}
	if s.doc.Account != "" {
		elsewhere, s.doc.Droplets = s.doc.Droplets, nil
	}
	s.doc.Account = id
	s.write()
	return elsewhere
}

// Begin notes the run of this process, before it makes its first Droplet or key, and
// forgets the refusal.
func (s *State) Begin(run string) {
	runs := append(slices.Clip(s.dead), run)
	s.doc.Runs, s.doc.Refused = runs[max(0, len(runs)-maxRuns):], nil
	s.write()
}

// Save remembers the Droplets of the group. It is called whenever an id comes or goes.
func (s *State) Save(droplets map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doc.Droplets = maps.Clone(droplets)
	s.write()
}

// Drop gives the lock up and leaves state.json as it is, like the death of the process.
// The lock's file stays: without it two processes could lock two files of one name.
func (s *State) Drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock != nil {
		_ = s.lock.Unlock()
	}
	s.lock, s.path = nil, ""
}

// write makes state.json what doc is. Of failures in a row it logs the first.
func (s *State) write() {
	if s.path == "" {
		return
	}
	err := s.doc.write(s.path)
	if err != nil && !s.failing {
		s.log.Warn("could not write the state file: the next plugin process may not know this one's Droplets", "file", s.path, "err", err)
	}
	s.failing = err != nil
}

// Snapshot is what somebody who does not hold the lock can see.
type Snapshot struct {
	document       // empty if it is not believed
	Ignored  error // why it is not

	Held bool // somebody holds the lock
	PID  int  // the holder; 0 = unknown
}

// DeadRuns returns the plugin processes that are known to have ended. The last one may
// be the holder of the lock.
func (s Snapshot) DeadRuns() []string {
	if s.Held && len(s.Runs) > 0 {
		return s.Runs[:len(s.Runs)-1]
	}
	return s.Runs
}

// Peek looks at the state of a group. It creates and changes nothing. Where nothing is,
// the Snapshot is zero.
func Peek(ctx context.Context, apiURL, group string) (Snapshot, error) {
	return here(ctx, apiURL, group).peek()
}

func (h home) peek() (s Snapshot, err error) {
	if found, err := h.check(false); err != nil || !found {
		return Snapshot{}, err
	}
	if s.Held, s.PID, err = h.isHeld(); err == nil {
		s.document, s.Ignored, err = h.read()
	}
	return s, err
}

// Remove deletes the files of a group that no process will use again, such as that of a doctor --boot.
func Remove(ctx context.Context, apiURL, group string) error {
	h := here(ctx, apiURL, group)
	if found, err := h.check(false); err != nil || !found {
		return err
	}
	for _, file := range []string{h.lock, h.state} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
