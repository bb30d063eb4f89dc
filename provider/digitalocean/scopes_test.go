package digitalocean

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
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
	if err != nil {
		t.Fatal(err)
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
	for name, p := range probes {
		c := over(t, answering(func(r *http.Request) (*http.Response, error) {
			op, _, _ := strings.Cut(p.op, "?")
			status := http.StatusNotFound
			if r.Method+" "+r.URL.EscapedPath() == op {
				status = http.StatusForbidden
			}
			return answer(status, `{"id":"x"}`), nil
		}))
		scopes, err := c.Scopes(t.Context(), everyScope()...)
		if err != nil || len(scopes) != len(probes) {
			t.Fatalf("%d scopes, %v", len(scopes), err)
		}
		for _, s := range scopes {
			if s.Missing != (s.Name == name) || s.Unknown != "" {
				t.Errorf("without %s: %+v", name, s)
			}
		}
	}
}

// What is no clear answer is none; a token that is refused altogether is an error.
func TestScopesUnclear(t *testing.T) {
	for _, tt := range []struct {
		status int
		want   []Scope // nil = an error
	}{
		{http.StatusTeapot, []Scope{{Name: "vpc:read", Asked: "GET /v2/vpcs?per_page=1", Unknown: "GET /v2/vpcs?per_page=1: 418 No."}}},
		{http.StatusUnauthorized, nil},
	} {
		scopes, err := over(t, always(new(int), tt.status, `{"message":"No."}`)).Scopes(t.Context(), "vpc:read")
		if diff := cmp.Diff(tt.want, scopes); diff != "" || (err != nil) != (tt.want == nil) {
			t.Errorf("%d: %v\n%s", tt.status, err, diff)
		}
	}
}

// Every operation has its scopes, which are in docs/security.md, in the rows that have
// the operation or that are for every group.
func TestScopesOfEveryOperation(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| for | scopes |")
	table, _, _ = strings.Cut(table, "\n\n")
	documented := map[string][]string{}
	var every []string
	spans := func(cell string) []string {
		return strings.FieldsFunc(strings.Join(regexp.MustCompile("`[^`]+`").FindAllString(cell, -1), ""), func(r rune) bool { return r == '`' })
	}
	for row := range strings.Lines(table) {
		columns := strings.Split(row, "|")
		if len(columns) < 5 {
			continue
		}
		scopes := spans(columns[2])
		if strings.TrimSpace(columns[1]) == "every group" {
			every = scopes
		}
		for _, op := range spans(columns[3]) {
			documented[op] = append(documented[op], append(scopes, every...)...)
		}
	}
	for op, row := range documented {
		if len(scopesOf[op]) == 0 {
			t.Errorf("%s has no scopes", op)
		}
		for _, s := range scopesOf[op] {
			if !slices.Contains(row, s) {
				t.Errorf("%s needs %s, and its row has %v", op, s, row)
			}
			if !slices.Contains(everyScope(), s) {
				t.Errorf("doctor does not know the scope %s of %s", s, op)
			}
		}
	}
	if len(documented) != len(scopesOf) {
		t.Errorf("%d operations in the docs, %d with scopes", len(documented), len(scopesOf))
	}
}
