package integration

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Every command of the docs is run: each doc's in its order, in one shell, in a copy
// of this host (see testdata/host/shell.bash), against a simulated account of its
// own. What cannot be run is in notRun, what does not end by itself in untilSeen; what
// a doc's reader has got before its first command is in readers.

// notRun are the commands that no test can run, and why not. A key that ends in
// " ..." stands for any arguments.
var notRun = map[string]string{
	"make demo":                  "takes a minute; it is the last step of make verify",
	"make test":                  "this test is part of it",
	"go run ./cmd/dosim -guests": "serves on one fixed port, which two tests cannot share; it is run by the tests of cmd/dosim",
	"ssh ...":                    "a test has one machine, and is on it",
	"scp ...":                    "a test has one machine, and is on it",
	"packer ...":                 "needs packer, and an account",
	"sudo apt-get ...":           "installs packages on this host",
	"sudo docker ...":            "needs Docker",
	"doctl ...":                  "needs doctl, and an account or a simulator with firewalls",
	"curl -s http://10.114.0.2:9252/metrics | grep ^fleeting_provisioner_instances":       "needs GitLab Runner itself, at a private address",
	"sudo fleeting-plugin-digitalocean doctor --boot":                                     "dials port 22 of a Droplet, where a simulated one has no server; it is run by the tests of the command",
	"journalctl -u gitlab-runner -f":                                                      "needs the journal of a host that systemd started",
	"journalctl -u gitlab-runner | grep subsystem=fleeting-plugin":                        "needs the journal of a host that systemd started",
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

// untilSeen are the commands that go on until they are interrupted, and what they
// are to have printed by then.
var untilSeen = map[string]*regexp.Regexp{
	"sudo fleeting-plugin-digitalocean ls --watch": regexp.MustCompile("Droplets?: .* USD so far"),
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
	// The runner, as GitLab's package installs it.
	"README.md": func(*testing.T) reader { return reader{before: []string{"mkdir -m 700 /etc/gitlab-runner"}} },
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
	t.Parallel()
	commands := map[string][]command{}
	unused, odd := maps.Clone(notRun), maps.Clone(statuses)
	for path, doc := range docs(t) {
		path = strings.TrimPrefix(path, "../")
		if path == "docs/install.md" {
			continue // it needs a registry too: TestInstallDoc
		}
		all, err := commandsOf(path, doc)
		if err != nil {
			t.Error(err)
		}
		commands[path] = all
		for _, c := range all {
			key, _ := reasonNotRun(c.text)
			delete(unused, key)
			delete(odd, c.doc+": "+c.text)
		}
	}
	for text := range unused {
		t.Errorf("no doc has %q, which is said not to be run", text)
	}
	for text := range odd {
		t.Errorf("there is no %q, which is said not to succeed", text)
	}
	for path := range readers {
		if len(commands[path]) == 0 {
			t.Errorf("there is a reader of %s, which has no commands", path)
		}
	}
	var list report
	t.Cleanup(func() { t.Log(list.String()) }) // when the docs, in parallel, are through
	for _, path := range slices.Sorted(maps.Keys(commands)) {
		if len(commands[path]) > 0 {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				runCommands(t, path, commands[path], &list)
			})
		}
	}
}

// runCommands runs a doc's commands.
func runCommands(t *testing.T, path string, commands []command, list *report) {
	for _, c := range commands {
		if _, reason := reasonNotRun(c.text); reason != "" {
			list.add(c, "not run", reason)
		}
	}
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
			continue
		}
		begin := time.Now()
		printed, status, err := "", 0, error(nil)
		if until, ok := untilSeen[c.text]; ok {
			printed, err = s.serve(c.text, until)
		} else {
			printed, status, err = s.run(c.text)
		}
		list.add(c, "ran", time.Since(begin).Round(10*time.Millisecond).String())
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

// report is the list of what was run and what was not.
type report struct {
	mu      sync.Mutex
	entries []entry
}

// entry is what became of a command: "ran" or "not run", with how long or why.
type entry struct {
	command
	status, note string
}

func (r *report) add(c command, status, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, entry{c, status, note})
}

func (r *report) String() string {
	slices.SortFunc(r.entries, func(a, b entry) int {
		return cmp.Or(strings.Compare(b.status, a.status), strings.Compare(a.doc, b.doc), a.line-b.line)
	})
	var s strings.Builder
	s.WriteString("the docs' commands:\n")
	for _, e := range r.entries {
		fmt.Fprintf(&s, "%-7s  %v\n         %s\n", e.status, e.command, e.note)
	}
	return s.String()
}

// The targets of the Makefile that docs name are there.
func TestTargetsInDocs(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for path, doc := range docs(t) {
		for _, target := range regexp.MustCompile("(?m)(?:`|\\$ )make ([a-z-]+)").FindAllStringSubmatch(doc, -1) {
			if !strings.Contains(string(makefile), "\n"+target[1]+":") {
				t.Errorf("%s: the Makefile has no %s", path, target[1])
			}
		}
	}
}
