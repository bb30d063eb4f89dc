package provider

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestLife is a group from Init to Shutdown, on a day without faults.
func TestLife(t *testing.T) {
	onAccount(t, dosim.Options{DropletLimit: 25}, func(t *testing.T, sim *dosim.Sim) {
		const userData = "#cloud-config\n<b>&amp;\t\\u0041\r\n"
		g := configured(t, sim, options{"tags": []string{"team-a"}, "user_data": userData})

		info, book, err := tryInit(t, g)
		if err != nil {
			t.Fatal(err)
		}
		if info.ID != "digitalocean/ci" || info.MaxSize != 25 || info.Version == "" || len(info.Capabilities) != 0 {
			t.Errorf("Init: %+v", info)
		}
		shows := func(n int, state provider.State) {
			t.Helper()
			if shown := states(t, g); len(shown) != n || count(shown, state) != n {
				t.Fatalf("shown %v, want %d in the state %s", shown, n, state)
			}
		}
		shows(0, "")
		increase(t, g, 3)
		shows(3, provider.StateCreating)
		time.Sleep(time.Minute)
		shows(3, provider.StateRunning)

		asked := len(sim.Requests())
		for _, d := range sim.Droplets() {
			c, err := g.ConnectInfo(t.Context(), d.Name)
			if err != nil {
				t.Fatal(err)
			}
			key := c.Key
			c.Key = nil
			want := provider.ConnectInfo{
				ConnectorConfig: provider.ConnectorConfig{OS: "linux", Arch: "amd64", Protocol: "ssh", ProtocolPort: 22,
					Username: "root", Keepalive: 30 * time.Second, Timeout: 10 * time.Minute},
				ID: d.Name, ExternalAddr: d.PublicIPv4.String(), InternalAddr: d.PrivateIPv4.String(),
			}
			if diff := cmp.Diff(want, c); diff != "" {
				t.Error("ConnectInfo (-want +got):\n" + diff)
			}
			if pub := publicHalf(t, key); !slices.Equal(d.AuthorizedKeys, []string{pub}) {
				t.Errorf("%s accepts %v, and is dialed with %s", d.Name, d.AuthorizedKeys, pub)
			}
			if err := g.Heartbeat(t.Context(), d.Name); err != nil {
				t.Error("Heartbeat:", err)
			}
			if want := []string{"fleeting", "fleeting-group:ci", "team-a"}; !slices.Equal(d.Tags, want) {
				t.Errorf("%s has the tags %v, want %v", d.Name, d.Tags, want)
			}
			if d.UserData != userData {
				t.Errorf("%s has the user data %q", d.Name, d.UserData)
			}
			if run := instancegroup.RunOf("ci", d.Name); run == "" || len(book.lines("group is ready: group=ci run="+run+" ")) != 1 {
				t.Errorf("%s is not of the run in the log:\n%s", d.Name, book)
			}
		}
		if n := len(sim.Requests()) - asked; n != 0 {
			t.Errorf("ConnectInfo and Heartbeat of running instances sent %d requests, want 0", n)
		}
		if err := g.Heartbeat(t.Context(), "ci-nobody0000"); !errors.Is(err, provider.ErrInstanceUnhealthy) {
			t.Errorf("Heartbeat of an instance that is not there: %v", err)
		}
		if _, err := g.ConnectInfo(t.Context(), "ci-nobody0000"); err == nil {
			t.Error("ConnectInfo of an instance that is not there has no error")
		}
		if _, err := g.Suspend(t.Context(), nil); !errors.Is(err, provider.ErrSuspendResumeNotSupported) {
			t.Error("Suspend:", err)
		}
		if _, err := g.Resume(t.Context(), nil); !errors.Is(err, provider.ErrSuspendResumeNotSupported) {
			t.Error("Resume:", err)
		}

		decrease(t, g, names(sim)...)
		shows(3, provider.StateDeleting)
		if err := g.Heartbeat(t.Context(), names(sim)[0]); !errors.Is(err, provider.ErrInstanceUnhealthy) {
			t.Errorf("Heartbeat of an instance that is being deleted: %v", err)
		}
		time.Sleep(time.Minute)
		shows(3, provider.StateDeleted)
		shows(0, "")
		for range 2 {
			if err := g.Shutdown(t.Context()); err != nil {
				t.Error("Shutdown:", err)
			}
		}
		nothingLeft(t, sim)
		if _, err := g.Increase(t.Context(), 1); err == nil {
			t.Error("Increase works after Shutdown")
		}
		if next := start(t, sim, nil); next.Shutdown(t.Context()) != nil { // the lock is free
			t.Error("the next plugin process does not shut down")
		}
		nothingLeft(t, sim)
	})
}

// TestBeforeInit: whatever is called too early is an error, and never a crash.
func TestBeforeInit(t *testing.T) {
	g := &InstanceGroup{}
	_, increase := g.Increase(t.Context(), 1)
	_, decrease := g.Decrease(t.Context(), []string{"x"})
	_, connect := g.ConnectInfo(t.Context(), "x")
	for name, err := range map[string]error{
		"Update": g.Update(t.Context(), nil), "Increase": increase, "Decrease": decrease, "ConnectInfo": connect,
		"Heartbeat": g.Heartbeat(t.Context(), "x"),
	} {
		if err == nil || err.Error() != "the plugin has not been initialized" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := g.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{}); err == nil || !strings.Contains(err.Error(), "plugin_config.name: is required") {
		t.Errorf("Init without plugin_config: %v", err)
	}
}

// TestBounds: no call takes longer than the runner can bear, whatever hangs. The wire
// holds the others to theirs.
func TestBounds(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		increase(t, g, 1)
		time.Sleep(5 * time.Second)
		sim.Inject(dosim.Fault{Op: "*", Hang: true, Times: -1})
		bounded := func(most time.Duration, call string, f func()) {
			t.Helper()
			if d := took(f); d > most {
				t.Errorf("%s took %s, at most %s is allowed", call, d, most)
			}
		}
		name := names(sim)[0]
		bounded(10*time.Second, "ConnectInfo", func() {
			if _, err := g.ConnectInfo(t.Context(), name); err == nil {
				t.Error("there is no address to be had, and no error")
			}
		})
		bounded(0, "Heartbeat", func() { _ = g.Heartbeat(t.Context(), name) })
		bounded(20*time.Second, "Shutdown during an Increase", func() {
			var increase sync.WaitGroup
			increase.Go(func() { _, _ = g.Increase(t.Context(), 2) })
			synctest.Wait()
			if err := g.Shutdown(t.Context()); err == nil {
				t.Error("the key could not be deleted, and there is no error")
			}
			increase.Wait()
		})
	})
}

// TestShutdownKeepsNoKey: Droplets whose deletes hang do not keep the key, and a key
// whose deletion is answered late is not said to stay.
func TestShutdownKeepsNoKey(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		increase(t, g, 1)
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Hang: true, Times: -1}, dosim.Fault{Op: "DELETE /v2/droplets/{id}", Hang: true, Times: -1},
			dosim.Fault{Op: "DELETE /v2/tags/{tag}", Hang: true, Times: -1}, dosim.Fault{Op: "DELETE /v2/account/keys/{id}", Delay: 7 * time.Second, Times: -1})
		_, _ = g.Decrease(t.Context(), []string{sim.Droplets()[0].Name})
		if err := g.Shutdown(t.Context()); err != nil || len(sim.Keys()) > 0 {
			t.Errorf("%v; keys %v", err, sim.Keys())
		}
	})
}

// TestWrongToken: the first thing that a new user meets says what to correct, and so
// do errors in mid-life.
func TestWrongToken(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		check := func(err error, says, from string) {
			t.Helper()
			says += ": 401 Unable to authenticate you"
			from = ": the token comes from plugin_config.token: put a valid one there" + from
			if err == nil || !strings.Contains(err.Error(), says) || !strings.HasSuffix(err.Error(), from) {
				t.Errorf("got  %v\nwant ...%s...%s", err, says, from)
			}
		}
		_, _, err := tryInit(t, configured(t, sim, options{"token": "wrong"}))
		check(err, "", "")

		g := start(t, sim, nil)
		states(t, g) // the first one shows what Init listed
		sim.SetToken("another")
		time.Sleep(time.Minute)
		check(g.Update(t.Context(), func(string, provider.State) {}), "GET /v2/droplets", "")
		_, err = g.Increase(t.Context(), 1)
		check(err, "POST /v2/droplets", "; next attempt in 5s")
		sim.SetToken(dosim.DefaultToken)
		_ = g.Shutdown(t.Context())
	})
}

// TestConnectorConfig: what the runner's connector_config leaves out is filled
// in, and what no Droplet can be is refused, all of it at once.
func TestConnectorConfig(t *testing.T) {
	full := provider.ConnectorConfig{OS: "linux", Arch: "arm64", Protocol: "ssh", ProtocolPort: 2222, Username: "ci",
		Password: "p", Key: []byte("k"), UseStaticCredentials: true, Keepalive: time.Second, Timeout: time.Minute}
	if got, err := ConnectorConfig(full); err != nil || !cmp.Equal(got, full) {
		t.Errorf("what is set was changed to %+v, %v", got, err)
	}
	_, err := ConnectorConfig(provider.ConnectorConfig{OS: "windows", Protocol: "winrm", ProtocolPort: 70000})
	want := `connector_config.os: Droplets run linux, not "windows"
connector_config.protocol: Droplets are reached by ssh, not "winrm"
connector_config.protocol_port: must be 1 to 65535, not 70000`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
