package integration

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
)

// Every command of the docs is run: each doc's in its order, in one shell, in a copy
// of this host (see testdata/host/shell.bash), against a simulated account of its
// own. What cannot be run is in notRun.

// notRun are the commands that no test can run, and why not. A key that ends in
// " ..." stands for any arguments.
var notRun = map[string]string{
	"make demo": "takes a minute; it is the last step of make verify",
	"make test": "this test is part of it",
	"make docs": "it runs this test",
	"go test -race -run TestUnconfirmedCreate ./instancegroup": "make test runs it",
	"go run ./cmd/demo ...":           "takes a minute; make verify runs the demo",
	"git ...":                         "GitLab is out of reach; the test is in a checkout already",
	"cd fleeting-plugin-digitalocean": "see git",
	"brew ...":                        "installs programs, on macOS",
	"read -rs TOKEN":                  "reads from a terminal",
	"read -rs RUNNER_TOKEN":           "reads from a terminal",
	"go run ./cmd/dosim -guests":      "serves on one fixed port, which two tests cannot share; it is run by the tests of cmd/dosim",
	"ssh ...":                         "a test has one machine, and is on it",
	"scp ...":                         "a test has one machine, and is on it",
	"packer ...":                      "needs packer, and an account",
	"helm ...":                        "needs a cluster; TestKubernetesExample and TestReleases hold the values to the plugin",
	"docker run ...":                  "needs a container engine; TestReleases unpacks the image and runs the same in its root",
	"cosign ...":                      "needs Sigstore and a release",
	"sudo apt-get ...":                "installs packages on this host",
	"sudo docker ...":                 "needs Docker",
	"doctl ...":                       "needs doctl, and an account or a simulator with firewalls",
	"curl -s http://10.114.0.2:9252/metrics | grep ^fleeting_provisioner_instances":       "needs GitLab Runner itself, at a private address",
	"journalctl -u gitlab-runner | grep fleeting-plugin":                                  "needs the journal of a host that systemd started",
	"sudo docker-machine rm -y $(sudo docker-machine ls -q --filter driver=digitalocean)": "docker-machine cannot be had where this was written, and the simulator has none of its machines",
}

// warns is the one command that does not succeed in a test, and does for a reader: this host is in no VPC of the simulator.
const warns = "docs/tutorial.md: sudo fleeting-plugin-digitalocean doctor"

// before are the commands that a doc does not show, and whose result its reader has got.
func before(t *testing.T, w *world, doc string) []string {
	const installed = `install -D -m 755 "$PLUGIN" /usr/local/bin/fleeting-plugin-digitalocean`
	const configured = `install -D -m 600 examples/config.toml /etc/gitlab-runner/config.toml`
	here := func(permissions, path, text string) string {
		return fmt.Sprintf("install -D -m %s /dev/stdin %s <<'END-OF-FILE'\n%sEND-OF-FILE", permissions, path, text)
	}
	switch doc {
	case "README.md": // the runner, as GitLab's package installs it, with the configuration that the page shows
		blocks := texts.Fences(texts.Read(t, doc))
		toml := slices.IndexFunc(blocks, func(f texts.Fence) bool { return f.Kind == "toml" })
		return []string{"install -d -m 700 /etc/gitlab-runner", here("600", "/etc/gitlab-runner/config.toml", blocks[toml].Text)}
	case "docs/tutorial.md": // a manager that cloud-init has made, but for the package of the runner
		commands := []string{installed, "install -d -m 700 /var/lib/gitlab-runner", "RUNNER_TOKEN=glrt-0123456789"}
		for path, f := range texts.ManagerFiles(t) {
			commands = append(commands, here(f.Permissions, path, f.Content))
		}
		return commands
	case "docs/migrate.md": // a host of docker+machine, with the tutorial's configuration and a token that is one
		return []string{installed, "mkdir -m 700 /etc/gitlab-runner",
			`sed -n '/^-- in.toml --$/,/^-- out.toml --$/{/^-- /!p}' provider/migrate/testdata/tutorial-2018.txtar |
				sed "s/DO_ACCESS_TOKEN/$TOKEN/" >/etc/gitlab-runner/config.toml`}
	case "docs/install.md": // the version 0.1.0, in the place of registry.gitlab.com and gitlab.com
		if runtime.GOARCH != "amd64" {
			t.Skip("not run: the page is about linux/amd64")
		}
		newRegistry(t)
		return []string{configured, ". integration/testdata/host/releases.bash"}
	}
	for name, age := range map[string]time.Duration{"ci-w4n27k2m9q": 47 * time.Minute, "ci-w4n2b4hd0w": 3 * time.Minute} {
		w.Sim.AddDroplet(dosim.Droplet{
			Name: name, Region: "fra1", Size: "s-2vcpu-4gb", Image: "docker-20-04", Tags: []string{"fleeting", "fleeting-group:ci"},
			PublicIPv4: netip.MustParseAddr("203.0.113.9"), Created: time.Now().Add(-age),
		})
	}
	return []string{installed, configured, `install -D -m 600 /dev/stdin /etc/gitlab-runner/digitalocean-token <<< "$TOKEN"`}
}

// reasonNotRun finds a command in notRun, and the key that it has there.
func reasonNotRun(text string) (key, reason string) {
	for key, reason := range notRun {
		if program, any := strings.CutSuffix(key, " ..."); key == text || any && strings.HasPrefix(text, program+" ") {
			return key, reason
		}
	}
	return "", ""
}

func TestCommandsInDocs(t *testing.T) {
	long(t)
	t.Parallel()
	unused := maps.Clone(notRun)
	unused[warns] = ""
	total := 0
	for path, doc := range texts.Docs(t) {
		commands := commandsOf(t, path, doc)
		for _, c := range commands {
			key, _ := reasonNotRun(c.text)
			delete(unused, key)
			delete(unused, c.doc+": "+c.text)
		}
		if total += len(commands); len(commands) > 0 {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				runCommands(t, path, commands)
			})
		}
	}
	if total < 60 || len(unused) > 0 {
		t.Errorf("found only %d commands, and none that is %q", total, slices.Collect(maps.Keys(unused)))
	}
}

// runCommands runs a doc's commands, and logs those that it does not run.
func runCommands(t *testing.T, path string, commands []command) {
	w := newWorld(t, quick)
	run := newSession(t, w)
	for _, text := range before(t, w, path) {
		if printed, status, err := run(text); err != nil || status != 0 {
			t.Fatalf("before the doc begins: %s: status %d, %v\n%s", text, status, err, printed)
		}
	}
	for i, c := range commands {
		if _, reason := reasonNotRun(c.text); reason != "" {
			t.Logf("not run: %v (%s)", c, reason)
			continue
		}
		t.Logf("run: %v", c)
		printed, status, err := run(c.text)
		if err != nil {
			t.Fatalf("%v: %v\n%s", c, err, printed)
		}
		// A doc that wants its reader to see a failure asks for its status next.
		asked := i+1 < len(commands) && commands[i+1].text == "echo $?"
		if want := map[string]int{warns: 3}[c.doc+": "+c.text]; status != want && !asked {
			t.Errorf("%v: exit status %d, want %d\n%s", c, status, want, printed)
		}
		if len(c.shown) > 0 && !sameOutput(c.shown, printed) {
			t.Errorf("%v: the doc shows\n%s\nit prints\n%s", c, strings.Join(c.shown, "\n"), printed)
		}
	}
	for _, v := range w.Sim.Violations() {
		t.Errorf("the simulator saw: %v", v)
	}
}

// command is one command of a doc's console block, as a reader types it.
type command struct {
	doc   string // its path from the root of the repository
	line  int
	text  string   // verbatim, with its continuation lines and here-documents
	shown []string // the lines that the doc shows it to print; none = it shows none
}

func (c command) String() string {
	first, _, _ := strings.Cut(c.text, "\n")
	return fmt.Sprintf("%s:%d: %s", c.doc, c.line, first)
}

// commandsOf returns the commands of a doc's console blocks: "$ " begins one, and what follows it is what it prints.
func commandsOf(t *testing.T, path, doc string) (all []command) {
	for _, f := range texts.Fences(doc) {
		if slices.Contains([]string{"sh", "shell", "bash"}, f.Kind) || f.Kind == "console" && !strings.HasPrefix(f.Text, "$ ") {
			t.Errorf("%s:%d: no console block, or it begins with a line that is no command", path, f.Line)
		}
		if f.Kind != "console" {
			continue
		}
		for text := range strings.SplitSeq(strings.TrimSuffix(f.Text[2:], "\n"), "\n$ ") {
			lines, n := strings.Split(text, "\n"), 1
			for n < len(lines) && incomplete(strings.Join(lines[:n], "\n")) {
				n++
			}
			all = append(all, command{path, f.Line, strings.Join(lines[:n], "\n"), lines[n:]})
			f.Line += len(lines)
		}
	}
	return all
}

// incomplete reports whether a shell would wait for another line.
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

// differs are the parts of an output that no two runs have in common, and what they are compared as.
var differs = [][2]string{
	{`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?`, "TIME"},
	{`\b(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?(ms|s)\b|\b(\d+d)?(\d+h)?\d+m\b|\b(\d+d)?\d+h\b`, "DURATION"},
	{`-[0-9a-hjkmnp-tv-z]{10}\b`, "-MINTED"},    // of a Droplet's name
	{`(?m)  [0-9a-hjkmnp-tv-z]{4} *$`, "  RUN"}, // the last column of ls
	{`\b\d{1,3}(\.\d{1,3}){3}\b`, "ADDRESS"},
	{`(\S) {2,}`, "$1  "}, // the width of columns follows from the others
}

// settled replaces what differs.
func settled(text string) string {
	for _, d := range differs {
		text = regexp.MustCompile(d[0]).ReplaceAllString(text, d[1])
	}
	return text
}

// What must not pass for the same output.
func TestSameOutput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ shown, printed string }{
		{"a\nb", "a\nb\nc\n"}, {"a\nb", "a\n"}, {"a\n...\nc", "a\nb\nd\n"}, {"a ... c", "a anything d\n"},
		{"ci-w4n27k2m9q  active  47m12s  $0.03", "ci-0000000000  active  1h2m3.5s  $0.04\n"},
		{"docker  w4n2", "podman  w4n2\n"}, {"2 Droplets", "3 Droplets\n"},
	} {
		if sameOutput(strings.Split(c.shown, "\n"), c.printed) {
			t.Errorf("a doc that shows %q takes %q for it", c.shown, c.printed)
		}
	}
}
