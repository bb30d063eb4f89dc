//go:build linux

package runner

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/coordinator"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// world is one runner with all around it.
type world struct {
	*testing.T
	*simulated.Account
	program program
	n       int // of this world, no other's
	dir     string
	gitlab  *coordinator.Server
	server  *httptest.Server // of gitlab, for one runner after the other
	listen  string           // where the runner shows its metrics
	env     []string

	rotations int // of the runners' own tokens

	runner *process // the last that was started
	figure string   // what was measured
}

var worlds atomic.Int32

func newWorld(t *testing.T, p program, docker *guest.Docker) *world {
	t.Helper()
	w := &world{T: t, program: p, n: int(worlds.Add(1)), gitlab: coordinator.New()}
	w.dir = filepath.Join(simulated.Scratch, strconv.Itoa(w.n)) // short: the path of a socket is bounded
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	o := dosim.Options{BootTime: bootTime, DeleteTime: 300 * time.Millisecond, ListLag: 100 * time.Millisecond}
	w.Account = simulated.Open(t, o, guest.Options{Docker: docker}, "root")
	own, _ := dosim.LoopbackBlock()(1)
	w.listen = own.String() + ":9252"
	w.server = httptest.NewServer(w.gitlab)
	w.env = append(os.Environ(),
		"DOCKER_CONFIG="+w.dir, "TMPDIR="+w.dir, "FLEETING_PLUGIN_PATH="+filepath.Join(w.dir, "plugins"),
		"PATH="+filepath.Dir(simulated.Plugin)+":"+os.Getenv("PATH"))
	if p.fake != "" {
		w.env = append(w.env, fakeEnv+"="+p.fake)
	}
	if docker != nil {
		w.env = append(w.env, "DOCKER_HOST="+docker.Host)
	}
	w.write("token", dosim.DefaultToken)
	t.Cleanup(func() {
		if w.runner != nil { // a check has failed before its end
			_ = w.runner.Signal(syscall.SIGTERM)
			select {
			case <-w.runner.ended:
			case <-time.After(faultLimit):
				_ = w.runner.Kill()
				<-w.runner.ended
			}
		}
		w.server.Close()
	})
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write replaces a file at once, as a runner may be reading it.
func (w *world) write(name, content string) {
	w.Helper()
	err := os.WriteFile(w.path(name+".new"), []byte(content), 0o600)
	if err = errors.Join(err, os.Rename(w.path(name+".new"), w.path(name))); err != nil {
		w.Fatal(err)
	}
}

// section is a [[runners]].
type section struct {
	Name          string // a letter
	Group         string // the name of another section, whose group it has; "" = its own
	Executor      string // "" = instance
	Image, Helper string // of docker-autoscaler: of jobs, and the runner's own
	Plugin        string // "" = the one in PATH
	Region        string // "" = one that there is
	Ready         string // the ready command; "" = one that succeeds

	Max, MaxUse, Idle int
	IdleTime          string // "" = 1m
	State             bool   // state_storage, and an SSH key that outlives the plugin
	Keep              bool   // the Droplets, at the runner's stop
}

var configTOML = template.Must(template.New("").Parse(`concurrent = 40
check_interval = 1
log_format = "json"
shutdown_timeout = 20
listen_address = "{{.Listen}}"
{{range .Sections}}
[[runners]]
  name = "{{.Name}}"
  url = "{{$.URL}}"
  token = "{{$.World.Token .Name}}"
  executor = "{{or .Executor "instance"}}"
  request_concurrency = 4
  monitoring = { job_queuing_durations = [ { periods = ["* * * * * * *"], threshold = "1ms" } ] }
  {{if .Image}}docker = { image = "{{.Image}}", helper_image = "{{.Helper}}", pull_policy = "if-not-present", disable_cache = true }{{end}}
  [runners.autoscaler]
    plugin = "{{or .Plugin "fleeting-plugin-digitalocean"}}"
    capacity_per_instance = 1
    max_use_count = {{.MaxUse}}
    max_instances = {{.Max}}
    update_interval = "1s"
    update_interval_when_expecting = "1s"
    deletion_retry_interval = "5s"
    shutdown_deletion_interval = "1s"
    shutdown_deletion_retries = 10
    delete_instances_on_shutdown = {{not .Keep}}
    instance_ready_command = "{{or .Ready "cloud-init status --wait"}}"
    state_storage = { enabled = {{.State}}, dir = "{{$.Dir}}/state-{{.Name}}" }
    connector_config = { username = "root", protocol = "ssh", protocol_port = {{$.Port}}, use_external_addr = true, timeout = "20s", keepalive = "30s" }
    policy = [ { idle_count = {{.Idle}}, idle_time = "{{or .IdleTime "1m"}}", preemptive_mode = false } ]
    [runners.autoscaler.plugin_config]
      name = "{{$.World.Group (or .Group .Name)}}"
      api_url = "{{$.API}}"
      token_file = "{{$.Dir}}/token"
      region = "{{or .Region "fra1"}}"
      size = "s-1vcpu-1gb"
      image = "ubuntu-24-04-x64"
      max_instances = {{.Max}}
      {{if .State}}ssh_key_file = "{{$.Dir}}/key-{{.Name}}"{{end}}
{{end}}`))

// Token is that of a section's runner.
func (w *world) Token(section string) string {
	return fmt.Sprintf("glrt-%s%d%07d-of-a-test", section, w.rotations, w.n)
}

// Group is the name of a section's group: no other world's, since all share a state directory.
func (w *world) Group(section string) string { return fmt.Sprintf("w%d%s", w.n, section) }

// configure writes config.toml.
func (w *world) configure(sections ...section) {
	w.Helper()
	var text strings.Builder
	err := configTOML.Execute(&text, map[string]any{
		"World": w, "Sections": sections, "Listen": w.listen, "URL": w.server.URL, "API": w.URL,
		"Dir": w.dir, "Port": w.Fleet.Port(),
	})
	if err != nil {
		w.Fatal(err)
	}
	w.write("config.toml", text.String())
}

// failure is a check that does not hold.
type failure struct {
	check string
	err   error
}

// checked has the name of every check that was made.
var checked sync.Map

// check ends the case if a check does not hold.
func (w *world) check(name string, err error) {
	checked.Store(name, true)
	if err != nil {
		panic(failure{name, err})
	}
}

// require checks what is known.
func (w *world) require(name string, holds bool, format string, args ...any) {
	var err error
	if !holds {
		err = fmt.Errorf(format, args...)
	}
	w.check(name, err)
}

// eventually checks what has to come true.
func (w *world) eventually(check string, within time.Duration, holds func() error) {
	if within = w.program.bound(within); w.program.fails == check {
		within = faultLimit
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	err := holds()
	for deadline := time.Now().Add(within); err != nil && time.Now().Before(deadline); err = holds() {
		w.require("the runner lives", w.runner == nil || w.runner.ending || !w.runner.gone(), "it has ended")
		<-tick.C
	}
	w.check(check, err)
}

// try runs a case, and returns the check that it failed by.
func (w *world) try(run func(*world)) (failed *failure) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			failed = &r
		default:
			panic(r)
		}
	}()
	run(w)
	w.end()
	return nil
}

// end stops the runner, after which nothing is to be left.
func (w *world) end() {
	if w.runner != nil {
		w.settle()
		w.stop(syscall.SIGQUIT)
	}
	w.eventually("nothing is left", 15*time.Second, func() error { return nothing(w.Left()) })
	var broken []error
	for _, v := range append(w.Sim.Violations(), w.gitlab.Faults()...) {
		broken = append(broken, errors.New(v))
	}
	w.check("no rule is broken", errors.Join(broken...))
}

func nothing(left []string) error {
	if len(left) > 0 {
		return fmt.Errorf("left: %s", strings.Join(left, ", "))
	}
	return nil
}

// settle waits until no Droplet has been in the making for a while: the runner leaves those behind when it stops, whatever
// it is told.
func (w *world) settle() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(slack * lifeLimit)
	for quiet := 0; quiet < 30 && time.Now().Before(deadline); quiet++ {
		if all := w.droplets(); w.ready(all) != len(all) {
			quiet = 0
		}
		<-tick.C
	}
}

// process is a runner that runs.
type process struct {
	*os.Process
	log    string // a file
	ending bool   // it has been asked to end
	ended  chan struct{}
}

func (p *process) gone() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (w *world) command(args ...string) *exec.Cmd {
	cmd := exec.Command(w.program.path, append([]string{"--log-format", "json"}, args...)...) // not killed with the case: it cleans up
	cmd.Env = w.env
	return cmd
}

// say runs a command of the runner to its end, and returns what it prints.
func (w *world) say(stdin string, args ...string) (string, error) {
	cmd := w.command(args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("gitlab-runner %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// begin starts the runner with these sections.
func (w *world) begin(sections ...section) {
	w.Helper()
	w.configure(sections...)
	p := &process{log: w.path(fmt.Sprintf("runner-%d.log", time.Now().UnixNano())), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		w.Fatal(err)
	}
	defer log.Close()
	cmd := w.command("run", "--config", w.path("config.toml"), "--working-directory", w.dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	p.Process = cmd.Process
	go func() {
		_ = cmd.Wait() // its log says why
		close(p.ended)
	}()
	w.runner = p
}

// stop has the runner end by a signal. What it was asking GitLab for then is answered before anything else can be queued: a
// job that GitLab gives to a runner that has ended is lost. GitLab is elsewhere then: configure the next one.
func (w *world) stop(s syscall.Signal) {
	w.runner.ending = true
	_ = w.runner.Signal(s) // or it has ended
	if s == syscall.SIGKILL {
		<-w.runner.ended
	} else {
		check := map[syscall.Signal]string{syscall.SIGQUIT: "SIGQUIT ends the runner", syscall.SIGTERM: "SIGTERM ends the runner"}[s]
		w.eventually(check, lifeLimit, func() error {
			if !w.runner.gone() {
				return errors.New("it still runs")
			}
			return nil
		})
	}
	w.server.Close()
	w.server = httptest.NewServer(w.gitlab)
}

// line is one of the runner's log: of the real one's, or of our fake's.
type line struct {
	Time     time.Time
	FakeTime time.Time `json:"@timestamp"`
	Msg      string
	FakeMsg  string `json:"@message"`
	Name     string // of a Droplet, to the plugin
	Instance string // and to the runner
}

// log is what the runner has logged.
func (w *world) log() []byte {
	content, err := os.ReadFile(w.runner.log)
	if err != nil {
		w.Fatal(err)
	}
	return content
}

// logs waits until a line of the log has a text.
func (w *world) logs(check, text string) {
	w.eventually(check, lifeLimit, func() error {
		if !bytes.Contains(w.log(), []byte(text)) {
			return errors.New("no line of the log has " + text)
		}
		return nil
	})
}

// lines are those of a message in the runner's log.
func (w *world) lines(message string) (lines []line) {
	for text := range bytes.Lines(w.log()) {
		var l line
		if json.Unmarshal(text, &l) == nil && (l.Msg == message || l.FakeMsg == message) {
			if l.Time.IsZero() {
				l.Time = l.FakeTime
			}
			lines = append(lines, l)
		}
	}
	return lines
}

// tail is the end of the runner's log.
func (w *world) tail() string {
	if w.runner == nil {
		return ""
	}
	log := regexp.MustCompile(`(?m)^.*required scaling change.*\n`).ReplaceAll(w.log(), nil)
	return string(log[max(0, len(log)-8000):])
}
