package dosim_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim/contract"
)

func TestValidator(t *testing.T) {
	const (
		request = `{"name": "ci-1", "ssh_keys": null, "volumes": null}`
		answer  = `{"droplet": {"id": 1, "next_backup_window": null, "networks": [{"gateway": null}]}}`
	)
	for what, test := range map[string]struct {
		target  string // "": /v2/droplets
		request string
		status  int
		answer  string
		fault   string // injected
		want    string // "": nothing is wrong
	}{
		"all is well, tolerated nulls included":  {"", request, 202, answer, "", ""},
		"the answer lacks a property":            {"", request, 202, `{"droplet": {"next_backup_window": null}}`, "", "answer: "},
		"the answer has another null":            {"", request, 202, strings.Replace(answer, `"id": 1`, `"id": null`, 1), "", "answer: "},
		"the answer is not JSON":                 {"", request, 202, `oops`, "", "answer: "},
		"the error lacks its id":                 {"", request, 422, `{"message": "no"}`, "", "answer: "},
		"a wrong request is accepted":            {"", `{"names": []}`, 202, answer, "", "request: "},
		"a wrong request is refused":             {"", `{"names": []}`, 422, `{"id": "x", "message": "no"}`, "", ""},
		"a wrong answer that a fault made":       {"", request, 503, `<html>`, "outage", ""},
		"an operation that is not specified":     {"/v2/else", request, 202, answer, "", "no such operation"},
		"an unspecified operation that is a 404": {"/v2/else", request, 404, `{}`, "", ""},
	} {
		t.Run(what, func(t *testing.T) {
			v, err := contract.New(filepath.Join("testdata", "tiny.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			handler := v.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if test.fault != "" {
					w.Header().Set(dosim.FaultHeader, test.fault)
				}
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.answer)
			}))
			w := httptest.NewRecorder()
			r := httptest.NewRequest("POST", "https://api.digitalocean.com/v2/droplets", strings.NewReader(test.request))
			if test.target != "" {
				r.URL.Path = test.target
			}
			r.Header.Set("Content-Type", "application/json")
			handler.ServeHTTP(w, r)
			if w.Code != test.status || w.Body.String() != test.answer {
				t.Errorf("the client saw %d %s", w.Code, w.Body)
			}
			got := strings.Join(v.Faults(), "\n")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

func TestNewRefusesWhatIsNotTheSpecification(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.yaml")
	if err := os.WriteFile(empty, []byte("openapi: 3.0.0\ninfo: {title: x, version: '1'}\npaths: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"testdata/missing.yaml": "no such file",
		empty:                   "is this DigitalOcean's specification?",
	} {
		if _, err := contract.New(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}
