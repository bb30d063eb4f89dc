package digitalocean

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	ig "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// What a person is told: where the token comes from, every scope that a request needs,
// since DigitalOcean does not say which is missing, and what to do next.
func TestExplain(t *testing.T) {
	c := newClient(t, Options{Source: "the file"})
	for _, tt := range []struct {
		op       string
		class    error
		end      string // of the error
		wantHint string // a part
	}{
		{opDelete, ig.ErrForbidden, "x: the token from the file lacks a scope that this needs, droplet:delete", "doctor shows which scopes"},
		{opSizes, ig.ErrForbidden, "x: the token from the file lacks a scope that this needs, sizes:read or regions:read", "doctor shows which scopes"},
		{"GET /v2/actions", ig.ErrForbidden, "x", "doctor shows which scopes"},
		{opGet, ig.ErrUnauthorized, "x: the token comes from the file: put a valid one there", "cloud.digitalocean.com/account/api/tokens"},
		{opGet, ig.ErrOtherAccount, "x: the token comes from the file", "try again"},
		{opGet, ig.ErrRateLimited, "x", "try again in 20s"},
		{opGet, ig.ErrUnsent, "x", "api_url"},
		{opGet, ig.ErrUnconfirmed, "x", "status.digitalocean.com"},
	} {
		err := c.fail(tt.op, &ig.CloudError{Class: tt.class, RetryAfter: 20 * time.Second, Message: "x"})
		if hint := Hint(err); !errors.Is(err, tt.class) || !strings.HasSuffix(err.Error(), tt.end) || !strings.Contains(hint, tt.wantHint) {
			t.Errorf("%s: %v; %s", tt.op, err, hint)
		}
	}
	if hint := Hint(errors.New("another")); hint != "" {
		t.Error(hint)
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
