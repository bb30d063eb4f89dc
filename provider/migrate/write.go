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

// write returns the new section, with the old one below it as a comment.
func (c *conversion) write() string {
	eol := c.doc.eol
	var edits []edit
	inMachine, at := false, c.start // at is where the last entry ended
	for _, e := range c.entries {
		if e.name == "" {
			inMachine = below(e.path, "machine")
		}
		switch {
		case e.path == "executor":
			indent := c.doc.text[c.doc.lineStart(e.nameAt.start):e.nameAt.start]
			text := indent + `executor = "docker-autoscaler"` + eol
			if c.get("request_concurrency") == nil {
				text += indent + "request_concurrency = 4 # with 1, its default, jobs wait for GitLab's long polling" + eol
			}
			edits = append(edits, edit{e.span, text})
		case inMachine: // with all comments in between
			edits = append(edits, edit{span{at, e.end}, ""})
		case below(e.path, "machine"),
			e.name != "" && slices.Contains([]string{"docker.host", "docker.tls_verify", "docker.tls_cert_path"}, e.path): // SSH is in their place
			edits = append(edits, edit{e.span, ""})
		case renamed[e.path] != "" && c.get(renamed[e.path]) == nil:
			edits = append(edits, edit{e.nameAt, renamed[e.path]})
			c.note(Check, e.line, e.name, "the runner now calls it "+renamed[e.path], "")
		}
		at = e.end
	}
	text := strings.TrimRight(edited(c.doc.text, c.span, edits), "\r\n") + eol + c.autoscaler() +
		eol + "# The section as it was, without its secrets. Remove it once all is well." + eol
	for line := range strings.Lines(c.doc.masked(c.span)) {
		text += strings.TrimRight("# "+strings.TrimRight(line, "\r\n"), " ") + eol
	}
	if rest := c.doc.text[c.end:]; rest != "" && !strings.HasPrefix(rest, eol) {
		text += eol
	}
	return text
}

// autoscaler is what the template makes of the plan, in the file's line ends.
func (c *conversion) autoscaler() string {
	var out strings.Builder
	if err := sectionTemplate.Execute(&out, c.plan); err != nil {
		panic(err) // the template is at fault
	}
	return strings.ReplaceAll(out.String(), "\n", c.doc.eol)
}

// multiline writes user data as TOML that people can read. With line ends of Windows it is one line: a line end in a string
// is part of it.
func (c *conversion) multiline(text string) string {
	switch {
	case c.doc.eol != "\n":
	case !strings.Contains(text, `\`) && !strings.Contains(text, `"""`):
		return `"""` + "\n" + text + `"""`
	case !strings.Contains(text, `'''`):
		return `'''` + "\n" + text + `'''`
	}
	return toTOML(text)
}

// toTOML writes a string, a number, a boolean, or a list.
func toTOML(v any) string {
	text, _ := toml.Marshal(map[string]any{"v": v}) // cannot fail
	return strings.TrimSpace(strings.TrimPrefix(string(text), "v = "))
}
