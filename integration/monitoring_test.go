package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Each alert goes by metrics that there are, leads to a part of the docs that there is, names lines of the log that
// there are, and has a test.
func TestAlerts(t *testing.T) {
	t.Parallel()
	const base = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/"
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, "examples/monitoring/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("%+v", file)
	}
	logged := strings.Join(slices.Collect(maps.Keys(logLines(t))), "\n")
	tests := readDoc(t, "examples/monitoring/alerts_test.yml")
	for _, a := range file.Groups[0].Rules {
		for _, u := range unknownIn(a.Expr) {
			t.Errorf("%s: %s", a.Alert, u)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) || a.Annotations["summary"] == "" {
			t.Errorf("%s: labels %v, annotations %v", a.Alert, a.Labels, a.Annotations)
		}
		url := a.Annotations["runbook_url"]
		page, heading, _ := strings.Cut(strings.TrimPrefix(url, base), "#")
		if !strings.HasPrefix(url, base) || !slices.Contains(headings(readDoc(t, page)), heading) {
			t.Errorf("%s: runbook_url %s leads nowhere", a.Alert, url)
		}
		if !strings.Contains(tests, a.Alert) {
			t.Errorf("%s has no test in alerts_test.yml", a.Alert)
		}
		for _, line := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(a.Annotations["description"], -1) {
			if !strings.HasPrefix(line[1], "fleeting-plugin-digitalocean ") && !strings.Contains(logged, " "+line[1]) {
				t.Errorf("%s: no code logs %q", a.Alert, line[1])
			}
		}
	}
}

// dashboardQueries are the expressions of the dashboard: of its panels, variables and annotations.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Annotations struct{ List []struct{ Expr string } }
	}
	if err := json.Unmarshal([]byte(readDoc(t, "examples/monitoring/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	defined := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		defined = append(defined, v.Name)
		if m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query); m != nil {
			queries = append(queries, m[1])
		}
	}
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			queries = append(queries, q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		queries = append(queries, a.Expr)
	}
	for _, q := range queries {
		for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q, -1) {
			if !slices.Contains(defined, v[1]) {
				t.Errorf("%s: there is no variable %s", q, v[1])
			}
		}
	}
	if len(queries) < 10 {
		t.Errorf("found only %v", queries)
	}
	return queries
}

// The dashboard is by metrics that there are.
func TestDashboard(t *testing.T) {
	t.Parallel()
	for _, q := range dashboardQueries(t) {
		for _, u := range unknownIn(q) {
			t.Errorf("%s: %s", q, u)
		}
	}
}

// Prometheus takes the rules, the configuration, and the dashboard's queries; and the
// rules do what their tests say.
func TestPromtool(t *testing.T) {
	t.Parallel()
	path := os.Getenv("PROMTOOL")
	if path == "" {
		t.Skip("not run: set PROMTOOL to the path of promtool, which is in Debian's package prometheus; make verify does")
	}
	run := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir = "../examples/monitoring"
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
	run("check", "config", "prometheus.yml") // with its rules
	run("test", "rules", "alerts_test.yml")
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range dashboardQueries(t) {
		q = strings.NewReplacer("$__rate_interval", "1m", "$price", "0.03571").Replace(q)
		rules += fmt.Sprintf("  - record: query%d\n    expr: %q\n", i, q)
	}
	run("check", "rules", save(t, "dashboard.yml", rules))
}
