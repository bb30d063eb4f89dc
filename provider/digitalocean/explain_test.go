package digitalocean

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A 403 does not say which scope is missing: all that the request needs are named, or
// people would add one after the other.
func TestForbiddenNamesEveryScope(t *testing.T) {
	for op, want := range map[string]string{
		opCreate:              "lacks one or more of the scopes that this needs: droplet:create, droplet:read, tag:create, image:read, sizes:read, regions:read, actions:read",
		opDelete:              "lacks a scope that this needs, droplet:delete",
		"POST /v2/unheard-of": "lacks a scope that this needs",
	} {
		err := Explain(&ig.CloudError{Class: ig.ErrForbidden, Op: op, Status: 403, Message: "no"}, "the file")
		if !errors.Is(err, ig.ErrForbidden) || !strings.HasSuffix(err.Error(), ": the token from the file "+want) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// Init refuses a token without tag:read by this, and says what is missing.
func TestCheckTagRead(t *testing.T) {
	sim, c := simulated(t)
	sim.AddTag("fleeting")
	for _, tag := range []string{"fleeting", "of-nothing"} {
		if err := c.CheckTagRead(t.Context(), tag); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
	}
	sim.Inject(dosim.Fault{Op: opGetTag, Status: 403})
	err := Explain(c.CheckTagRead(t.Context(), "fleeting"), "the file")
	if !errors.Is(err, ig.ErrForbidden) || !strings.HasSuffix(err.Error(), "lacks a scope that this needs, tag:read") {
		t.Error(err)
	}
}

// Every class of error that a person can do something about has a hint of its own.
func TestHint(t *testing.T) {
	for class, want := range map[error]string{
		ig.ErrRateLimited:  "try again in 20s",
		ig.ErrUnsent:       "api_url",
		ig.ErrUnauthorized: "cloud.digitalocean.com/account/api/tokens",
		ig.ErrForbidden:    "doctor shows which scopes",
		ig.ErrOtherAccount: "put a token of the team",
		ig.ErrUnconfirmed:  "status.digitalocean.com",
	} {
		if got := Hint(&ig.CloudError{Class: class, RetryAfter: 20 * time.Second}); !strings.Contains(got, want) {
			t.Errorf("%v: %q", class, got)
		}
	}
	if got := Hint(errors.New("another")); got != "" {
		t.Errorf("of another error: %q", got)
	}
	if err := Explain(&ig.CloudError{Class: ig.ErrOtherAccount}, "the file"); !strings.HasSuffix(err.Error(), "the token comes from the file") {
		t.Error(err)
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
	spans := func(cell string) (all []string) {
		for _, s := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			all = append(all, s[1])
		}
		return all
	}
	for row := range strings.Lines(table) {
		columns := strings.Split(row, "|")
		if len(columns) < 5 {
			continue
		}
		if strings.TrimSpace(columns[1]) == "every group" {
			every = spans(columns[2])
		}
		for _, op := range spans(columns[3]) {
			documented[op] = append(documented[op], append(spans(columns[2]), every...)...)
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
			if !slices.ContainsFunc(probes, func(p probe) bool { return p.scope == s }) {
				t.Errorf("doctor does not know the scope %s of %s", s, op)
			}
		}
	}
	if len(documented) != len(scopesOf) {
		t.Errorf("%d operations in the docs, %d with scopes: %v", len(documented), len(scopesOf), fmt.Sprint(documented))
	}
}
