package guest

import (
	"slices"
	"sync"
	"time"
)

// journalSize bounds the memory of a simulator that runs for days.
const journalSize = 10_000

// Session is one command that a guest ran or is running.
type Session struct {
	DropletID int
	Name      string // the Droplet's
	User      string // who ran it
	Command   string // "" for an interactive shell
	// ExitStatus is -1 while the command runs, and 128 plus the signal's
	// number when a signal ended it, as a shell would say.
	ExitStatus int
	Start      time.Time
	End        time.Time // zero while the command runs
}

// journal remembers the latest journalSize sessions.
type journal struct {
	mu      sync.Mutex
	entries []*Session // in the order of their start
}

// begin writes the session down as running. The returned function ends it.
func (j *journal) begin(s Session) (end func(status int)) {
	s.ExitStatus = -1
	s.Start = time.Now()

	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.entries) == journalSize {
		j.entries = slices.Delete(j.entries, 0, 1)
	}
	j.entries = append(j.entries, &s)

	return func(status int) {
		j.mu.Lock()
		defer j.mu.Unlock()
		s.ExitStatus = status
		s.End = time.Now()
	}
}

func (j *journal) sessions() []Session {
	j.mu.Lock()
	defer j.mu.Unlock()

	sessions := make([]Session, len(j.entries))
	for i, s := range j.entries {
		sessions[i] = *s
	}
	return sessions
}
