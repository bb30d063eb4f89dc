package integration

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
)

// A pipeline's jobs call targets of the Makefile and nothing else, so that anybody can do what they do, in an image of a
// version, for Renovate to pin: a tag that moves would build other bytes. A release is of a protected tag with a version, and
// uses nothing that other jobs cached; the token of the real account is for protected branches.
func TestCI(t *testing.T) {
	type job struct {
		Image  string
		Script []string
		Rules  []struct{ If string }
		Cache  yaml.Node
	}
	jobs, makefile := map[string]job{}, texts.Read(t, "Makefile")
	for name, node := range texts.YAML[map[string]yaml.Node](t, ".gitlab-ci.yml") {
		var j job
		if err := node.Decode(&j); err != nil && name != "workflow" && name != "variables" && name != "stages" {
			t.Fatalf("%s: %v", name, err)
		}
		jobs[name] = j
		for _, line := range j.Script {
			target, ok := strings.CutPrefix(line, "make ")
			if !ok || !regexp.MustCompile(`^[a-z-]+$`).MatchString(target) || !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("%s: %q is no target of the Makefile", name, line)
			}
		}
	}
	if image := jobs["default"].Image; !regexp.MustCompile(`^golang:\d+\.\d+\.\d+-\w+(@sha256:[0-9a-f]{64})?$`).MatchString(image) {
		t.Errorf("the image %q is not pinned", image)
	}
	const protected = ` && $CI_COMMIT_REF_PROTECTED == "true"`
	release := jobs["release"]
	rule, ok := strings.CutSuffix(release.Rules[0].If, "/"+protected)
	if !ok || len(release.Rules) != 1 || release.Cache.Kind != yaml.SequenceNode || len(release.Cache.Content) != 0 {
		t.Errorf("rules %v, cache %v", release.Rules, release.Cache.Content)
	}
	pattern := regexp.MustCompile(strings.TrimPrefix(rule, "$CI_COMMIT_TAG =~ /"))
	for tag, want := range map[string]bool{
		"v0.1.0": true, "v1.20.3": true, "v0.2.0-rc.1": true, "0.1.0": false, "v0.1": false, "v0.1.0+x": false, "nightly": false, "v0.1.0.1": false,
	} {
		if pattern.MatchString(tag) != want {
			t.Errorf("%s is released: %v", tag, !want)
		}
	}
	if rule := jobs["live"].Rules[0].If; !strings.HasSuffix(rule, protected) {
		t.Errorf("live: %s", rule)
	}
}
