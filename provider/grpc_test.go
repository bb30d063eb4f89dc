package provider

import (
	"context"
	"errors"
	"flag"
	"os"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// pluginEnv makes this test binary a plugin that serves the stub.
const pluginEnv = "TEST_BE_A_PLUGIN"

func TestMain(m *testing.M) {
	if os.Getenv(pluginEnv) != "" {
		plugin.Serve(&stub{})
		return
	}
	if err := flag.Set("rapid.checks", "20"); err != nil { // unless the command line has another number
		panic(err)
	}
	os.Exit(m.Run())
}

// stub answers what is hard on the wire.
type stub struct{ provider.InstanceGroup }

func (*stub) Init(context.Context, hclog.Logger, provider.Settings) (provider.ProviderInfo, error) {
	return provider.ProviderInfo{ID: "stub", MaxSize: 7, Version: "1"}, nil
}

func (*stub) Update(_ context.Context, fn func(string, provider.State)) error {
	fn("a", provider.StateRunning)
	fn("b", "weird")
	fn("c", provider.StateDeleting)
	return errors.New("broke off")
}

func (*stub) Increase(context.Context, int) (int, error) { return 2, errors.New("the third failed") }

func (*stub) Decrease(_ context.Context, ids []string) ([]string, error) {
	return ids[:1], errors.New("the second failed")
}

func (*stub) ConnectInfo(context.Context, string) (provider.ConnectInfo, error) {
	return provider.ConnectInfo{ExternalAddr: "192.0.2.1"}, errors.New("unknown")
}

func (*stub) Heartbeat(context.Context, string) error { return provider.ErrInstanceUnhealthy }

func (*stub) Shutdown(context.Context) error { return errors.New("not now") }

// TestWireIsLikeGRPC holds the wire of the other tests to real gRPC, between
// this process and another.
func TestWireIsLikeGRPC(t *testing.T) {
	t.Setenv(pluginEnv, "1")
	r, err := fleeting.RunPlugin(os.Args[0], []byte("{}"), fleeting.WithPluginLogger(hclog.NewNullLogger()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Kill()
	sim := dosim.New(dosim.Options{})
	defer sim.Close()
	over := func(g provider.InstanceGroup) []any {
		ctx := t.Context()
		var said []any
		say := func(values ...any) {
			for _, v := range values {
				if err, ok := v.(error); ok {
					if errors.Is(err, provider.ErrInstanceUnhealthy) {
						v = "the error itself"
					} else {
						v = err.Error()
					}
				}
				said = append(said, v)
			}
		}
		info, err := g.Init(ctx, hclog.NewNullLogger(), provider.Settings{})
		say(info.ID, info.MaxSize, info.Version, err)
		err = g.Update(ctx, func(id string, s provider.State) { say(id, s) })
		say(err)
		n, err := g.Increase(ctx, 3)
		say(n, err)
		ids, err := g.Decrease(ctx, []string{"a", "b"})
		say(len(ids), err)
		connect, err := g.ConnectInfo(ctx, "a")
		say(connect.ExternalAddr, err)
		say(g.Heartbeat(ctx, "a"))
		say(g.Shutdown(ctx))
		return said
	}
	real := over(r.InstanceGroup())
	if diff := cmp.Diff(real, over(&wire{InstanceGroup: &stub{}, sim: sim, dead: new(atomic.Bool)})); diff != "" {
		t.Errorf("gRPC (-) and the tests' wire (+):\n%s", diff)
	}
	if err := r.InstanceGroup().Heartbeat(t.Context(), "a"); status.Code(err) != codes.Unknown {
		t.Errorf("an error arrives with the code %s", status.Code(err))
	}
	if len(real) < 15 || real[len(real)-2] != "rpc error: code = Unknown desc = instance is unhealthy" {
		t.Errorf("gRPC says %q", real)
	}
}
