package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/metrics"
	taskscaler "gitlab.com/gitlab-org/fleeting/taskscaler/metrics"
	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
)

// series are all that the runner can show of its autoscaling, with every value of their labels, and what else there is.
func series() []string {
	r := runnermetrics.New("ci")
	for _, of := range []struct {
		tell   func(string)
		values []string
	}{
		{func(state string) { r.InstancesCountSet(state, 0) }, []string{fleeting.InstanceCountRequested, fleeting.InstanceCountPending,
			fleeting.InstanceCountCreating, fleeting.InstanceCountRunning, fleeting.InstanceCountSuspending, fleeting.InstanceCountSuspended,
			fleeting.InstanceCountResuming, fleeting.InstanceCountDeleting}},
		{r.InstanceOperationInc, []string{fleeting.InstanceOperationCreate, fleeting.InstanceOperationDelete,
			fleeting.InstanceOperationSuspend, fleeting.InstanceOperationResume}},
		{r.InternalOperationInc, []string{fleeting.InternalOperationRemoval, fleeting.InternalOperationReconcile, fleeting.InternalOperationProvision}},
		{func(state string) { r.TasksCountSet(state, 0) }, []string{taskscaler.TasksCountIdle, taskscaler.TasksCountPending,
			taskscaler.TasksCountAcquired, taskscaler.TasksCountReserved, taskscaler.TasksCountUnavailable}},
		{r.TaskOperationInc, []string{taskscaler.TaskOperationAcquire, taskscaler.TaskOperationAcquireTimeout, taskscaler.TaskOperationRelease,
			taskscaler.TaskOperationReserve, taskscaler.TaskOperationReserveCapacityFailure,
			taskscaler.TaskOperationReserveAvailableCapacityFailure, taskscaler.TaskOperationUnreserve}},
		{r.ScaleOperationInc, []string{taskscaler.ScaleOperationUp, taskscaler.ScaleOperationDown}},
	} {
		for _, value := range of.values {
			of.tell(value)
		}
	}
	r.MaxInstancesSet(0)
	r.DesiredInstancesSet(0)
	r.MaxUseCountSet(0)
	r.MaxTasksPerInstanceSet(0)
	all := slices.Sorted(maps.Keys(r.Values()))
	for _, level := range []string{"warning", "error", "fatal", "panic"} {
		all = append(all, fmt.Sprintf("gitlab_runner_errors_total{level=%q}", level))
	}
	for _, name := range []string{"jobs_total", "job_queue_duration_seconds", "job_queue_duration_seconds_bucket",
		"acceptable_job_queuing_duration_exceeded_total"} {
		all = append(all, "gitlab_runner_"+name+"{}")
	}
	return append(all, "up{}", `ALERTS{alertstate="firing"}`) // Prometheus's own
}

// shows fails a test of an expression that has metrics, or values of labels, that there are not.
func shows(t *testing.T, expression string) {
	t.Helper()
	all := series()
	has := func(name, label string) bool {
		return slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, name+"{") && strings.Contains(s, label) })
	}
	for _, name := range regexp.MustCompile(`\b(fleeting|gitlab_runner)_\w+`).FindAllString(expression, -1) {
		if !has(name, "") {
			t.Errorf("%s: the runner has no metric %s", expression, name)
		}
	}
	of := []string{"job", "instance", "runner", "runner_name", "system_id", "alertname", "severity"} // a host, and not us
	for _, selector := range regexp.MustCompile(`\b([a-zA-Z_]\w*)\{([^}]*)\}`).FindAllStringSubmatch(expression, -1) {
		for _, m := range regexp.MustCompile(`(\w+)\s*(?:=|!=|=~|!~)\s*"([^"]*)"`).FindAllStringSubmatch(selector[2], -1) {
			for value := range strings.SplitSeq(m[2], "|") {
				if label := fmt.Sprintf("%s=%q", m[1], value); !slices.Contains(of, m[1]) && !has(selector[1], label) {
					t.Errorf("%s: %s has no %s", expression, selector[1], label)
				}
			}
		}
	}
}

// Each alert goes by metrics that there are, leads to a part of the docs that there is, names lines of the log that
// there are, and has a test.
func TestAlerts(t *testing.T) {
	t.Parallel()
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr         string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(texts.Read(t, "examples/monitoring/alerts.yml")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) < 10 {
		t.Fatalf("%+v", file)
	}
	logged, tests := texts.Read(t, "docs/logs.md"), texts.Read(t, "examples/monitoring/alerts_test.yml")
	for _, a := range file.Groups[0].Rules {
		shows(t, a.Expr)
		url, ours := strings.CutPrefix(a.Annotations["runbook_url"], ourSite)
		page, heading, _ := strings.Cut(url, "#")
		if !ours || !slices.Contains(headings(texts.Read(t, page)), heading) {
			t.Errorf("%s: runbook_url %s leads nowhere", a.Alert, url)
		}
		severe := slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"])
		if !severe || a.Annotations["summary"] == "" || !strings.Contains(tests, a.Alert) {
			t.Errorf("%s: labels %v, annotations %v, or no test in alerts_test.yml", a.Alert, a.Labels, a.Annotations)
		}
		for _, line := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(a.Annotations["description"], -1) {
			if !strings.HasPrefix(line[1], "fleeting-plugin-digitalocean ") && !strings.Contains(logged, "`"+line[1]) {
				t.Errorf("%s: no code logs %q", a.Alert, line[1])
			}
		}
	}
}

// dashboardQueries are the expressions of the dashboard: of its panels, variables and annotations.
func dashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	text := texts.Read(t, "examples/monitoring/dashboard.json")
	for _, m := range regexp.MustCompile(`"(expr|query)": ("(?:[^"\\]|\\.)*")`).FindAllStringSubmatch(text, -1) {
		var query string
		if err := json.Unmarshal([]byte(m[2]), &query); err != nil {
			t.Fatal(err)
		}
		values := regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(query)
		if m[1] == "query" && values == nil {
			continue // the price, which is no query
		} else if m[1] == "query" {
			query = values[1]
		}
		for _, v := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(query, -1) {
			if v[1] != "__rate_interval" && !strings.Contains(text, `"name": "`+v[1]+`"`) {
				t.Errorf("%s: there is no variable %s", query, v[1])
			}
		}
		queries = append(queries, query)
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
		shows(t, q)
	}
}
