// Package runnermetrics has the Prometheus metrics that GitLab Runner serves of its autoscaling, at its listen_address.
//
// The runner's libraries, fleeting and the taskscaler, tell a collector what happens; a [Registry] is both of these
// collectors, under the names and labels that the runner's own have. Those are not at hand as modules, but their names
// are public: in GitLab's documentation and dashboards. A version of the libraries that tells more does not compile
// here, so no metric can be forgotten.
package runnermetrics

import (
	"fmt"
	"maps"
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

var (
	_ fleeting.Collector   = (*Registry)(nil)
	_ taskscaler.Collector = (*Registry)(nil)
)

const (
	provisioner = "fleeting_provisioner_"
	scaler      = "fleeting_taskscaler_"
)

// New returns the registry of the [[runners]] of that name. Counters and histograms without labels of their own are
// there from the start, the others from their first event, as Prometheus's library has it.
func New(runner string) *Registry {
	r := &Registry{labels: fmt.Sprintf(`runner="t1_AbCdEfGh",runner_name=%q,system_id="s_0123456789ab"}`, runner), values: map[string]float64{}}
	r.add(provisioner+"missed_updates_total{", 0)
	for _, histogram := range []string{provisioner + "instance_creation_time", provisioner + "instance_is_running_time",
		provisioner + "instance_deletion_time", provisioner + "instance_life_duration", scaler + "task_instance_readiness_time"} {
		r.add(histogram+"_seconds_sum{", 0)
		r.add(histogram+"_seconds_count{", 0)
	}
	return r
}

// Values returns all values, by series as Prometheus writes it.
func (r *Registry) Values() map[string]float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.values)
}

// set and add change a series, which is given as far as it is its own: name{ or name{label="value",
func (r *Registry) set(series string, v int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[series+r.labels] = float64(v)
}

func (r *Registry) add(series string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values[series+r.labels] += v
}

func (r *Registry) observe(name string, d time.Duration) {
	r.add(name+"_seconds_sum{", d.Seconds())
	r.add(name+"_seconds_count{", 1)
}

func operations(kind, operation string) string {
	return fmt.Sprintf("%s_operations_total{operation=%q,", kind, operation)
}

// What the provisioner tells.

func (r *Registry) MaxInstancesSet(v int) { r.set(provisioner+"max_instances{", v) }
func (r *Registry) MissedUpdateInc()      { r.add(provisioner+"missed_updates_total{", 1) }
func (r *Registry) InternalOperationInc(operation string) {
	r.add(operations(provisioner+"internal", operation), 1)
}
func (r *Registry) InstanceOperationInc(operation string) {
	r.add(operations(provisioner+"instance", operation), 1)
}
func (r *Registry) InstancesCountSet(state string, v int) {
	r.set(fmt.Sprintf("%sinstances{state=%q,", provisioner, state), v)
}
func (r *Registry) InstanceCreationTimeObserve(d time.Duration) {
	r.observe(provisioner+"instance_creation_time", d)
}
func (r *Registry) InstanceIsRunningTimeObserve(d time.Duration) {
	r.observe(provisioner+"instance_is_running_time", d)
}
func (r *Registry) InstanceDeletionTimeObserve(d time.Duration) {
	r.observe(provisioner+"instance_deletion_time", d)
}
func (r *Registry) InstanceLifeDurationObserve(d time.Duration) {
	r.observe(provisioner+"instance_life_duration", d)
}

// What the taskscaler tells.

func (r *Registry) MaxUseCountSet(v int)         { r.set(scaler+"max_use_count_per_instance{", v) }
func (r *Registry) MaxTasksPerInstanceSet(v int) { r.set(scaler+"max_tasks_per_instance{", v) }
func (r *Registry) DesiredInstancesSet(v int)    { r.set(scaler+"desired_instances{", v) }
func (r *Registry) ScaleOperationInc(operation string) {
	r.add(operations(scaler+"scale", operation), 1)
}
func (r *Registry) TaskOperationInc(operation string) {
	r.add(operations(scaler+"task", operation), 1)
}
func (r *Registry) TasksCountSet(state string, v int) {
	r.set(fmt.Sprintf("%stasks{state=%q,", scaler, state), v)
}
func (r *Registry) TaskInstanceReadinessTimeObserve(d time.Duration) {
	r.observe(scaler+"task_instance_readiness_time", d)
}
