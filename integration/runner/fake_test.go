//go:build linux

package runner

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting-artifact/pkg/installer"
	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
	"gitlab.com/gitlab-org/fleeting/taskscaler/storage"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// fakeEnv makes this test binary a gitlab-runner: one of the runner's own libraries, with as much around them as the suite
// asks for. Its value is what is wrong with it, or sound.
const fakeEnv = "TEST_BE_A_GITLAB_RUNNER"

// What can be wrong with a fake. Each is told by a check of its own: TestChecksCanFail.
const (
	sound        = "sound"
	leaks        = "leaks"          // delete_instances_on_shutdown does nothing
	late         = "late"           // jobs wait on a Droplet that is ready
	dropsLog     = "drops-log"      // a part of a job's log is not sent
	neverSuccess = "never-success"  // every job fails
	endsTwice    = "ends-twice"     // a job that ended is reported to have ended otherwise
	dies         = "dies"           // at once
	runsHere     = "runs-here"      // jobs run on the runner's host
	ignoresQuit  = "ignores-quit"   // SIGQUIT does nothing
	ignoresTerm  = "ignores-term"   // SIGTERM does nothing
	abortsOnQuit = "aborts-on-quit" // SIGQUIT is taken for SIGTERM
	silentOnTerm = "silent-on-term" // SIGTERM's jobs are not reported
	deletesAtEnd = "deletes-at-end" // delete_instances_on_shutdown, unasked
	forgetsIdle  = "forgets-idle"   // there is no idle_count
	keepsIdle    = "keeps-idle"     // there is no idle_time
	reuses       = "reuses"         // there is no max_use_count
	noReload     = "no-reload"      // a changed file is not seen
	noHangup     = "no-hangup"      // SIGHUP does nothing
	noState      = "no-state"       // there is no state_storage
	mixesGroups  = "mixes-groups"   // all jobs go to the first group
	blocks       = "blocks"         // a refused section keeps the others waiting
	oldToken     = "old-token"      // token_file is read once
	noMetrics    = "no-metrics"
	complains    = "complains"   // of every configuration
	strictLint   = "strict-lint" // lint passes nothing
	noList       = "no-list"     // fleeting list prints nothing
	noInstall    = "no-install"  // fleeting install does nothing, and succeeds
	noLogin      = "no-login"    // fleeting login forgets
)

// fake is a gitlab-runner.
type fake struct {
	fault string
	path  string // of config.toml
	log   hclog.Logger

	mu      sync.Mutex // held while a plugin starts, as the runner does: nobody else takes jobs meanwhile
	config  *fakeConfig
	scalers map[string]*fakeScaler // by the runner's token

	jobs   sync.WaitGroup
	abort  context.Context // of jobs
	engine *docker.Engine  // of docker-autoscaler
}

// fakeConfig is a config.toml.
type fakeConfig struct {
	*runnerconfig.File
	modified time.Time
	Own      struct {
		CheckInterval int `toml:"check_interval"`
		Runners       []struct{ URL, Token string }
	}
}

type fakeScaler struct {
	taskscaler.Taskscaler
	plugin     *fleeting.Runner
	metrics    *runnermetrics.Registry
	configured *fakeConfig // whose policy counts
}

func loadFake(path string) (*fakeConfig, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &fakeConfig{modified: info.ModTime()}
	if c.File, err = runnerconfig.Load(path); err != nil {
		return nil, err
	}
	_, err = toml.DecodeFile(path, &c.Own)
	return c, err
}

// beRunner does what a command line of gitlab-runner says.
func beRunner(fault string, args []string) error {
	var path, user string
	verb := func(flags func(*flag.FlagSet)) string {
		if len(args) == 0 {
			return ""
		}
		name := args[0]
		f := flag.NewFlagSet(name, flag.ExitOnError)
		f.StringVar(&path, "config", path, "")
		flags(f)
		if err := f.Parse(args[1:]); err != nil {
			return ""
		}
		args = f.Args()
		return name
	}
	if len(args) > 1 && args[0] == "--log-format" {
		args = args[2:]
	}
	switch command := verb(func(f *flag.FlagSet) { f.String("working-directory", "", "") }); command {
	case "run":
		return runFake(fault, path)
	case "verify", "lint":
		config, err := loadFake(path)
		if err == nil && (command == "lint" && len(config.Ignored) > 0 || fault == strictLint && command == "lint") {
			err = fmt.Errorf("unknown keys: %q", config.Ignored)
		}
		if err == nil && fault == complains && command == "verify" {
			fmt.Println(`{"level":"warning","msg":"There might be a problem with your config"}`)
		}
		return err
	case "fleeting":
		return fakeFleeting(fault, path, verb(func(f *flag.FlagSet) {
			f.StringVar(&user, "username", "", "")
			f.Bool("password-stdin", true, "")
		}), user, args)
	case "--help":
		fmt.Println("COMMANDS:\n     lint    validate a config.toml")
		return nil
	default:
		return fmt.Errorf("a fake gitlab-runner has no command %q", command)
	}
}

// fakeFleeting is `gitlab-runner fleeting`, of the same library.
func fakeFleeting(fault, path, command, user string, args []string) error {
	if command == "login" {
		password, err := io.ReadAll(os.Stdin)
		if err != nil || fault == noLogin {
			return err
		}
		_, err = installer.Login(args[0], user, string(password))
		return err
	}
	config, err := loadFake(path)
	if err != nil {
		return err
	}
	for _, r := range config.Runners {
		if command == "install" && fault != noInstall {
			if err := installer.Install(context.Background(), r.Autoscaler.Plugin); err != nil {
				return err
			}
		}
		path, err := installer.LookPath(r.Autoscaler.Plugin, "")
		if fault == noList && command == "list" {
			path = ""
		}
		if err == nil {
			fmt.Printf("plugin: %s, path: %s\n", r.Autoscaler.Plugin, path)
		} else if command == "list" {
			return err
		}
	}
	return nil
}

// runFake is `gitlab-runner run`: it returns after SIGQUIT when its jobs have ended, and after SIGTERM when they are aborted.
func runFake(fault, path string) error {
	config, err := loadFake(path)
	if err != nil || fault == dies {
		return err
	}
	abort, abortJobs := context.WithCancel(context.Background())
	defer abortJobs()
	f := &fake{
		fault: fault, path: path, config: config, scalers: map[string]*fakeScaler{}, abort: abort,
		log: hclog.New(&hclog.LoggerOptions{Output: os.Stderr, JSONFormat: true}),
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	taking, stopTaking := context.WithCancel(abort)
	defer stopTaking()
	if config.ListenAddress != "" {
		server := &http.Server{Addr: config.ListenAddress, Handler: http.HandlerFunc(f.serveMetrics), ReadHeaderTimeout: time.Minute}
		go server.ListenAndServe() // until the process ends
	}
	var loops sync.WaitGroup
	for i, r := range config.Runners {
		if r.Executor == "docker-autoscaler" {
			if f.engine, err = docker.Open(abort, os.Getenv("DOCKER_HOST")); err != nil {
				return err
			}
			defer f.engine.Close() // what it leaves has this process's name
		}
		loops.Go(func() { f.takeJobs(taking, i) })
	}
	reload := time.NewTicker(time.Second)
	defer reload.Stop()
	for taking.Err() == nil {
		select {
		case <-reload.C:
			if fault != noReload {
				f.reload(false)
			}
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && fault != noHangup:
				f.reload(true)
			case s == syscall.SIGTERM && fault != ignoresTerm || s == syscall.SIGQUIT && fault == abortsOnQuit:
				abortJobs()
			case s == syscall.SIGQUIT && fault != ignoresQuit:
				stopTaking()
			}
		}
	}
	loops.Wait()
	f.jobs.Wait()
	var stops sync.WaitGroup
	for _, s := range f.scalers {
		stops.Go(func() {
			s.Shutdown(context.Background())
			s.plugin.Kill()
		})
	}
	stops.Wait()
	return nil
}

// reload reads the file again if it is newer, or at all events.
func (f *fake) reload(anyway bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil || !anyway && !info.ModTime().After(f.config.modified) {
		return
	}
	if config, err := loadFake(f.path); err == nil {
		f.config = config
	}
}

func (f *fake) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if f.fault == noMetrics {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.scalers {
		s.metrics.ServeHTTP(w, r)
	}
	fmt.Fprintln(w, `gitlab_runner_errors_total{level="error"} 0`)
}

// scaler returns that of a [[runners]], with the policy as it is now, and starts it if need be.
func (f *fake) scaler(i int) (*fakeScaler, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == mixesGroups {
		i = 0
	}
	r, token := f.config.Runners[i], f.config.Own.Runners[i].Token
	s := f.scalers[token]
	if s == nil {
		var err error
		if s, err = f.start(r); err != nil {
			if f.fault == blocks {
				time.Sleep(2 * faultLimit)
			}
			return nil, err
		}
		f.scalers[token] = s
	}
	if s.configured == f.config {
		return s, nil
	}
	s.configured = f.config
	var schedules []taskscaler.Schedule
	for _, p := range r.Autoscaler.Policy {
		schedule := taskscaler.Schedule{IdleCount: p.IdleCount, IdleTime: p.IdleTime, PreemptiveMode: p.Preemptive()}
		switch f.fault {
		case forgetsIdle:
			schedule.IdleCount = 0
		case keepsIdle:
			schedule.IdleTime = time.Hour
		}
		schedules = append(schedules, schedule)
	}
	return s, s.ConfigureSchedule(schedules...)
}

// start starts the plugin of a [[runners]] and its autoscaling, with the runner's options. Callers hold f.mu.
func (f *fake) start(r runnerconfig.Runner) (*fakeScaler, error) {
	a := r.Autoscaler
	if path, ok := a.PluginConfig["token_file"].(string); ok && f.fault == oldToken {
		token, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		delete(a.PluginConfig, "token_file")
		a.PluginConfig["token"] = string(token)
	}
	config, err := json.Marshal(a.PluginConfig)
	if err != nil {
		return nil, err
	}
	path, err := installer.LookPath(a.Plugin, "")
	if err != nil {
		return nil, err
	}
	log := f.log.With("runner", r.Name)
	s := &fakeScaler{metrics: runnermetrics.New(r.Name)}
	if s.plugin, err = fleeting.RunPlugin(path, config, fleeting.WithPluginLogger(log)); err != nil {
		return nil, err
	}
	if f.fault == reuses {
		a.MaxUseCount = 0
	}
	options := []taskscaler.Option{
		taskscaler.WithReservations(),
		taskscaler.WithCapacityPerInstance(a.CapacityPerInstance),
		taskscaler.WithMaxUseCount(a.MaxUseCount),
		taskscaler.WithMaxInstances(a.MaxInstances),
		taskscaler.WithInstanceGroupSettings(provider.Settings{ConnectorConfig: provider.ConnectorConfig{
			ProtocolPort: a.Connector.ProtocolPort, Username: a.Connector.Username, Timeout: a.Connector.Timeout, Keepalive: a.Connector.Keepalive,
		}}),
		taskscaler.WithInstanceUpFunc(ready(a)),
		taskscaler.WithUpdateInterval(a.UpdateInterval),
		taskscaler.WithUpdateIntervalWhenExpecting(a.UpdateIntervalWhenExpecting),
		taskscaler.WithDeletionRetryInterval(a.DeletionRetryInterval),
		taskscaler.WithShutdownDeletionInterval(a.ShutdownDeletionInterval),
		taskscaler.WithShutdownDeletionRetries(a.ShutdownDeletionRetries),
		taskscaler.WithLogger(log),
		taskscaler.WithMetricsCollector(s.metrics.Taskscaler()),
		taskscaler.WithFleetingMetricsCollector(s.metrics.Fleeting()),
		taskscaler.WithAcquireDelay(200 * time.Millisecond),
	}
	if a.DeleteInstancesOnShutdown && f.fault != leaks || f.fault == deletesAtEnd {
		options = append(options, taskscaler.WithDeleteInstancesOnShutdown())
	}
	if a.StateStorage.Enabled && f.fault != noState {
		store, err := storage.NewFileStorage(a.StateStorage.Dir)
		if err != nil {
			return nil, err
		}
		options = append(options, taskscaler.WithStorage(store))
	}
	ctx, cancel := context.WithTimeout(f.abort, time.Minute)
	defer cancel()
	if s.Taskscaler, err = taskscaler.New(ctx, s.plugin.InstanceGroup(), options...); err != nil {
		s.plugin.Kill()
		return nil, err
	}
	return s, nil
}

// ready has a Droplet's ready command run, and sends away what is not known from before.
func ready(a *runnerconfig.Autoscaler) taskscaler.UpFunc {
	return func(_ taskscaler.Taskscaler, i taskscaler.UpFuncInstance) error {
		if i.Cause == fleeting.CausePreexisted && (!i.Restored || len(i.Acquisitions) > 0) {
			return errors.New("nothing is known of what runs on it")
		}
		return connector.Run(context.Background(), i.Info, connector.ConnectorOptions{
			RunOptions:  connector.RunOptions{Command: a.InstanceReadyCommand},
			DialOptions: connector.DialOptions{UseExternalAddr: a.Connector.UseExternalAddr},
		})
	}
}

// takeJobs asks for the jobs of a [[runners]], and runs them.
func (f *fake) takeJobs(ctx context.Context, i int) {
	lastUpdate := ""
	for ctx.Err() == nil {
		f.mu.Lock()
		own, r, wait := f.config.Own.Runners[i], f.config.Runners[i], time.Duration(f.config.Own.CheckInterval)*time.Second
		f.mu.Unlock()
		if s, err := f.scaler(i); err != nil {
			f.log.Error("no autoscaling", "runner", i, "error", err)
		} else if key := rand.Text(); s.Reserve(key) == nil {
			var job fakeJob
			answer, err := f.send(ctx, own.URL, "POST", "jobs/request", "", map[string]any{"token": own.Token, "last_update": lastUpdate}, &job)
			if err == nil && answer.StatusCode == http.StatusCreated {
				job.url, wait = own.URL, 0
				f.jobs.Go(func() { f.run(s, key, job, r) })
			} else {
				s.Unreserve(key)
			}
			if err == nil {
				lastUpdate = answer.Header.Get("X-GitLab-Last-Update")
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// fakeJob is what a coordinator hands out.
type fakeJob struct {
	ID    int
	Token string
	Steps []struct{ Script []string }

	url  string
	sent int // bytes of the log
}

// run runs a job, and reports its end.
func (f *fake) run(s *fakeScaler, key string, job fakeJob, r runnerconfig.Runner) {
	var log lockedBuffer
	ended := make(chan error)
	go func() { ended <- f.work(s, key, job, r, &log) }()
	var err error
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		case <-time.After(500 * time.Millisecond):
		}
		f.sendLog(&job, log.bytes())
	}
	if f.abort.Err() != nil && f.fault == silentOnTerm {
		return
	}
	result := map[string]any{"token": job.Token, "state": "success"}
	if err != nil || f.fault == neverSuccess {
		result["state"], result["failure_reason"] = "failed", "runner_system_failure"
		f.log.Error("job failed", "job", job.ID, "error", err)
	}
	if f.fault != dropsLog {
		result["output"] = map[string]any{"checksum": fmt.Sprintf("crc32:%08x", crc32.ChecksumIEEE(log.bytes())), "bytesize": len(log.bytes())}
	}
	path := fmt.Sprintf("jobs/%d", job.ID)
	_, _ = f.send(context.Background(), job.url, "PUT", path, "", result, nil) // the coordinator is part of the test
	if f.fault == endsTwice {
		_, _ = f.send(context.Background(), job.url, "PUT", path, "", map[string]any{"token": job.Token, "state": "failed"}, nil)
	}
}

// work runs a job's script on a Droplet.
func (f *fake) work(s *fakeScaler, key string, job fakeJob, r runnerconfig.Runner, log io.Writer) error {
	script := strings.Join(job.Steps[0].Script, "\n") + "\n"
	if f.fault == runsHere {
		s.Unreserve(key)
		cmd := exec.CommandContext(f.abort, "bash")
		cmd.Stdin, cmd.Stdout = strings.NewReader(script), log
		return cmd.Run()
	}
	acquireCtx, cancel := context.WithTimeout(f.abort, time.Minute)
	defer cancel()
	acquisition, err := s.Acquire(acquireCtx, key)
	if err != nil {
		s.Unreserve(key)
		return err
	}
	defer s.Release(key)
	ctx, cancel := acquisition.WithContext(f.abort)
	defer cancel()
	info, err := acquisition.InstanceConnectInfo(ctx)
	if err != nil {
		return err
	}
	droplet, err := connector.Dial(ctx, info, connector.DialOptions{UseExternalAddr: r.Autoscaler.Connector.UseExternalAddr})
	if err != nil {
		acquisition.HealthFailure()
		return err
	}
	defer droplet.Close()
	acquisition.HealthSuccess()
	fmt.Fprintf(log, "Instance %s connected\n", info.ID)
	if f.fault == late {
		time.Sleep((slack + 1) * startLimit)
	}
	if r.Executor != "docker-autoscaler" {
		return droplet.Run(ctx, connector.RunOptions{Command: "bash", Stdin: strings.NewReader(script), Stdout: log, Stderr: log})
	}
	return f.engine.Run(ctx, droplet, docker.Job{Key: key, Script: script, Log: log})
}

// sendLog sends what is new of a job's log.
func (f *fake) sendLog(job *fakeJob, log []byte) {
	if f.fault == dropsLog {
		log = log[:max(job.sent, len(log)-5)]
	}
	content := log[job.sent:]
	if len(content) == 0 {
		return
	}
	at := fmt.Sprintf("%d-%d", job.sent, len(log)-1)
	answer, err := f.send(context.Background(), job.url, "PATCH", fmt.Sprintf("jobs/%d/trace", job.ID), at, content, job)
	if err == nil && answer.StatusCode == http.StatusAccepted {
		job.sent = len(log)
	}
}

// send asks the coordinator. A body of bytes is part of the log of the job that answer is; else answer is decoded.
func (f *fake) send(ctx context.Context, url, method, path, at string, body, answer any) (*http.Response, error) {
	content, raw := body.([]byte)
	if !raw {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url+"/api/v4/"+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	if raw {
		request.Header.Set("Content-Range", at)
		request.Header.Set("JOB-TOKEN", answer.(*fakeJob).Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if raw || answer == nil || response.StatusCode != http.StatusCreated {
		return response, nil
	}
	return response, json.NewDecoder(response.Body).Decode(answer)
}

// lockedBuffer is a job's log, written and sent at the same time.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
