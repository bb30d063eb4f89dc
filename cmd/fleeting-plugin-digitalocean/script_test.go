package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/state"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fleeting-plugin-digitalocean": main, "manager": manager})
}

// TestScripts runs the commands as a person does, against a simulated account. Each
// script says what it proves.
func TestScripts(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata/script", setUp)
}

// TestBoot is the same for what really boots a Droplet, which takes its time.
func TestBoot(t *testing.T) {
	t.Parallel()
	runScripts(t, "testdata/boot", setUpGuests)
}

func runScripts(t *testing.T, dir string, setUp func(*testscript.Env) error) {
	// Whoever runs the tests may ignore it, as nohup does, and the commands would
	// inherit that: what is caught here they get as it is by default.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		Setup:               setUp,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "expand": expand, "droplet": addDroplet, "key": addKey, "fault": inject,
			"poweroff": powerOff, "await": await, "asked": asked, "appears": appears, "signal": send, "truth": truth, "calm": calm,
			"person": person, "foreign": addForeign,
		},
	})
}

// quick is a world in which little time passes. Its clock is not this host's: ages are by DigitalOcean's.
var quick = dosim.Options{BootTime: time.Second, DeleteTime: 100 * time.Millisecond, Now: itsNow}

func itsNow() time.Time { return time.Now().Add(-1000 * time.Hour) }

// setUp gives a script an account of its own, whose token is in the file token, and a
// state directory, which does not exist yet.
func setUp(env *testscript.Env) error { return setUpAccount(env, quick) }

func setUpAccount(env *testscript.Env, o dosim.Options) error {
	sim := dosim.New(o)
	server := httptest.NewServer(sim)
	env.Defer(func() {
		server.Close()
		sim.Close()
	})
	env.Values[simKey] = sim
	env.Setenv("DIGITALOCEAN_API_URL", server.URL)
	env.Setenv("OTHER_API_URL", strings.Replace(server.URL, "127.0.0.1", "localhost", 1)) // of the same account
	env.Setenv("XDG_STATE_HOME", env.Getenv("WORK")+"/.state")
	env.Setenv("STATE_DIRECTORY", "")
	env.Setenv("HOME", env.Getenv("WORK"))
	env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command waits for a second
	env.Setenv("TOKEN", dosim.DefaultToken)
	root, err := filepath.Abs("../..") // of the repository
	env.Setenv("ROOT", root)
	return err
}

// setUpGuests lets an SSH server boot in every Droplet, too, on the port PORT.
func setUpGuests(env *testscript.Env) error {
	fleet, err := guest.NewFleet(guest.Options{})
	if err != nil {
		return err
	}
	env.Defer(func() { _ = fleet.Close() }) // its directory is temporary
	env.Setenv("PORT", strconv.Itoa(fleet.Port()))
	o := quick
	first := int(worlds.Add(1)) * 100 // scripts run at the same time
	o.Now = nil
	o.Address = func(n int) (public, private netip.Addr) { return dosim.LoopbackAddress(first + n) }
	o.Hooks = fleet.Hooks("", time.Until, func(dosim.Droplet, error) {})
	o.PerMinute = -1 // a script is a day's work in a minute
	return setUpAccount(env, o)
}

var worlds atomic.Int32

// exits is `exits CODE COMMAND...`: it ends with that exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// expand is `expand FILE`: variables in it are replaced by their values.
func expand(ts *testscript.TestScript, _ bool, args []string) {
	text := os.Expand(ts.ReadFile(args[0]), func(name string) string {
		if name == "$" {
			return name
		}
		return ts.Getenv(name)
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

const simKey = "sim"

func simOf(ts *testscript.TestScript) *dosim.Sim { return ts.Value(simKey).(*dosim.Sim) }

// addDroplet is `droplet NAME GROUP [AGE [TAG...]]`: one that the plugin has made.
func addDroplet(ts *testscript.TestScript, _ bool, args []string) {
	age := time.Duration(0)
	if len(args) > 2 {
		var err error
		age, err = time.ParseDuration(args[2])
		ts.Check(err)
	}
	tags := []string{"fleeting", "fleeting-group:" + args[1]}
	if len(args) > 3 {
		tags = append(tags, args[3:]...)
	}
	simOf(ts).AddDroplet(dosim.Droplet{Name: args[0], Created: itsNow().Add(-age), Tags: tags,
		Size: "s-1vcpu-1gb", Region: "fra1"})
}

// addForeign is `foreign NAME GROUP IMAGE`: a Droplet, of an image of its own, that somebody tagged. Both names may
// have escapes, as Go writes them.
func addForeign(ts *testscript.TestScript, _ bool, args []string) {
	for i := range args {
		var err error
		args[i], err = strconv.Unquote(`"` + args[i] + `"`)
		ts.Check(err)
	}
	sim := simOf(ts)
	sim.AddImage(dosim.Image{Slug: &args[2], Name: args[2]})
	sim.AddDroplet(dosim.Droplet{Name: args[0], Tags: []string{"fleeting", "fleeting-group:" + args[1]}, Image: args[2], Size: "s-1vcpu-1gb", Region: "fra1"})
}

// addKey is `key NAME`: one that a plugin has uploaded.
func addKey(ts *testscript.TestScript, _ bool, args []string) {
	api, err := digitalocean.New(digitalocean.Options{
		URL: "https://api.digitalocean.com", Transport: simOf(ts).Transport(),
		Token: func() (string, error) { return dosim.DefaultToken, nil },
	})
	ts.Check(err)
	pub, _, err := ed25519.GenerateKey(nil)
	ts.Check(err)
	key, err := ssh.NewPublicKey(pub)
	ts.Check(err)
	ts.Check(api.UploadKey(context.Background(), args[0], string(ssh.MarshalAuthorizedKey(key))))
}

// inject is `fault SPEC`, as dosim's flag has it.
func inject(ts *testscript.TestScript, _ bool, args []string) {
	f, err := dosim.ParseFault(strings.Join(args, " "))
	ts.Check(err)
	simOf(ts).Inject(f)
}

// calm is `calm`: no more faults.
func calm(ts *testscript.TestScript, _ bool, _ []string) { simOf(ts).ClearFaults() }

// powerOff is `poweroff NAME`.
func powerOff(ts *testscript.TestScript, _ bool, args []string) {
	sim := simOf(ts)
	for _, d := range sim.Droplets() {
		if d.Name == args[0] {
			sim.PowerOff(d.ID)
		}
	}
}

// manager is what a script runs beside the commands: `manager hold GROUP FILE` is a
// plugin process that manages a group, until it is interrupted, and has written FILE once it
// does; `manager ran GROUP RUN` is a run that was killed.
func manager() {
	s, err := state.Open(context.Background(), hclog.NewNullLogger(), os.Getenv("DIGITALOCEAN_API_URL"), os.Args[2])
	if err == nil && os.Args[1] == "ran" {
		s.Begin(os.Args[3], "")
		s.Drop()
	} else if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err = os.WriteFile(os.Args[3], []byte("it does"), 0o600); err == nil {
			<-ctx.Done()
		}
		s.Drop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// await is `await FILE [TEXT]`: until something, or that, is in the file.
func await(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, func() bool {
		content, _ := os.ReadFile(ts.MkAbs(args[0]))
		return len(content) > 0 && strings.Contains(string(content), strings.Join(args[1:], " "))
	})
}

// asked is `asked N OPERATION`: until that has been asked for so often; with +N so many
// times more.
func asked(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	sim := simOf(ts)
	if strings.HasPrefix(args[0], "+") {
		n += sim.RequestCounts()[args[1]]
	}
	until(ts, func() bool { return sim.RequestCounts()[args[1]] >= n })
}

// appears is `appears TEXT`: until truth prints it.
func appears(ts *testscript.TestScript, _ bool, args []string) {
	until(ts, func() bool {
		var now strings.Builder
		survey(simOf(ts), &now)
		return strings.Contains(now.String(), args[0])
	})
}

// until waits for something, for 20 seconds.
func until(ts *testscript.TestScript, done func() bool) {
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-deadline:
			ts.Fatalf("in vain")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// send is `signal GROUP NAME`: to the process that manages the group.
func send(ts *testscript.TestScript, _ bool, args []string) {
	found, err := filepath.Glob(filepath.Join(ts.Getenv("XDG_STATE_HOME"), "fleeting-plugin-digitalocean", args[0]+"-*.lock"))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("nobody manages %s", args[0])
	}
	var holder struct{ PID int }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(found[0])), &holder))
	p, err := os.FindProcess(holder.PID)
	ts.Check(err)
	ts.Check(p.Signal(map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[args[1]]))
}

// truth prints what is really on the account.
func truth(ts *testscript.TestScript, _ bool, _ []string) { survey(simOf(ts), ts.Stdout()) }

func survey(sim *dosim.Sim, out io.Writer) {
	for _, d := range sim.Droplets() {
		fmt.Fprintf(out, "Droplet %s\n", d.Name)
	}
	for _, k := range sim.Keys() {
		fmt.Fprintf(out, "key %s\n", k.Name)
	}
	for _, tag := range sim.Tags() {
		if !strings.HasPrefix(tag, "fleeting") {
			continue // the snapshot's
		}
		fmt.Fprintf(out, "tag %s\n", tag)
	}
	for _, v := range sim.Violations() {
		fmt.Fprintf(out, "VIOLATION %s\n", v)
	}
}
