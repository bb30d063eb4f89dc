package dosim_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestScripts runs testdata/scripts, in virtual time and held to the specification. A script has one command a line:
//
//	options JSON        a new account, with these dosim.Options; a script begins with an ordinary one
//	METHOD PATH [JSON]  a request
//	create JSON         a create as any other, but for what the JSON says
//	-> STATUS [TEXT]    the answer, with the text in its headers or its body
//	->! STATUS TEXT     the answer, without the text
//	fault FAULT         injects it
//	sleep D
//	billed NAMES        the Droplets that exist
//	dollars D           what all have cost
//	violations [TEXT]   just one, with the text; or none
//
// and what a person does (hands).
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts: ", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s := script{T: t}
				s.run("options", "{}")
				for i, line := range strings.Split(string(text), "\n") {
					if command, arg, _ := strings.Cut(line, " "); command != "" && command != "#" {
						s.line = fmt.Sprintf("%d: %s", i+1, line)
						s.run(command, arg)
					}
				}
			})
		})
	}
}

type script struct {
	*testing.T
	line   string
	sim    *dosim.Sim
	api    http.Handler
	answer *httptest.ResponseRecorder
}

// hands are what a person does on the account: by id, or with JSON.
var hands = map[string]func(s *script, id int, arg string){
	"poweroff": func(s *script, id int, _ string) { s.sim.PowerOff(id) },
	"poweron":  func(s *script, id int, _ string) { s.sim.PowerOn(id) },
	"lock":     func(s *script, id int, _ string) { s.sim.Lock(id, true) },
	"unlock":   func(s *script, id int, _ string) { s.sim.Lock(id, false) },
	"rename":   func(s *script, id int, name string) { s.sim.Rename(id, name) },
	"tag":      func(s *script, id int, tag string) { s.sim.Tag(id, tag) },
	"untag":    func(s *script, id int, tag string) { s.sim.Untag(id, tag) },
	"destroy":  func(s *script, id int, _ string) { s.sim.Destroy(id) },
	"limit":    func(s *script, n int, _ string) { s.sim.SetDropletLimit(n) },
	"add":      func(s *script, _ int, arg string) { s.sim.AddDroplet(decoded[dosim.Droplet](s, arg)) },
	"image":    func(s *script, _ int, arg string) { s.sim.AddImage(decoded[dosim.Image](s, arg)) },
	"account": func(s *script, _ int, arg string) {
		s.sim.SetAccount(func(a *dosim.Account) { *a = decoded[dosim.Account](s, arg) })
	},
	"key":   func(s *script, _ int, name string) { s.sim.AddKey(name, publicKey) },
	"cured": func(s *script, _ int, _ string) { s.sim.ClearFaults() },
}

func decoded[T any](s *script, text string) (v T) {
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		s.Fatalf("%s: %v", s.line, err)
	}
	return v
}

func (s *script) run(command, arg string) {
	arg = strings.ReplaceAll(arg, "PUBLICKEY", publicKey)
	switch command {
	case "options":
		s.sim = dosim.New(decoded[dosim.Options](s, arg))
		s.Cleanup(s.sim.Close)
		s.api = specified(s.T, s.sim)
	case "create":
		body := map[string]any{"region": "fra1", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64"}
		maps.Copy(body, decoded[map[string]any](s, arg))
		if body["names"] == nil && body["name"] == nil {
			body["name"] = "ci-1"
		}
		text, _ := json.Marshal(body)
		s.send("POST", "/v2/droplets", string(text))
	case "->", "->!":
		status, text, _ := strings.Cut(arg, " ")
		got := []string{s.answer.Body.String()}
		for key := range s.answer.Header() {
			got = append(got, key+": "+s.answer.Header().Get(key))
		}
		found := slices.ContainsFunc(got, func(part string) bool { return strings.Contains(part, text) })
		if strconv.Itoa(s.answer.Code) != status || found != (command == "->") {
			s.Errorf("%s: got %d %s", s.line, s.answer.Code, strings.Join(got, "\n"))
		}
	case "fault":
		f, err := dosim.ParseFault(arg)
		if err != nil {
			s.Fatalf("%s: %v", s.line, err)
		}
		s.sim.Inject(f)
	case "sleep":
		d, err := time.ParseDuration(arg)
		if err != nil {
			s.Fatalf("%s: %v", s.line, err)
		}
		time.Sleep(d)
	case "dollars":
		if got := fmt.Sprint(s.sim.Dollars()); got != arg {
			s.Errorf("%s: got %s", s.line, got)
		}
	case "billed":
		if got := billed(s.sim); got != arg {
			s.Errorf("%s: got %q", s.line, got)
		}
	case "violations":
		got := s.sim.Violations()
		if len(got) > 1 || (len(got) == 0) != (arg == "") || !strings.Contains(strings.Join(got, ""), arg) {
			s.Errorf("%s: got %q", s.line, got)
		}
	case "GET", "POST", "DELETE":
		path, body, _ := strings.Cut(arg, " ")
		s.send(command, path, body)
	default:
		do := hands[command]
		if do == nil {
			s.Fatalf("%s: no such command", s.line)
		}
		first, rest, _ := strings.Cut(arg, " ")
		id, err := strconv.Atoi(first)
		if err != nil {
			rest = arg
		}
		do(s, id, rest)
	}
}

func (s *script) send(method, path, body string) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	r.Header.Set("Content-Type", "application/json")
	s.answer = httptest.NewRecorder()
	s.api.ServeHTTP(s.answer, r)
}

// billed are the names of the Droplets that exist.
func billed(sim *dosim.Sim) string {
	var names []string
	for _, d := range sim.Droplets() {
		names = append(names, d.Name)
	}
	return strings.Join(names, " ")
}
