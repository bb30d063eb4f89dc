package migrate

import (
	_ "embed"
	"slices"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"
)

//go:embed section.tmpl
var sectionText string

// sectionTemplate is what of a new [[runners]] section is new.
var sectionTemplate = template.Must(template.New("section").Funcs(template.FuncMap{
	"toml": toTOML,
	"opt": func(key string, value any) string { // nothing where it is not set
		if truth, _ := template.IsTrue(value); !truth {
			return ""
		}
		return "\n" + key + " = " + toTOML(value)
	},
}).Parse(sectionText))

// renamed are keys of [[runners]] that the runner has under another name today.
var renamed = map[string]string{"pre_clone_script": "pre_get_sources_script", "post_clone_script": "post_get_sources_script"}

// useless are keys of the old section that have no place in the new one: SSH is in theirs.
var useless = []string{"docker.host", "docker.tls_verify", "docker.tls_cert_path"}

// write returns the new section, with the old one below it as a comment.
func (c *conversion) write() string {
	var edits []edit
	inMachine, at := false, c.start // at is where the last entry ended
	for _, e := range c.entries {
		if e.header {
			inMachine = below(e.path, "machine")
		}
		switch {
		case e.path == "executor":
			indent := c.doc.text[lineStart(c.doc.text, e.name.start):e.name.start]
			text := indent + `executor = "docker-autoscaler"` + "\n"
			if !c.has("request_concurrency") {
				text += indent + "request_concurrency = 4 # with 1, its default, jobs wait for GitLab's long polling\n"
			}
			edits = append(edits, edit{e.span, text})
		case inMachine: // with all comments in between
			edits = append(edits, edit{span{at, e.end}, ""})
		case below(e.path, "machine"), !e.header && slices.Contains(useless, e.path):
			edits = append(edits, edit{e.span, ""})
		case renamed[e.path] != "" && !c.has(renamed[e.path]):
			edits = append(edits, edit{e.name, renamed[e.path]})
		}
		at = e.end
	}
	var text strings.Builder
	text.WriteString(strings.TrimRight(edited(c.doc.text, c.span, edits), "\r\n") + "\n")
	if err := sectionTemplate.Execute(&text, c.plan); err != nil {
		panic(err) // the template is at fault
	}
	text.WriteString("\n# The section as it was, without its secrets. Remove it once all is well.\n")
	for line := range strings.Lines(c.doc.masked(c.span)) {
		text.WriteString(strings.TrimRight("# "+line, " \r\n") + "\n")
	}
	if rest := strings.TrimLeft(c.doc.text[c.end:], "\r"); rest != "" && rest[0] != '\n' {
		text.WriteString("\n")
	}
	return text.String()
}

// literal writes user data as TOML that people can read.
func literal(text string) string {
	if strings.Contains(text, "'''") {
		return toTOML(text)
	}
	return "'''\n" + text + "'''"
}

// toTOML writes a string, a number, a boolean, or a list.
func toTOML(v any) string {
	text, _ := toml.Marshal(map[string]any{"v": v}) // cannot fail
	return strings.TrimSpace(strings.TrimPrefix(string(text), "v = "))
}
