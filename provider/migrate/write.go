package migrate

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

//go:embed section.tmpl
var sectionText string

// sectionTemplate is a new [[runners]] section, two spaces for each level.
var sectionTemplate = template.Must(template.New("section").Funcs(template.FuncMap{
	"quote": quote, "list": quoteAll, "float": float,
	"seconds": func(n int) string { return quote(strconv.Itoa(n) + "s") },
}).Parse(sectionText))

// write returns the new section, with the old one below it as a comment.
func (c *conversion) write() string {
	data := struct {
		plan
		Name                 string // of the array: runners
		Runner, Docker, Rest string // what is taken over
		Retry                string // shutdown_deletion_interval
	}{plan: c.plan, Name: c.section.name, Runner: c.carried(""), Docker: c.carried("docker"), Rest: c.carried("cache"), Retry: "10s"}
	for _, t := range c.tables {
		name, _, _ := strings.Cut(t.path, ".")
		if !slices.Contains([]string{"", "docker", "cache", "machine"}, name) && c.first(name) == t {
			data.Rest += c.carried(name)
		}
	}
	if c.Drain.Retries == 0 {
		data.Drain.Retries = 3 // the runner's default
	}
	if c.Drain.Backoff > 0 {
		data.Retry = c.Drain.Backoff.String()
	}
	if c.UserData != "" {
		data.UserData = c.hold(c.userData())
	}
	var out strings.Builder
	if err := sectionTemplate.Execute(&out, data); err != nil {
		panic(err) // the template is at fault
	}
	text := ""
	for line := range strings.Lines(out.String()) {
		levels := (len(line) - len(strings.TrimLeft(line, " "))) / 2
		text += strings.Repeat(c.unit, levels) + strings.TrimSuffix(line[2*levels:], "\n") + c.doc.eol
	}
	for i, value := range c.held {
		text = strings.Replace(text, holder(i), value, 1)
	}
	text += c.doc.eol + "# The section as it was, without its secrets. Remove it once all is well." + c.doc.eol
	for line := range strings.Lines(c.doc.masked(c.span)) {
		text += strings.TrimRight("# "+strings.TrimRight(line, "\r\n"), " ") + c.doc.eol
	}
	if rest := c.doc.text[c.end:]; rest != "" && !strings.HasPrefix(rest, c.doc.eol) {
		text += c.doc.eol
	}
	return text
}

// hold keeps a value of several lines as it is while lines are indented. It returns what stands for it until then.
func (c *conversion) hold(value string) string {
	if !strings.Contains(value, "\n") {
		return value
	}
	c.held = append(c.held, value)
	return holder(len(c.held) - 1)
}

// holder is no TOML, and so in no text.
func holder(i int) string { return "\x00" + strconv.Itoa(i) + "\x00" }

// first returns the first table of that name, or in it.
func (c *conversion) first(name string) *table {
	for _, t := range c.tables {
		if below(t.path, name) {
			return t
		}
	}
	return nil
}

// carried is what is taken over of the tables of that name, with the comments on what stays true: [[runners]] itself is
// "". Each line begins with two spaces for each level.
func (c *conversion) carried(name string) string {
	var out strings.Builder
	for _, t := range c.tables {
		if t.path != name && (name == "" || !below(t.path, name)) {
			continue
		}
		depth := 0
		for part := range strings.SplitSeq(t.path, ".") {
			if part != "" && strings.Trim(part, "0123456789") != "" {
				depth++
			}
		}
		indent := strings.Repeat("  ", depth)
		if depth == 1 {
			out.WriteString("\n")
		}
		line := func(text, after string) {
			out.WriteString(indent + strings.TrimRight(text+" "+c.doc.redact(after), " ") + "\n")
		}
		for _, comment := range t.above {
			if name != "" { // those of [[runners]] stay above it
				line(c.doc.redact(comment), "")
			}
		}
		line(t.header, t.after)
		indent += "  "
		for _, e := range t.entries {
			switch {
			case e.path == "executor":
				line(`executor = "docker-autoscaler"`, "")
				continue
			case below(e.path, "machine"):
				continue
			case slices.Contains([]string{"docker.host", "docker.tls_verify", "docker.tls_cert_path"}, e.path):
				continue // Docker is reached over SSH, on the Droplet
			}
			for _, comment := range e.above {
				line(c.doc.redact(comment), "")
			}
			line(e.key+" = "+c.hold(e.value), e.after)
		}
	}
	return out.String()
}

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

// quote writes a string of TOML.
func quote(s string) string {
	var out strings.Builder
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteString(`\` + string(r))
		case r == '\n':
			out.WriteString(`\n`)
		case r < ' ' || r == 0x7f || r >= 0x80 && !unicode.IsPrint(r) && r <= 0xffff:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	return `"` + out.String() + `"`
}

func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// check reads the result as the runner and the plugin will. What the plugin would refuse is still to be done by a person.
func (m *migration) check(path, text string) {
	file, err := runnerconfig.Parse(path, text)
	if err != nil {
		m.say(Note{Level: Error, Text: "a fault of this command: the result cannot be read: " + err.Error(), Hint: "please report it, with the file but without its secrets"})
		return
	}
	for _, t := range m.tokens {
		if i := strings.Index(text, t.Value.Reveal()); i >= 0 && len(t.Value.Reveal()) >= minRedact {
			m.say(Note{Level: Check, Text: fmt.Sprintf("the access token stands on line %d of the new file too", 1+strings.Count(text[:i], "\n")),
				Hint: "replace it once the token is a new one"})
		}
	}
	for _, r := range file.Runners {
		if !r.OurPlugin() || m.file.Runners[r.Index].Autoscaler != nil {
			continue
		}
		table, err := json.Marshal(r.Autoscaler.PluginConfig)
		if err != nil {
			continue // it has been read, and so can be written
		}
		host := m.Host
		host.ReadFile = func(path string, limit int64) ([]byte, error) {
			if path == r.Autoscaler.PluginConfig["token_file"] { // it is written after this, or by the user
				return []byte("dop_v1_not_written_yet"), nil
			}
			return m.Host.ReadFile(path, limit)
		}
		_, err = config.Parse(table, host)
		faults, _ := errors.AsType[config.Faults](err)
		for _, f := range faults {
			m.say(Note{Todo, m.doc.line(fmt.Sprintf("runners.%d.machine.machineoptions", r.Index)), r.Name, "plugin_config." + f.Key, f.Text, f.Hint})
		}
	}
}
