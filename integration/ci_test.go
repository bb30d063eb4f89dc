package integration

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// ciJob is what this test looks at of a job.
type ciJob struct {
	Stage     string
	Image     string
	Extends   string
	Script    []string
	Needs     []yaml.Node
	Variables map[string]string
	Rules     []struct{ If string }
	Cache     yaml.Node
}

func readCI(t *testing.T) (jobs map[string]ciJob, stages []string, image string) {
	t.Helper()
	var file map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(readDoc(t, ".gitlab-ci.yml")), &file); err != nil {
		t.Fatal(err)
	}
	jobs = map[string]ciJob{}
	for name, node := range file {
		var err error
		switch name {
		case "workflow", "variables":
		case "stages":
			err = node.Decode(&stages)
		case "default":
			var d ciJob
			err = node.Decode(&d)
			image = d.Image
		default:
			var j ciJob
			err = node.Decode(&j)
			jobs[name] = j
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return jobs, stages, image
}

// What of .gitlab-ci.yml can be held to without GitLab: jobs call targets of the
// Makefile and nothing else, and refer to what there is.
func TestCI(t *testing.T) {
	jobs, stages, image := readCI(t)
	if want := []string{"bench", "contract", "lint", "live", "mutants", "release", "soak", "test", "verify", "vulncheck"}; !slices.Equal(
		slices.DeleteFunc(slices.Sorted(maps.Keys(jobs)), func(name string) bool { return name[0] == '.' }), want) {
		t.Errorf("jobs: %v", slices.Sorted(maps.Keys(jobs)))
	}
	makefile := readDoc(t, "Makefile")
	for name, job := range jobs {
		base, extended := jobs[job.Extends]
		if job.Extends != "" && !extended {
			t.Errorf("%s extends %s, which is not there", name, job.Extends)
		}
		if stage := cmp.Or(job.Stage, base.Stage); !slices.Contains(stages, stage) && name[0] != '.' {
			t.Errorf("%s is in stage %q", name, stage)
		}
		if len(job.Script) == 0 && name[0] != '.' {
			t.Errorf("%s does nothing", name)
		}
		for _, line := range job.Script {
			target, ok := strings.CutPrefix(line, "make ")
			if !ok || !regexp.MustCompile(`^[a-z-]+$`).MatchString(target) || !strings.Contains(makefile, "\n"+target+":") {
				t.Errorf("%s: %q is no target of the Makefile", name, line)
			}
		}
		for _, need := range job.Needs {
			needed := need.Value
			if need.Kind == yaml.MappingNode {
				var n struct{ Job string }
				if err := need.Decode(&n); err != nil {
					t.Error(err)
				}
				needed = n.Job
			}
			other, ok := jobs[needed]
			if !ok || slices.Index(stages, other.Stage) > slices.Index(stages, job.Stage) {
				t.Errorf("%s needs %q", name, needed)
			}
		}
	}
	// By version, for Renovate to pin; a tag that moves would build other bytes.
	if !regexp.MustCompile(`^golang:\d+\.\d+\.\d+-\w+(@sha256:[0-9a-f]{64})?$`).MatchString(image) {
		t.Errorf("the image %q is not pinned", image)
	}
}

// A release is of a protected tag with a version, and uses nothing that other jobs cached; the
// token of the real account is for protected branches.
func TestCIReleases(t *testing.T) {
	jobs, _, _ := readCI(t)
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

// The notes of a release are its section of the changelog, and there is none without.
func TestNotes(t *testing.T) {
	if out, err := inModule(t.Context(), nil, ".ci/notes", "99.0.0"); err == nil || !strings.Contains(out, `write a section "## [99.0.0] - YYYY-MM-DD"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Renovate pins images, and finds the versions in the Makefile.
func TestRenovate(t *testing.T) {
	var file struct {
		Extends        []string `json:"extends"`
		CustomManagers []struct {
			MatchStrings []string `json:"matchStrings"`
		} `json:"customManagers"`
	}
	if err := json.Unmarshal([]byte(readDoc(t, ".gitlab/renovate.json")), &file); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(file.Extends, "docker:pinDigests") {
		t.Errorf("extends %v", file.Extends)
	}
	makefile := readDoc(t, "Makefile")
	versions := len(regexp.MustCompile(`(?m)^\w+_VERSION :=`).FindAllString(makefile, -1))
	pattern := strings.ReplaceAll(file.CustomManagers[0].MatchStrings[0], "(?<", "(?P<")
	if found := len(regexp.MustCompile(pattern).FindAllString(makefile, -1)); found != versions || found < 2 {
		t.Errorf("it finds %d of %d versions", found, versions)
	}
}
