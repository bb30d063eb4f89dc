package digitalocean

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// everyScope is all that can be asked for.
func everyScope() (names []string) {
	for _, p := range probes {
		names = append(names, p.scope)
	}
	return names
}

// Finding out the scopes changes nothing on an account with something to lose, and
// would not if each request were carried out.
func TestScopesChangeNothing(t *testing.T) {
	sim, c := simulated(t)
	sim.AddKey("a person's", somePublic)
	sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting", "fleeting-group:ci"}})
	sim.AddDroplet(dosim.Droplet{Name: "web", Tags: []string{"no-tag"}})
	look := func() string {
		return fmt.Sprintf("%+v\n%+v\n%v\n%v", sim.Droplets(), sim.Keys(), sim.Tags(), sim.Violations())
	}
	before := look()

	scopes, err := c.Scopes(t.Context(), everyScope()...)
	if err != nil {
		t.Fatal(err)
	}
	if len(scopes) != len(probes) {
		t.Errorf("%d scopes of %d", len(scopes), len(probes))
	}
	for _, s := range scopes {
		if s.Missing || s.Unknown != "" {
			t.Errorf("%+v", s)
		}
	}
	if diff := cmp.Diff(before, look()); diff != "" {
		t.Errorf("the account before (-) and after (+):\n%s", diff)
	}
	for _, r := range sim.Requests() {
		if r.Method != http.MethodGet && r.Status < 400 {
			t.Errorf("%s %s was carried out", r.Method, r.Path)
		}
	}
	for _, p := range probes {
		if strings.HasPrefix(p.op, "DELETE") && !strings.HasSuffix(p.op, "/0") && !strings.Contains(p.op, "%20") {
			t.Errorf("%s may have a target", p.op)
		}
	}
}

// A scope is missing if and only if its own request is answered with 403.
func TestScopes(t *testing.T) {
	for _, p := range probes {
		t.Run(p.scope, func(t *testing.T) {
			c := over(t, answering(func(r *http.Request) (*http.Response, error) {
				op, _, _ := strings.Cut(p.op, "?")
				status := http.StatusNotFound
				if r.Method+" "+r.URL.EscapedPath() == op {
					status = http.StatusForbidden
				}
				return answer(status, `{"id":"x","message":"You are not authorized to perform this operation"}`), nil
			}))
			scopes, err := c.Scopes(t.Context(), everyScope()...)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range scopes {
				if s.Missing != (s.Name == p.scope) || s.Unknown != "" {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// What is no clear answer is none; a token that is refused altogether is an error.
func TestScopesUnclear(t *testing.T) {
	n := 0
	scopes, err := over(t, always(&n, http.StatusTeapot, `{"message":"short and stout"}`)).Scopes(t.Context(), "droplet:create")
	if err != nil || len(scopes) != 1 || scopes[0].Missing || !strings.Contains(scopes[0].Unknown, "short and stout") {
		t.Errorf("%+v %v", scopes, err)
	}
	if _, err := over(t, always(&n, http.StatusUnauthorized, `{"message":"Unable to authenticate you"}`)).Scopes(t.Context(), "droplet:create"); err == nil {
		t.Error("a refused token is no error")
	}
	if scopes, err := over(t, always(&n, 200, `{}`)).Scopes(t.Context(), "no:scope"); err != nil || len(scopes) != 0 {
		t.Errorf("%+v %v", scopes, err)
	}
}
