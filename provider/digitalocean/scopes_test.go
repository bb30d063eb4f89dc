package digitalocean

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// everyScope is all that can be asked for.
func everyScope() []string {
	return slices.Sorted(maps.Keys(probes))
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
	if diff := cmp.Diff(before, look()); err != nil || diff != "" {
		t.Errorf("%v; the account before (-) and after (+):\n%s", err, diff)
	}
	for _, s := range scopes {
		if s.Missing || s.Unknown != "" {
			t.Errorf("%+v", s)
		}
	}
	for _, r := range sim.Requests() {
		if r.Method != http.MethodGet && r.Status < 400 {
			t.Errorf("%s %s was carried out", r.Method, r.Path)
		}
	}
	for _, p := range probes {
		if strings.HasPrefix(p, "DELETE") && !strings.HasSuffix(p, "/0") && !strings.Contains(p, "%20") {
			t.Errorf("%s may have a target", p)
		}
	}
}

// A scope is missing if and only if its own request is answered with 403. What is no clear
// answer is none; a token that is refused altogether is an error.
func TestScopes(t *testing.T) {
	for name, p := range probes {
		op, _, _ := strings.Cut(p, "?")
		for status, want := range map[int]Scope{403: {name, p, true, ""}, 418: {name, p, false, p + ": 418 No."}, 422: {name, p, false, ""}} {
			c := over(t, answering(func(r *http.Request) (*http.Response, error) {
				if r.Method+" "+r.URL.EscapedPath() != op {
					return answer(404, `{"id":"x","message":"No."}`), nil
				}
				return answer(status, `{"id":"x","message":"No."}`), nil
			}))
			scopes, err := c.Scopes(t.Context(), everyScope()...)
			if err != nil || len(scopes) != len(probes) {
				t.Fatalf("%d scopes, %v", len(scopes), err)
			}
			for _, s := range scopes {
				if s.Name == name && s != want || s.Name != name && (s.Missing || s.Unknown != "") {
					t.Errorf("%s answered %d: %+v", p, status, s)
				}
			}
		}
	}
	if scopes, err := over(t, always(new(int), 401, `{"id":"x","message":"No."}`)).Scopes(t.Context(), "vpc:read"); err == nil || scopes != nil {
		t.Errorf("%+v, %v", scopes, err)
	}
}

// Every operation has its scopes, which are in docs/security.md, in the row that has
// the operation or in the one for every group.
func TestScopesOfEveryOperation(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| for | scopes |")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")
	every := rows[slices.IndexFunc(rows, func(row string) bool { return strings.Contains(row, "every group") })]
	for op, scopes := range scopesOf {
		row := strings.Join(slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return !strings.Contains(row, "`"+op+"`") }), "")
		for _, s := range scopes {
			if row == "" || !strings.Contains(row+every, "`"+s+"`") || probes[s] == "" {
				t.Errorf("%s needs %s: documented in %q, asked for by %q", op, s, row, probes[s])
			}
		}
		table = strings.ReplaceAll(table, "`"+op+"`", "")
	}
	if strings.Contains(table, " /v2/") {
		t.Errorf("operations without scopes: %s", table)
	}
}
