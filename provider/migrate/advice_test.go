package migrate

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// What is shown has no secret that stands inside another value either.
func TestEmbeddedSecrets(t *testing.T) {
	text := strings.Replace(runnerWith(""), `  [runners.docker]`, `  environment = ["HTTPS_PROXY=http://puser:proxy77@10.0.0.9:3128", "DOCKER_AUTH_CONFIG={\"auths\":{\"r\":{\"auth\":\"c2VjcmV0OnNlY3JldA==\"}}}", "NPM_X=npm_0123456789abcdef", "DB_URL=postgres://u:pw1@h/db"]
  pre_clone_script = "git clone https://oauth2:glpat-xxxxxxxxxxxxxxxxxxxx@gitlab.example.com/x"
  [runners.docker]`, 1)
	r := Migrate("config.toml", text, none())
	if !r.Changed {
		t.Fatal(r.Notes)
	}
	shown := r.Redact(text + r.Text)
	for _, secret := range []string{"proxy77", "c2VjcmV0", "npm_0123", "pw1@", "glpat-xxxx", "dop_v1_0123"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown", secret)
		}
		if secret != "dop_v1_0123" && !strings.Contains(r.Text, secret) {
			t.Errorf("%s is gone from the file, which needs it", secret)
		}
	}
	for _, plain := range []string{"10.0.0.9:3128", "gitlab.example.com/x", "HTTPS_PROXY=http://puser:", "@h/db"} {
		if !strings.Contains(shown, plain) {
			t.Errorf("%s is no secret, and is not shown", plain)
		}
	}
}

// A script cannot be told to have cloud-config in it.
func TestUserDataThatIsAScript(t *testing.T) {
	for content, want := range map[string]string{"#!/bin/sh\necho\n": "is a script", "#cloud-config\nruncmd: []\n": "below the keys that are there"} {
		r := Migrate("config.toml", runnerWith("", "digitalocean-userdata=/etc/ud"), optionsWith(nil, map[string]string{"files/etc/ud": content}))
		if notes := notesText(r); !strings.Contains(notes, want) {
			t.Errorf("%q:\n%s", content, notes)
		}
	}
}

// The limit caps docker+machine, too: nobody loses an idle machine by it.
func TestScaleFactorUnderTheLimit(t *testing.T) {
	for idle, want := range map[string]bool{"IdleCount = 1": true, "IdleCount = 5": false} { // of a limit of 5, with half
		notes := notesText(Migrate("config.toml", runnerWith("    "+idle+"\n    IdleScaleFactor = 0.5\n"), none()))
		if got := strings.Contains(notes, "fewer machines are idle than before"); got != want {
			t.Errorf("%s:\n%s", idle, notes)
		}
	}
}

// What the docs give for pasting is YAML.
func TestLabelsInDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("there is no YAML in docs/migrate.md")
	}
	var config struct {
		Runcmd []string `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal(m[1], &config); err != nil || len(config.Runcmd) != 1 || !strings.Contains(config.Runcmd[0], "--label machine=%s") {
		t.Errorf("%v, %q", err, config.Runcmd)
	}
}
