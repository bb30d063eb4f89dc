package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/taskscaler"
)

// Serve does with a config.toml what `gitlab-runner run` does with it, except that
// there are no jobs: it starts the plugin at path, and scales the account that
// plugin_config and the environment name by the policy, until ctx ends. It calls idle
// when there is room for the policy's idle_count jobs. dial opens the connections to
// Droplets; nil is the runner's own way.
//
// What it leaves on the account is up to delete_instances_on_shutdown. It remembers
// nothing: state_storage is not used.
func Serve(ctx context.Context, c *Config, path string, log hclog.Logger, idle func(), dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	config, err := json.Marshal(c.Autoscaler.PluginConfig)
	if err != nil {
		return fmt.Errorf("plugin_config as JSON: %w", err)
	}
	var more []taskscaler.Option
	if c.Autoscaler.DeleteInstancesOnShutdown {
		more = append(more, taskscaler.WithDeleteInstancesOnShutdown())
	}
	r, err := startRunner(ctx, path, c, config, dial, newRecorder(), log, more...)
	if err != nil {
		return err
	}
	if r.awaitIdle(ctx) == nil && idle != nil {
		idle()
	}
	<-ctx.Done()
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	r.stop(stopCtx)
	return nil
}
