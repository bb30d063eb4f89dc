package migrate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// runnerWith is a runner that can be migrated, with lines added to [runners.machine]
// and options to MachineOptions.
func runnerWith(machine string, options ...string) string {
	all := append([]string{"digitalocean-access-token=dop_v1_0123456789abcdef", "digitalocean-image=docker-20-04", "digitalocean-size=s-2vcpu-4gb"}, options...)
	return `concurrent = 5
[[runners]]
  name = "one"
  executor = "docker+machine"
  limit = 5
  [runners.docker]
    image = "alpine"
  [runners.machine]
    MachineDriver = "digitalocean"
    MachineName = "one-%s"
    MachineOptions = ["` + strings.Join(all, `", "`) + `"]
` + machine
}

func none() Options { return optionsWith(nil, nil) }

// What cannot be migrated is told with its line, and nothing is changed.
func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want string // the first error
	}{
		"no TOML":               {"concurrent = \n[[runners]]\n", "error: config.toml:1: not TOML: column 14: expected value but found '\\n' instead\nhint: mend it first; nothing was changed\n"},
		"a key twice":           {"concurrent = 1\nconcurrent = 2\n", "error: config.toml:2: not TOML: column 1: Key 'concurrent' has already been defined.\nhint: mend it first; nothing was changed\n"},
		"not UTF-8":             {"name = \"\xff\"\n", "error: config.toml:1: not TOML: column 8: invalid UTF-8 byte: 0xff\nhint: mend it first; nothing was changed\n"},
		"a control character":   {"\x01", "error: config.toml:1: not TOML: column 1: TOML files cannot contain control characters: '0x01'\nhint: mend it first; nothing was changed\n"},
		"what no runner reads":  {"[[runners]]\nlimit = \"5\"\n", "error: config.toml:2: runners.limit: must be a whole number\nhint: the runner refuses the file, too: mend it first\n"},
		"one inline array":      {"concurrent = 5\nrunners = [{ executor = \"docker+machine\" }]\n", "error: config.toml:2: runners is written as one inline array, which migrate does not take apart\nhint: write each runner as a [[runners]] section\n"},
		"two arrays":            {"[[runners]]\nexecutor = \"shell\"\n[[Runners]]\nexecutor = \"docker+machine\"\n", "error: config.toml:3: [[runners]] and [Runners] begin differently, so that they are two tables, of which the runner reads only one\nhint: write each runner as a [[runners]] section\n"},
		"a key in two cases":    {runnerWith("    IdleCount = 1\n    idlecount = 2\n"), "error: config.toml:13: idlecount: is given twice, in different case: which one counts is chance\nhint: remove one of them\n"},
		"no section":            {"[[runners]]\n  executor = \"docker+machine\"\n  [runners.machine]\n    MachineDriver = \"digitalocean\"\n", "error: config.toml:1: executor: is docker+machine, and the runner has no [runners.machine]\nhint: the runner cannot run as it is: remove it, or give it the section\n"},
		"half-way there":        {runnerWith("  [runners.autoscaler]\n    plugin = \"x\"\n"), "error: config.toml:2: executor: is docker+machine, and the runner has [runners.autoscaler] already\nhint: remove the one that you do not use\n"},
		"a number in quotes":    {runnerWith("    IdleCount = \"1\"\n"), "error: config.toml:12: IdleCount: must be a whole number of at most 2147483647\nhint: write it without quotes and fraction\n"},
		"a fraction":            {runnerWith("    IdleTime = 0.5\n"), "error: config.toml:12: IdleTime: must be a whole number of at most 2147483647\nhint: write it without quotes and fraction\n"},
		"a huge number":         {runnerWith("    IdleTime = 99999999999\n"), "error: config.toml:12: IdleTime: must be a whole number of at most 2147483647\nhint: write it without quotes and fraction\n"},
		"a factor in quotes":    {runnerWith("    IdleScaleFactor = \"0.5\"\n"), "error: config.toml:12: IdleScaleFactor: must be a number of at most 1000, such as 0.5\n"},
		"a factor of infinity":  {runnerWith("    IdleScaleFactor = inf\n"), "error: config.toml:12: IdleScaleFactor: must be a number of at most 1000, such as 0.5\n"},
		"a name that is none":   {strings.Replace(runnerWith(""), `"one-%s"`, "7", 1), "error: config.toml:10: MachineName: must be a string: the runner refuses the file\nhint: put it in quotes\n"},
		"options in one string": {strings.Replace(runnerWith(""), "MachineOptions = [", "MachineOptions = \"x\" # [", 1), "error: config.toml:11: MachineOptions: must be a list of strings: the runner refuses the file\nhint: put it in brackets\n"},
		"options of numbers":    {strings.Replace(runnerWith(""), "MachineOptions = [", "MachineOptions = [1, ", 1), "error: config.toml:11: MachineOptions: must be a list of strings: the runner refuses the file\n"},
		"a last day of month":   {runnerWith("    [[runners.machine.autoscaling]]\n      Periods = [\"* * * L * * *\"]\n"), "error: config.toml:13: Periods: \"* * * L * * *\": the day of month: \"l\" uses L, W, #, ? or @, which the autoscaler does not know\nhint: write it in other words, or take the section out and make its policy by hand\n"},
		"a year":                {runnerWith("    [[runners.machine.autoscaling]]\n      Periods = [\n        \"* * * * * * *\",\n        \"* * * * * * 2027\",\n      ]\n"), "error: config.toml:15: Periods: \"* * * * * * 2027\": the year is \"2027\", and the autoscaler knows no years\nhint: write it in other words, or take the section out and make its policy by hand\n"},
		"a port that is none":   {runnerWith("", "digitalocean-ssh-port=ssh"), "error: config.toml:11: digitalocean-ssh-port: \"ssh\" is no port\n"},
		"a user that is none":   {runnerWith("", "digitalocean-ssh-user=a b"), "error: config.toml:11: digitalocean-ssh-user: \"a b\" is no user name\n"},
		"a switch that is none": {runnerWith("", "digitalocean-ipv6=yes"), "error: config.toml:11: digitalocean-ipv6: is neither true nor false\nhint: write it without a value to turn it on\n"},
		"a tag of the plugin":   {runnerWith("", "digitalocean-tags=fleeting-x"), "error: config.toml:11: plugin_config.tags entry 1 must not be \"fleeting\" or begin with \"fleeting-\", which are the plugin's own tags: \"fleeting-x\"\n"},
		"a region in capitals":  {runnerWith("", "digitalocean-region=NYC3"), "error: config.toml:11: plugin_config.region must be a slug, made of a-z, 0-9, -, _ and ., not \"NYC3\"\n"},
		"a path of the shell's": {runnerWith("", "digitalocean-userdata=~/x.yml"), "warning: config.toml:11: plugin_config.user_data_file must be a whole path: ~ is expanded by shells only\nhint: the plugin does not start without it: put it there, on the runner's host\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Migrate("config.toml", tt.text, none())
			got := ""
			for _, n := range r.Notes {
				if n.Severity == Error || strings.HasPrefix(tt.want, "warning") && strings.Contains(n.Text, "whole path") {
					got = n.Format("config.toml")
					break
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if r.Failed() && (r.Changed || r.Text != tt.text || len(r.Secrets) > 0) {
				t.Error("a failed migration changes something")
			}
		})
	}
}

// Where there is nothing to do, that is said, and the text stays.
func TestNothingToMigrate(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"no runner":      "concurrent = 1\n",
		"other executor": "[[runners]]\nexecutor = \"docker\"\n[runners.machine]\nMachineDriver = \"digitalocean\"\n",
		"other driver":   "[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineDriver = \"google\"\nMachineOptions = [\"google-project=x\"]\n",
		"no driver":      "[[runners]]\nexecutor = \"docker+machine\"\n[runners.machine]\nMachineOptions = []\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := Migrate("config.toml", text, none())
			last := r.Notes[len(r.Notes)-1]
			if r.Changed || r.Failed() || r.Text != text || !strings.HasPrefix(last.Text, "nothing to migrate: ") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// The line ends, the mark and the missing end of the file are as they were.
func TestLineEndsAndMarks(t *testing.T) {
	for _, g := range goldens(t) {
		in := g.files["in.toml"]
		plain := Migrate("config.toml", in, g.options())
		for name, change := range map[string]func(string) string{
			"Windows":        func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
			"a mark":         func(s string) string { return bom + s },
			"no end":         func(s string) string { return strings.TrimRight(s, "\n") },
			"mark, no end":   func(s string) string { return bom + strings.TrimRight(s, "\n") },
			"Windows no end": func(s string) string { return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\r\n") },
		} {
			t.Run(g.name+" "+name, func(t *testing.T) {
				r := Migrate("config.toml", change(in), g.options())
				if r.Failed() || r.Changed != plain.Changed {
					t.Fatal(notesText(r))
				}
				if strings.HasPrefix(name, "Windows") {
					if strings.Contains(strings.ReplaceAll(r.Text, "\r\n", ""), "\n") {
						t.Error("a line end of Unix")
					}
					if diff := cmp.Diff(meaning(change(plain.Text)), meaning(r.Text)); diff != "" && !strings.Contains(plain.Text, "user_data =") {
						t.Errorf("means something else:\n%s", diff)
					}
					return
				}
				got := r.Text
				if g.name == "autoscaling" { // whose end is cut off, and with it the end that has no line end
					got = change(got)
				}
				if diff := cmp.Diff(change(plain.Text), strings.Replace(got, bom+bom, bom, 1)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// With Windows' line ends user data is one line: in a string of several, the carriage
// returns would be part of it, and cloud-init would not know its first line.
func TestUserDataHasNoCarriageReturns(t *testing.T) {
	r := Migrate("config.toml", strings.ReplaceAll(runnerWith(""), "\n", "\r\n"), none())
	want := `user_data = "#cloud-config\nruncmd:\n  - ufw allow ssh\n"` + "\r\n"
	if !strings.Contains(r.Text, want) {
		t.Errorf("no %q in:\n%s", want, r.Text)
	}
}

// A file of 10,000 lines is migrated as one of ten is.
func TestTenThousandLines(t *testing.T) {
	var text strings.Builder
	text.WriteString("concurrent = 5\n")
	const runners = 600
	for n := range runners {
		one := strings.TrimPrefix(runnerWith("    IdleCount = 1\n    IdleTime = 60\n    # a comment\n"), "concurrent = 5\n")
		one = strings.ReplaceAll(one, "0123456789abcdef", fmt.Sprintf("%016x", n))
		text.WriteString(one + "\n\n[[runners]]\n  executor = \"shell\"\n\n")
	}
	if lines := strings.Count(text.String(), "\n"); lines < 10_000 {
		t.Fatalf("%d lines", lines)
	}
	r := Migrate("config.toml", text.String(), none())
	if r.Failed() || r.Migrated != runners || r.Runners != 2*runners || len(r.Secrets) != runners {
		t.Errorf("%d of %d runners, %d secrets", r.Migrated, r.Runners, len(r.Secrets))
	}
	files := map[string]bool{}
	for _, s := range r.Secrets {
		files[s.File] = true
	}
	if len(files) != runners {
		t.Errorf("%d files for %d tokens", len(files), runners)
	}
}

// A token of the environment stays there, unless a file was chosen for it.
func TestTokenOfTheEnvironment(t *testing.T) {
	const token = "dop_v1_99999999999999999999"
	text := strings.Replace(runnerWith(""), `"digitalocean-access-token=dop_v1_0123456789abcdef", `, "", 1)
	o := optionsWith(map[string]string{"DIGITALOCEAN_ACCESS_TOKEN": token}, nil)
	r := Migrate("config.toml", text, o)
	if r.Failed() || len(r.Secrets) != 0 || strings.Contains(r.Text, "token_file") {
		t.Errorf("%v\n%s", r.Secrets, notesText(r))
	}
	o.TokenFileChosen = true
	r = Migrate("config.toml", text, o)
	if r.Failed() || len(r.Secrets) != 1 || r.Secrets[0].Value.Reveal() != token || !strings.Contains(r.Text, "token_file = ") {
		t.Errorf("%v\n%s", r.Secrets, notesText(r))
	}
	if all := r.Text + notesText(r) + string(mustJSON(t, r.Notes)); strings.Contains(all, token) {
		t.Error("the token is in the output")
	}
}

// All values that no runner reads are told at once.
func TestAllThatNoRunnerReads(t *testing.T) {
	var got []string
	for _, n := range Migrate("config.toml", "[[runners]]\nlimit = \"5\"\nname = 5\n", none()).Notes {
		got = append(got, fmt.Sprintf("%s %d %s", n.Severity, n.Line, n.Text))
	}
	want := []string{"error 2 runners.limit: must be a whole number", "error 3 runners.name: must be a string"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
