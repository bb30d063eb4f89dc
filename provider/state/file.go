package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	version = 1
	maxRuns = 256 // a Droplet or key may be found long after its process
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

// read returns state.json, which may not exist. ignored says why nothing in it is to be
// believed: what another host calls dead may be a living manager's there.
func (h home) read() (doc document, ignored, err error) {
	found, err := checkFile(h.state)
	if err != nil || !found {
		return document{}, nil, err
	}
	content, err := os.ReadFile(h.state)
	if err != nil {
		return document{}, nil, err
	}
	err = json.Unmarshal(content, &doc)
	switch {
	case h.hostErr != nil:
		ignored = h.hostErr
	case err != nil:
		ignored = fmt.Errorf("it does not parse: %w", err)
	case doc.Version != version:
		ignored = fmt.Errorf("it is of version %d; this plugin knows version %d", doc.Version, version)
	case doc.Host != h.host:
		ignored = errors.New("another host wrote it (this disk is a copy or was restored)")
	default:
		return doc, nil, nil
	}
	return document{}, ignored, nil
}

// write replaces state.json as a whole: a process that is killed meanwhile leaves the old
// one or the new one.
func (d document) write(path string) error {
	content, _ := json.Marshal(d) // nothing in it can fail
	fresh := path + ".new"
	_ = os.Remove(fresh) // left by a kill
	if err := os.WriteFile(fresh, content, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
