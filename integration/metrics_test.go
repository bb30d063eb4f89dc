package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/metrics"
	taskscaler "gitlab.com/gitlab-org/fleeting/taskscaler/metrics"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/runnermetrics"
)

// metrics are all that the runner can show of its autoscaling, with the values that
// their labels can have: metrics[name][label].
func metrics() map[string]map[string][]string {
	r := runnermetrics.New("ci")
	p, s := r.Fleeting(), r.Taskscaler()
	for _, state := range []string{fleeting.InstanceCountRequested, fleeting.InstanceCountPending, fleeting.InstanceCountCreating,
		fleeting.InstanceCountRunning, fleeting.InstanceCountSuspending, fleeting.InstanceCountSuspended,
		fleeting.InstanceCountResuming, fleeting.InstanceCountDeleting} {
		p.InstancesCountSet(state, 0)
	}
	for _, operation := range []string{fleeting.InstanceOperationCreate, fleeting.InstanceOperationDelete,
		fleeting.InstanceOperationSuspend, fleeting.InstanceOperationResume} {
		p.InstanceOperationInc(operation)
	}
	for _, operation := range []string{fleeting.InternalOperationRemoval, fleeting.InternalOperationReconcile, fleeting.InternalOperationProvision} {
		p.InternalOperationInc(operation)
	}
	p.MaxInstancesSet(0)
	for _, state := range []string{taskscaler.TasksCountIdle, taskscaler.TasksCountPending, taskscaler.TasksCountAcquired,
		taskscaler.TasksCountReserved, taskscaler.TasksCountUnavailable} {
		s.TasksCountSet(state, 0)
	}
	for _, operation := range []string{taskscaler.TaskOperationAcquire, taskscaler.TaskOperationAcquireTimeout, taskscaler.TaskOperationRelease,
		taskscaler.TaskOperationReserve, taskscaler.TaskOperationReserveCapacityFailure,
		taskscaler.TaskOperationReserveAvailableCapacityFailure, taskscaler.TaskOperationUnreserve} {
		s.TaskOperationInc(operation)
	}
	s.ScaleOperationInc(taskscaler.ScaleOperationUp)
	s.ScaleOperationInc(taskscaler.ScaleOperationDown)
	s.DesiredInstancesSet(0)
	s.MaxUseCountSet(0)
	s.MaxTasksPerInstanceSet(0)

	all := map[string]map[string][]string{
		// Not of these libraries.
		"up":                         {},
		"ALERTS":                     {"alertstate": {"firing"}},
		"gitlab_runner_errors_total": {"level": {"warning", "error", "fatal", "panic"}},
	}
	for series := range r.Values() {
		name, labels, _ := strings.Cut(series, "{")
		if all[name] == nil {
			all[name] = map[string][]string{}
		}
		for _, l := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(labels, -1) {
			all[name][l[1]] = append(all[name][l[1]], l[2])
		}
	}
	for _, name := range []string{"gitlab_runner_jobs_total", "gitlab_runner_job_queue_duration_seconds", "gitlab_runner_job_queue_duration_seconds_bucket",
		"gitlab_runner_acceptable_job_queuing_duration_exceeded_total"} {
		all[name] = map[string][]string{}
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b([a-zA-Z_]\w*)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=|!=|=~|!~)\s*"([^"]*)"`)
)

// unknownIn are the metrics, labels and values of labels in an expression that there are not.
func unknownIn(expression string) (unknown []string) {
	all := metrics()
	for _, name := range regexp.MustCompile(`\b(fleeting|gitlab_runner)_\w+`).FindAllString(expression, -1) {
		if all[name] == nil {
			unknown = append(unknown, "the runner has no metric "+name)
		}
	}
	for _, s := range selector.FindAllStringSubmatch(expression, -1) {
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			label, value := m[1], m[3]
			if slices.Contains([]string{"job", "instance", "runner", "runner_name", "system_id", "alertname", "severity"}, label) {
				continue
			}
			for one := range strings.SplitSeq(value, "|") {
				if !slices.Contains(all[s[1]][label], one) {
					unknown = append(unknown, fmt.Sprintf("%s has no %s %q; there are %v", s[1], label, one, all[s[1]][label]))
				}
			}
		}
	}
	return unknown
}
