package migrate

import (
	"cmp"
	_ "embed"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/BurntSushi/toml"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// document is a config.toml in which the keys of runners are known by their bytes.
type document struct {
	text     string
	sections []*section // in the order of the file
	secrets  []config.Secret
	masks    []edit // puts [secret] in the place of each secret value
}

// section is one [[runners]], with the tables below it: whole lines, from its header to its last key.
type section struct {
	span
	Spelled string // runners
	entries []entry
	items   []option // all keys and elements of lists, also those inside of other values
}

// span is a range of bytes of the text.
type span struct{ start, end int }

// entry is a header, or a key with its value: whole lines.
type entry struct {
	span
	value int    // where it ends, and a comment may follow
	path  string // below the runner, in lower case: "", "docker", "machine.idlecount"
	name  string // as it is spelled
}

// scan takes apart a text that the runner's decoder has accepted.
func scan(text string) (*document, error) {
	d := &document{text: text}
	var s *section       // that keys belong to; nil = none
	var key, name string // of s, and of what has an element
	var apart error
	err := runnerconfig.Walk(text, func(i runnerconfig.Item) {
		d.findSecret(i)
		name = cmp.Or(i.Name[strings.LastIndexByte(i.Name, '.')+1:], name)
		if s != nil && i.Value != nil {
			s.items = append(s.items, option{name, string(i.Value.Data), strings.TrimPrefix(i.Key, key+".")})
		}
		if i.Inner {
			return
		}
		whole := span{strings.LastIndexByte(text[:i.Start], '\n') + 1, len(text)}
		if n := strings.IndexByte(text[i.End:], '\n'); n >= 0 {
			whole.end = i.End + n + 1
		}
		if next := "runners." + strconv.Itoa(len(d.sections)); i.Value == nil {
			switch {
			case !below(i.Key, "runners"):
				s = nil
			case i.Key == next:
				s, key = &section{span: whole, Spelled: i.Name}, next
				d.sections = append(d.sections, s)
			case s == nil:
				apart = runnerconfig.Fault{Line: 1 + strings.Count(text[:i.Start], "\n"),
					Text: "[" + i.Name + "] is apart from its [[runners]]: move it to the runner's other tables"}
			}
		}
		if s != nil {
			s.end = whole.end
			s.entries = append(s.entries, entry{whole, i.End, strings.TrimPrefix(strings.TrimPrefix(i.Key, key), "."), i.Name})
		}
	})
	return d, cmp.Or(err, apart)
}

// below reports whether a path is a table, or in it.
func below(path, table string) bool { return path == table || strings.HasPrefix(path, table+".") }

// edit is text in the place of a span.
type edit struct {
	span
	text string
}

// edited returns a part of the text with those edits that are in it. They are in order, and no two overlap.
func edited(text string, s span, edits []edit) string {
	var out strings.Builder
	for _, e := range edits {
		if e.start >= s.start && e.end <= s.end {
			out.WriteString(text[s.start:e.start] + e.text)
			s.start = e.end
		}
	}
	return out.String() + text[s.start:s.end]
}

//go:embed section.tmpl
var sectionText string

// sectionTemplate is what of a new [[runners]] section is new.
var sectionTemplate = template.Must(template.New("section").Funcs(template.FuncMap{"toml": toTOML}).Parse(sectionText))

// renamed are keys of [[runners]] that the runner has under another name today.
var renamed = map[string]string{"pre_clone_script": "pre_get_sources_script", "post_clone_script": "post_get_sources_script"}

// useless reports whether a key of the old section has no place in the new one. SSH takes the place of Docker's API.
func useless(path string) bool {
	return below(path, "machine") || slices.Contains([]string{"docker.host", "docker.tls_verify", "docker.tls_cert_path"}, path)
}

// stale matches a block of comments, or a comment behind a value, that would be false in the new section.
var stale = regexp.MustCompile(`(?i)(?:[ \t]*#.*\n)*[ \t]*#.*(?:docker.?machine|machineoptions).*\n?(?:[ \t]*#.*\n)*`)

var lineEnd = regexp.MustCompile(`\r?\n`)

// write returns the new section, with the old one below it as a comment.
func (c *conversion) write() string {
	end := lineEnd.FindString(c.doc.text[c.start:])
	var out, added strings.Builder
	at := c.start
	for _, e := range c.entries {
		comments, own := stale.ReplaceAllString(c.doc.text[at:e.start], ""), c.doc.text[e.start:e.value]
		behind := stale.ReplaceAllString(c.doc.text[e.value:e.end], end)
		at = e.end
		switch name := renamed[e.path]; {
		case e.path == "executor":
			indent := own[:strings.Index(own, e.name)]
			comments, own, behind = "", indent+`executor = "docker-autoscaler"`, end
			if c.Requests {
				own += end + indent + "request_concurrency = 4 # with 1, its default, jobs wait for GitLab's long polling"
			}
		case useless(e.path):
			continue
		case name != "" && !c.config.Has(c.Runner.Key(name)):
			own = strings.Replace(own, e.name, name, 1)
		}
		out.WriteString(comments + own + behind)
	}
	if err := sectionTemplate.Execute(&added, c); err != nil {
		panic(err) // the template is at fault
	}
	added.WriteString("\n# The section as it was, without its secrets. Remove it once all is well.\n")
	for line := range strings.Lines(c.doc.masked(c.span)) {
		added.WriteString(strings.TrimRight("# "+line, " \r\n") + "\n")
	}
	return strings.TrimRight(out.String(), "\r\n") + end + strings.ReplaceAll(added.String(), "\n", end)
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
