//go:build linux

package runner

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
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

// fakeEnv makes this test binary a gitlab-runner, of the runner's own libraries with as much around them as the suite asks
// for. Its value is what is wrong with it: a fault of TestChecksCanFail, or "sound".
const fakeEnv = "TEST_BE_A_GITLAB_RUNNER"

// beRunner does what a command line of gitlab-runner says: --log-format json COMMAND ...
func beRunner(fault string, args []string) error {
	command, path := args[2], ""
	if i := slices.Index(args, "--config"); i > 0 {
		path = args[i+1]
	}
	config, err := loadFake(path)
	if err != nil && path != "" {
		return err
	}
	switch command {
	case "run":
		return runFake(fault, path, config)
	case "verify":
		if fault == "complains" {
			fmt.Println(`{"level":"warning","msg":"There might be a problem with your config"}`)
		}
		return nil
	case "lint":
		if len(config.Ignored) > 0 || fault == "is strict" {
			return fmt.Errorf("unknown keys: %q", config.Ignored)
		}
		return nil
	case "fleeting":
		return fakeFleeting(fault, config, args[5:])
	case "--help":
		fmt.Println("COMMANDS:\n     lint    validate a config.toml")
		return nil
	}
	return fmt.Errorf("a fake gitlab-runner has no command %q", command)
}

// fakeFleeting is `gitlab-runner fleeting`: install, list, or login --username NAME --password-stdin REGISTRY.
func fakeFleeting(fault string, config *fakeConfig, args []string) error {
	if args[0] == "login" {
		password, err := io.ReadAll(os.Stdin)
		if err == nil && fault != "forgets the password" {
			_, err = installer.Login(args[4], args[2], string(password))
		}
		return err
	}
	for _, r := range config.Runners {
		if args[0] == "install" && fault != "installs nothing" {
			if err := installer.Install(context.Background(), r.Autoscaler.Plugin); err != nil {
				return err
			}
		}
		path, err := installer.LookPath(r.Autoscaler.Plugin, "")
		if args[0] == "list" && err != nil {
			return err
		}
		if fault != "lists nothing" {
			fmt.Printf("plugin: %s, path: %s\n", r.Autoscaler.Plugin, path)
		}
	}
	return nil
}

// fakeConfig is a config.toml.
type fakeConfig struct {
	*runnerconfig.File
	modified time.Time
	own      struct{ Runners []struct{ URL, Token string } }
}

func loadFake(path string) (*fakeConfig, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	c := &fakeConfig{modified: info.ModTime()}
	if c.File, err = runnerconfig.Load(path); err == nil {
		_, err = toml.DecodeFile(path, &c.own)
	}
	return c, err
}

// fake is a gitlab-runner that runs.
type fake struct {
	fault  string
	path   string // of config.toml
	log    hclog.Logger
	jobs   sync.WaitGroup
	abort  context.Context // of jobs
	engine *docker.Engine  // of docker-autoscaler

	mu      sync.Mutex // held while a plugin starts, as the runner does: nobody else takes jobs meanwhile
	config  *fakeConfig
	scalers map[string]*fakeScaler // by the runner's token
}

type fakeScaler struct {
	taskscaler.Taskscaler
	plugin     *fleeting.Runner
	metrics    *runnermetrics.Registry
	configured *fakeConfig // whose policy counts
}

// runFake is `gitlab-runner run`: it returns after SIGQUIT when its jobs have ended, and after SIGTERM when they are aborted.
func runFake(fault, path string, config *fakeConfig) error {
	if fault == "dies" {
		return errors.New("that is its fault")
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
	server := &http.Server{Addr: config.ListenAddress, Handler: http.HandlerFunc(f.serveMetrics), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.ListenAndServe() }() // until the process ends
	var loops sync.WaitGroup
	for i, r := range config.Runners {
		if r.Executor == "docker-autoscaler" {
			var err error
			if f.engine, err = docker.Open(abort, os.Getenv("DOCKER_HOST")); err != nil {
				return err
			}
			defer f.engine.Close() // what it leaves has a name of its own
		}
		loops.Go(func() { f.takeJobs(taking, i, config) })
	}
	reload := time.NewTicker(time.Second)
	defer reload.Stop()
	for taking.Err() == nil {
		select {
		case <-reload.C:
			if fault != "reads no changed file" {
				f.reload(false)
			}
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP && fault != "ignores SIGHUP":
				f.reload(true)
			case s == syscall.SIGTERM && fault != "ignores SIGTERM", s == syscall.SIGQUIT && fault == "aborts at SIGQUIT":
				abortJobs()
			case s == syscall.SIGQUIT && fault != "ignores SIGQUIT":
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
	if c, err := loadFake(f.path); err == nil && (anyway || c.modified.After(f.config.modified)) {
		f.config = c
	}
}

func (f *fake) serveMetrics(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == "shows no metrics" {
		return
	}
	for _, s := range f.scalers {
		s.metrics.ServeHTTP(w, r)
	}
	for _, name := range []string{"errors_total", "jobs_total", "job_queue_duration_seconds_bucket", "acceptable_job_queuing_duration_exceeded_total"} {
		fmt.Fprintf(w, "gitlab_runner_%s{} 1\n", name)
	}
}

// scaler returns that of a [[runners]], with the policy as it is now, and starts it if need be.
func (f *fake) scaler(i int) (*fakeScaler, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == "mixes groups" {
		i = 0
	}
	r, token := f.config.Runners[i], f.config.own.Runners[i].Token
	s := f.scalers[token]
	if s == nil {
		var err error
		if s, err = f.start(r); err != nil {
			if f.fault == "waits for the refused" {
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
	p := r.Autoscaler.Policy[0]
	schedule := taskscaler.Schedule{IdleCount: p.IdleCount, IdleTime: p.IdleTime, PreemptiveMode: p.Preemptive()}
	switch f.fault {
	case "forgets idle_count":
		schedule.IdleCount = 0
	case "forgets idle_time":
		schedule.IdleTime = time.Hour
	}
	return s, s.ConfigureSchedule(schedule)
}

// start starts the plugin of a [[runners]] and its autoscaling, with the runner's options. Callers hold f.mu.
func (f *fake) start(r runnerconfig.Runner) (*fakeScaler, error) {
	a := r.Autoscaler
	if f.fault == "keeps the first token" {
		token, err := os.ReadFile(a.PluginConfig["token_file"].(string))
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
	if f.fault == "forgets max_use_count" {
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
		taskscaler.WithInstanceUpFunc(f.ready(a)),
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
	if a.DeleteInstancesOnShutdown && f.fault != "leaves Droplets" || f.fault == "deletes Droplets" {
		options = append(options, taskscaler.WithDeleteInstancesOnShutdown())
	}
	if a.StateStorage.Enabled && f.fault != "forgets its state" {
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
func (f *fake) ready(a *runnerconfig.Autoscaler) taskscaler.UpFunc {
	return func(_ taskscaler.Taskscaler, i taskscaler.UpFuncInstance) error {
		if i.Cause == fleeting.CausePreexisted && (!i.Restored || len(i.Acquisitions) > 0) {
			return errors.New("nothing is known of what runs on it")
		}
		var printed bytes.Buffer
		err := connector.Run(context.Background(), i.Info, connector.ConnectorOptions{
			RunOptions:  connector.RunOptions{Command: a.InstanceReadyCommand, Stdout: &printed},
			DialOptions: connector.DialOptions{UseExternalAddr: true},
		})
		if err != nil && f.fault == "logs what ready commands print" {
			err = fmt.Errorf("%w: %s", err, &printed)
		}
		return err
	}
}

// fakeJob is what a coordinator hands out, and an io.Writer that sends it the job's log.
type fakeJob struct {
	ID    int
	Token string
	Steps []struct{ Script []string }

	fake *fake
	url  string // of the job

	mu  sync.Mutex
	log []byte // that the coordinator has
}

func (j *fakeJob) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fake.fault == "cuts logs" && bytes.Contains(p, []byte("finished")) {
		return len(p), nil
	}
	header := http.Header{"Job-Token": {j.Token}, "Content-Range": {fmt.Sprintf("%d-%d", len(j.log), len(j.log)+len(p)-1)}}
	if status, _, _ := j.fake.send(context.Background(), "PATCH", j.url+"/trace", header, p); status != http.StatusAccepted {
		return 0, fmt.Errorf("the coordinator takes no log: status %d", status)
	}
	j.log = append(j.log, p...)
	return len(p), nil
}

// report tells how the job ended. What of the log is under way comes first: GitLab refuses the end of a job whose log it has not as
// the runner has it.
func (j *fakeJob) report(state string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	body, err := json.Marshal(map[string]any{
		"token": j.Token, "state": state, "failure_reason": "runner_system_failure",
		"output": map[string]any{"checksum": fmt.Sprintf("crc32:%08x", crc32.ChecksumIEEE(j.log)), "bytesize": len(j.log)},
	})
	if err == nil {
		j.fake.send(context.Background(), "PUT", j.url, nil, body)
	}
}

// takeJobs asks for the jobs of a [[runners]], and runs them.
func (f *fake) takeJobs(ctx context.Context, i int, config *fakeConfig) {
	r, own, lastUpdate := config.Runners[i], config.own.Runners[i], ""
	for ctx.Err() == nil {
		wait := time.Second
		if s, err := f.scaler(i); err != nil {
			f.log.Error("no autoscaling", "runner", i, "error", err)
		} else if key := rand.Text(); s.Reserve(key) == nil {
			ask := fmt.Appendf(nil, `{"token": %q, "last_update": %q}`, own.Token, lastUpdate)
			status, header, answer := f.send(ctx, "POST", own.URL+"/api/v4/jobs/request", nil, ask)
			job := &fakeJob{fake: f}
			if status == http.StatusCreated && json.Unmarshal(answer, job) == nil {
				wait, job.url = 0, fmt.Sprintf("%s/api/v4/jobs/%d", own.URL, job.ID)
				f.jobs.Go(func() { f.run(s, key, job, r.Executor) })
			} else {
				s.Unreserve(key)
			}
			lastUpdate = header.Get("X-GitLab-Last-Update")
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// run runs a job, and reports its end.
func (f *fake) run(s *fakeScaler, key string, job *fakeJob, executor string) {
	err := f.work(s, key, job, executor)
	switch {
	case f.abort.Err() != nil && f.fault == "reports no aborted job":
	case err != nil || f.fault == "reports no success":
		f.log.Error("job failed", "job", job.ID, "error", err)
		job.report("failed")
	default:
		job.report("success")
	}
	if f.fault == "reports two ends" {
		job.report("failed")
	}
}

// work runs a job's script on a Droplet.
func (f *fake) work(s *fakeScaler, key string, job *fakeJob, executor string) error {
	script := strings.Join(job.Steps[0].Script, "\n") + "\n"
	if f.fault == "runs jobs itself" {
		s.Unreserve(key)
		cmd := exec.CommandContext(f.abort, "bash", "-c", script)
		cmd.Stdout = job
		return cmd.Run()
	}
	acquisition, err := s.Acquire(f.abort, key)
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
	droplet, err := connector.Dial(ctx, info, connector.DialOptions{UseExternalAddr: true})
	if err != nil {
		acquisition.HealthFailure()
		return err
	}
	defer droplet.Close()
	acquisition.HealthSuccess()
	fmt.Fprintf(job, "Instance %s connected\n", info.ID)
	if f.fault == "dawdles" {
		time.Sleep((slack + 1) * startLimit)
	}
	if executor == "docker-autoscaler" {
		return f.engine.Run(ctx, droplet, docker.Job{Key: key, Script: script, Log: job})
	}
	return droplet.Run(ctx, connector.RunOptions{Command: "bash", Stdin: strings.NewReader(script), Stdout: job, Stderr: job})
}

// send asks the coordinator. Without an answer the status is 0.
func (f *fake) send(ctx context.Context, method, url string, header http.Header, body []byte) (int, http.Header, []byte) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil
	}
	if header != nil {
		request.Header = header
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body) // half an answer cannot be decoded
	return response.StatusCode, response.Header, answer
}
