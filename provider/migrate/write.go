package migrate

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

//go:embed section.tmpl
var sectionText string

// sectionTemplate is what of a new [[runners]] section is new, two spaces for each level.
var sectionTemplate = template.Must(template.New("section").Funcs(template.FuncMap{
	"toml": toTOML, "float": float,
	"userData": func() string { return userDataHere },
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
	for _, b := range c.blocks {
		for _, k := range b.keys {
			switch {
			case k.path == "executor":
				c.edits.replace(k.span, c.unit+`executor = "docker-autoscaler"`+eol)
			case slices.Contains([]string{"docker.host", "docker.tls_verify", "docker.tls_cert_path"}, k.path), // SSH is in their place
				b.path == "" && below(k.path, "machine"):
				c.edits.replace(k.span, "")
			case renamed[k.path] != "" && c.get(renamed[k.path]) == nil:
				c.edits.replace(k.nameAt, renamed[k.path])
				c.at(Check, k.line, k.name, "runners of today call it "+renamed[k.path], "")
			}
		}
	}
	text := c.carried("")
	if c.get("request_concurrency") == nil {
		text += c.unit + "request_concurrency = 4 # with 1, its default, jobs wait for GitLab's long polling" + eol
	}
	text += c.carried("docker") + c.autoscaler() + c.carried("cache")
	if c.s3 != nil {
		text += fmt.Sprintf("%[1]s%[1]s[%[2]s.cache.s3]%[3]s", c.unit, c.name, eol)
		for _, p := range c.s3 {
			text += strings.Repeat(c.unit, 3) + p.key + " = " + p.value + eol
		}
	}
	text += c.carried("*") + eol + "# The section as it was, without its secrets. Remove it once all is well." + eol
	for line := range strings.Lines(c.doc.masked(c.span)) {
		text += strings.TrimRight("# "+strings.TrimRight(line, "\r\n"), " ") + eol
	}
	if rest := c.doc.text[c.end:]; rest != "" && !strings.HasPrefix(rest, eol) {
		text += eol
	}
	return text
}

// carried is what is taken over, with its comments, of the tables of that name: "" is [[runners]] itself, * are those that
// have no other place.
func (c *conversion) carried(name string) (text string) {
	for _, b := range c.blocks {
		first, _, _ := strings.Cut(b.path, ".")
		if !slices.Contains([]string{"", "docker", "cache", "machine"}, first) {
			first = "*"
		}
		if first != name || b.path == "cache.s3" && c.s3 != nil {
			continue
		}
		if b.path != "" && !strings.Contains(b.path, ".") {
			text += c.doc.eol
		}
		text += strings.TrimRight(c.edits.within(c.doc.text, b.span), "\r\n") + c.doc.eol
	}
	return text
}

// autoscaler is what the template makes of the plan, in the old section's indentation and line ends.
func (c *conversion) autoscaler() (text string) {
	data := struct {
		plan
		Name  string // of the array: runners
		Retry string // shutdown_deletion_interval
	}{c.plan, c.name, "10s"}
	if c.Drain.Retries == 0 {
		data.Drain.Retries = 3 // the runner's default
	}
	if c.Drain.Backoff > 0 {
		data.Retry = c.Drain.Backoff.String()
	}
	var out strings.Builder
	if err := sectionTemplate.Execute(&out, data); err != nil {
		panic(err) // the template is at fault
	}
	for line := range strings.SplitSeq(strings.TrimRight(out.String(), "\n"), "\n") {
		levels := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		text += strings.Repeat(c.unit, levels) + line[2*levels:] + c.doc.eol
	}
	return strings.Replace(text, userDataHere, c.userData(), 1)
}

// userDataHere stands for user data until the rest is indented. It is in no TOML.
const userDataHere = "\x00"

// userData is user data as TOML that people can read. With line ends of Windows it is one line: a line end in a string is
// part of it.
func (c *conversion) userData() string {
	s := c.UserData
	switch {
	case c.doc.eol != "\n":
	case !strings.Contains(s, `\`) && !strings.Contains(s, `"""`):
		return `"""` + "\n" + s + `"""`
	case !strings.Contains(s, `'''`):
		return `'''` + "\n" + s + `'''`
	}
	return quote(s)
}

// toTOML writes a string, a number, or a list of strings.
func toTOML(v any) string {
	switch v := v.(type) {
	case string:
		return quote(v)
	case []string:
		var quoted []string
		for _, s := range v {
			quoted = append(quoted, quote(s))
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// quote writes a string of TOML: as JSON, whose escapes TOML knows.
func quote(s string) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // cannot fail
	return strings.ReplaceAll(strings.TrimSuffix(out.String(), "\n"), "\x7f", `\u007f`)
}

// check reads the result as the runner will, and finds the tokens that are left in it.
func (m *migration) check(path, text string) {
	if _, err := runnerconfig.Parse(path, text); err != nil {
		m.say(Note{Level: Error, Text: "a fault of this command: the result cannot be read: " + err.Error(),
			Hint: "please report it, with the file but without its secrets"})
	}
	for _, t := range m.tokens {
		if i := strings.Index(text, t.Value.Reveal()); i >= 0 && len(t.Value.Reveal()) >= minRedact {
			m.say(Note{Level: Check, Text: fmt.Sprintf("the access token stands on line %d of the new file too", 1+strings.Count(text[:i], "\n")),
				Hint: "replace it once the token is a new one"})
		}
	}
}
