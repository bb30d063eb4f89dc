package provider

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/hostlock"
)

// full is a configuration with which Init asks everything that it ever asks.
var full = options{
	"vpc_uuid": "00000006-0f0c-4000-8000-000000000006", // the default one of nyc3
	"ssh_keys": []any{46000001},
}

// laptop puts the key of full on the account.
func laptop(t *testing.T, sim *dosim.Sim) {
	t.Helper()
	sim.AddKey("laptop", publicHalf(t, someKey(t)))
}

// initOps is what such an Init asks, in its order; the first six side by side, and
// here by their names.
var initOps = []string{
	"GET /v2/account",
	"GET /v2/account/keys/{id}",
	"GET /v2/images/{id}",
	"GET /v2/regions",
	"GET /v2/sizes",
	"GET /v2/vpcs/{id}",
	"GET /v2/droplets", // with the tag
	"GET /v2/droplets", // GPUs
	"GET /v2/account/keys",
	"POST /v2/account/keys",
}

// TestInitMakesTheKeyLast: after everything else has succeeded.
func TestInitMakesTheKeyLast(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		laptop(t, sim)
		g := start(t, sim, full)
		defer func() { _ = g.Shutdown(t.Context()) }()
		got := ops(sim)
		slices.Sort(got[:6])
		if !slices.Equal(got, initOps) {
			t.Errorf("Init asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(initOps, "\n"))
		}
	})
}

// TestInitFaults: an Init that fails leaves nothing; one that only an extra
// failed goes on. Together with the first Update each stays under 40 s.
func TestInitFaults(t *testing.T) {
	for _, fault := range []dosim.Fault{
		{Refused: true}, {Reset: true}, {Hang: true}, {Status: 500}, {Status: 503, Body: dosim.HTMLBody},
		{Status: 200, Body: "{}"}, {Status: 200, Body: "null"}, {Status: 200, Body: "[1]"}, {Cut: true},
		{Status: 401}, {Status: 403}, {Status: 429, Header: map[string]string{"Retry-After": "30"}}, {Delay: 3 * time.Second},
	} {
		for i, op := range initOps {
			if i > 0 && initOps[i-1] == op {
				continue
			}
			t.Run(fmt.Sprintf("%s at %s", fault, op), func(t *testing.T) {
				ownState(t)
				synctest.Test(t, func(t *testing.T) {
					sim := dosim.New(dosim.Options{})
					defer sim.Close()
					laptop(t, sim)
					o := options{"max_instances": 5}
					for k, v := range full {
						o[k] = v
					}
					g := configured(t, sim, o)
					f := fault
					f.Op, f.Times = op, -1
					if f.Delay > 0 {
						f.Op = "*" // all is slow
					}
					sim.Inject(f)
					var err error
					d := took(func() {
						_, err = g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
						if err == nil {
							err = g.Update(t.Context(), func(string, provider.State) {})
						}
					})
					if d > 40*time.Second {
						t.Errorf("Init and the first Update took %s", d)
					}
					extra := slices.Contains([]string{"GET /v2/account", "GET /v2/vpcs/{id}", "GET /v2/account/keys", "GET /v2/account/keys/{id}"}, op)
					catalog := slices.Contains([]string{"GET /v2/sizes", "GET /v2/regions", "GET /v2/images/{id}"}, op)
					carriedOut := op == "POST /v2/account/keys" && fault.Cut // a look-up settles it
					goesOn := carriedOut || extra && (op != "GET /v2/account" || fault.Status != 401) || catalog && fault.Status == 403
					if fault.Delay == 0 && (err == nil) != goesOn { // what is slow may or may not come in time
						t.Errorf("error %v; Init is to go on: %v", err, goesOn)
					}
					sim.ClearFaults()
					if g.running.Load() == nil && len(sim.Keys()) > 1 {
						t.Errorf("a failed Init left keys: %v", sim.Keys())
					}
					_ = g.Shutdown(t.Context())
					if v := sim.Violations(); len(v) > 0 {
						t.Error(v)
					}
				})
			})
		}
	}
}

// TestSlowStart: an Init that takes its time leaves the first Update less, also
// when that has something to do at once.
func TestSlowStart(t *testing.T) {
	for _, dead := range []bool{false, true} { // a run before, whose Droplets are looked for
		ownState(t)
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(dosim.Options{Latency: 7200 * time.Millisecond})
			defer sim.Close()
			sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting", "fleeting-group:ci"}, // stuck
				Created: time.Now().Add(-time.Hour), ReadyAt: time.Now().Add(time.Hour)})
			sim.Inject(dosim.Fault{Op: "DELETE *", Hang: true, Times: -1})
			if dead {
				lock, err := hostlock.Take(t.Context(), hclog.NewNullLogger(), "https://api.digitalocean.com", "ci")
				if err != nil || lock.Begin("dead0000") != nil {
					t.Fatal(err)
				}
				lock.Drop()
			}
			d := took(func() {
				g := start(t, sim, nil)
				if shown := states(t, g); shown["ci-7k2m9qxa"] != provider.StateDeleting {
					t.Errorf("shown %v", shown)
				}
			})
			if d < 25*time.Second || d > 40*time.Second {
				t.Errorf("Init and the first Update took %s", d)
			}
		})
	}
}

// TestTooSlowStart: that there was not enough time is no refusal, after which the next
// start would wait, and have less.
func TestTooSlowStart(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Latency: 5 * time.Second})
		defer sim.Close()
		sim.Inject(dosim.Fault{Op: "*", Status: http.StatusUnauthorized, Times: 2})
		failed := 0
		for range 5 {
			_, err := configured(t, sim, nil).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
			if err == nil {
				break
			}
			failed++
			time.Sleep(time.Second)
		}
		if failed > 2 {
			t.Errorf("%d starts failed, of one refusal and then slow answers", failed)
		}
	})
}

// TestRefusedInit: it answers at once; the next one within 30 s waits out the
// rest before it spends a request.
func TestRefusedInit(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		attempt := func(o options) (time.Duration, error) {
			var err error
			g := configured(t, sim, o)
			d := took(func() { _, err = g.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{}) })
			if err == nil {
				_ = g.Shutdown(t.Context())
			}
			return d, err
		}
		wrong := options{"size": "s-9vcpu"}
		if d, err := attempt(wrong); err == nil || d > time.Second {
			t.Fatalf("the first: %v after %s", err, d)
		}
		time.Sleep(time.Second)
		asked := len(sim.Requests())
		if d, err := attempt(wrong); err == nil || d < 28*time.Second || d > 30*time.Second {
			t.Errorf("the second, a second later: %v after %s", err, d)
		}
		for _, r := range sim.Requests()[asked:] {
			if since := r.Time.Sub(sim.Requests()[0].Time); since < 30*time.Second {
				t.Errorf("a request %s after the refusal", since)
			}
		}
		if d, err := attempt(options{"name": "another"}); err != nil || d > time.Second {
			t.Errorf("another group: %v after %s", err, d)
		}
		time.Sleep(31 * time.Second)
		for range 2 { // a success ends it
			if d, err := attempt(nil); err != nil || d > time.Second {
				t.Errorf("later: %v after %s", err, d)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "*", "ci-*.refused")); len(left) > 0 {
			t.Errorf("the refusal is still noted in %v", left)
		}
	})
}

// TestSecondManager: on one host, the second plugin process of a group is told
// who is in its way, and changes nothing.
func TestSecondManager(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		first := start(t, sim, nil)
		asked := len(sim.Requests())
		_, err := configured(t, sim, nil).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("pid %d", os.Getpid())) {
			t.Errorf("the second: %v", err)
		}
		if n := len(sim.Requests()) - asked; n != 0 {
			t.Errorf("it sent %d requests", n)
		}
		if _, err := first.Init(t.Context(), hclog.NewNullLogger(), provider.Settings{}); err == nil || err.Error() != "Init was called twice in one process" {
			t.Errorf("Init again: %v", err)
		}
		if _, err := first.Increase(t.Context(), 1); err != nil {
			t.Errorf("the first is disturbed: %v", err)
		}
		_ = first.Shutdown(t.Context())
	})
}

// TestMaxSize: the configured one, else the account's; 0 would never scale.
func TestMaxSize(t *testing.T) {
	const (
		mustBeSet = "plugin_config.max_instances: must be set, since the account's Droplet limit "
		unread    = "read the account's Droplet limit, which counts where plugin_config.max_instances is not set: "
	)
	account := func(status int, body string) []dosim.Fault {
		return []dosim.Fault{{Op: "GET /v2/account", Status: status, Body: body, Times: -1}}
	}
	for _, tt := range []struct {
		name   string
		set    any
		faults []dosim.Fault
		want   int
		err    string
		warns  string
	}{
		{name: "the account's", want: 25},
		{name: "configured", set: 7, want: 7},
		{name: "more than the account's", set: 70, want: 70, warns: "max_instances is more than the account may have"},
		{name: "configured, account unreadable", set: 7, faults: account(403, ""), want: 7, warns: "the account's Droplet limit could not be read"},
		{name: "account unreadable", faults: account(403, ""), err: mustBeSet + "could not be read: GET /v2/account: 403 You are not authorized to perform this operation"},
		{name: "account down", faults: account(503, ""), err: unread + "GET /v2/account: 503 Service is not available."},
		{name: "account empty", faults: account(200, "{}"), err: unread + "GET /v2/account: the answer has no account"},
		{name: "account without a limit", faults: account(200, `{"account":{}}`), err: mustBeSet + "reads 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{DropletLimit: 25})
				defer sim.Close()
				sim.Inject(tt.faults...)
				g := configured(t, sim, options{"max_instances": tt.set})
				var book logBook
				info, err := g.Init(t.Context(), book.logger(), provider.Settings{})
				if tt.err != "" {
					if err == nil || !strings.HasPrefix(err.Error(), tt.err) {
						t.Errorf("got  %v\nwant %s", err, tt.err)
					}
					return
				}
				if err != nil || info.MaxSize != tt.want {
					t.Errorf("MaxSize %d, %v; want %d", info.MaxSize, err, tt.want)
				}
				if warned := len(book.lines("[WARN]")); (warned > 0) != (tt.warns != "") || warned > 0 && len(book.lines(tt.warns)) != 1 {
					t.Errorf("warnings %q, want %q", book.lines("[WARN]"), tt.warns)
				}
				_ = g.Shutdown(t.Context())
			})
		})
	}
}

// TestWrongToken: the first thing that a new user meets says what to mend.
func TestWrongToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "do-token")
	if err := os.WriteFile(file, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		o      options
		env    string
		source string
	}{
		{"in the config", options{"token": "wrong"}, "", "plugin_config.token"},
		{"in a file", options{"token": nil, "token_file": file}, "", "plugin_config.token_file " + file},
		{"in the environment", options{"token": nil}, "DIGITALOCEAN_TOKEN", "the environment variable DIGITALOCEAN_TOKEN"},
		{"in the other variable", options{"token": nil}, "DIGITALOCEAN_ACCESS_TOKEN", "the environment variable DIGITALOCEAN_ACCESS_TOKEN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ownState(t)
			t.Setenv("DIGITALOCEAN_TOKEN", "")
			t.Setenv("DIGITALOCEAN_ACCESS_TOKEN", "")
			if tt.env != "" {
				t.Setenv(tt.env, "wrong")
			}
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{})
				defer sim.Close()
				_, err := configured(t, sim, tt.o).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
				const refused = "GET /v2/account: 401 Unable to authenticate you "
				from := ": DigitalOcean refused the token. It came from " + tt.source + ": put a valid one there"
				if err == nil || !strings.HasPrefix(err.Error(), refused) || !strings.HasSuffix(err.Error(), from) {
					t.Errorf("got  %v\nwant %s...%s", err, refused, from)
				}
			})
		})
	}
}

// TestRotatedToken: a token file is read again after a 401.
func TestRotatedToken(t *testing.T) {
	ownState(t)
	file := filepath.Join(t.TempDir(), "do-token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(dosim.DefaultToken)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		g := start(t, sim, options{"token": nil, "token_file": file})
		sim.SetToken("rotated")
		write("rotated")
		if n, err := g.Increase(t.Context(), 2); n != 2 || err != nil {
			t.Errorf("Increase(2) = %d, %v", n, err)
		}
		if n := len(sim.Droplets()); n != 2 {
			t.Errorf("%d Droplets", n)
		}
		_ = g.Shutdown(t.Context())
	})
}

// TestMisfit: a configuration that cannot work on the account is refused, unless
// the group has Droplets: a refusal would leave those to nobody, and billed.
func TestMisfit(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    options
		want string
	}{
		{"an unknown size", options{"size": "s-1vcpu-1g"}, `plugin_config.size: DigitalOcean has no size "s-1vcpu-1g"; did you mean "s-1vcpu-1gb"`},
		{"a size that is sold out", options{"size": "m-2vcpu-16gb"}, "plugin_config: no combination of size, region and image can work:\n  m-2vcpu-16gb in nyc3: the size is not on offer there now; it is in no region\nIn nyc3 these sizes would work: s-1vcpu-1gb, "},
		{"a VPC elsewhere", options{"vpc_uuid": "00000064-0f0c-4000-8000-000000000064"}, "plugin_config.vpc_uuid: VPC 00000064-0f0c-4000-8000-000000000064 is in fra1, not in nyc3"},
		{"no VPC", options{"vpc_uuid": "00000064-0f0c-4000-8000-00000000ffff"}, "plugin_config.vpc_uuid: the account has no VPC 00000064-0f0c-4000-8000-00000000ffff"},
		{"no key", options{"ssh_keys": []any{1}}, "plugin_config.ssh_keys: the account has no key 1"},
		{"no image", options{"image": 5}, "plugin_config.image: the account has no image with the id 5"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{})
				defer sim.Close()
				_, err := configured(t, sim, tt.o).Init(t.Context(), hclog.NewNullLogger(), provider.Settings{})
				if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
					t.Errorf("got  %v\nwant %s", err, tt.want)
				}
				if len(sim.Keys()) > 0 {
					t.Errorf("it left keys: %v", sim.Keys())
				}

				time.Sleep(time.Minute)
				sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting", "fleeting-group:ci", "fleeting-run:aaaaaaaa"}, Created: time.Now().Add(-time.Hour)})
				g := configured(t, sim, tt.o)
				var book logBook
				if _, err := g.Init(t.Context(), book.logger(), provider.Settings{}); err != nil {
					t.Fatalf("with a Droplet: %v", err)
				}
				if len(book.lines("no Droplet can be created as configured")) != 1 {
					t.Error(book.String())
				}
				if shown := states(t, g); shown["ci-7k2m9qxa"] != provider.StateRunning {
					t.Errorf("shown %v", shown)
				}
				if ids, err := g.Decrease(t.Context(), []string{"ci-7k2m9qxa"}); len(ids) != 1 {
					t.Errorf("Decrease = %v, %v", ids, err)
				}
				_ = g.Shutdown(t.Context())
				time.Sleep(time.Minute)
				nothingLeft(t, sim)
			})
		})
	}
}

// TestInitIsCancelled: a runner that gives up is not waited for.
func TestInitIsCancelled(t *testing.T) {
	ownState(t)
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		sim.Inject(dosim.Fault{Op: "GET /v2/sizes", Hang: true, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var err error
		d := took(func() {
			_, err = configured(t, sim, nil).Init(ctx, hclog.NewNullLogger(), provider.Settings{})
		})
		if err == nil || d > 4*time.Second {
			t.Errorf("%v after %s", err, d)
		}
	})
}
