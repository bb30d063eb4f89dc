package integration

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Every command of the docs is run: each doc's in its order, in one shell, in a copy
// of this host (see testdata/host/shell.bash), against a simulated account of its
// own. What cannot be run is in notRun; what a doc's reader has got before its first
// command is in readers.

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
	"helm ...":                        "needs a cluster; TestKubernetesExample and TestBootstrap hold the values to the plugin",
	"docker run ...":                  "needs a container engine; TestBootstrap unpacks the image and runs the same in its root",
	"cosign ...":                      "needs Sigstore and a release",
	"sudo apt-get ...":                "installs packages on this host",
	"sudo docker ...":                 "needs Docker",
	"doctl ...":                       "needs doctl, and an account or a simulator with firewalls",
	"curl -s http://10.114.0.2:9252/metrics | grep ^fleeting_provisioner_instances":       "needs GitLab Runner itself, at a private address",
	"journalctl -u gitlab-runner | grep fleeting-plugin":                                  "needs the journal of a host that systemd started",
	"sudo docker-machine rm -y $(sudo docker-machine ls -q --filter driver=digitalocean)": "docker-machine cannot be had where this was written, and the simulator has none of its machines",
}

// statuses are those of commands that do not succeed in a test, and do for a reader;
// by the doc and the command.
var statuses = map[string]struct {
	status int
	why    string
}{
	"docs/tutorial.md: sudo fleeting-plugin-digitalocean doctor": {3, "it warns that this host is in no VPC of the simulator"},
}

// reader is what the reader of a doc has got before its first command.
type reader struct {
	before   []string // commands that the doc does not show
	droplets []dosim.Droplet
}

// installed are a plugin, a configuration and a token, as README.md leaves them.
var installed = []string{
	`install -D -m 755 "$PLUGIN" /usr/local/bin/fleeting-plugin-digitalocean`,
	`install -D -m 600 examples/config.toml /etc/gitlab-runner/config.toml`,
	`install -D -m 600 /dev/stdin /etc/gitlab-runner/digitalocean-token <<< "$TOKEN"`,
}

// fleet are two Droplets of the group ci.
func fleet() []dosim.Droplet {
	droplet := func(name, address string, age time.Duration) dosim.Droplet {
		return dosim.Droplet{
			Name: name, Region: "fra1", Size: "s-2vcpu-4gb", Image: "docker-20-04",
			Tags:       []string{"fleeting", "fleeting-group:ci"},
			PublicIPv4: netip.MustParseAddr(address), Created: time.Now().Add(-age),
		}
	}
	return []dosim.Droplet{
		droplet("ci-w4n27k2m9q", "203.0.113.9", 47*time.Minute),
		droplet("ci-w4n2b4hd0w", "203.0.113.17", 3*time.Minute),
	}
}

// readers are those who have not got just installed and fleet.
var readers = map[string]func(*testing.T) reader{
	// The runner, as GitLab's package installs it, with the configuration that the page shows.
	"README.md": func(t *testing.T) reader {
		for _, f := range fences(readDoc(t, "README.md")) {
			if f.kind == "toml" {
				return reader{before: []string{"install -d -m 700 /etc/gitlab-runner",
					"install -m 600 /dev/stdin /etc/gitlab-runner/config.toml <<'END-OF-FILE'\n" + f.text + "END-OF-FILE"}}
			}
		}
		t.Fatal("README.md shows no configuration")
		return reader{}
	},
	// A manager that cloud-init has made, but for the package of the runner.
	"docs/tutorial.md": func(t *testing.T) reader {
		before := []string{installed[0], "install -d -m 700 /var/lib/gitlab-runner", "RUNNER_TOKEN=glrt-0123456789"}
		for path, f := range managerFiles(t) {
			before = append(before, fmt.Sprintf("install -D -m %s /dev/stdin %s <<'END-OF-FILE'\n%sEND-OF-FILE", f.Permissions, path, f.Content))
		}
		return reader{before: before}
	},
	// A host of docker+machine, with the tutorial's configuration and a token that is one.
	"docs/migrate.md": func(*testing.T) reader {
		return reader{before: []string{
			installed[0],
			"mkdir -m 700 /etc/gitlab-runner",
			`sed -n '/^-- in.toml --$/,/^-- out.toml --$/{/^-- /!p}' provider/migrate/testdata/tutorial-2018.txtar |
				sed "s/DO_ACCESS_TOKEN/$TOKEN/" >/etc/gitlab-runner/config.toml`,
		}}
	},
	"docs/install.md": installing,
}

// installing is the reader of docs/install.md: curl and the runner's installer ask servers of the test in the place of
// gitlab.com and registry.gitlab.com, which have the version 0.1.0.
func installing(t *testing.T) reader {
	if runtime.GOARCH != "amd64" {
		t.Skip("not run: the page is about linux/amd64")
	}
	r := newRegistry(t)
	if out, err := r.release(t, distOf, "0.1.0"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	artifact, err := fleetingArtifact()
	if err != nil {
		t.Fatalf("%v\n%s", err, artifact)
	}
	const standIns = `
sudo() { [ "$1" != -H ] || shift; "$@"; }
systemctl() { :; } # TestSignalToTheGroup stops and starts a plugin
curl() { command curl "${@/https:\/\/gitlab.com/%[4]s}"; }
gitlab-runner() {
	local plugin
	plugin=$(sed -n 's/^ *plugin = "\(.*\)"/\1/p' /etc/gitlab-runner/config.toml)
	plugin=${plugin/registry.gitlab.com/%[1]s}
	case "$*" in
	"fleeting install" | "fleeting install --upgrade") SSL_CERT_FILE=%[2]q %[3]q install "$plugin" &&
		ln -sfn %[1]s ~/.config/fleeting/plugins/registry.gitlab.com ;;
	"fleeting list") %[3]q lookpath "$plugin" ;;
	*) echo "gitlab-runner $*: not a command of this test" >&2; return 1 ;;
	esac
}`
	return reader{before: []string{installed[1], "export " + asBuilt[0] + " GOFLAGS='-trimpath -buildvcs=false'", // as distOf, so once
		fmt.Sprintf(standIns, r.host, r.cert, artifact, servePackages(t, "0.1.0"))}}
}

// servePackages serves a version's binary where GitLab does.
func servePackages(t *testing.T, version string) (url string) {
	t.Helper()
	const name = "fleeting-plugin-digitalocean-linux-amd64" // .goreleaser.yaml's
	plugin := builtIn(distOf(t, version))
	prefix := "/api/v4/projects/fleeting-digitalocean%2Ffleeting-plugin-digitalocean/packages/generic/fleeting-plugin-digitalocean/" + version + "/"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case prefix + name:
			http.ServeFile(w, r, plugin)
		case prefix + "checksums.txt":
			fmt.Fprintf(w, "%s  %s\n", sumOf(t, plugin), name)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func readerOf(t *testing.T, doc string) reader {
	if r, ok := readers[doc]; ok {
		return r(t)
	}
	return reader{before: installed, droplets: fleet()}
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
	commands := map[string][]command{}
	used := map[string]bool{}
	total := 0
	for path, doc := range docs(t) {
		all, err := commandsOf(path, doc)
		if err != nil {
			t.Error(err)
		}
		commands[path] = all
		total += len(all)
		for _, c := range all {
			key, _ := reasonNotRun(c.text)
			used[key], used[c.doc+": "+c.text] = true, true
		}
	}
	if total < 60 {
		t.Errorf("found only %d commands", total)
	}
	for text := range notRun {
		if !used[text] {
			t.Errorf("no doc has %q, which is said not to be run", text)
		}
	}
	for text := range statuses {
		if !used[text] {
			t.Errorf("there is no %q, which is said not to succeed", text)
		}
	}
	for path, all := range commands {
		if len(all) > 0 {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				runCommands(t, path, all)
			})
		}
	}
}

// runCommands runs a doc's commands, and logs those that it does not run.
func runCommands(t *testing.T, path string, commands []command) {
	w := newWorld(t, quick)
	s := newSession(t, w)
	r := readerOf(t, path)
	for _, d := range r.droplets {
		w.sim.AddDroplet(d)
	}
	for _, text := range r.before {
		if printed, status, err := s.run(text); err != nil || status != 0 {
			t.Fatalf("before the doc begins: %s: status %d, %v\n%s", text, status, err, printed)
		}
	}
	for i, c := range commands {
		if _, reason := reasonNotRun(c.text); reason != "" {
			t.Logf("not run: %v (%s)", c, reason)
			continue
		}
		t.Logf("run: %v", c)
		printed, status, err := s.run(c.text)
		if err != nil {
			t.Fatalf("%v: %v\n%s", c, err, printed)
		}
		// A doc that wants its reader to see a failure asks for its status next.
		asked := i+1 < len(commands) && commands[i+1].text == "echo $?"
		if want := statuses[c.doc+": "+c.text].status; status != want && !asked {
			t.Errorf("%v: exit status %d, want %d\n%s", c, status, want, printed)
		}
		if c.shown != nil && !sameOutput(c.shown, printed) {
			t.Errorf("%v: the doc shows\n%s\nit prints\n%s", c, strings.Join(c.shown, "\n"), printed)
		}
	}
	for _, v := range w.sim.Violations() {
		t.Errorf("the simulator saw: %v", v)
	}
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
