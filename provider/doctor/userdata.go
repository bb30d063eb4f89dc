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

func (e *exam) userData() {
	data := e.Config.UserData
	if !e.valid() || data == "" {
		return
	}
	key := e.userDataKey()
	name := lastPart(key)
	switch {
	case strings.HasPrefix(strings.TrimSpace(data), "#!") && !strings.HasPrefix(data, "#!"):
		e.say(Warning, key, "take away what is before #!", "%s has blanks before its #!: no shell is found for it, and nothing of it runs", name)
	case !headed(data):
		e.say(Warning, key, "begin it with the line #cloud-config, or #!/bin/sh",
			"%s does not begin with #cloud-config or #!: cloud-init ignores it", name)
	case isCloudConfig(data):
		for _, f := range misread(data) {
			e.inUserData(key, f)
		}
	}
	for _, s := range secretLike {
		if s.re.MatchString(data) {
			e.say(Warning, key, "put it into the jobs' CI/CD variables, or into the image's registry, and change it",
				"%s seems to have %s in it: every job can read user data, at 169.254.169.254", name, s.what)
		}
	}
}

func (e *exam) userDataKey() string {
	const table = "autoscaler.plugin_config."
	if pluginKey(e.Runner, "user_data") == "" {
		return table + "user_data_file"
	}
	return table + "user_data"
}

// inUserData says what is wrong with a line: of the file, or of what stands in
// config.toml.
func (e *exam) inUserData(key string, f yamlFault) {
	what := f.what
	if f.ignored {
		what += ": cloud-init ignores all of it"
	}
	mark := Fault
	if !f.ignored {
		mark = Warning
	}
	file := pluginKey(e.Runner, "user_data_file")
	switch {
	case f.line == 0:
		e.say(mark, key, f.hint, "%s %s", lastPart(key), what)
	case file != "":
		e.at(mark, fmt.Sprintf("%s:%d", file, f.line), f.hint, "%s", what)
	default:
		e.say(mark, key, f.hint, "line %d of %s: %s", f.line, lastPart(key), what)
	}
}

// headers are how what cloud-init acts on begins, in lower case.
var headers = []string{"#!", "#cloud-config", "#include", "#cloud-boothook", "#part-handler", "## template: jinja", "content-type: multipart", "mime-version:"}

// headed reports whether cloud-init acts on data. It minds neither case nor blanks
// before.
func headed(data string) bool {
	data = strings.ToLower(strings.TrimSpace(data))
	for _, h := range headers {
		if strings.HasPrefix(data, h) {
			return true
		}
	}
	return false
}

// isCloudConfig reports whether data is to be a mapping in YAML. A template is only when
// cloud-init has filled it in; archives are lists, and patches are JSON.
func isCloudConfig(data string) bool {
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(data)), "\n")
	return strings.HasPrefix(first, "#cloud-config") && !strings.HasPrefix(first, "#cloud-config-")
}

// yamlFault is why cloud-init does not read a cloud-config as it is written. It repeats
// none of the values, which may be secret.
type yamlFault struct {
	line    int // from 1; 0 = not known
	what    string
	hint    string
	ignored bool // all of the cloud-config
}

// misread finds what keeps a cloud-config from being read, or a part of it from
// counting. Its lines are lines of data: to the library the end is one line further.
func misread(data string) []yamlFault {
	found := yamlFaults(data)
	for i := range found {
		found[i].line = min(found[i].line, 1+strings.Count(strings.TrimRight(data, "\n"), "\n"))
	}
	return found
}

func yamlFaults(data string) []yamlFault {
	decoder := yaml.NewDecoder(strings.NewReader(data))
	var first, second yaml.Node
	if err := decoder.Decode(&first); errors.Is(err, io.EOF) {
		return nil // comments alone
	} else if err != nil {
		return []yamlFault{syntaxFault(err)}
	}
	root := first.Content[0]
	if root.Tag != "!!null" && root.Kind != yaml.MappingNode {
		return []yamlFault{{root.Line, "no mapping of keys such as runcmd", "for example runcmd: [ufw allow ssh]", true}}
	}
	switch err := decoder.Decode(&second); {
	case err == nil:
		return []yamlFault{{second.Content[0].Line, "a second document begins before it", "remove the line ---", true}}
	case !errors.Is(err, io.EOF):
		return []yamlFault{syntaxFault(err)}
	}
	var found []yamlFault
	var all map[string]any
	err := root.Decode(&all)
	if twice, ok := errors.AsType[*yaml.TypeError](err); ok {
		for _, text := range twice.Errors {
			if m := defined.FindStringSubmatch(text); m != nil {
				line, _ := strconv.Atoi(m[1])
				found = append(found, yamlFault{line, fmt.Sprintf("%s is there a second time, and the one of line %s does not count", m[2], m[3]), "make one of both", false})
			}
		}
	} else if err != nil {
		found = append(found, syntaxFault(err))
	}
	return found
}

// How the YAML library writes errors, which have no types.
var (
	atYAML  = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	unended = regexp.MustCompile(`^did not find expected (key|'-' indicator|',' or|node content|<)`)
	defined = regexp.MustCompile(`^line (\d+): mapping key "([^"]*)" already defined at line (\d+)$`)
)

// syntaxFault is YAML that makes no sense. Where a list or mapping does not end as it
// should the library only tells where it begins, and counts lines from 0.
func syntaxFault(err error) yamlFault {
	f := yamlFault{what: strings.TrimPrefix(err.Error(), "yaml: "), ignored: true,
		hint: "cloud-init schema --config-file FILE tells more, where cloud-init is installed"}
	if m := atYAML.FindStringSubmatch(err.Error()); m != nil {
		f.line, _ = strconv.Atoi(m[1])
		f.what = m[2]
	}
	switch {
	case unended.MatchString(f.what):
		f.line++
		f.what = "what begins here " + f.what
		f.hint = "look at the indents, brackets and quotes from here on"
	case strings.HasPrefix(f.what, "mapping values"):
		f.hint = `a text with ": " in it needs quotes`
	case strings.HasPrefix(f.what, "found character that cannot start"):
		f.hint = "indent with spaces, not tabs; a text that begins with @, ` or % needs quotes"
	case strings.HasPrefix(f.what, "found unexpected end of stream"):
		f.what, f.hint = "a quote that does not end", "look at the quotes from here on"
	case strings.HasPrefix(f.what, "invalid map key"):
		f.what, f.hint = "has a mapping for a key", "where {{ ... }} is a template: begin with the line ## template: jinja"
	}
	f.what = "no YAML: " + f.what
	return f
}
