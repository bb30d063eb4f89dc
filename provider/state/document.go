package state

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	version    = 1
	maxContent = 4 << 20 // of state.json: 100,000 Droplets
	maxText    = 4 << 10 // of a refusal

	// A Droplet can appear minutes after its create. A month and 256 processes are
	// what somebody may need who looks for what was left.
	runMemory = 30 * 24 * time.Hour
	maxRuns   = 256
)

// document is state.json.
type document struct {
	Version  int              `json:"version"`
	Host     string           `json:"host"`              // "" = nothing identifies it
	Account  string           `json:"account,omitempty"` // that the Droplets are on; "" = not known
	Runs     []Run            `json:"runs,omitempty"`
	Droplets map[string]int64 `json:"droplets,omitempty"` // ids by name
	Refused  *Refusal         `json:"refused,omitempty"`
}

// Run is one plugin process of the group on this host.
type Run struct {
	ID    string    `json:"id"`
	Ended time.Time `json:"ended,omitzero"` // of one that was killed: when that was found; zero = not known to have ended
}

// Refusal is an Init that was refused.
type Refusal struct {
	At     time.Time `json:"at"`
	Config string    `json:"config"` // a hash of what was refused
	Text   string    `json:"text"`
}

// read returns state.json, which may not exist. ignored says why nothing in it is to be
// believed.
func (h home) read(path, group string) (doc document, ignored, err error) {
	found, err := checkFile(path)
	if err != nil || !found {
		return document{}, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return document{}, nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxContent+1))
	if err != nil {
		return document{}, nil, err
	}
	doc, err = parse(content, group)
	if err == nil {
		err = h.knows(doc.Host)
	}
	if err != nil {
		return document{}, err, nil
	}
	return doc, nil, nil
}

func parse(content []byte, group string) (document, error) {
	if len(content) > maxContent {
		return document{}, fmt.Errorf("it is larger than %d bytes", maxContent)
	}
	// Of a newer version only the number is known to mean the same.
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return document{}, fmt.Errorf("it does not parse: %w", err)
	}
	if head.Version != version {
		return document{}, fmt.Errorf("it is of version %d; this plugin knows version %d", head.Version, version)
	}
	var d document
	if err := json.Unmarshal(content, &d); err != nil {
		return document{}, fmt.Errorf("it does not parse: %w", err)
	}
	d.Runs = slices.DeleteFunc(d.Runs, func(r Run) bool { return !instancegroup.IsRun(r.ID) })
	maps.DeleteFunc(d.Droplets, func(name string, id int64) bool { return id <= 0 || instancegroup.RunOf(group, name) == "" })
	if d.Refused != nil {
		d.Refused.Text = bounded(d.Refused.Text)
	}
	return d, nil
}

// write replaces state.json as a whole: a process that is killed meanwhile leaves the old
// one or the new one.
func (d document) write(path string) error {
	content, _ := json.Marshal(d) // nothing in it can fail
	fresh := path + ".new"
	_ = os.Remove(fresh) // left by a kill
	err := os.WriteFile(fresh, content, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = os.Remove(fresh)
	}
	return err
}

// endRuns gives each run an end, and forgets those that ended long ago.
func (d *document) endRuns(now time.Time) {
	for i := range d.Runs {
		if d.Runs[i].Ended.IsZero() {
			d.Runs[i].Ended = now.UTC().Truncate(time.Second)
		}
	}
	d.Runs = slices.DeleteFunc(d.Runs, func(r Run) bool { return now.Sub(r.Ended) > runMemory })
}

func bounded(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}
