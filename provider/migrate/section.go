package migrate

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// section is a table of the new text, before it is indented.
type section struct {
	header string   // with brackets
	depth  int      // 0 = as [runners.machine] was
	above  []string // comments
	after  string   // the comment on the header's line
	lines  []string
	at     map[string]int // the old line that a key was made of
}

// old is something of the old text that may be kept as a comment: a key, or one of
// MachineOptions. What it was written with goes to the first line that it becomes.
type old struct {
	name   string
	text   string // as it was written
	before []string
	after  string
	line   int
	whole  bool // text is that of the whole line, of which this is a part
	used   bool
}

// take hands out the comments, once.
func (o *old) take() (before []string, after string) {
	if o == nil || o.used {
		return nil, ""
	}
	o.used = true
	return o.before, o.after
}

// set adds a key, with the comments of what it was.
func (s *section) set(key, value string, from ...*old) {
	line := key + " = " + value
	if s.at == nil {
		s.at = map[string]int{}
	}
	for _, o := range from {
		if o != nil {
			s.at[key] = o.line
		}
		before, after := o.take()
		s.lines = append(s.lines, before...)
		if after != "" {
			line += " " + after
		}
	}
	s.lines = append(s.lines, line)
}

// keep adds what has no equal, as a comment.
func (s *section) keep(o *old) {
	before, after := o.take()
	s.lines = append(s.lines, before...)
	text := o.text
	if after != "" {
		text += " " + after
	}
	s.say(text)
}

// comments adds the comments alone, of what becomes no line here.
func (s *section) comments(o *old) {
	before, after := o.take()
	s.lines = append(s.lines, before...)
	if after != "" {
		s.lines = append(s.lines, after)
	}
}

// say adds a comment of one line or more.
func (s *section) say(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\r\n"), "\n") {
		s.lines = append(s.lines, strings.TrimRight("# "+strings.TrimRight(line, "\r"), " "))
	}
}

// render writes the section. base indents its parent, unit each further level.
func (s *section) render(base, unit, eol string) string {
	var out strings.Builder
	indent := base + strings.Repeat(unit, s.depth)
	header := s.header
	if s.after != "" {
		header += " " + s.after
	}
	for _, comment := range s.above {
		out.WriteString(indent + comment + eol)
	}
	out.WriteString(indent + header + eol)
	for _, line := range s.lines {
		if strings.Contains(line, "\n") { // a string of several lines stands at the margin from its second one on
			line = strings.ReplaceAll(line, "\n", eol)
		}
		out.WriteString(indent + unit + line + eol)
	}
	return out.String()
}

// quote writes a string of TOML.
func quote(s string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			out.WriteString(`\` + string(r))
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == '\r':
			out.WriteString(`\r`)
		case r < ' ' || r == 0x7f || r >= 0x80 && !unicode.IsPrint(r) && r <= 0xffff:
			fmt.Fprintf(&out, `\u%04X`, r)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}

// quoteLines writes a string of several lines so that people can read it. With line
// ends of Windows it is one line: a line end within a string is part of it.
func quoteLines(s, eol string) string {
	switch {
	case eol != "\n":
		return quote(s)
	case !strings.Contains(s, `\`) && !strings.Contains(s, `"""`) && !strings.HasSuffix(s, `"`):
		return `"""` + "\n" + s + `"""`
	case !strings.Contains(s, `'''`) && !strings.HasSuffix(s, `'`):
		return `'''` + "\n" + s + `'''`
	}
	return quote(s)
}

func quoteAll(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = quote(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// redacted returns a text without the known secrets and what looks like one.
func redacted(text string, secrets []config.Secret) string {
	for _, s := range secrets {
		if value := s.Reveal(); len(value) >= minRedact {
			text = strings.ReplaceAll(text, value, s.String())
		}
	}
	for _, e := range embedded {
		text = e.ReplaceAllString(text, "${1}[secret]${2}")
	}
	return config.Redact(text)
}

// embedded are secrets inside other texts, also where TOML has escaped their quotes:
// the password of a URL, the auth of a Docker configuration, and tokens that have a
// prefix of their own (GitLab's, npm's, GitHub's, AWS's).
var embedded = []*regexp.Regexp{
	regexp.MustCompile(`(://[^\s/:@"']*:)[^\s/@"']+(@)`),
	regexp.MustCompile(`((?:auth|identitytoken|registrytoken)\\*"\s*:\s*\\*")[^"\\]+()`),
	regexp.MustCompile(`\b((?:gl(?:pat|rt|rtr|dt|cbt|ft|soat|agent)-|npm_|gh[pousr]_|github_pat_|AKIA))[A-Za-z0-9_.-]{12,}()`),
}

// minRedact is the length from which a secret is looked for in other texts: anything
// shorter is none, and may be part of a word.
const minRedact = 8
