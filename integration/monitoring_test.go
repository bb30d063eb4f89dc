package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// alert is a rule of examples/monitoring/alerts.yml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, "examples/monitoring/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("%+v", file)
	}
	return file.Groups[0].Rules
}

// Each alert goes by metrics that there are, says what to do, leads to a part of the
// docs that there is, and has a test.
func TestAlerts(t *testing.T) {
	t.Parallel()
	tests := readDoc(t, "examples/monitoring/alerts_test.yml")
	for _, a := range alerts(t) {
		for _, u := range unknownIn(a.Expr) {
			t.Errorf("%s: %s", a.Alert, u)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) || len(a.Labels) != 1 {
			t.Errorf("%s: labels %v", a.Alert, a.Labels)
		}
		for _, key := range []string{"summary", "description"} {
			if a.Annotations[key] == "" {
				t.Errorf("%s has no %s", a.Alert, key)
			}
		}
		const base = "https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/-/blob/main/"
		page, heading, _ := strings.Cut(strings.TrimPrefix(a.Annotations["runbook_url"], base), "#")
		if !strings.HasPrefix(a.Annotations["runbook_url"], base) || !slices.Contains(headings(readDoc(t, page)), heading) {
			t.Errorf("%s: runbook_url %s leads nowhere", a.Alert, a.Annotations["runbook_url"])
		}
		if !strings.Contains(tests, a.Alert) {
			t.Errorf("%s has no test in alerts_test.yml", a.Alert)
		}
		for _, line := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(a.Annotations["description"], -1) {
			if !strings.HasPrefix(line[1], "fleeting-plugin-digitalocean ") && !logged(t, line[1]) {
				t.Errorf("%s: no code logs %q", a.Alert, line[1])
			}
		}
	}
}

// logged tells whether a line of the log begins so.
func logged(t *testing.T, text string) bool {
	for line := range logLines(t) {
		if strings.HasPrefix(line.message, text) {
			return true
		}
	}
	return false
}

// dashboardQueries are the expressions of the dashboard, by panel.
func dashboardQueries(t *testing.T) map[string][]string {
	t.Helper()
	var d struct {
		UID, Title string
		Panels     []struct {
			ID          int
			Type, Title string
			GridPos     struct{ X, Y, W, H int }
			Datasource  struct{ UID string }
			Targets     []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	decoder := json.NewDecoder(strings.NewReader(readDoc(t, "examples/monitoring/dashboard.json")))
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	queries := map[string][]string{}
	ids := map[int]bool{}
	var defined []string
	for _, v := range d.Templating.List {
		defined = append(defined, v.Name)
		if m := regexp.MustCompile(`^label_values\((.*), (\w+)\)$`).FindStringSubmatch(v.Query); m != nil {
			queries["variable "+v.Name] = []string{m[1]}
		} else if v.Type == "query" {
			t.Errorf("the variable %s is %q", v.Name, v.Query)
		}
	}
	covered := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("the panel %q has the id %d, which is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := covered[[2]int{x, y}]; other != "" || x >= 24 {
					t.Errorf("the panel %q is over %q, or beyond the edge", p.Title, other)
				}
				covered[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("the panel %q has no title, no query or a data source of its own", p.Title)
		}
		for _, q := range p.Targets {
			queries[p.Title] = append(queries[p.Title], q.Expr)
		}
	}
	for _, a := range d.Annotations.List {
		queries["annotation "+a.Name] = []string{a.Expr}
	}
	for where, all := range queries {
		for _, q := range all {
			for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(q, -1) {
				if v[1] != "__rate_interval" && !slices.Contains(defined, v[1]) {
					t.Errorf("%s: there is no variable %s", where, v[1])
				}
			}
		}
	}
	return queries
}

// The dashboard is one that Grafana can show, by metrics that there are.
func TestDashboard(t *testing.T) {
	t.Parallel()
	queries := dashboardQueries(t)
	if len(queries) < 10 {
		t.Errorf("found only %v", queries)
	}
	for where, all := range queries {
		for _, q := range all {
			for _, u := range unknownIn(q) {
				t.Errorf("%s: %s", where, u)
			}
		}
	}
}

// The tables of docs/monitoring.md have every metric, every value of its labels, and
// every alert.
func TestTablesOfMonitoring(t *testing.T) {
	t.Parallel()
	doc := readDoc(t, "docs/monitoring.md")
	section := func(name string) string {
		_, text, ok := strings.Cut(doc, "\n## "+name+"\n")
		if !ok {
			t.Fatalf("there is no section %q", name)
		}
		text, _, _ = strings.Cut(text, "\n## ")
		return text
	}
	documented := map[string]string{} // by metric, its row
	for row := range strings.Lines(section("What to watch")) {
		row, ok := strings.CutPrefix(row, "| `")
		if !ok {
			continue
		}
		first, _, _ := strings.Cut("`"+row, " |")
		for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(first, -1) {
			documented[name[1]] = row
		}
	}
	for name, labels := range metrics() {
		if name == "up" || name == "ALERTS" {
			continue
		}
		row := documented[name]
		if row == "" {
			t.Errorf("there is no row for %s", name)
		}
		delete(documented, name)
		for _, label := range []string{"state", "operation"} {
			for _, value := range labels[label] {
				if !strings.Contains(row, "`"+value+"`") {
					t.Errorf("the row of %s lacks the %s %s", name, label, value)
				}
			}
		}
	}
	for name := range documented {
		t.Errorf("the runner has no metric %s", name)
	}

	var want, got []string
	for _, a := range alerts(t) {
		want = append(want, a.Alert+" "+a.Labels["severity"])
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(Fleeting\\w+)` \\| (\\w+) \\| \\S").FindAllStringSubmatch(section("Alerts"), -1) {
		got = append(got, row[1]+" "+row[2])
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alerts of the rules (-) and of docs/monitoring.md (+):\n%s", diff)
	}
}

// promtool is the program that checks rules: where $PROMTOOL is.
func promtool(t *testing.T) func(args ...string) {
	path := os.Getenv("PROMTOOL")
	if path == "" {
		t.Skip("not run: set PROMTOOL to the path of promtool, which is in Debian's package prometheus; make verify does")
	}
	return func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Dir = "../examples/monitoring"
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// Prometheus takes the rules, the configuration, and the dashboard's queries; and the
// rules do what their tests say.
func TestPromtool(t *testing.T) {
	t.Parallel()
	run := promtool(t)
	run("check", "config", "prometheus.yml") // with its rules
	run("test", "rules", "alerts_test.yml")

	var rules strings.Builder
	rules.WriteString("groups:\n- name: dashboard\n  rules:\n")
	n := 0
	for _, all := range dashboardQueries(t) {
		for _, q := range all {
			n++
			q = strings.NewReplacer("$__rate_interval", "1m", "$price", "0.03571").Replace(q)
			fmt.Fprintf(&rules, "  - record: query%d\n    expr: %q\n", n, q)
		}
	}
	path := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	run("check", "rules", path)
}
