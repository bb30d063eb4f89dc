package integration

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fence is one fenced block of a doc, without its indentation.
type fence struct {
	line int    // of the doc, on which its text begins
	kind string // console, toml ...; empty for none
	text string
}

// fences are the fenced blocks of a doc, in its order.
func fences(doc string) []fence {
	var all []fence
	line := func(at int) int { return 1 + strings.Count(doc[:at], "\n") }
	for _, m := range regexp.MustCompile("(?ms)^( *)```(\\w*)[^\n]*\n(.*?)^ *```$").FindAllStringSubmatchIndex(doc, -1) {
		indent, kind, text := doc[m[2]:m[3]], doc[m[4]:m[5]], doc[m[6]:m[7]]
		all = append(all, fence{line(m[6]), kind, regexp.MustCompile("(?m)^"+indent).ReplaceAllString(text, "")})
	}
	return all
}

// blocks are the texts of the fenced blocks of a kind.
func blocks(doc, kind string) []string {
	var found []string
	for _, f := range fences(doc) {
		if f.kind == kind {
			found = append(found, f.text)
		}
	}
	return found
}

// command is one command of a doc's shell block, as a reader types it.
type command struct {
	doc   string // its path from the root of the repository
	line  int
	text  string   // verbatim, with its continuation lines and here-documents
	shown []string // the lines that the doc shows it to print; nil = it shows none
}

func (c command) String() string {
	first, _, more := strings.Cut(c.text, "\n")
	if more {
		first += " ..."
	}
	return fmt.Sprintf("%s:%d: %s", c.doc, c.line, first)
}

// commandsOf returns the commands of a doc's shell blocks. In a console block "$ "
// begins a command, and what follows it is what it prints. The other kinds are
// scripts: they print nothing that the doc shows.
func commandsOf(path, doc string) ([]command, error) {
	var all []command
	for _, f := range fences(doc) {
		console := f.kind == "console"
		if !console && !slices.Contains([]string{"sh", "shell", "bash"}, f.kind) {
			continue
		}
		var last *command
		open := false // the last command goes on
		for i, line := range strings.Split(strings.TrimSuffix(f.text, "\n"), "\n") {
			text, prompt := strings.CutPrefix(line, "$ ")
			switch trimmed := strings.TrimSpace(line); {
			case open:
				last.text += "\n" + line
				open = incomplete(last.text)
			case !console && (trimmed == "" || strings.HasPrefix(trimmed, "#")):
			case !console || prompt:
				all = append(all, command{doc: path, line: f.line + i, text: text})
				last = &all[len(all)-1]
				open = incomplete(last.text)
			case last == nil:
				return nil, fmt.Errorf("%s:%d: a console block begins with a line that is no command: %q", path, f.line+i, line)
			default:
				last.shown = append(last.shown, line)
			}
		}
		if open {
			return nil, fmt.Errorf("%v: the command does not end in its block", *last)
		}
	}
	return all, nil
}

// incomplete tells whether a shell would wait for another line.
func incomplete(text string) bool {
	if strings.HasSuffix(text, `\`) {
		return true
	}
	said, _ := exec.Command("bash", "-n", "-c", text).CombinedOutput() // a syntax error shows when it is run
	return regexp.MustCompile("unexpected end of file|unexpected EOF while|delimited by end-of-file").Match(said)
}

// sameOutput compares what a doc shows with what a command printed. Of the doc's
// lines, one that is "..." stands for any number of lines, and "..." in one for any
// text. Durations, times, addresses and what is minted may differ.
func sameOutput(shown []string, printed string) bool {
	var pattern strings.Builder
	for _, line := range shown {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		quoted := regexp.QuoteMeta(strings.TrimRight(settled(line), " "))
		pattern.WriteString(strings.ReplaceAll(quoted, `\.\.\.`, `.*`) + ` *\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(settled(strings.TrimRight(printed, "\n") + "\n"))
}

// differs are the parts of an output that no two runs have in common.
var differs = []struct {
	part *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?(ms|s)\b|\b(\d+d)?(\d+h)?\d+m\b|\b(\d+d)?\d+h\b`), "DURATION"},
	{regexp.MustCompile(`-[0-9a-hjkmnp-tv-z]{10}\b`), "-MINTED"},    // of a Droplet's name
	{regexp.MustCompile(`(?m)  [0-9a-hjkmnp-tv-z]{4} *$`), "  RUN"}, // the last column of ls
	{regexp.MustCompile(`\b\d{1,3}(\.\d{1,3}){3}\b`), "ADDRESS"},
}

// settled replaces what differs, and the width of columns that follows from it.
func settled(text string) string {
	for _, d := range differs {
		text = d.part.ReplaceAllString(text, d.as)
	}
	return regexp.MustCompile(`(\S) {2,}`).ReplaceAllString(text, "$1  ")
}

func TestCommandsOf(t *testing.T) {
	t.Parallel()
	doc := strings.ReplaceAll(`# A doc
~~~console
$ one
shown
  indented
$ two \
    --flag <<'EOF'
$ not a command
EOF
$ three
~~~
~~~toml
$ no = "shell"
~~~
1. In a list:

   ~~~sh
   # a comment
   for i in 1 2; do
     echo "$i"
   done

   echo end
   ~~~
`, "~~~", "```")
	want := []command{
		{"doc.md", 3, "one", []string{"shown", "  indented"}},
		{"doc.md", 6, "two \\\n    --flag <<'EOF'\n$ not a command\nEOF", nil},
		{"doc.md", 10, "three", nil},
		{"doc.md", 19, "for i in 1 2; do\n  echo \"$i\"\ndone", nil},
		{"doc.md", 23, "echo end", nil},
	}
	got, err := commandsOf("doc.md", doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(command{})); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	for _, broken := range []string{"```console\nno command\n```\n", "```sh\necho '\n```\n", "```console\n$ a \\\n```\n"} {
		if all, err := commandsOf("doc.md", broken); err == nil {
			t.Errorf("%q is read as %v", broken, all)
		}
	}
}

func TestSameOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shown, printed string
		same           bool
	}{
		{"a\nb", "a\nb\n", true},
		{"a\nb", "a\nb\nc\n", false},
		{"a\nb", "a\n", false},
		{"a", "b\n", false},
		{"a (b)", "a (b)\n", true},
		{"a\n...", "a\nb\nc\n", true},
		{"a\n...", "a\n", true},
		{"...\nc", "a\nb\nc\n", true},
		{"a\n...\nc", "a\nb\nd\n", false},
		{"a ... c", "a anything c\n", true},
		{"a ... c", "a anything d\n", false},
		{"ci-w4n27k2m9q  active  47m12s  $0.03", "ci-0000000000  active  1h2m3.5s  $0.03\n", true},
		{"ci-w4n27k2m9q  active  47m12s  $0.03", "ci-0000000000  active  1h2m3.5s  $0.04\n", false},
		{"ci-w4n27k2m9q  active", "cj-0000000000  active\n", false},
		{"docker  w4n2", "docker  0000\n", true},
		{"docker  w4n2", "podman  w4n2\n", false},
		{"age    cost\n47m    $1", "age      cost\n47m12s   $1\n", true},
		{"at 2026-01-02T03:04:05Z", "at 2027-11-12T13:14:15.123Z\n", true},
		{"2 Droplets", "3 Droplets\n", false},
	} {
		if sameOutput(strings.Split(c.shown, "\n"), c.printed) != c.same {
			t.Errorf("a doc that shows %q and a command that prints %q: same is %v", c.shown, c.printed, !c.same)
		}
	}
}
