package harness

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"

func TestChecksFindEachFault(t *testing.T) {
	type run struct {
		Report
		sim     *dosim.Sim
		planned int
		faults  []string
	}
	for want, spoil := range map[string]func(*run){ // by the one check that fails
		"": func(r *run) { r.sim.AddKey("fleeting-ci-static", publicKey); r.sim.AddTag("fleeting-group:ci") },
		"1 of 2 jobs did not run exactly once: job 2: dialing ci-1: refused":                   func(r *run) { r.Jobs[1].Error = "dialing ci-1: refused" },
		"1 of 2 jobs did not run exactly once: job 1 ran 2 times":                              func(r *run) { r.Jobs[0].Runs = 2 },
		"2 of 4 jobs did not run exactly once: job 3 was never queued; job 4 was never queued": func(r *run) { r.planned = 4 },
		"at most 2 Droplets at once, max_instances is 1":                                       func(r *run) { r.MaxInstances = 1 },
		"no Droplet is left or billed, but found 6: a; b; c; d; e; and 1 more": func(r *run) {
			for _, name := range strings.Split("abcdef", "") {
				r.sim.AddDroplet(dosim.Droplet{Name: name})
			}
		},
		"no generated SSH key is left on the account, but found 1: fleeting-ci-x": func(r *run) { r.sim.AddKey("fleeting-ci-x", publicKey) },
		"no delete tag is left on the account, but found 1: fleeting-delete:x":    func(r *run) { r.sim.AddTag("fleeting-delete:x") },
		"no rule of the API was broken, but found 1: GET /x came by HTTP/2.0, which repeats requests by itself": func(r *run) {
			request(r.sim, "GET", "/x", "HTTP/2.0")
			request(r.sim, "GET", "/y", "HTTP/2.0")
		},
		`no rule of the API was broken, but found 1: 2000-01-01T00:00:00Z deleted by the tag "ci-golden", which does not begin with "fleeting-delete:"`: func(r *run) {
			request(r.sim, "DELETE", "/v2/droplets?tag_name=ci-golden", "HTTP/1.1")
		},
		"interrupted": func(r *run) { r.faults = []string{"interrupted"} },
	} {
		r := run{sim: dosim.New(dosim.Options{Now: func() time.Time { return y2k }}), planned: 2}
		r.Jobs, r.MaxInstances = []JobResult{{ID: 1, Runs: 1}, {ID: 2, Runs: 1}}, 2
		r.Droplets = []Droplet{{Created: 1, Gone: 3}, {Created: 2, Gone: 4}}
		spoil(&r)
		findings, faults := (&account{sim: r.sim}).findings()
		r.addChecks(r.planned, findings, append(faults, r.faults...))
		var got []string
		for _, c := range r.Checks {
			if !c.OK {
				got = append(got, c.Text)
			}
		}
		if strings.Join(got, "\n") != want || r.OK() != (want == "") {
			t.Errorf("failed checks:\n%s\nwant:\n%s", strings.Join(got, "\n"), want)
		}
	}
}

func request(h http.Handler, method, target, proto string) {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	r.Proto = proto
	h.ServeHTTP(httptest.NewRecorder(), r)
}

var y2k = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
