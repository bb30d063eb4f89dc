package runnerconfig

import "testing"

// What newer runners know, and nothing here needs, is not called ignored.
func TestKeysOfNewerRunners(t *testing.T) {
	f, err := Parse("config.toml", `
[[runners]]
  [runners.autoscaler]
    reservation_throttling = false
    instance_operation_time_buckets = [1.5, 60]
    instance_life_duration_buckets = [60.0]
    vm_isolation = { enabled = false, nesting_config = { anything = 1 } }
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Ignored) > 0 {
		t.Errorf("ignored: %q", f.Ignored)
	}
}
