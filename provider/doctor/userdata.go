package doctor

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretLike match what looks like a secret, by what it is called.
var secretLike = []struct {
	what string
	re   *regexp.Regexp
}{
	{"a DigitalOcean token", regexp.MustCompile(`\bdo[opr]_v1_[0-9a-f]{16,}`)},
	{"a GitLab token", regexp.MustCompile(`\bgl(pat|rt|dt|cbt|ptt|soat|imt)-[0-9A-Za-z_-]{10,}`)},
	{"a GitHub token", regexp.MustCompile(`\b(gh[pousr]_[0-9A-Za-z]{20,}|github_pat_\w{20,})`)},
	{"an AWS key", regexp.MustCompile(`\bA(KIA|SIA)[0-9A-Z]{16}\b`)},
	{"a private key", regexp.MustCompile(`PRIVATE KEY-----`)},
	{"a password", regexp.MustCompile(
		`(?im)^[^#\n]*\b(password|passwd|secret|secret_?key|access_?token|api_?key)["']?\s*[:=]\s*["']?[^\s"'$<{]{6,}`)},
	{"a registry's password", regexp.MustCompile(`docker login\b[^\n]*\s(-p|--password)[ =][^$\s]`)},
}

// userDataKey is where user_data comes from.
func (e *exam) userDataKey() string {
	if pluginKey(e.Runner, "user_data") == "" {
		return "autoscaler.plugin_config.user_data_file"
	}
	return "autoscaler.plugin_config.user_data"
}

func (e *exam) userData() {
	data, key := e.Config.UserData, e.userDataKey()
	name := lastPart(key)
	switch {
	case data == "":
	case strings.HasPrefix(strings.TrimSpace(data), "#!") && !strings.HasPrefix(data, "#!"):
		e.add(Warning, key, "remove what is before #!", "%s has blanks before its #!: no shell is found for it, and nothing of it runs", name)
	case !headed(data):
		e.add(Warning, key, "begin it with the line #cloud-config, or #!/bin/sh",
			"%s does not begin with #cloud-config or #!: cloud-init ignores it", name)
	case isCloudConfig(data):
		for _, f := range misread(data) {
			e.inUserData(key, f)
		}
	}
	for _, s := range secretLike {
		if s.re.MatchString(data) {
			e.add(Warning, key, "put it into the jobs' CI/CD variables, and replace it",
				"%s seems to have %s in it: every job can read user data, at 169.254.169.254", name, s.what)
		}
	}
}

// inUserData adds a finding about a line: of the file, or of what stands in config.toml.
func (e *exam) inUserData(key string, f yamlFault) {
	level, what := Warning, f.what
	if f.ignored {
		level, what = Fault, what+": cloud-init ignores all of it"
	}
	file := pluginKey(e.Runner, "user_data_file")
	switch {
	case f.line == 0:
		e.add(level, key, f.hint, "%s: %s", lastPart(key), what)
	case file != "":
		e.addAt(level, fmt.Sprintf("%s:%d", file, f.line), f.hint, "%s", what)
	default:
		e.add(level, key, f.hint, "line %d of %s: %s", f.line, lastPart(key), what)
	}
}

// headers are the beginnings of what cloud-init acts on, in lower case.
var headers = []string{"#!", "#cloud-config", "#include", "#cloud-boothook", "#part-handler", "## template: jinja",
	"content-type: multipart", "mime-version:"}

// headed reports whether cloud-init acts on data, whatever the case and the blanks before.
func headed(data string) bool {
	data = strings.ToLower(strings.TrimSpace(data))
	for _, h := range headers {
		if strings.HasPrefix(data, h) {
			return true
		}
	}
	return false
}

// isCloudConfig reports whether data must be a mapping in YAML, unlike templates, archives and patches.
func isCloudConfig(data string) bool {
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(data)), "\n")
	return strings.HasPrefix(first, "#cloud-config") && !strings.HasPrefix(first, "#cloud-config-")
}

// yamlFault is why cloud-init does not read a cloud-config as it is written. It repeats no values, which may be secret.
type yamlFault struct {
	line       int // from 1; 0 = not known
	what, hint string
	ignored    bool // all of the cloud-config
}

// misread finds what keeps a cloud-config from being read, or a part of it from being used.
func misread(data string) (found []yamlFault) {
	decoder := yaml.NewDecoder(strings.NewReader(data))
	for first := true; ; first = false {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) { // also of comments alone
			return found
		}
		last := 1 + strings.Count(strings.TrimRight(data, "\n"), "\n") // to the library the end is one line further
		if err != nil {
			f := explainYAML(err.Error())
			f.line = min(f.line, last)
			return append(found, f)
		}
		switch root := document.Content[0]; {
		case !first:
			return append(found, yamlFault{min(root.Line, last), "a second document begins before it", "remove the line ---", true})
		case root.Kind == yaml.MappingNode:
			found = append(found, misreadKeys(root)...)
		case root.Tag != "!!null":
			found = append(found, yamlFault{root.Line, "no mapping of keys such as runcmd", "runcmd: [ufw allow ssh]", true})
		}
	}
}

// misreadKeys finds keys that are there twice, or are no keys, in a node and below.
func misreadKeys(n *yaml.Node) (found []yamlFault) {
	lines := map[string]int{}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			switch line, twice := lines[child.Value]; {
			case child.Kind != yaml.ScalarNode && child.Kind != yaml.AliasNode:
				found = append(found, yamlFault{child.Line, "no YAML: a table is no key", `put what begins with { into quotes`, true})
			case twice:
				found = append(found, yamlFault{child.Line,
					fmt.Sprintf("%s is there a second time, and that of line %d is ignored", child.Value, line), "merge the two", false})
			}
			lines[child.Value] = child.Line
		}
		found = append(found, misreadKeys(child)...)
	}
	return found
}

// How the YAML library writes errors, which have no types.
var (
	atYAML  = regexp.MustCompile(`^line (\d+): (.*)$`)
	unended = regexp.MustCompile(`^did not find expected (key|'-' indicator|',' or|node content|<)`)
)

// explainYAML makes a fault of what the library writes.
func explainYAML(text string) yamlFault {
	f := yamlFault{ignored: true, what: strings.TrimPrefix(text, "yaml: "),
		hint: `indent with spaces, put a text with ": " in it into quotes; cloud-init schema --config-file FILE shows more`}
	if m := atYAML.FindStringSubmatch(f.what); m != nil {
		f.line, _ = strconv.Atoi(m[1])
		f.what = m[2]
	}
	if unended.MatchString(f.what) { // the library gives the line where it begins, and counts from 0
		f.line++
		f.what, f.hint = "what begins here "+f.what, "look at the indents, brackets and quotes from here on"
	}
	f.what = "no YAML: " + f.what
	return f
}

// unlocked matches what ends the limit on SSH connections: ufw limit ssh does not.
var unlocked = regexp.MustCompile(`(?m)^[^#\n]*\bufw["', \t]+(--force["', \t]+)?(allow|disable)\b`)

func (e *exam) firewall() {
	if !strings.HasPrefix(e.Config.Image.Slug, "docker-") || unlocked.MatchString(e.Config.UserData) {
		return
	}
	key, hint := e.userDataKey(), `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"`
	if e.Config.UserData != "" {
		hint = "let " + lastPart(key) + " run: ufw allow ssh"
	}
	e.add(Warning, key, hint,
		"the 1-Click image's firewall accepts six SSH connections in 30 seconds from an address, and then none: the runner locks itself out")
}
