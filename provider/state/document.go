package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
	Host     string           `json:"host"` // "" = nothing identifies it
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
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// parse reads state.json. With an error nothing in it is to be believed.
func parse(content []byte, host, group string) (document, error) {
	var d document
	if content == nil {
		return document{}, nil
	}
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
	if err := json.Unmarshal(content, &d); err != nil {
		return document{}, fmt.Errorf("it does not parse: %w", err)
	}
	if d.Host != host {
		// What it calls dead may be a living manager's there.
		return document{}, errors.New("another host wrote it (this disk is a copy or was restored)")
	}
	d.Runs = slices.DeleteFunc(d.Runs, func(r Run) bool { return !instancegroup.IsRun(r.ID) })
	maps.DeleteFunc(d.Droplets, func(name string, id int64) bool { return id <= 0 || instancegroup.RunOf(group, name) == "" })
	if d.Refused != nil {
		d.Refused.Text = bounded(d.Refused.Text)
	}
	return d, nil
}

func (d document) bytes() []byte {
	content, _ := json.Marshal(d) // nothing in it can fail
	return content
}

// ended returns runs, each of them with an end.
func ended(runs []Run, now time.Time) []Run {
	runs = slices.Clone(runs)
	for i := range runs {
		if runs[i].Ended.IsZero() {
			runs[i].Ended = now.UTC().Truncate(time.Second)
		}
	}
	return runs
}

// recent returns the runs that are worth remembering, in their order.
func recent(runs []Run, now time.Time) []Run {
	runs = slices.DeleteFunc(slices.Clone(runs), func(r Run) bool {
		return !r.Ended.IsZero() && now.Sub(r.Ended) > runMemory
	})
	return runs[max(0, len(runs)-maxRuns):]
}

func bounded(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxText)], "")
}
