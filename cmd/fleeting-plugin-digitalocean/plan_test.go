package main

import "testing"

// The policies of one runner are replaced, and nothing else.
func TestWithPolicy(t *testing.T) {
	const head, other = "[[runners]]\n  [runners.autoscaler]\n    plugin = \"x\"\n", "[[runners]]\n  [[runners.autoscaler.policy]]\n    idle_count = 9\n"
	for name, c := range map[string]struct{ old, want string }{
		"replaced": {head + "  [[runners.autoscaler.policy]] # day\n    idle_count = 1\n  [[runners.autoscaler.policy]]\n    idle_count = 2\n  [runners.cache]\n" + other,
			head + "NEW\n\n  [runners.cache]\n" + other},
		"the first":  {head + "\n  [runners.cache]\n" + other, head + "\nNEW\n\n  [runners.cache]\n" + other},
		"at the end": {head + "  [[runners.autoscaler.policy]]\n    idle_count = 1\n", head + "NEW\n"},
		"in a line":  {head + "    policy = [{ idle_count = 1 }]\n", ""},
	} {
		got, err := withPolicy(c.old, 0, "NEW\n")
		if (err != nil) != (c.want == "") || got != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
	if got, err := withPolicy(head+other, 1, "NEW\n"); err != nil || got != head+"[[runners]]\nNEW\n" {
		t.Errorf("the second runner: %v\n%s", err, got)
	}
}
