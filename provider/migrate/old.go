package migrate

import (
	"cmp"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// oldFile is what migrate reads of a config.toml, with the runner's own decoder: the case of keys does not matter.
type oldFile struct {
	Concurrent    int
	MetricsServer string `toml:"metrics_server"`
	Machine       struct {
		Drain drain `toml:"shutdown_drain"`
	}
	Runners []oldRunner
}

// drain is [machine.shutdown_drain], which is for all docker+machine runners.
type drain struct {
	Enabled bool
	Retries int           `toml:"max_retries"`
	Backoff time.Duration `toml:"retry_backoff"`
}

type oldRunner struct {
	Name       string
	Executor   string
	Limit      int
	Docker     map[string]any // nil = there is none
	Cache      map[string]any
	Machine    oldMachine
	Autoscaler *struct {
		PluginConfig struct{ Name string } `toml:"plugin_config"`
	}
}

// oldMachine is [runners.machine].
type oldMachine struct {
	oldIdle
	MachineDriver          string
	MachineName            string
	MachineOptions         []string
	MachineOptionsWithName []string
	MaxBuilds              int
	MaxGrowthRate          int
	OffPeakPeriods         []string
	OffPeakTimezone        string
	OffPeakIdleCount       int
	OffPeakIdleTime        int
	Autoscaling            []oldIdle
}

// oldIdle is what docker+machine keeps idle: the root of [runners.machine], or one [[runners.machine.autoscaling]].
type oldIdle struct {
	Periods         []string
	Timezone        string
	IdleCount       int
	IdleTime        int // seconds
	IdleScaleFactor float64
	IdleCountMin    int
}

// digitalOcean reports whether the driver is digitalocean, also where only the options tell.
func (m oldMachine) digitalOcean() bool {
	return m.MachineDriver == "digitalocean" ||
		m.MachineDriver == "" && strings.Contains("\n"+strings.Join(m.MachineOptions, "\n"), "\ndigitalocean-")
}

func readOld(text string) (f oldFile, err error) {
	_, err = toml.Decode(text, &f)
	return f, err
}

// where matches how errors begin that know their line: the decoder's, and those of [runnerconfig.Parse] behind the path.
var where = regexp.MustCompile(`^(?:toml: line |:)(\d+):? (.*)$`)

// refuse says why the file is not migrated: mostly because the runner does not read it either.
func (m *migration) refuse(path string, err error) {
	f, _ := errors.AsType[fault](err)
	for text := range strings.SplitSeq(err.Error(), "\n") {
		n := Note{Level: Error, Line: f.line, Text: strings.TrimPrefix(strings.TrimPrefix(text, path), ": ")}
		n.Hint = cmp.Or(f.hint, "the runner does not take the file either: fix it first")
		if w := where.FindStringSubmatch(n.Text); w != nil {
			n.Line, _ = strconv.Atoi(w[1])
			n.Text = w[2]
		}
		n.Text = redacted(n.Text, nil)
		m.notes = append(m.notes, n)
	}
}
