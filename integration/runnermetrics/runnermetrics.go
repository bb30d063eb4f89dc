// Package runnermetrics has the Prometheus metrics that GitLab Runner serves of its autoscaling, at its listen_address.
//
// The runner's libraries, fleeting and the taskscaler, tell a collector what happens; a [Registry] is both of these
// collectors, under the names and labels that the runner's own have. Those are not at hand as modules, but their names
// are public: in GitLab's documentation and dashboards. A version of the libraries that tells more does not compile
// here, so no metric can be forgotten.
package runnermetrics

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	fleeting "gitlab.com/gitlab-org/fleeting/fleeting/metrics"
	taskscaler "gitlab.com/gitlab-org/fleeting/taskscaler/metrics"
)

// Registry collects the metrics of one [[runners]]. All its methods are safe for concurrent use.
type Registry struct {
	labels string // of all series, as Prometheus writes them

	mu     sync.Mutex
	values map[string]float64 // by series
}

// New returns the registry of the [[runners]] of that name. Counters and histograms without labels of their own are
// there from the start, the others from their first event, as Prometheus's library has it.
func New(runner string) *Registry {
	r := &Registry{labels: fmt.Sprintf(`runner="t1_AbCdEfGh",runner_name=%q,system_id="s_0123456789ab"`, runner), values: map[string]float64{}}
	r.add("fleeting_provisioner_missed_updates_total", "", 0)
	for _, histogram := range []string{
		"fleeting_provisioner_instance_creation_time_seconds", "fleeting_provisioner_instance_is_running_time_seconds",
		"fleeting_provisioner_instance_deletion_time_seconds", "fleeting_provisioner_instance_life_duration_seconds",
		"fleeting_taskscaler_task_instance_readiness_time_seconds",
	} {
		r.add(histogram+"_sum", "", 0)
		r.add(histogram+"_count", "", 0)
	}
	return r
}

// Fleeting collects what the provisioner tells.
func (r *Registry) Fleeting() fleeting.Collector { return provisioner{r} }

// Taskscaler collects what the taskscaler tells.
func (r *Registry) Taskscaler() taskscaler.Collector { return scaler{r} }

// Values returns all values, by series as Prometheus writes it.
func (r *Registry) Values() map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.values)
}

// ServeHTTP answers as the runner's /metrics does.
func (r *Registry) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	values := r.Values()
	for _, series := range slices.Sorted(maps.Keys(values)) {
		_, _ = io.WriteString(w, fmt.Sprintf("%s %v\n", series, values[series])) // a client that went away
	}
}

func (r *Registry) series(name, label string) string {
	return name + "{" + strings.Trim(label+","+r.labels, ",") + "}"
}

func (r *Registry) set(name, label string, v int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[r.series(name, label)] = float64(v)
}

func (r *Registry) add(name, label string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[r.series(name, label)] += v
}

func (r *Registry) observe(name string, d time.Duration) {
	r.add(name+"_sum", "", d.Seconds())
	r.add(name+"_count", "", 1)
}

type provisioner struct{ *Registry }

func (p provisioner) MaxInstancesSet(v int) { p.set("fleeting_provisioner_max_instances", "", v) }

func (p provisioner) InternalOperationInc(operation string) {
	p.add("fleeting_provisioner_internal_operations_total", label("operation", operation), 1)
}

func (p provisioner) InstanceOperationInc(operation string) {
	p.add("fleeting_provisioner_instance_operations_total", label("operation", operation), 1)
}

func (p provisioner) InstancesCountSet(state string, v int) {
	p.set("fleeting_provisioner_instances", label("state", state), v)
}

func (p provisioner) MissedUpdateInc() { p.add("fleeting_provisioner_missed_updates_total", "", 1) }

func (p provisioner) InstanceCreationTimeObserve(d time.Duration) {
	p.observe("fleeting_provisioner_instance_creation_time_seconds", d)
}

func (p provisioner) InstanceIsRunningTimeObserve(d time.Duration) {
	p.observe("fleeting_provisioner_instance_is_running_time_seconds", d)
}

func (p provisioner) InstanceDeletionTimeObserve(d time.Duration) {
	p.observe("fleeting_provisioner_instance_deletion_time_seconds", d)
}

func (p provisioner) InstanceLifeDurationObserve(d time.Duration) {
	p.observe("fleeting_provisioner_instance_life_duration_seconds", d)
}

type scaler struct{ *Registry }

func (s scaler) MaxUseCountSet(v int) {
	s.set("fleeting_taskscaler_max_use_count_per_instance", "", v)
}

func (s scaler) MaxTasksPerInstanceSet(v int) {
	s.set("fleeting_taskscaler_max_tasks_per_instance", "", v)
}

func (s scaler) ScaleOperationInc(operation string) {
	s.add("fleeting_taskscaler_scale_operations_total", label("operation", operation), 1)
}

func (s scaler) TaskOperationInc(operation string) {
	s.add("fleeting_taskscaler_task_operations_total", label("operation", operation), 1)
}

func (s scaler) TasksCountSet(state string, v int) {
	s.set("fleeting_taskscaler_tasks", label("state", state), v)
}

func (s scaler) TaskInstanceReadinessTimeObserve(d time.Duration) {
	s.observe("fleeting_taskscaler_task_instance_readiness_time_seconds", d)
}

func (s scaler) DesiredInstancesSet(v int) { s.set("fleeting_taskscaler_desired_instances", "", v) }

func label(name, value string) string { return fmt.Sprintf("%s=%q", name, value) }
