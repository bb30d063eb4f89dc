package integration

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/metrics"
	taskscaler "gitlab.com/gitlab-org/fleeting/taskscaler/metrics"
)

// metrics are what the runner shows of its autoscaling, with the values that their labels can have:
// metrics[name][label]. Their names are in GitLab's documentation and dashboards alone, the values in its libraries.
func metrics() map[string]map[string][]string {
	all := map[string]map[string][]string{
		"fleeting_provisioner_instances": {"state": {
			fleeting.InstanceCountRequested, fleeting.InstanceCountPending, fleeting.InstanceCountCreating, fleeting.InstanceCountRunning,
			fleeting.InstanceCountSuspending, fleeting.InstanceCountSuspended, fleeting.InstanceCountResuming, fleeting.InstanceCountDeleting,
		}},
		"fleeting_provisioner_instance_operations_total": {"operation": {
			fleeting.InstanceOperationCreate, fleeting.InstanceOperationDelete, fleeting.InstanceOperationSuspend, fleeting.InstanceOperationResume,
		}},
		"fleeting_provisioner_internal_operations_total": {"operation": {
			fleeting.InternalOperationRemoval, fleeting.InternalOperationReconcile, fleeting.InternalOperationProvision,
		}},
		"fleeting_taskscaler_tasks": {"state": {
			taskscaler.TasksCountIdle, taskscaler.TasksCountPending, taskscaler.TasksCountAcquired, taskscaler.TasksCountReserved,
			taskscaler.TasksCountUnavailable,
		}},
		"fleeting_taskscaler_task_operations_total": {"operation": {
			taskscaler.TaskOperationAcquire, taskscaler.TaskOperationAcquireTimeout, taskscaler.TaskOperationRelease,
			taskscaler.TaskOperationReserve, taskscaler.TaskOperationReserveCapacityFailure,
			taskscaler.TaskOperationReserveAvailableCapacityFailure, taskscaler.TaskOperationUnreserve,
		}},
		"fleeting_taskscaler_scale_operations_total": {"operation": {taskscaler.ScaleOperationUp, taskscaler.ScaleOperationDown}},
		// Not of these libraries.
		"ALERTS":                     {"alertstate": {"firing"}},
		"gitlab_runner_errors_total": {"level": {"warning", "error", "fatal", "panic"}},
	}
	for _, name := range strings.Fields(`up fleeting_provisioner_max_instances fleeting_provisioner_missed_updates_total
		fleeting_taskscaler_desired_instances fleeting_taskscaler_max_use_count_per_instance
		fleeting_taskscaler_max_tasks_per_instance`) {
		all[name] = map[string][]string{}
	}
	for _, histogram := range strings.Fields(`fleeting_provisioner_instance_creation_time_seconds
		fleeting_provisioner_instance_is_running_time_seconds fleeting_provisioner_instance_deletion_time_seconds
		fleeting_provisioner_instance_life_duration_seconds fleeting_taskscaler_task_instance_readiness_time_seconds`) {
		all[histogram+"_sum"], all[histogram+"_count"] = map[string][]string{}, map[string][]string{}
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
