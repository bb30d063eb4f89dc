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
	"regexp"
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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// fakeEnv makes this test binary a gitlab-runner, of the runner's own libraries with as much around them as the suite asks
// for. Its value is what is wrong with it: a fault of TestChecksCanFail, or "sound".
const fakeEnv = "TEST_BE_A_GITLAB_RUNNER"

// beRunner does what a command line of gitlab-runner says: --log-format json COMMAND ...
func beRunner(fault string, args []string) error {
	command, path, config := args[2], "", &fakeConfig{}
	if i := slices.Index(args, "--config"); i > 0 {
		path = args[i+1]
		if err := config.read(fault, path); err != nil {
			return err
		}
	}
	switch {
	case command == "run":
		return runFake(fault, path, config)
	case command == "fleeting":
		return fakeFleeting(fault, config, args[5:])
	case command == "verify" && fault == "complains":
		fmt.Println(`{"level":"warning","msg":"There might be a problem with your config"}`)
	case command == "lint" && (len(config.Ignored) > 0 || fault == "is strict"):
		return fmt.Errorf("unknown keys: %q", config.Ignored)
	case command == "--help":
		fmt.Println("COMMANDS:\n     lint    validate a config.toml")
	}
	return nil
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
	plugin := config.Runners[0].Autoscaler.Plugin
	if args[0] == "install" {
		if fault == "installs nothing" {
			return nil
		}
		return installer.Install(context.Background(), plugin)
	}
	path, err := installer.LookPath(plugin, "")
	if err == nil && fault != "lists nothing" {
		fmt.Printf("plugin: %s, path: %s\n", plugin, path)
	}
	return err
}

// fakeConfig is a config.toml.
type fakeConfig struct {
	*runnerconfig.File
	modified time.Time
	own      struct{ Runners []struct{ URL, Token string } }
}

// read reads it; "reads KEY as TEXT" is the fault of one that finds something else there.
func (c *fakeConfig) read(fault, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	c.modified = info.ModTime()
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if key, as, ok := strings.Cut(strings.TrimPrefix(fault, "reads "), " as "); ok {
		content = regexp.MustCompile(key+` = [^ ,\n]+`).ReplaceAll(content, []byte(as))
	}
	if c.File, err = runnerconfig.Parse(path, string(content)); err != nil {
		return err
	}
	return toml.Unmarshal(content, &c.own)
}

// fake is a gitlab-runner that runs.
type fake struct {
	fault string
	path  string // of config.toml
	log   hclog.Logger
	jobs  sync.WaitGroup
	abort context.Context // of jobs

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
	for i := range config.Runners {
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
	c := &fakeConfig{}
	if err := c.read(f.fault, f.path); err == nil && (anyway || c.modified.After(f.config.modified)) {
		f.config = c
	}
}

func (f *fake) serveMetrics(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fault == "shows no metrics" {
		return
	}
	for _, s := range f.scalers {
		for series, v := range s.metrics.Values() {
			fmt.Fprintf(w, "%s %v\n", series, v)
		}
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
	return s, s.ConfigureSchedule(taskscaler.Schedule{IdleCount: p.IdleCount, IdleTime: p.IdleTime, PreemptiveMode: p.Preemptive()})
}

// start starts the plugin of a [[runners]] and its autoscaling, with the runner's options. Callers hold f.mu.
func (f *fake) start(r runnerconfig.Runner) (*fakeScaler, error) {
	a := r.Autoscaler
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
		taskscaler.WithMetricsCollector(s.metrics),
		taskscaler.WithFleetingMetricsCollector(s.metrics),
		taskscaler.WithAcquireDelay(200 * time.Millisecond),
	}
	if a.DeleteInstancesOnShutdown {
		options = append(options, taskscaler.WithDeleteInstancesOnShutdown())
	}
	if a.StateStorage.Enabled {
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

	fault string
	url   string // of the job

	mu  sync.Mutex
	log []byte // that the coordinator has
}

func (j *fakeJob) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault == "cuts logs" && bytes.Contains(p, []byte("finished")) {
		return len(p), nil
	}
	header := http.Header{"Job-Token": {j.Token}, "Content-Range": {fmt.Sprintf("%d-%d", len(j.log), len(j.log)+len(p)-1)}}
	if status, _, _ := send(context.Background(), "PATCH", j.url+"/trace", header, p); status != http.StatusAccepted {
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
		send(context.Background(), "PUT", j.url, http.Header{}, body)
	}
}

// takeJobs asks for the jobs of a [[runners]], and runs them.
func (f *fake) takeJobs(ctx context.Context, i int, config *fakeConfig) {
	own, lastUpdate := config.own.Runners[i], ""
	for ctx.Err() == nil {
		wait := time.Second
		if s, err := f.scaler(i); err != nil {
			f.log.Error("no autoscaling", "runner", i, "error", err)
		} else if key := rand.Text(); s.Reserve(key) == nil {
			ask := fmt.Appendf(nil, `{"token": %q, "last_update": %q}`, own.Token, lastUpdate)
			status, header, answer := send(ctx, "POST", own.URL+"/api/v4/jobs/request", http.Header{}, ask)
			job := &fakeJob{fault: f.fault}
			if status == http.StatusCreated && json.Unmarshal(answer, job) == nil {
				wait, job.url = 0, fmt.Sprintf("%s/api/v4/jobs/%d", own.URL, job.ID)
				f.jobs.Go(func() { f.run(s, key, job) })
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
func (f *fake) run(s *fakeScaler, key string, job *fakeJob) {
	err := f.work(s, key, job)
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
func (f *fake) work(s *fakeScaler, key string, job *fakeJob) error {
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
	fmt.Fprintf(job, "Instance %s connected\n", info.ID)
	if f.fault == "dawdles" {
		time.Sleep((slack + 1) * startLimit)
	}
	return connector.Run(ctx, info, connector.ConnectorOptions{
		RunOptions:  connector.RunOptions{Command: "bash", Stdin: strings.NewReader(script), Stdout: job, Stderr: job},
		DialOptions: connector.DialOptions{UseExternalAddr: true},
	})
}

// send asks the coordinator. Without an answer the status is 0.
func send(ctx context.Context, method, url string, header http.Header, body []byte) (int, http.Header, []byte) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	answer, _ := io.ReadAll(response.Body) // half an answer cannot be decoded
	return response.StatusCode, response.Header, answer
}
