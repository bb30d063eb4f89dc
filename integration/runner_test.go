package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
)

// runner is the part of GitLab Runner that drives the plugin.
type runner struct {
	*fleeting.Runner
	provisioner *fleeting.Provisioner
	plugin      int // process id
}

func startRunner(t *testing.T, w *world, group string) *runner {
	t.Helper()
	r, err := initRunner(t.Context(), w.config(map[string]any{"name": group}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	r.plugin = pidOf(t, group)
	return r
}

func initRunner(ctx context.Context, config map[string]any) (*runner, error) {
	data, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	log := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	r := &runner{}
	if r.Runner, err = fleeting.RunPlugin(binary, data, fleeting.WithPluginLogger(log)); err != nil {
		return nil, err
	}
	r.provisioner, err = fleeting.Init(ctx, log, r.InstanceGroup(),
		fleeting.WithInstanceGroupSettings(provider.Settings{}),
		fleeting.WithUpdateIntervalWhenExpecting(200*time.Millisecond),
		fleeting.WithShutdownDeletionInterval(200*time.Millisecond))
	if err != nil {
		r.Kill()
		return nil, err
	}
	return r, nil
}

// running is nil once n instances run.
func (r *runner) running(n int) error {
	if c := r.provisioner.Capacity(); c.Running != n {
		return fmt.Errorf("%d instances run, want %d: %+v", c.Running, n, c)
	}
	return nil
}

// runnerEnv makes this test binary a runner process: it holds plugin_config.
// pluginEnv names the plugin that it starts; stopsEnv has it stop in good order when
// it is signalled.
const (
	runnerEnv = "TEST_BE_A_RUNNER_WITH"
	pluginEnv = "TEST_BE_A_RUNNER_OF"
	stopsEnv  = "TEST_BE_A_RUNNER_THAT_STOPS"
)

// beRunner scales to 2, says so, and waits to be killed, or to be stopped.
func beRunner() {
	var config map[string]any
	err := json.Unmarshal([]byte(os.Getenv(runnerEnv)), &config)
	if err == nil {
		binary = os.Getenv(pluginEnv)
		var r *runner
		if r, err = initRunner(context.Background(), config); err == nil {
			r.provisioner.Request(2)
			for r.running(2) != nil {
				time.Sleep(50 * time.Millisecond)
			}
			signals := make(chan os.Signal, 1)
			if os.Getenv(stopsEnv) != "" {
				signal.Notify(signals, syscall.SIGTERM, syscall.SIGQUIT)
			}
			fmt.Println("running")
			<-signals
			r.provisioner.Shutdown(context.Background())
			r.Kill()
			fmt.Println("stopped")
			return
		}
	}
	fmt.Println(err)
}

// pidOf returns the process that holds a group's lock.
func pidOf(t *testing.T, group string) int {
	t.Helper()
	pid, err := host.Holder(group)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
