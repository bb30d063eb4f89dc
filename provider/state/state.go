// Package state is what a group's plugin processes on one host know of each other: by a
// lock which of them manages it, by state.json what those before it left. It may be lost
// at any time.
package state

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
)

const (
	version = 1
	maxRuns = 256 // a Droplet or key may be found long after its process

	// refusalRest is how long a refusal stands. The runner starts a refused plugin again
	// every second, and each start would spend requests on an account that has said no.
	refusalRest = 30 * time.Second
)

// document is state.json.
type document struct {
	Version  int              `json:"version"`
	Host     string           `json:"host"`              // "" = nothing identifies it
	Account  string           `json:"account,omitempty"` // that the Droplets are on; "" = not known
	Runs     []string         `json:"runs,omitempty"`    // of the group's plugin processes, the last one last
	Droplets map[string]int64 `json:"droplets,omitempty"`
	Refused  *Refusal         `json:"refused,omitempty"`
}

// Refusal is an Init that was refused.
type Refusal struct {
	At     time.Time `json:"at"`
	Config string    `json:"config"` // a hash of what was refused
	Text   string    `json:"text"`
}

// home is where this host keeps the state of a group. The group's name alone does not say
// it: a simulator may have a group of that name too.
type home struct{ group, dir, lock, state string }

func homeOf(apiURL, group string) home {
	dir := directory(os.Geteuid() == 0)
	sum := sha256.Sum256([]byte(apiURL))
	base := filepath.Join(dir, fmt.Sprintf("%s-%x", group, sum[:4]))
	return home{group, dir, base + ".lock", base + ".json"}
}

// read returns state.json, or a new one. ignored says why nothing in that of the disk is to
// be believed: what another host calls dead may be a living manager's there.
func (h home) read(ctx context.Context) (doc document, ignored, err error) {
	fresh := document{Version: version}
	if fresh.Host, ignored = thisHost.identity(ctx); ignored != nil {
		return fresh, ignored, nil
	}
	found, err := checkAccess(h.state, 0)
	if err != nil || !found {
		return fresh, nil, err
	}
	content, err := os.ReadFile(h.state)
	if err != nil {
		return fresh, nil, err
	}
	err = json.Unmarshal(content, &doc)
	switch {
	case err != nil:
		ignored = fmt.Errorf("it does not parse: %w", err)
	case doc.Version != version:
		ignored = fmt.Errorf("it is of version %d; this plugin knows version %d", doc.Version, version)
	case doc.Host != fresh.Host:
		ignored = errors.New("another host wrote it (this disk is a copy or was restored)")
	default:
		return doc, nil, nil
	}
	return fresh, ignored, nil
}

// State belongs to the process that holds the group's lock. Only Save and Drop may be
// called concurrently: a call of the runner's may outlast Shutdown.
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
// ended or that is unknown. apiURL is in the spelling of package config.
func Open(ctx context.Context, log hclog.Logger, apiURL, group string) (*State, error) {
	if err := os.MkdirAll(homeOf(apiURL, group).dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w; %s", err, setDirectory)
	}
	return open(ctx, log, apiURL, group, false)
}

// Try is Open for a command that must not run beside a manager. It makes no directory, and
// writes nothing but who holds the lock. Where there is no directory nobody manages the group.
func Try(ctx context.Context, log hclog.Logger, apiURL, group string) (*State, error) {
	return open(ctx, log, apiURL, group, true)
}

func open(ctx context.Context, log hclog.Logger, apiURL, group string, command bool) (*State, error) {
	s, h := &State{log: log}, homeOf(apiURL, group)
	found, err := checkAccess(h.dir, fs.ModeDir)
	if err != nil || !found {
		return s, err
	}
	if s.lock, err = h.acquire(ctx, command); err != nil {
		return nil, err
	}
	var ignored error
	if s.doc, ignored, err = h.read(ctx); err != nil {
		s.Drop()
		return nil, err
	}
	if ignored != nil {
		log.Warn("the state file is not used: Droplets of earlier plugin processes count as unknown", "file", h.state, "err", ignored)
	}
	if !errors.Is(ignored, errNoIdentity) {
		s.path = h.state
	}
	s.dead = s.doc.Runs
	return s, nil
}

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

// DeadRuns returns the earlier plugin processes, which have ended: we hold the lock.
func (s *State) DeadRuns() []string { return s.dead }

// Droplets returns the ids that were saved last, by name.
func (s *State) Droplets() map[string]int64 { return maps.Clone(s.doc.Droplets) }

// Elsewhere returns the Droplets that were saved on another account than this process's
// token is of; "" = that is not known.
func (s *State) Elsewhere(account string) map[string]int64 {
	if account == "" || s.doc.Account == "" || s.On(account) {
		return nil
	}
	return s.Droplets()
}

// On reports whether they were saved on that account, as far as it is known.
func (s *State) On(account string) bool { return account != "" && account == s.doc.Account }

// Begin notes the run of this process and its account, before it makes its first Droplet
// or key, and forgets the refusal, and the Droplets that are elsewhere. A refused Init
// does not: the token may have been a mistake. (TestElsewhere)
func (s *State) Begin(run, account string) {
	if s.Elsewhere(account) != nil {
		s.doc.Droplets = nil
	}
	s.doc.Account = cmp.Or(account, s.doc.Account)
	runs := append(slices.Clip(s.dead), run)
	s.doc.Runs, s.doc.Refused = runs[max(0, len(runs)-maxRuns):], nil
	s.write()
}

// Save remembers the Droplets of the group. It writes only what is new, or was not written.
func (s *State) Save(droplets map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing || !maps.Equal(s.doc.Droplets, droplets) {
		s.doc.Droplets = maps.Clone(droplets)
		s.write()
	}
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

// write replaces state.json as a whole: a process that is killed meanwhile leaves the old
// one or the new one. Of failures in a row it logs the first.
func (s *State) write() {
	if s.path == "" {
		return
	}
	content, _ := json.Marshal(s.doc) // nothing in it can fail
	fresh := s.path + ".new"
	_ = os.Remove(fresh) // left by a kill
	err := os.WriteFile(fresh, content, 0o600)
	if err == nil {
		err = os.Rename(fresh, s.path)
	}
	if err != nil && !s.failing {
		s.log.Warn("could not write the state file: the next plugin process may not know this one's Droplets", "file", s.path, "err", err)
	}
	s.failing = err != nil
}

// Snapshot is what somebody who does not hold the lock can see. Its Runs have ended.
type Snapshot struct {
	document       // empty if it is not believed
	Ignored  error // why it is not

	Held    bool // a manager holds the lock, as far as is known
	Command bool // a command does
	PID     int  // the holder; 0 = unknown
}

// Peek looks at the state of a group. It creates and changes nothing. Where nothing is,
// the Snapshot is zero.
func Peek(ctx context.Context, apiURL, group string) (s Snapshot, err error) {
	h := homeOf(apiURL, group)
	if found, err := checkAccess(h.dir, fs.ModeDir); err != nil || !found {
		return Snapshot{}, err
	}
	by, err := h.isHeld()
	if by != nil {
		s.Held, s.Command, s.PID = !by.command, by.command, by.PID
	}
	if err == nil {
		s.document, s.Ignored, err = h.read(ctx)
	}
	if n := len(s.Runs); s.Held && n > 0 {
		s.Runs = s.Runs[:n-1] // the last one may be the holder
	}
	return s, err
}

// Remove deletes the files of a group that no process will use again, such as that of a doctor --boot.
func Remove(apiURL, group string) {
	h := homeOf(apiURL, group)
	os.Remove(h.lock)
	os.Remove(h.state)
}
