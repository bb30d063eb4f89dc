// Package runnerconfig reads GitLab Runner's config.toml as the runner does, and knows on which line of it everything is.
package runnerconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// File is what of a config.toml decides how its runners scale. What is not set is zero.
type File struct {
	Path            string   `toml:"-"` // as it was given
	Concurrent      int      `toml:"concurrent"`
	LogLevel        string   `toml:"log_level"`
	ShutdownTimeout int      `toml:"shutdown_timeout"` // seconds
	ListenAddress   string   `toml:"listen_address"`
	Runners         []Runner `toml:"runners"`

	// Ignored are the keys below [runners.autoscaler] that the runner drops without a word, by line. Those of plugin_config
	// are the plugin's.
	Ignored []string `toml:"-"`

	lines map[string]int // by key, such as runners.0.autoscaler.policy.1.idle_count
}

// Runner is one [[runners]].
type Runner struct {
	Index              int             `toml:"-"` // in the file, from 0
	Name               string          `toml:"name"`
	Executor           string          `toml:"executor"`
	Limit              int             `toml:"limit"`
	RequestConcurrency int             `toml:"request_concurrency"`
	Environment        []string        `toml:"environment"` // NAME=value
	FeatureFlags       map[string]bool `toml:"feature_flags"`
	Docker             any             `toml:"docker"`     // nil = it has none
	Autoscaler         *Autoscaler     `toml:"autoscaler"` // nil = it has none
}

// Adaptive is the feature flag that lowers request_concurrency while few jobs come.
const Adaptive = "FF_USE_ADAPTIVE_REQUEST_CONCURRENCY"

// Adaptive reports whether that flag is on, as it is unless it is turned off.
func (r Runner) Adaptive() bool {
	on, set := r.FeatureFlags[Adaptive]
	off := set && !on || slices.Contains(r.Environment, Adaptive+"=false") || slices.Contains(r.Environment, Adaptive+"=0")
	return !off
}

// Autoscaler is [runners.autoscaler]. Names, types and defaults are the runner's.
type Autoscaler struct {
	Plugin                      string         `toml:"plugin"`
	CapacityPerInstance         int            `toml:"capacity_per_instance"`
	MaxUseCount                 int            `toml:"max_use_count"`
	MaxInstances                int            `toml:"max_instances"`
	InstanceReadyCommand        string         `toml:"instance_ready_command"`
	InstanceAcquireTimeout      time.Duration  `toml:"instance_acquire_timeout"`
	UpdateInterval              time.Duration  `toml:"update_interval"`
	UpdateIntervalWhenExpecting time.Duration  `toml:"update_interval_when_expecting"`
	DeletionRetryInterval       time.Duration  `toml:"deletion_retry_interval"`
	ShutdownDeletionInterval    time.Duration  `toml:"shutdown_deletion_interval"`
	ShutdownDeletionRetries     int            `toml:"shutdown_deletion_retries"`
	FailureThreshold            int            `toml:"failure_threshold"`
	DeleteInstancesOnShutdown   bool           `toml:"delete_instances_on_shutdown"`
	LogInternalIP               bool           `toml:"log_internal_ip"`
	LogExternalIP               bool           `toml:"log_external_ip"`
	ScaleThrottle               ScaleThrottle  `toml:"scale_throttle"`
	StateStorage                StateStorage   `toml:"state_storage"`
	PluginConfig                map[string]any `toml:"plugin_config"`
	Connector                   Connector      `toml:"connector_config"`
	Policy                      []Policy       `toml:"policy"`
}

// ScaleThrottle is [runners.autoscaler.scale_throttle]: new instances a second.
type ScaleThrottle struct {
	Limit int `toml:"limit"`
	Burst int `toml:"burst"`
}

// StateStorage is [runners.autoscaler.state_storage].
type StateStorage struct {
	Enabled                      bool   `toml:"enabled"`
	Dir                          string `toml:"dir"`
	KeepInstanceWithAcquisitions bool   `toml:"keep_instance_with_acquisitions"`
}

// Connector is [runners.autoscaler.connector_config].
type Connector struct {
	OS                   string        `toml:"os"`
	Arch                 string        `toml:"arch"`
	Protocol             string        `toml:"protocol"`
	ProtocolPort         int           `toml:"protocol_port"`
	Username             string        `toml:"username"`
	Password             string        `toml:"password"`
	KeyPath              string        `toml:"key_path"`
	UseStaticCredentials bool          `toml:"use_static_credentials"`
	Keepalive            time.Duration `toml:"keepalive"`
	Timeout              time.Duration `toml:"timeout"`
	UseExternalAddr      bool          `toml:"use_external_addr"`
}

// Fleeting is what the plugin's Init gets of the connector. The runner adds the key of key_path.
func (c Connector) Fleeting() provider.ConnectorConfig {
	return provider.ConnectorConfig{OS: c.OS, Arch: c.Arch, Protocol: provider.Protocol(c.Protocol), ProtocolPort: c.ProtocolPort,
		Username: c.Username, Password: c.Password, UseStaticCredentials: c.UseStaticCredentials, Keepalive: c.Keepalive, Timeout: c.Timeout}
}

// Policy is one [[runners.autoscaler.policy]]. The last one whose period contains the present counts.
type Policy struct {
	Periods          []string      `toml:"periods"`
	Timezone         string        `toml:"timezone"`
	IdleCount        int           `toml:"idle_count"`
	IdleTime         time.Duration `toml:"idle_time"`
	ScaleFactor      float64       `toml:"scale_factor"`
	ScaleFactorLimit int           `toml:"scale_factor_limit"`
	PreemptiveMode   *bool         `toml:"preemptive_mode"`
}

// Preemptive reports whether jobs are only taken when an instance is ready for them: what preemptive_mode says, else
// whenever there is an idle_count.
func (p Policy) Preemptive() bool {
	if p.PreemptiveMode != nil {
		return *p.PreemptiveMode
	}
	return p.IdleCount > 0
}

// Load reads a file. The error begins with the path, and with the line where TOML knows it.
func Load(path string) (*File, error) {
	text, err := config.ThisHost().ReadFile(path, 16<<20) // more is no config.toml
	if _, ok := errors.AsType[*fs.PathError](err); ok {   // it has the path
		return nil, err
	} else if err != nil {
		return nil, Fault{Path: path, Text: err.Error()}
	}
	return Parse(path, string(text))
}

// Fault is why a text is no config.toml.
type Fault struct {
	Path string
	Line int // 0 = not known
	Text string
}

// Error begins with path:line, which editors and terminals can follow.
func (f Fault) Error() string {
	if f.Line == 0 {
		return f.Path + ": " + f.Text
	}
	return fmt.Sprintf("%s:%d: %s", f.Path, f.Line, f.Text)
}

// Parse is Load of a text; path is for messages. The error is a [Fault]: the first, as it is the runner's.
func Parse(path, text string) (*File, error) {
	f := &File{Path: path, lines: map[string]int{}}
	meta, err := Decode(path, text, f)
	if err != nil {
		return nil, err
	}
	for i := range f.Runners {
		f.Runners[i].Index = i
	}
	ignored := map[string]bool{}
	for _, key := range meta.Undecoded() {
		name := strings.ToLower(strings.Join(key, "."))
		ignored[name] = strings.HasPrefix(name, "runners.autoscaler.") && !notOurs.MatchString(name)
	}
	at, line := 0, 1
	err = Walk(text, func(i Item) {
		line, at = line+strings.Count(text[at:max(at, i.Start)], "\n"), max(at, i.Start)
		f.lines[i.Key] = line
		if i.Name != "" && ignored[index.ReplaceAllString(i.Key, "")] {
			f.Ignored = append(f.Ignored, i.Key)
		}
	})
	if err != nil {
		return nil, Fault{Path: path, Text: err.Error()}
	}
	return f, nil
}

// Decode reads any part of a config.toml with the runner's own decoder. The error is a [Fault].
func Decode(path, text string, into any) (toml.MetaData, error) {
	meta, err := toml.Decode(text, into)
	if err == nil {
		return meta, nil
	}
	f := Fault{Path: path, Text: err.Error()}
	if m := decoderFault.FindStringSubmatch(f.Text); m != nil {
		f.Line, _ = strconv.Atoi(m[1])
		f.Text = strings.TrimPrefix(m[2]+": "+m[3], ": ")
	}
	if pe, ok := errors.AsType[toml.ParseError](err); ok { // its line is one too far where a line ends too early
		f.Line = 1 + strings.Count(text[:min(max(pe.Position.Start, 0), len(text))], "\n")
	}
	return meta, f
}

var (
	// decoderFault matches the decoder's errors: where, at which key, and what.
	decoderFault = regexp.MustCompile(`(?s)^toml: line (\d+)(?: \(last key "([^"]*)"\))?: (.*)$`)
	// notOurs matches what is not decoded of [runners.autoscaler], and not ignored by the runner either.
	notOurs = regexp.MustCompile(`autoscaler\.(plugin_config\..*|vm_isolation(\..*)?|reservation_throttling|instance_\w+_buckets)$`)
	// index matches the number of an element in a key.
	index = regexp.MustCompile(`\.\d+\b`)
)

// At returns path:line of a key, such as runners.0.limit, or of the closest table around it.
func (f *File) At(key string) string {
	if line := f.Line(key); line > 0 {
		return fmt.Sprintf("%s:%d", f.Path, line)
	}
	return f.Path
}

// Line is that of At; 0 = there is none.
func (f *File) Line(key string) int {
	for key = strings.ToLower(key); key != "" && f.lines[key] == 0; {
		key = key[:max(0, strings.LastIndex(key, "."))]
	}
	return f.lines[key]
}

// Has reports whether a key is written in the file.
func (f *File) Has(key string) bool { return f.lines[strings.ToLower(key)] > 0 }

// Key is the key of something of the runner, for At.
func (r Runner) Key(rest string) string { return fmt.Sprintf("runners.%d.%s", r.Index, rest) }

// PluginKey is a text in plugin_config; "" = there is none.
func (r Runner) PluginKey(name string) string {
	if r.Autoscaler == nil {
		return ""
	}
	text, _ := r.Autoscaler.PluginConfig[name].(string)
	return text
}

// OurPlugin reports whether the runner's plugin is this one.
func (r Runner) OurPlugin() bool { return r.Autoscaler != nil && config.IsPlugin(r.Autoscaler.Plugin) }
