package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
)

// Colours and lines that are written over are for terminals.
func TestTerminal(t *testing.T) {
	for _, live := range []bool{false, true} {
		var out, errs strings.Builder
		term := &terminal{out: &out, err: &errs, live: live, liveErr: live, colours: live}
		term.waits("one of two")
		term.waits("two of two")
		term.say("warning", "first\n\x1b[2Jsecond\u202e")
		term.done()
		want := "warning: first\nwarning: \\x1b[2Jsecond\\u202e\n"
		dressed := "x"
		if live {
			want = "\r\x1b[Kone of two\r\x1b[Ktwo of two\r\x1b[Kwarning: first\nwarning: \\x1b[2Jsecond\\u202e\n"
			dressed = "\x1b[31mx\x1b[0m"
		}
		if errs.String() != want {
			t.Errorf("live %t: %q, want %q", live, errs.String(), want)
		}
		if got := colour(term.colours, red, "x"); got != dressed {
			t.Errorf("live %t: %q, want %q", live, got, dressed)
		}
	}
}

// What the plugin logs is a line of keys and values for a person, and its hint one of its own.
func TestLog(t *testing.T) {
	var errs strings.Builder
	newLog(&terminal{err: &errs}).Warn("others can read it", "path", "a b", "n", 2, "hint", "chmod 600 'a b'")
	newLog(&terminal{err: &errs}).Error("failed")
	if want := "warning: others can read it path=a b n=2\nhint: chmod 600 'a b'\nerror: failed\n"; errs.String() != want {
		t.Errorf("%q, want %q", errs.String(), want)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 59*time.Minute + 59*time.Second: "59m",
		time.Hour: "1h0m", 23*time.Hour + 59*time.Minute: "23h59m", 24 * time.Hour: "24h0m",
	} {
		if got := age(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

// A table leaves columns out until it fits, or until only those are left that may not be; it cuts nothing.
func TestTableFits(t *testing.T) {
	name := strings.Repeat("n", 56) // the longest of a Droplet
	for columns, want := range map[int]string{
		0:  "NAME STATE REGION USD/H",
		81: "NAME STATE REGION USD/H",
		80: "NAME STATE USD/H",
		72: "NAME STATE",
		9:  "NAME STATE",
	} {
		head := []string{"NAME", "STATE", "REGION", "USD/H"}
		got := table(head, [][]string{{name, "active", "fra1", "0.03571"}}, []string{"REGION", "SIZE", "USD/H"}, columns, false)
		heads, row, _ := strings.Cut(got, "\n")
		if strings.Join(strings.Fields(heads), " ") != want || !strings.HasPrefix(row, name+"  active") {
			t.Errorf("%d columns:\n%s", columns, got)
		}
	}
}

// A hint can be pasted, whatever the paths.
func TestCommandIsPasted(t *testing.T) {
	t.Setenv("SUDO_UID", "")
	c := choice{config: "my config.toml", runner: "it's", groups: []string{"ci", "big"}}
	want := os.Args[0] + ` ls --config 'my config.toml' --runner 'it'\''s' --group ci --group big`
	if got := c.command("ls"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A time may be in days, and is never nothing.
func TestSpan(t *testing.T) {
	for s, want := range map[string]time.Duration{"90m": 90 * time.Minute, "12h": 12 * time.Hour, "7d": 168 * time.Hour} {
		var got span
		if err := got.Set(s); got != (span{want, s}) || err != nil {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "-1h", "0s", "0d", "7", "7days", "d", "1d12h", "99999d", "-7d", "1e3d", " 7d"} {
		if got := new(span); got.Set(s) == nil {
			t.Errorf("%q is taken for %s", s, got.Duration)
		}
	}
}

// No help has a line that a terminal of 80 columns wraps, but for cobra's own of completion and help.
func TestHelpFits(t *testing.T) {
	root := newRoot(&terminal{})
	var all func(*cobra.Command)
	all = func(cmd *cobra.Command) {
		var help strings.Builder
		cmd.SetOut(&help)
		if err := cmd.Help(); err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(help.String()) {
			if len(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("%s --help: %s", cmd.CommandPath(), line)
			}
		}
		for _, sub := range cmd.Commands() {
			if name := sub.Name(); name != "completion" && name != "help" {
				all(sub)
			}
		}
	}
	all(root)
}

// Each key of each command's JSON is in docs/commands.md.
func TestJSONIsDescribed(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[reflect.Type]bool{}
	var look func(reflect.Type)
	look = func(of reflect.Type) {
		if kind := of.Kind(); kind == reflect.Pointer || kind == reflect.Slice {
			look(of.Elem())
			return
		} else if kind != reflect.Struct || seen[of] {
			return
		}
		seen[of] = true
		for i := range of.NumField() {
			key, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if of.Field(i).Anonymous {
				look(of.Field(i).Type)
			}
			if key == "" || key == "-" {
				continue
			}
			if !strings.Contains(string(text), `"`+key+`":`) {
				t.Errorf("%s: %q is not described", of, key)
			}
			look(of.Field(i).Type)
		}
	}
	var version strings.Builder // whose form is no type
	root := newRoot(&terminal{out: &version})
	root.SetArgs([]string{"version", "-o", "json"})
	if err := root.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, key := range regexp.MustCompile(`"\w+":`).FindAllString(version.String(), -1) {
		if !strings.Contains(string(text), key) {
			t.Errorf("version: %s is not described", key)
		}
	}
	for _, form := range []any{report{}, diagnosis{}, migrated{}, history.Usage{}, planReport{}} {
		look(reflect.TypeOf(form))
	}
}
