package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What cloud-init reads has no findings, and what it does not has one with its line.
func TestMisread(t *testing.T) {
	for data, want := range map[string]string{
		"#cloud-config\nruncmd: [ufw allow ssh]\n": "",
		"#cloud-config\n":                          "",
		"#cloud-config\n---":                       "",
		"\n#Cloud-Config\r\nruncmd:\r\n- x\r\n":    "",
		"#cloud-config\n---\na: 1\n":               "",
		"#cloud-config\nwrite_files:\n- path: x\n  content: |\n    a: b: c\n   #\n": "",
		"#cloud-config\nmounts: !x [a]\n1: {2: 3}\n<<: {b: 1}\n":                    "",

		"#cloud-config\na: 1\n---\n":                 "3 true",
		"#cloud-config\na: [\n":                      "2 true",
		"#cloud-config\nruncmd:\n\t- x\n":            "3 true",
		"#cloud-config\nruncmd:\n- a: b: c\n":        "3 true",
		"#cloud-config\nruncmd: [x\npackages: [y]\n": "2 true",
		"#cloud-config\nruncmd:\n  - a\n - b\n":      "2 true",
		"#cloud-config\nruncmd:\n  - a\n  b: 1\n":    "3 true",
		"#cloud-config\na: \"x\nb: 1\n":              "2 true",
		"#cloud-config\na: *x\n":                     "0 true",
		"#cloud-config\na: {{ v1.region }}\n":        "2 true",
		"#cloud-config\n- ufw allow ssh\n":           "2 true",
		"#cloud-config\nufw allow hunter2\n":         "2 true",
		"#cloud-config\na: 1\n---\nb: 2\n":           "4 true",
		"#cloud-config\na: 1\n---\nb: c: d\n":        "4 true",
		"#cloud-config\na:\n  b: 1\n  b: 2\na: 3\n":  "5 false",
	} {
		var got string
		for _, f := range misread(data) {
			got = fmt.Sprintf("%d %t", f.line, f.ignored)
			if f.hint == "" || strings.Contains(f.what, "hunter2") {
				t.Errorf("%q: %+v", data, f)
			}
		}
		if got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", data, got, want)
		}
	}
}

// What cloud-init acts on otherwise is not looked into.
func TestUserDataKinds(t *testing.T) {
	for data, want := range map[string]struct{ headed, yaml bool }{
		"#!/bin/sh\n:": {true, false}, "#include\nhttps://x": {true, false}, "#INCLUDE-once\nx": {true, false}, "\n#cloud-config\n": {true, true},
		"Content-Type: multipart/mixed": {true, false}, "MIME-Version: 1.0": {true, false}, "#cloud-config # mine\n": {true, true},
		"## template: jinja\n#cloud-config\na: {{ b }}": {true, false}, "#cloud-config-archive\n- a": {true, false},
		"#cloud-config-jsonp\n[]": {true, false}, "#cloud-boothook\n": {true, false}, "runcmd: []": {}, "# cloud-config\n": {}, "{}": {}, "#": {},
	} {
		if headed(data) != want.headed || isCloudConfig(data) != want.yaml {
			t.Errorf("%q: headed %t, cloud-config %t", data, headed(data), isCloudConfig(data))
		}
	}
}

// A line of user_data_file is one of that file.
func TestUserDataFile(t *testing.T) {
	const general = `indent with spaces, put a text with ": " in it into quotes; cloud-init schema --config-file FILE shows more`
	for data, want := range map[string]string{
		"#cloud-config\nruncmd:\n- ufw allow ssh: a: b\n": `user-data fault /etc/droplet.yaml:3 | ` + general,
		"#cloud-config\na: *ufw allow\n":                  "user-data fault 23 | " + general,
		" \n#!/bin/sh\nufw allow ssh\n":                   "user-data warning 23 | remove what is before #!",
	} {
		s := subject(t, strings.Replace(sound, `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`, `user_data_file = "/etc/droplet.yaml"`, 1))
		s.Config, s.Faults = subject(t, sound).Config, nil // as if the file were there
		s.Config.UserData = data
		found, _ := Examine(t.Context(), nil, s)
		lines := slices.DeleteFunc(brief(found), func(line string) bool { return !strings.HasPrefix(line, "user-data") })
		if !slices.Equal(lines, []string{want}) {
			t.Errorf("%q:\ngot  %q\nwant %q", data, lines, want)
		}
	}
}

// No user data makes it panic, and a line that it names is one of them.
func FuzzMisread(f *testing.F) {
	f.Add("runcmd: [a]\nruncmd: {b: *c}\n---\nd\n")
	f.Add("---\n---\n")
	f.Fuzz(func(t *testing.T, data string) {
		if strings.ContainsFunc(data, func(r rune) bool { return r == '\r' || r > '~' }) {
			t.Skip("YAML has other ends of lines; user_data is ASCII")
		}
		data = "#cloud-config\n" + data
		for _, m := range misread(data) {
			if lines := strings.Count(data, "\n") + 1; m.line < 0 || m.line > lines {
				t.Errorf("%q has no line %d: %s", data, m.line, m.what)
			}
		}
	})
}
