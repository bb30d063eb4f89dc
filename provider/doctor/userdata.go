package doctor

import (
	"cmp"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	// headed matches what cloud-init acts on. Blanks before #! make a script that no shell is found for.
	headed = regexp.MustCompile(`(?i)^(#!|\s*(#cloud-|#include|#part-handler|## template: jinja|content-type: multipart|mime-version:))`)
	// cloudConfig matches what must be a mapping in YAML, unlike templates, archives and patches.
	cloudConfig = regexp.MustCompile(`(?i)^\s*#cloud-config([^-]|$)`)
	// secretLike matches tokens of DigitalOcean, GitLab, GitHub and AWS, private keys, and values of what is called a secret.
	secretLike = regexp.MustCompile(`\bdo[opr]_v1_[0-9a-f]{16,}|\bgl(pat|rt|dt|cbt|ptt|soat|imt)-[0-9A-Za-z_-]{10,}` +
		`|\bgh[pousr]_[0-9A-Za-z]{20,}|\bgithub_pat_\w{20,}|\bA(KIA|SIA)[0-9A-Z]{16}\b|PRIVATE KEY-----|docker login\b[^\n]*\s(-p|--password)[ =][^$\s]` +
		`|(?im)^[^#\n]*\b(password|passwd|secret|secret_?key|access_?token|api_?key)["']?\s*[:=]\s*["']?[^\s"'$<{]{6,}`)
	// unlocked matches what ends the limit on SSH connections: ufw limit ssh does not.
	unlocked = regexp.MustCompile(`(?m)^[^#\n]*\bufw["', \t]+(--force["', \t]+)?(allow|disable)\b`)
)

func (e *exam) userData() {
	data, key := e.Config.UserData, "autoscaler.plugin_config.user_data"
	if pluginKey(e.Runner, "user_data") == "" {
		key += "_file"
	}
	name := lastPart(key)
	e.when(data != "" && !headed.MatchString(data), Warning, key, "begin it with the line #cloud-config, or #!/bin/sh",
		"%s does not begin with #cloud-config or #!: cloud-init ignores it", name)
	if fault := misread(data); fault != "" {
		e.add(Fault, key, "indent with spaces, put a text with \": \" in it into quotes; cloud-init schema --config-file FILE shows more",
			"cloud-init does not read %s as it is written: %s", name, fault)
	}
	e.when(secretLike.MatchString(data), Warning, key, "put it into the jobs' CI/CD variables, and replace it",
		"%s seems to have a secret in it: every job can read user data, at 169.254.169.254", name)

	hint := "let " + name + " run: ufw allow ssh"
	if data == "" {
		hint = `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`
	}
	e.when(strings.HasPrefix(e.Config.Image.Slug, "docker-") && !unlocked.MatchString(data), Warning, key, hint,
		"the 1-Click image's firewall accepts six SSH connections in 30 seconds from an address, and then none: the runner locks itself out")
}

// duplicate matches the YAML library's text for a key that is there twice.
var duplicate = regexp.MustCompile(`line \d+: mapping key .* already defined at line \d+`)

// misread returns why cloud-init does not read a cloud-config as it is written; "" = it does, or it is none. It repeats no
// values, which may be secret.
func misread(data string) string {
	if !cloudConfig.MatchString(data) {
		return ""
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(data), &root); err != nil { // the library's line may be one too low
		return strings.Replace(err.Error(), "yaml: line", "near line", 1)
	}
	var table map[string]any
	err := root.Decode(&table)
	if err == nil {
		return ""
	}
	const noMapping = "it must be a mapping of keys such as runcmd, and what begins with { is no key"
	return cmp.Or(duplicate.FindString(err.Error()), noMapping)
}
