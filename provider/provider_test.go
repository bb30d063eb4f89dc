package provider

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
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
		shows(t, g, 0, "")
		increase(t, g, 3)
		shows(t, g, 3, provider.StateCreating)
		time.Sleep(time.Minute)
		shows(t, g, 3, provider.StateRunning)

		asked := len(sim.Requests())
		for _, d := range sim.Droplets() {
			c, err := g.ConnectInfo(t.Context(), d.Name)
			equal(t, "error of ConnectInfo", nil, err)
			key := c.Key
			c.Key = nil
			want := provider.ConnectInfo{
				ConnectorConfig: provider.ConnectorConfig{OS: "linux", Arch: "amd64", Protocol: "ssh", ProtocolPort: 22,
					Username: "root", Keepalive: 30 * time.Second, Timeout: 10 * time.Minute},
				ID: d.Name, ExternalAddr: d.PublicIPv4.String(), InternalAddr: d.PrivateIPv4.String(),
			}
			equal(t, "ConnectInfo", want, c)
			equal(t, "keys of the Droplet", []string{publicHalf(t, key)}, d.AuthorizedKeys)
			equal(t, "error of Heartbeat", nil, g.Heartbeat(t.Context(), d.Name))
			equal(t, "tags", []string{"fleeting", "fleeting-group:ci", "team-a"}, d.Tags)
			equal(t, "user data", userData, d.UserData)
			equal(t, "its run is logged", 1, len(book.lines("group is ready: group=ci run="+instancegroup.RunOf("ci", d.Name)+" ")))
		}
		equal(t, "requests of ConnectInfo and Heartbeat", asked, len(sim.Requests()))
		unhealthy := func(name string) {
			t.Helper()
			equal(t, name+" is unhealthy", true, errors.Is(g.Heartbeat(t.Context(), name), provider.ErrInstanceUnhealthy))
		}
		unhealthy("ci-nobody0000")
		_, err = g.ConnectInfo(t.Context(), "ci-nobody0000")
		fails(t, err, "ci-nobody0000")
		_, suspend := g.Suspend(t.Context(), nil)
		_, resume := g.Resume(t.Context(), nil)
		for _, err := range []error{suspend, resume} {
			equal(t, "not supported", true, errors.Is(err, provider.ErrSuspendResumeNotSupported))
		}

		decrease(t, g, names(sim)...)
		shows(t, g, 3, provider.StateDeleting)
		unhealthy(names(sim)[0])
		time.Sleep(time.Minute)
		shows(t, g, 3, provider.StateDeleted)
		shows(t, g, 0, "")
		for range 2 {
			equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
		}
		equal(t, "left", []string(nil), leftovers(sim))
		_, err = g.Increase(t.Context(), 1)
		fails(t, err, "shut down")
		equal(t, "error of the next one's Shutdown", nil, start(t, sim, nil).Shutdown(t.Context())) // the lock is free
		equal(t, "left", []string(nil), leftovers(sim))
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
		equal(t, name, "the plugin has not been initialized", fmt.Sprint(err))
	}
	equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
	_, _, err := tryInit(t, g) // without plugin_config
	fails(t, err, "plugin_config.name: is required")
}

// TestBounds: no call takes longer than the runner can bear, whatever hangs. The machine
// holds the others to theirs.
func TestBounds(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		g := start(t, sim, nil)
		increase(t, g, 1)
		time.Sleep(5 * time.Second)
		sim.Inject(dosim.Fault{Op: "*", Hang: true, Times: -1})
		bounded := func(most time.Duration, call string, f func() error) {
			t.Helper()
			if d := took(func() { fails(t, f(), "") }); d > most {
				t.Errorf("%s took %s, at most %s is allowed", call, d, most)
			}
		}
		bounded(10*time.Second, "ConnectInfo", func() error { // there is no address to be had
			_, err := g.ConnectInfo(t.Context(), names(sim)[0])
			return err
		})
		bounded(20*time.Second, "Shutdown during an Increase", func() error { // the key cannot be deleted
			var increase sync.WaitGroup
			increase.Go(func() { _, _ = g.Increase(t.Context(), 2) })
			synctest.Wait()
			defer increase.Wait()
			return g.Shutdown(t.Context())
		})
	})
}

// TestShutdownKeepsNoKey: Droplets whose deletes hang do not keep the key. Its own is tried
// three times, and one that is answered late is not said to stay.
func TestShutdownKeepsNoKey(t *testing.T) {
	for _, fault := range []dosim.Fault{{Delay: 7 * time.Second, Times: -1}, {Status: 503, Times: 2}} {
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			g := start(t, sim, nil)
			increase(t, g, 1)
			fault.Op = "DELETE /v2/account/keys/{id}"
			sim.Inject(fault)
			for _, op := range []string{"GET /v2/droplets", "DELETE /v2/droplets/{id}", "DELETE /v2/tags/{tag}"} {
				sim.Inject(dosim.Fault{Op: op, Hang: true, Times: -1})
			}
			_, _ = g.Decrease(t.Context(), names(sim))
			equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))
			equal(t, "keys", 0, len(sim.Keys()))
		})
	}
}

// TestConnectorConfig: what the runner's connector_config says is not changed.
func TestConnectorConfig(t *testing.T) {
	full := provider.ConnectorConfig{OS: "linux", Arch: "arm64", Protocol: "ssh", ProtocolPort: 2222, Username: "ci",
		Password: "p", Key: []byte("k"), UseStaticCredentials: true, Keepalive: time.Second, Timeout: time.Minute}
	got, err := ConnectorConfig(full)
	equal(t, "error", nil, err)
	equal(t, "connector_config", full, got)
}

// What the plugin logs is JSON on its way to the runner. An operator must be
// able to paste an id from it.
func TestLogValuesAreReadable(t *testing.T) {
	var out bytes.Buffer
	log := lines{hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true})}
	log.Info("Droplet is active", "id", 512000001, "after", 31*time.Second, "usd_per_hour", 0.00893,
		"image", instancegroup.Image{Slug: "docker-20-04"}, "place", instancegroup.Placement{Size: "c-2", Region: "fra1"},
		"created", time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), "err", errors.New("no"), "names", []string{"a", "b"})
	for _, want := range []string{`"id":"512000001"`, `"after":"31s"`, `"usd_per_hour":"0.00893"`, `"image":"docker-20-04"`,
		`"place":"c-2 in fra1"`, `"created":"2026-11-01T12:00:00Z"`, `"err":"no"`, `"names":"[a b]"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the line lacks %s:\n%s", want, &out)
		}
	}
}

// TestSecretsStaySecret: a token and a private key go through every kind of
// fault, with a server that sends back what it was sent, at trace level. Neither
// gets into a log or an error.
func TestSecretsStaySecret(t *testing.T) {
	const token = "dop_v1_5e471e1f00c0ffee"
	faults := []dosim.Fault{
		{Reset: true, Applied: true}, {Cut: true}, {Status: 401}, {Status: 403}, {Status: 422}, {Status: 429},
		{Status: 503, Body: dosim.HTMLBody}, {Status: 200, Body: "{}"},
		{Status: 307, Header: map[string]string{"Location": "https://" + token + ".example/"}},
	}
	for _, at := range []struct {
		phase string
		ops   []string
	}{
		{"Init", []string{"*"}}, {"life", []string{"*"}},
		// what comes only after other requests have succeeded
		{"life", []string{"POST /v2/tags/{tag}/resources", "DELETE /v2/account/keys/{id}"}},
		{"life", []string{"DELETE /v2/droplets", "DELETE /v2/tags/{tag}"}},
	} {
		for _, fault := range faults {
			t.Run(fmt.Sprint(at, fault), func(t *testing.T) {
				onAccount(t, dosim.Options{Token: token}, func(t *testing.T, sim *dosim.Sim) {
					key := someKey(t)
					g := configured(t, sim, options{"token": token})
					g.transport = echo{sim.Transport()}
					inject := func(phase string) {
						for _, fault.Op = range at.ops {
							if fault.Times = -1; at.phase == phase {
								sim.Inject(fault)
							}
						}
					}
					var book logBook
					said := &strings.Builder{}
					say := func(v any, err error) { fmt.Fprintf(said, "%+v %v\n", v, err) }
					update := func() {
						time.Sleep(30 * time.Second)
						say(nil, g.Update(t.Context(), func(id string, s provider.State) { say(id, nil) }))
					}

					inject("Init")
					say(g.Init(t.Context(), book.logger(), provider.Settings{ConnectorConfig: provider.ConnectorConfig{Key: key}}))
					inject("life")
					say(g.Increase(t.Context(), 12))
					for range 3 {
						update()
					}
					for _, name := range names(sim) {
						c, err := g.ConnectInfo(t.Context(), name)
						say(c.ID, err)
						say(nil, g.Heartbeat(t.Context(), name))
					}
					say(g.Decrease(t.Context(), names(sim))) // more than go by their ids
					update()
					say(nil, g.Shutdown(t.Context()))

					secrets := []string{token, "5e471e1f", "PRIVATE KEY"}
					for line := range strings.Lines(string(key)) {
						if len(line) > 40 {
							secrets = append(secrets, line[:40])
						}
					}
					out := said.String() + book.String()
					for _, secret := range secrets {
						if i := strings.Index(out, secret); i >= 0 {
							t.Errorf("%q got out:\n%s", secret, out[max(0, i-200):min(len(out), i+200)])
						}
					}
				})
			})
		}
	}
}

// echo sends the request's token back in every error: in its message or page,
// and as the request id.
type echo struct{ base http.RoundTripper }

func (e echo) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := r.Header.Get("Authorization")
	resp, err := e.base.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w (while sending %q)", err, sent)
	}
	resp.Header.Set("X-Request-Id", sent)
	if resp.StatusCode >= 400 {
		resp.Body.Close()
		body := fmt.Sprintf(`{"id":"x","message":"I got %s","request_id":%q}`, sent, sent)
		if resp.Header.Get("Content-Type") == "text/html" {
			body = "<html><title>I got " + sent + "</title></html>"
		}
		resp.Body = io.NopCloser(strings.NewReader(body))
	}
	return resp, nil
}

// TestKilledAndStartedAgain: the next plugin process knows at once what a killed one
// had made, or asked for, though lists do not show it yet, and keeps to max_instances. What appears
// minutes after the kill is taken over too; what a process makes that this host does
// not know is left alone.
func TestKilledAndStartedAgain(t *testing.T) {
	onAccount(t, dosim.Options{ListLag: 10 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, options{"max_instances": 7})
		increase(t, first, 4)
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Reset: true, Applied: true, Behaviour: dosim.LateToRise, For: 3 * time.Minute})
		increase(t, first, 1)
		crash(first)
		second, book := logged(t, sim, options{"max_instances": 7})
		increase(t, second, 1)
		shows(t, second, 6, provider.StateCreating) // with the one that had no answer
		time.Sleep(4 * time.Minute)
		tags := []string{"fleeting", "fleeting-group:ci"}
		sim.AddDroplet(dosim.Droplet{Name: "ci-" + instancegroup.RunOf("ci", names(sim)[0]) + "0late0", Tags: tags}) // made late, too
		ours := names(sim)
		foreign := sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: tags})
		time.Sleep(15 * time.Second)
		equal(t, "shown", slices.Sorted(slices.Values(ours)), slices.Sorted(maps.Keys(states(t, second))))
		n, err := second.Increase(t.Context(), 1)
		equal(t, "accepted without room", []any{0, nil}, []any{n, err})
		equal(t, "took over", 2, len(book.lines("[INFO]  took over the Droplets of earlier plugin processes: ")))
		equal(t, "warnings", 1, len(book.lines("[WARN]"))) // of the one that had no answer
		decrease(t, second, ours...)
		time.Sleep(time.Minute)
		states(t, second)
		_ = second.Shutdown(t.Context())
		if left := sim.Droplets(); len(left) != 1 || left[0].ID != foreign || len(sim.Keys()) > 0 {
			t.Errorf("left: %q, keys %v", names(sim), sim.Keys())
		}
	})
}

// TestCopiedManager: of another host's state.json nothing is believed. Droplets are
// taken over all the same, with a warning, and a key that may be a living manager's stays.
func TestCopiedManager(t *testing.T) {
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		first := start(t, sim, nil)
		increase(t, first, 2)
		crash(first)
		files, err := filepath.Glob(filepath.Join(os.Getenv("XDG_STATE_HOME"), "*", "ci-*.json"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		content, err := os.ReadFile(files[0])
		copied := regexp.MustCompile(`"host":"[^"]*"`).ReplaceAllString(string(content), `"host":"machine-of-another"`)
		if err != nil || copied == string(content) {
			t.Fatalf("%v, or no host in %s", err, content)
		}
		file(t, files[0], copied)

		second, book := logged(t, sim, nil)
		equal(t, "told that the file is not used", 1, len(book.lines("[WARN]  the state file is not used")))
		warned := strings.Join(book.lines("[WARN]  took over Droplets of plugin processes that this host does not know"), "")
		for _, word := range append(names(sim), "usd_per_hour=0.01786") {
			equal(t, word+" in "+warned, true, strings.Contains(warned, word))
		}
		shows(t, second, 2, provider.StateCreating)
		equal(t, "the first one's key is there", true, slices.Contains(keyNames(sim, second), first.running.Load().keys.name))
		_ = second.Shutdown(t.Context())
	})
}

// TestTokenOfAnotherAccount: after a rotation nothing is concluded from what another
// account lacks, and nothing is made there. With the right token all goes on.
func TestTokenOfAnotherAccount(t *testing.T) {
	for name, unreadable := range map[string]bool{"by its id": false, "without account:read, by its Droplets": true} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "", dosim.DefaultToken)
			onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
				other := dosim.New(dosim.Options{Token: "others"})
				defer other.Close()
				if unreadable {
					for _, s := range []*dosim.Sim{sim, other} {
						s.Inject(dosim.Fault{Op: "GET /v2/account", Status: 403, Times: -1})
					}
				}
				g := configured(t, sim, options{"token": nil, "token_file": path, "max_instances": 5})
				g.transport = dosim.InProcess(dosim.Accounts{sim, other})
				if _, _, err := tryInit(t, g); err != nil {
					t.Fatal(err)
				}
				increase(t, g, 3)
				time.Sleep(time.Minute)
				shows(t, g, 3, provider.StateRunning)

				sim.SetToken("rotated")
				file(t, path, "others\n")
				var err error
				for range 20 {
					time.Sleep(10 * time.Second)
					if err = g.Update(t.Context(), func(id string, s provider.State) {
						equal(t, id, provider.StateRunning, s)
					}); err != nil {
						fails(t, err, "account", ": the token comes from plugin_config.token_file "+path)
					}
					n, _ := g.Increase(t.Context(), 1)
					equal(t, "accepted", 0, n)
				}
				fails(t, err, "account")
				for _, r := range other.Requests() {
					if r.Op != "GET /v2/account" && r.Op != "GET /v2/droplets/{id}" {
						t.Errorf("the other account was asked %s", r.Op)
					}
				}

				file(t, path, "rotated\n")
				time.Sleep(5 * time.Minute)
				shows(t, g, 3, provider.StateRunning)
				increase(t, g, 2)
				decrease(t, g, names(sim)...)
				_ = g.Shutdown(t.Context())
				equal(t, "left", []string(nil), leftovers(sim))
				equal(t, "left there", []string(nil), leftovers(other))
			})
		})
	}
}

// TestStartWithTokenOfAnotherAccount: what the last process remembered is on another
// account, which is no reason to take it for gone without a word.
func TestStartWithTokenOfAnotherAccount(t *testing.T) {
	for _, known := range []bool{true, false} { // which account it is
		onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
			other := dosim.New(dosim.Options{Token: "others", FirstDropletID: 9000})
			defer other.Close()
			said := "the token is another account's than before: Droplets of this group stay on the other account"
			if !known {
				other.Inject(dosim.Fault{Op: "GET /v2/account", Status: 403, Times: -1})
				said = "if the token is another account's than before, they stay on the other account"
			}
			g := start(t, sim, nil)
			increase(t, g, 2)
			crash(g)
			wants := []int{1, 0}
			if !known {
				wants = []int{1, 1} // as long as nothing else is remembered
			}
			for _, want := range wants {
				g, book := logged(t, other, options{"token": "others", "max_instances": 5})
				equal(t, "said", []int{want, want}, []int{len(book.lines(said)), len(book.lines("droplets=2"))})
				crash(g)
			}
		})
	}
}

// TestHistoryOfLog: what report reads in the plugin's own lines is what DigitalOcean bills, to the cent: of
// Droplets that are deleted, that vanish, that stay over a restart, and that are deleted as the plugin stops.
func TestHistoryOfLog(t *testing.T) {
	onAccount(t, dosim.Options{Latency: 150 * time.Millisecond}, func(t *testing.T, sim *dosim.Sim) {
		var book logBook
		runner := hclog.New(&hclog.LoggerOptions{Output: &book, JSONFormat: true})
		begin := func() *InstanceGroup {
			g := configured(t, sim, options{"size": "s-2vcpu-4gb"})
			if _, err := g.Init(t.Context(), runner, provider.Settings{}); err != nil {
				t.Fatal(err)
			}
			return g
		}
		work := func(g *InstanceGroup, minutes int) {
			for range minutes * 3 {
				states(t, g)
				time.Sleep(20 * time.Second)
			}
		}
		g := begin()
		increase(t, g, 6)
		work(g, 60)
		decrease(t, g, names(sim)[:2]...)
		work(g, 5)
		sim.Destroy(sim.Droplets()[0].ID)
		work(g, 5)
		crash(g)
		g = begin()
		increase(t, g, 1)
		work(g, 90)
		runner.Info("Updating job...")
		crash(g)
		sim.Destroy(sim.Droplets()[0].ID) // while no plugin process runs
		lost := time.Now()
		runner.Info("Starting multi-runner from /etc/gitlab-runner/config.toml...")
		g = begin()
		work(g, 1)
		decrease(t, g, names(sim)[:1]...)
		equal(t, "error of Shutdown", nil, g.Shutdown(t.Context()))

		equal(t, "lines whose numbers are text, as a person writes them", 3, len(book.lines(`"max_instances":"100"`)))
		log := strings.NewReplacer(`"@message"`, `"msg"`, `"@timestamp"`, `"time"`).Replace(book.String()) // as the runner writes it
		h, err := history.Read(strings.NewReader(log), time.Time{}, func(int, time.Time) {})
		if err != nil {
			t.Fatal(err)
		}
		h.To = time.Now()
		usd := h.Usage("", time.UTC).All.USD
		if len(h.Droplets) != 7 || math.Abs(usd-sim.Dollars()) > 0.005 {
			t.Errorf("%d Droplets, %v USD; billed are %v\n%+v", len(h.Droplets), usd, sim.Dollars(), h.Droplets)
		}
		stay := 0
		for _, d := range h.Droplets {
			if d.Active.IsZero() || d.Size != "s-2vcpu-4gb" || d.Group != "ci" || d.PriceHourly == 0 {
				t.Errorf("%+v", d)
			}
			if d.Gone.IsZero() {
				stay++
			} else if d.Gone.After(lost) && slices.Contains(names(sim), d.Name) {
				t.Errorf("%s is there", d.Name)
			}
		}
		equal(t, "Droplets that stay", len(sim.Droplets()), stay)
	})
}
