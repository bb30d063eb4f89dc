package doctor

import (
	"strings"
	"testing"
)

// What cloud-init reads has no fault, and what it does not has one that begins so, and repeats no value.
func TestMisread(t *testing.T) {
	const noMapping = "it must be a mapping"
	for data, want := range map[string]string{
		"#cloud-config\nruncmd: [ufw allow ssh]\n":     "",
		"#cloud-config\n":                              "",
		"#cloud-config\n---":                           "",
		"\n#Cloud-Config # mine\r\nruncmd:\r\n- x\r\n": "",
		"#cloud-config\nwrite_files:\n- path: x\n  content: |\n    a: b: c\n   #\n": "",
		"#cloud-config\nmounts: !x [a]\n1: {2: 3}\n<<: {b: 1}\n":                    "",

		"#cloud-config\na: [\n":                      "near line 2: ",
		"#cloud-config\nruncmd:\n\t- x\n":            "near line 3: ",
		"#cloud-config\nruncmd:\n- a: b: c\n":        "near line 3: ",
		"#cloud-config\nruncmd: [x\npackages: [y]\n": "near line 1: ",
		"#cloud-config\na: *x\n":                     "yaml: unknown anchor",
		"#cloud-config\na: {{ hunter2 }}\n":          noMapping,
		"#cloud-config\n- ufw allow ssh\n":           noMapping,
		"#cloud-config\nhunter2\n":                   noMapping,
		"#cloud-config\na:\n  b: 1\n  c: 2\na: 3\n":  `line 5: mapping key "a" already defined at line 2`,

		// What cloud-init acts on otherwise is not looked into.
		"#!/bin/sh\n: [": "", "## template: jinja\n#cloud-config\na: {{ b }}": "", "#cloud-config-archive\n- a": "", "# cloud-config\n- a": "",
	} {
		got := misread(data)
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) || strings.Contains(got, "hunter2") {
			t.Errorf("%q:\ngot  %s\nwant %s", data, got, want)
		}
	}
}

// What cloud-init acts on begins so.
func TestHeaded(t *testing.T) {
	for data, want := range map[string]bool{
		"#!/bin/sh\n:": true, "#include\nhttps://x": true, "\n#cloud-config\n": true, "Content-Type: multipart/mixed": true, "MIME-Version: 1.0": true,
		"## template: jinja\n#cloud-config": true, "#cloud-config-jsonp\n[]": true, "#cloud-boothook\n": true,
		"\n#!/bin/sh": false, "runcmd: []": false, "# cloud-config\n": false, "{}": false, "#": false,
	} {
		if headed.MatchString(data) != want {
			t.Errorf("%q: %t", data, !want)
		}
	}
}
