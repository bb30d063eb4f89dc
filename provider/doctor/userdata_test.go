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
		"\n#Cloud-Config\r\nruncmd:\r\n- x\r\n":    "",
		"#cloud-config\n---\na: 1\n":               "",
		"#cloud-config\nwrite_files:\n- path: x\n  content: |\n    a: b: c\n   #\n": "",
		"#cloud-config\nmounts: !x [a]\n1: {2: 3}\n<<: {b: 1}\n":                    "",

		"#cloud-config\n---":                         "",
		"#cloud-config\na: 1\n---\n":                 "3 a second document begins before it true",
		"#cloud-config\na: [\n":                      "2 no YAML: what begins here did not find expected node content true",
		"#cloud-config\nruncmd:\n\t- x\n":            "3 no YAML: found character that cannot start any token true",
		"#cloud-config\nruncmd:\n- a: b: c\n":        "3 no YAML: mapping values are not allowed in this context true",
		"#cloud-config\nruncmd: [x\npackages: [y]\n": "2 no YAML: what begins here did not find expected ',' or ']' true",
		"#cloud-config\nruncmd:\n  - a\n - b\n":      "2 no YAML: what begins here did not find expected key true",
		"#cloud-config\nruncmd:\n  - a\n  b: 1\n":    "3 no YAML: what begins here did not find expected '-' indicator true",
		"#cloud-config\na: \"x\nb: 1\n":              "2 no YAML: a quote that does not end true",
		"#cloud-config\na: *x\n":                     "0 no YAML: unknown anchor 'x' referenced true",
		"#cloud-config\na: {{ v1.region }}\n":        "0 no YAML: has a mapping for a key true",
		"#cloud-config\n- ufw allow ssh\n":           "2 no mapping of keys such as runcmd true",
		"#cloud-config\nufw allow hunter2\n":         "2 no mapping of keys such as runcmd true",
		"#cloud-config\na: 1\n---\nb: 2\n":           "4 a second document begins before it true",
		"#cloud-config\na: 1\n---\nb: c: d\n":        "4 no YAML: mapping values are not allowed in this context true",
		"#cloud-config\na:\n  b: 1\n  b: 2\na: 3\n":  "5 a is there a second time, and the one of line 2 does not count false",
	} {
		var got string
		for _, f := range misread(data) {
			got = fmt.Sprintf("%d %s %t", f.line, f.what, f.ignored)
			if f.hint == "" {
				t.Errorf("%q: no hint", data)
			}
		}
		if got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", data, got, want)
		}
	}
}

// What cloud-init acts on otherwise is not looked into.
func TestUserDataKinds(t *testing.T) {
	for data, want := range map[string]bool{
		"#!/bin/sh\n:": true, "#include\nhttps://x": true, "#INCLUDE-once\nx": true, "\n#cloud-config\n": true, "Content-Type: multipart/mixed": true,
		"MIME-Version: 1.0": true, "## template: jinja\n#cloud-config\na: {{ b }}": true, "#cloud-config-archive\n- a": true, "#cloud-boothook\n": true,
		"runcmd: []": false, "# cloud-config\n": false, "{}": false, "#": false,
	} {
		if got := headed(data); got != want {
			t.Errorf("%q: headed %t, want %t", data, got, want)
		}
	}
	for data, want := range map[string]bool{
		"#cloud-config\n": true, "#cloud-config": true, "#cloud-config # mine\n": true,
		"#cloud-config-archive\n- a": false, "#cloud-config-jsonp\n[]": false, "## template: jinja\n#cloud-config\n": false, "#!/bin/sh": false,
	} {
		if got := isCloudConfig(data); got != want {
			t.Errorf("%q: cloud-config %t, want %t", data, got, want)
		}
	}
}

// A line of user_data_file is told as one of that file; blanks before #! are told.
func TestUserDataFile(t *testing.T) {
	for data, want := range map[string]string{
		"#cloud-config\nruncmd:\n- ufw allow ssh: a: b\n": `user-data fault /etc/droplet.yaml:3: no YAML: mapping values are not allowed in this context: cloud-init ignores all of it | a text with ": " in it needs quotes`,
		"#cloud-config\n- ufw allow ssh\n":                "user-data fault /etc/droplet.yaml:2: no mapping of keys such as runcmd: cloud-init ignores all of it | for example runcmd: [ufw allow ssh]",
		"#cloud-config\na: *ufw allow\n":                  "user-data fault 22: user_data_file no YAML: unknown anchor 'ufw' referenced: cloud-init ignores all of it | cloud-init schema --config-file FILE tells more, where cloud-init is installed",
		" \n#!/bin/sh\nufw allow ssh\n":                   "user-data warning 22: user_data_file has blanks before its #!: no shell is found for it, and nothing of it runs | take away what is before #!",
	} {
		s := subject(t, strings.Replace(sound, `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`, `user_data_file = "/etc/droplet.yaml"`, 1))
		s.Config, s.Faults = subject(t, sound).Config, nil // as if the file were there
		s.Config.UserData = data
		found, _ := Examine(t.Context(), nil, s)
		lines := slices.DeleteFunc(written(found), func(line string) bool { return !strings.HasPrefix(line, "user-data") })
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
