//go:build linux

package runner

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/coordinator"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// world is one runner with all around it.
type world struct {
	*testing.T
	program program
	n       int // of this world, no other's
	dir     string
	gitlab  *coordinator.Server
	server  *httptest.Server // of gitlab, for one runner after the other
	sim     *dosim.Sim
	fleet   *guest.Fleet
	api     string // of sim
	env     []string

	rotations int // of the runners' own tokens

	runner *process // the last that was started
	figure string   // what was measured
}

var worlds atomic.Int32

// firstAddress keeps worlds of several processes apart on this host's loopback network.
var firstAddress = rand.IntN(1 << 12)

func newWorld(t *testing.T, p program, docker *guest.Docker) *world {
	t.Helper()
	w := &world{T: t, program: p, n: int(worlds.Add(1)), dir: t.TempDir(), gitlab: coordinator.New()}
	var err error
	if w.fleet, err = guest.NewFleet(guest.Options{Docker: docker, Log: t.Logf}); err != nil {
		t.Fatal(err)
	}
	block := (firstAddress + w.n) % (1 << 13) * 256
	w.sim = dosim.New(dosim.Options{
		BootTime: bootTime, DeleteTime: deleteTime, ListLag: 100 * time.Millisecond,
		Address: func(n int) (public, private netip.Addr) { return dosim.LoopbackAddress(block + n%256) },
		Hooks: w.fleet.Hooks("root", time.Until, func(d dosim.Droplet, err error) {
			t.Errorf("Droplet %s did not boot: %v", d.Name, err)
		}),
	})
	api, stop := host.Serve(w.sim)
	w.api = api
	w.serve()
	w.env = append(os.Environ(),
		"DOCKER_CONFIG="+w.dir, "FLEETING_PLUGIN_PATH="+filepath.Join(w.dir, "plugins"),
		"PATH="+filepath.Dir(plugin)+":"+os.Getenv("PATH"))
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
		w.sim.Close()
		stop()
		w.fleet.Close()
	})
	return w
}

// serve has GitLab answer at an address of this world's own, where it can be again when a runner has ended. That may take a
// moment: what this process has open a child of it has too, until it becomes another program.
func (w *world) serve() {
	w.Helper()
	l, err := net.Listen("tcp", w.address()+":8080")
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); {
		<-time.After(50 * time.Millisecond)
		l, err = net.Listen("tcp", w.address()+":8080")
	}
	if err != nil {
		w.Fatal(err)
	}
	w.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: w.gitlab}}
	w.server.Start()
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
	State             bool   // state_storage
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
      ssh_key_file = "{{$.Dir}}/key-{{.Name}}"
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
		"World": w, "Sections": sections, "Listen": w.address() + ":9252", "URL": w.server.URL, "API": w.api,
		"Dir": w.dir, "Port": w.fleet.Port(),
	})
	if err != nil {
		w.Fatal(err)
	}
	w.write("config.toml", text.String())
}

// address is one of this host that no other world has: the runner serves its metrics there, and GitLab listens.
func (w *world) address() string {
	return fmt.Sprintf("127.%d.%d.%d", 200+os.Getpid()%50, os.Getpid()/50%250, w.n%250+1)
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
	deadline := time.After(within)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			w.check(check, nil)
			return
		}
		if w.runner != nil && !w.runner.ending {
			select {
			case <-w.runner.ended:
				w.check("the runner lives", fmt.Errorf("it has ended: %w", cmp.Or(w.runner.err, errors.New("with status 0"))))
			default:
				w.check("the runner lives", nil)
			}
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.check(check, fmt.Errorf("after %s: %w", within, err))
		}
	}
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
	w.eventually("nothing is left", 15*time.Second, func() error {
		var left []string
		for _, d := range w.sim.Droplets() {
			left = append(left, "Droplet "+d.Name)
		}
		for _, k := range w.sim.Keys() {
			if !strings.HasSuffix(k.Name, "-static") {
				left = append(left, "key "+k.Name)
			}
		}
		for _, tag := range w.sim.Tags() {
			if instancegroup.IsDeleteTag(tag) {
				left = append(left, "tag "+tag)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("on the account: %s", strings.Join(left, ", "))
		}
		return nil
	})
	var broken []error
	for _, v := range append(w.sim.Violations(), w.gitlab.Faults()...) {
		broken = append(broken, errors.New(v))
	}
	w.check("no rule is broken", errors.Join(broken...))
}

// settle waits until no Droplet has been in the making for a while: the runner leaves those behind when it stops, whatever
// it is told.
func (w *world) settle() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(slack * scaleLimit)
	for quiet := 0; quiet < 30; quiet++ {
		if all := w.droplets(); w.ready(all) != len(all) {
			quiet = 0
		}
		select {
		case <-tick.C:
		case <-deadline:
			return
		}
	}
}

// process is a runner that runs.
type process struct {
	*os.Process
	log    string // a file
	ending bool   // it has been asked to end
	ended  chan struct{}
	err    error // once it has ended
}

func (w *world) command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, append([]string{"--log-format", "json"}, args...)...) // not killed with the case: it cleans up
	cmd.Env = w.env
	return cmd
}

// say runs a command of the runner to its end, and returns what it prints.
func (w *world) say(stdin string, args ...string) (string, error) {
	cmd := w.command(w.program.path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("gitlab-runner %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// start starts a runner, of the program or an older one.
func (w *world) start(path string) {
	w.Helper()
	p := &process{log: w.path(fmt.Sprintf("runner-%d.log", time.Now().UnixNano())), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		w.Fatal(err)
	}
	defer log.Close()
	cmd := w.command(path, "run", "--config", w.path("config.toml"), "--working-directory", w.dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	p.Process = cmd.Process
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	w.runner = p
}

// stop has the runner end by a signal. What it was asking GitLab for then is answered before anything else can be queued: a
// job that GitLab gives to a runner that has ended is lost.
func (w *world) stop(s syscall.Signal) {
	w.runner.ending = true
	_ = w.runner.Signal(s) // or it has ended
	if s == syscall.SIGKILL {
		<-w.runner.ended
	} else {
		check := map[syscall.Signal]string{syscall.SIGQUIT: "SIGQUIT ends the runner", syscall.SIGTERM: "SIGTERM ends the runner"}[s]
		w.eventually(check, lifeLimit, func() error {
			select {
			case <-w.runner.ended:
				return nil
			default:
				return errors.New("it still runs")
			}
		})
	}
	w.server.Close()
	w.serve()
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

// lines are those of a message in the runner's log.
func (w *world) lines(message string) (lines []line) {
	content, err := os.ReadFile(w.runner.log)
	if err != nil {
		w.Fatal(err)
	}
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var l line
		if json.Unmarshal(scanner.Bytes(), &l) == nil && (l.Msg == message || l.FakeMsg == message) {
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
	content, _ := os.ReadFile(w.runner.log)
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "required scaling change") })
	for i, l := range lines {
		lines[i] = fmt.Sprintf("%.300q", l)
	}
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
