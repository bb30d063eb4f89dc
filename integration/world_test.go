package integration

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
)

// specification holds every request of the plugin, and every answer, to
// DigitalOcean's OpenAPI file; nil where that file is not at hand.
var specification *contract.Validator

func TestMain(m *testing.M) {
	var err error
	path := os.Getenv(contract.Env)
	if os.Getenv(gitLabRunnerEnv) != "" {
		err = beGitLabRunner(os.Args[1:]) // see docs_session_test.go
	} else if path != "" {
		specification, err = contract.New(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	} else if os.Getenv(gitLabRunnerEnv) != "" {
		return
	}
	code := simulated.Main(m)
	if path == "" {
		fmt.Printf("not checked against DigitalOcean's specification: set %s to the path of %s\n", contract.Env, contract.Source)
	} else {
		fmt.Printf("%d requests checked against DigitalOcean's specification\n", specification.Checked())
		for _, f := range specification.Faults() {
			fmt.Fprintln(os.Stderr, "against DigitalOcean's specification:", f)
			code = 1
		}
	}
	os.Exit(code)
}

// long is for tests of releases and of the docs' commands, which take minutes.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("TEST_LONG") == "" {
		t.Skip("make verify runs it, with TEST_LONG=1")
	}
}

// world is a simulated account.
type world struct{ *simulated.Account }

// newWorld makes a world. Its plugins ask through wrap, if one is given.
func newWorld(t *testing.T, o dosim.Options, wrap ...func(http.Handler) http.Handler) *world {
	t.Helper()
	if specification != nil {
		wrap = append([]func(http.Handler) http.Handler{specification.Wrap}, wrap...)
	}
	return &world{simulated.Open(t, o, guest.Options{}, "", wrap...)}
}

// config is a plugin_config for the world.
func (w *world) config(more map[string]any) map[string]any {
	c := map[string]any{
		"name": "ci", "api_url": w.URL, "token": dosim.DefaultToken,
		"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
		"max_instances": 10,
	}
	maps.Copy(c, more)
	return c
}

// assertNothingLeft fails if the account has anything that costs, or is left over, once what was accepted is done.
func (w *world) assertNothingLeft(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); len(w.Left()) > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", w.Left())
		}
	}
	for _, v := range w.Sim.Violations() {
		t.Errorf("the simulator saw: %v", v)
	}
}
