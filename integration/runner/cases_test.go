//go:build linux

package runner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting-artifact/pkg/releaser"
	"golang.org/x/sync/errgroup"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/coordinator"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
)

// testCase is one thing that a runner has to do with the plugin.
type testCase struct {
	name      string
	run       func(*world)
	container bool // it needs a Docker Engine, and a real runner
	long      bool // with a fake runner it runs in make verify only: it takes long, and differs little from another
}

func cases() []testCase {
	all := []testCase{
		{name: "instance: a burst of 20", run: func(w *world) {
			w.begin(section{Name: "a", Max: 10})
			w.work(20, "a", 0.5)
		}},
		{name: "idle_count and idle_time", run: idle},
		{name: "max_use_count", run: maxUse},
		{name: "reload: the file changes", run: func(w *world) { reload(w, false) }},
		{name: "reload: SIGHUP", run: func(w *world) { reload(w, true) }, long: true},
	}
	for _, s := range []stopping{
		{name: "SIGQUIT", signal: syscall.SIGQUIT},
		{name: "SIGTERM", signal: syscall.SIGTERM},
		{name: "kill -9", signal: syscall.SIGKILL},
		{name: "kill -9 of the plugin", signal: syscall.SIGKILL, plugin: true},
	} {
		all = append(all, testCase{name: "stop: " + s.name, run: s.run, long: s.name != "kill -9"})
		s.state = true
		all = append(all, testCase{name: "stop: " + s.name + ", with state_storage", run: s.run})
	}
	return append(all,
		testCase{name: "docker-autoscaler: a burst of 20", run: containers, container: true},
		testCase{name: "upgrade", run: upgrade, long: true},
		testCase{name: "two groups", run: twoGroups},
		testCase{name: "refused sections", run: refused},
		testCase{name: "token rotation", run: rotation},
		testCase{name: "ready command", run: readyCommand},
		testCase{name: "metrics", run: metrics},
		testCase{name: "fleeting install, list, login", run: install},
		testCase{name: "verify and lint", run: verify},
	)
}

// containers is a burst with docker-autoscaler: with an image that has a shell, and the helper image of the runner's version.
// Our fake knows no containers: those of the plugin's Droplets are TestJobsInContainers, in integration/harness.
func containers(w *world) {
	image, helper := os.Getenv("RUNNER_TEST_IMAGE"), os.Getenv("RUNNER_TEST_HELPER_IMAGE")
	if image == "" || helper == "" {
		w.Skip("not run: RUNNER_TEST_IMAGE and RUNNER_TEST_HELPER_IMAGE name images that the Docker Engine has")
	}
	w.begin(section{Name: "a", Executor: "docker-autoscaler", Max: 10, Image: image, Helper: helper})
	w.done("jobs succeed", w.gitlab.Queue(20, coordinator.Job{Runner: w.Token("a"), Image: image, Script: script(0.5)}))
}

// idle keeps idle_count Droplets before and after a burst, and those beyond it for idle_time.
func idle(w *world) {
	w.begin(section{Name: "a", Max: 6, Idle: 2, IdleTime: "3s"})
	w.idles("idle_count is kept", 2)
	w.work(5, "a", 2)
	w.idles("idle_time is kept", 2)
	w.settle()
	n := len(w.droplets())
	w.require("idle_count is kept", n == 2, "%d Droplets a while after the burst, want 2", n)
}

// maxUse has each Droplet do max_use_count jobs.
func maxUse(w *world) {
	w.begin(section{Name: "a", Max: 2, MaxUse: 2})
	ids := w.work(6, "a", 0.1)
	jobs := map[string]int{}
	for _, r := range w.runs(ids) {
		jobs[r.bill.Name]++
	}
	for name, n := range jobs {
		w.require("max_use_count is kept", n <= 2, "%s had %d jobs", name, n)
	}
}

// reload has a runner follow its policy while it runs: at a look at the file, which is newer, or at a signal.
func reload(w *world, hangup bool) {
	w.begin(section{Name: "a", Max: 4})
	w.work(1, "a", 0.1)
	before, err := os.Stat(w.path("config.toml"))
	if err != nil {
		w.Fatal(err)
	}
	w.configure(section{Name: "a", Max: 4, Idle: 3})
	check, date := "a changed file is read", before.ModTime().Add(2*time.Second)
	if hangup {
		check, date = "SIGHUP is obeyed", before.ModTime()
	}
	if err := os.Chtimes(w.path("config.toml"), date, date); err != nil {
		w.Fatal(err)
	}
	if hangup {
		_ = w.runner.Signal(syscall.SIGHUP) // if it has ended, that will show
	}
	w.idles(check, 3)
}

// stopping is a way for a runner, or its plugin, to end under a job.
type stopping struct {
	name   string
	signal syscall.Signal
	plugin bool   // the plugin is signalled
	state  bool   // with state_storage
	next   string // another runner goes on
}

// run ends a runner that keeps its Droplets, and starts it again: with state_storage the Droplets go on, without it new ones
// take their place.
func (s stopping) run(w *world) {
	first := section{Name: "a", Max: 6, Idle: 2, State: s.state, Keep: true}
	w.begin(first)
	w.idles("idle_count is kept", 2)
	seconds := 3.0
	if s.signal == syscall.SIGTERM {
		seconds = 100 // more than it may take
	}
	ids := w.queue(1, "a", seconds)
	w.eventually("jobs start in time", lifeLimit, func() error {
		if j := w.gitlab.Jobs(ids...)[0]; !started.Match(j.Log) {
			return fmt.Errorf("job %d is %s, log %q", j.ID, j.State, j.Log)
		}
		return nil
	})
	pid, err := simulated.Host.Holder(w.Group("a"))
	if err != nil {
		w.Fatal(err)
	}
	if s.plugin {
		_ = syscall.Kill(pid, s.signal)
		w.done("jobs succeed", ids)
		w.stop(syscall.SIGQUIT)
	} else {
		// As systemd and terminals do, which signal a runner and its plugin together: that lives on, to be stopped in good
		// order. One whose runner is killed ends by itself, and takes its key and its socket with it.
		for _, signal := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
			_ = syscall.Kill(pid, signal)
		}
		w.stop(s.signal)
		w.eventually("nothing is left", lifeLimit, func() error {
			sockets, err := filepath.Glob(w.path("fleeting-plugin-digitalocean-*"))
			return cmp.Or(err, nothing(append(w.Keys(), sockets...)))
		})
	}
	switch state := w.gitlab.Jobs(ids...)[0].State; s.signal {
	case syscall.SIGTERM:
		w.require("SIGTERM's jobs are reported", state == "failed", "the job is %s", state)
	case syscall.SIGQUIT:
		w.require("SIGQUIT waits for jobs", state == "success", "the job is %s", state)
	}
	before := w.droplets()
	w.require("Droplets stay", len(before) >= 2, "%d of them, want 2 at least", len(before))

	first.Keep = false
	w.program.path = cmp.Or(s.next, w.program.path)
	w.begin(first)
	on := w.runs(w.work(1, "a", 0.1))[0].bill.Name
	w.require("state_storage decides", slices.Contains(before, on) == s.state,
		"with state_storage = %v the job ran on %s; from before there were %v", s.state, on, before)
}

// upgrade has a newer runner go on with the Droplets of an older one.
func upgrade(w *world) {
	if w.program.old == "" {
		w.Skip("not run: GITLAB_RUNNER_OLD=/path/to/an/older/gitlab-runner names what to upgrade from")
	}
	s := stopping{signal: syscall.SIGQUIT, state: true, next: w.program.path}
	w.program.path = w.program.old
	s.run(w)
}

// twoGroups has each of two [[runners]] use its own Droplets.
func twoGroups(w *world) {
	w.begin(section{Name: "a", Max: 3}, section{Name: "b", Max: 3})
	for name, ids := range map[string][]int{w.Group("a"): w.queue(3, "a", 0.2), w.Group("b"): w.queue(3, "b", 0.2)} {
		w.done("jobs succeed", ids)
		for _, r := range w.runs(ids) {
			w.require("a group has its own jobs", strings.HasPrefix(r.bill.Name, name+"-"), "a job of %s ran on %s", name, r.bill.Name)
		}
	}
}

// refused has one [[runners]] work as if the others were not there: one that is refused, and two that have one group.
func refused(w *world) {
	const check = "refused sections hold nobody up"
	limit := w.program.bound(5 * time.Second)
	w.begin(section{Name: "a", Max: 2, Region: "nowhere1"}, section{Name: "b", Max: 2}, section{Name: "c", Max: 2, Group: "b"},
		section{Name: "d", Max: 2, Idle: 2})
	w.idles(check, 2)
	w.logs(check, "is managed by another plugin process of this runner")
	for range 3 {
		r := w.runs(w.work(1, "d", 0.1))[0]
		w.require(check, r.started.Sub(r.job.Queued) <= limit, "a job started %s after it was queued", r.started.Sub(r.job.Queued))
	}
}

// rotation replaces DigitalOcean's token while the runner runs, and then the runner's own: before 19.2 that one needs a
// restart, since the runner starts a second plugin of the group for it, which is refused.
func rotation(w *world) {
	a := section{Name: "a", Max: 2, MaxUse: 1}
	w.begin(a)
	w.work(1, "a", 0.1)
	const token = "dop_v1_the-next-one"
	w.Sim.SetToken(token)
	w.write("token", token)
	w.done("a new token is taken", w.queue(2, "a", 0.1))
	w.rotations++
	w.stop(syscall.SIGQUIT)
	w.begin(a)
	w.done("a new token is taken", w.queue(1, "a", 0.1))
}

// readyCommand has a ready command fail until a file is there: what of it is in the log is all that one on call has.
func readyCommand(w *world) {
	const check, printed = "a ready command's status is logged, its output not", "what it prints"
	w.begin(section{Name: "a", Max: 2, Idle: 1, Ready: fmt.Sprintf("test -e %s || { echo %s; exit 3; }", w.path("ready"), printed)})
	w.logs(check, "status 3")
	w.require(check, !bytes.Contains(w.log(), []byte(printed)), "a line of the log has what the command prints")
	w.write("ready", "")
	w.idles("idle_count is kept", 1)
}

// metrics has the runner show every metric that examples/monitoring goes by.
func metrics(w *world) {
	w.begin(section{Name: "a", Max: 2, MaxUse: 1, Idle: 1})
	w.work(2, "a", 0.1)
	wanted := map[string]bool{}
	text := texts.Read(w, "examples/monitoring/alerts.yml") + texts.Read(w, "examples/monitoring/dashboard.json")
	for _, name := range regexp.MustCompile(`\b(?:fleeting_(?:provisioner|taskscaler)|gitlab_runner)_[a-z_]+`).FindAllString(text, -1) {
		wanted[name] = true
	}
	if len(wanted) < 10 {
		w.Fatalf("examples/monitoring has only %v", wanted)
	}
	w.eventually("metrics are there", 20*time.Second, func() error {
		response, err := http.Get("http://" + w.listen + "/metrics")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		shown, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		for name := range wanted {
			if !regexp.MustCompile(`(?m)^` + name + `(\{| )`).Match(shown) {
				return fmt.Errorf("the runner shows no %s", name)
			}
		}
		return nil
	})
}

// Of the registry from which the plugin is installed.
const (
	repository        = "127.0.0.1/fleeting/fleeting-plugin-digitalocean"
	version           = "0.1.0"
	reader, readerKey = "reader", "a-password"
)

// plugins serves a registry for the rest of the tests, in which the plugin is released, and which wants a password then.
var plugins = sync.OnceValue(func() error {
	var closed atomic.Bool
	err := simulated.ServeRegistry(func(w http.ResponseWriter, r *http.Request) bool {
		user, password, _ := r.BasicAuth()
		refused := closed.Load() && (user != reader || password != readerKey)
		if refused {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
		return refused
	})
	if err != nil {
		return err
	}
	// A script in the plugin's place is packed in no time.
	dist := filepath.Join(simulated.Scratch, "dist")
	dir := filepath.Join(dist, runtime.GOOS, runtime.GOARCH)
	script := fmt.Appendf(nil, "#!/bin/sh\nexec '%s' \"$@\"\n", simulated.Plugin)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "plugin"), script, 0o700)); err != nil { //nolint:gosec // a program
		return err
	}
	_, err = releaser.Release(context.Background(), repository+":"+version, releaser.WithDirectory(dist), releaser.WithLogger(slog.New(slog.DiscardHandler)))
	closed.Store(true)
	return err
})

// install gets the plugin from a registry that wants a password, and runs it.
func install(w *world) {
	if err := plugins(); errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EADDRINUSE) {
		w.Skip("not run: the registry needs port 80 of 127.0.0.1, to itself, which takes root: ", err)
	} else if err != nil {
		w.Fatal(err)
	}
	a := section{Name: "a", Max: 2, Plugin: repository + ":" + version}
	w.configure(a)
	fleeting := func(stdin string, args ...string) (string, error) {
		return w.say(stdin, append([]string{"fleeting", "--config", w.path("config.toml")}, args...)...)
	}
	if out, err := fleeting("", "list"); err == nil {
		w.Fatalf("it lists what is not installed: %s", out)
	}
	_, err := fleeting(readerKey, "login", "--username", reader, "--password-stdin", "127.0.0.1")
	w.check("fleeting login", err)
	if out, err := fleeting("", "install"); err != nil { // it says so on its own if it has no password
		w.check("fleeting login", fmt.Errorf("%w: %s", err, out))
	}
	installed, err := filepath.Glob(w.path("plugins") + "/*/*/*/" + version + "/plugin")
	if err == nil && len(installed) != 1 {
		err = fmt.Errorf("there are the plugins %q", installed)
	}
	w.check("fleeting install", err)
	out, err := fleeting("", "list")
	if err == nil && !strings.Contains(out, installed[0]) {
		err = fmt.Errorf("it does not name %s: %s", installed[0], out)
	}
	w.check("fleeting list", err)
	w.begin(a)
	w.work(1, "a", 0.1)
}

// verify has the runner check every configuration that we give people.
func verify(w *world) {
	help, err := w.say("", "--help")
	if err != nil {
		w.Fatal(err)
	}
	commands := []string{"verify"}
	if regexp.MustCompile(`(?m)^\s+lint\s`).MatchString(help) { // since 19.3
		commands = append(commands, "lint")
	}
	for _, command := range commands {
		var g errgroup.Group
		for name, text := range configurations(w.T) {
			file := command + "-" + strings.ReplaceAll(name, "/", "-")
			w.write(file, regexp.MustCompile(`(?m)^(\s*url\s*=\s*)".*?"`).ReplaceAllString(text, `${1}"`+w.server.URL+`"`))
			g.Go(func() error {
				out, err := w.say("", command, "--config", w.path(file))
				return errors.Join(err, complaint(name, out))
			})
		}
		w.check(command, g.Wait())
	}
}

// complaint is what the runner has against a configuration.
func complaint(name, out string) error {
	complains := regexp.MustCompile(`"level":"(warning|error|fatal|panic)"|(WARNING|ERROR|FATAL|PANIC): |problem with your config|jsonschema`)
	for said := range strings.SplitSeq(out, "\n") {
		if complains.MatchString(said) && !strings.Contains(said, "user-mode") { // it tells that to all who are not root
			return fmt.Errorf("%s: the runner complains: %s", name, said)
		}
	}
	return nil
}

// configurations are the whole ones that we give people, and what migrate makes, by where they are.
func configurations(t *testing.T) map[string]string {
	t.Helper()
	all := texts.Configurations(t)
	maps.DeleteFunc(all, func(path, text string) bool {
		return strings.HasPrefix(path, "docs/") || path == texts.Kubernetes || !strings.Contains(text, "[[runners]]")
	})
	maps.Copy(all, texts.Migrated(t))
	if len(all) < 10 {
		t.Fatalf("found only %d configurations", len(all))
	}
	return all
}
