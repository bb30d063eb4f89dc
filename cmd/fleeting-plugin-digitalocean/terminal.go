package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unicode"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
)

// Results go to standard output, all else to standard error; what comes from elsewhere is escaped (see clean). A command asks
// only before it destroys, and only a person.

// The exit codes of all commands.
const (
	exitOK      = 0
	exitFailed  = 1
	exitMisused = 2
	exitFound   = 3 // there is something that should not be: for cron jobs
)

// terminal is where a command speaks to a person, or to a script.
type terminal struct {
	out, err io.Writer

	live       bool // out is a terminal
	liveErr    bool // err is one
	colours    bool // out shows them
	errColours bool // err does

	format string // of -o; "" = the command's first
	taken  bool   // the command line makes sense as far as cobra checks it

	mu       sync.Mutex
	progress bool // the line of waits is on the screen
}

// begin is before each command. A flag that is given has a value: a shell's empty variable would be another account.
func (t *terminal) begin(cmd *cobra.Command, _ []string) error {
	err := cmd.ValidateFlagGroups()
	cmd.Flags().Visit(func(f *pflag.Flag) {
		list, many := f.Value.(pflag.SliceValue)
		if f.Value.Type() == "string" && f.Value.String() == "" || many && slices.Contains(list.GetSlice(), "") {
			err = fmt.Errorf("--%s must not be empty", f.Name)
		}
	})
	t.taken = err == nil
	return err
}

// end says how a command ended, and what can be done about it if that is known. It returns the exit code.
func (t *terminal) end(cmd *cobra.Command, err error) int {
	t.done()
	code := exitOK
	if s, ok := errors.AsType[status](err); ok {
		code, err = int(s), nil
	}
	if err == nil {
		if err := t.unwritten(); err != nil { // whoever reads it must not take half of it for all
			t.say("error", "%v", err)
			return exitFailed
		}
		return code
	}
	text, meant, _ := strings.Cut(err.Error(), "\n\nDid you mean this?\n") // as cobra has it
	t.say("error", "%s", text)
	misused := !t.taken || errors.As(err, new(misuse))
	hint := digitalocean.Hint(err)
	if h, ok := errors.AsType[hinted](err); ok {
		hint = h.hint
	} else if misused {
		word := append(strings.Fields(meant), "--help")[0]
		hint = pasted(append(strings.Fields(cmd.CommandPath())[1:], word)...)
	}
	if hint != "" {
		t.say("hint", "%s", hint)
	}
	if misused {
		return exitMisused
	}
	return exitFailed
}

// status is the exit code of a command that has said itself why.
type status int

func (s status) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// output is standard output. It remembers that not all of it could be written, unless that is because nobody reads any more.
type output struct {
	file   *os.File
	failed error
}

func (o *output) Write(p []byte) (n int, err error) {
	if n, err = o.file.Write(p); err != nil && !errors.Is(err, syscall.EPIPE) {
		o.failed = fmt.Errorf("standard output: %w", err)
	}
	return n, err
}

// unwritten is why not all of what was asked for could be written.
func (t *terminal) unwritten() error {
	if o, ok := t.out.(*output); ok {
		return o.failed
	}
	return nil
}

func newTerminal() *terminal {
	t := &terminal{out: &output{file: os.Stdout}, err: os.Stderr}
	dumb := os.Getenv("TERM") == "dumb" // it shows escape sequences
	t.live = !dumb && term.IsTerminal(int(os.Stdout.Fd()))
	t.liveErr = !dumb && term.IsTerminal(int(os.Stderr.Fd()))
	wanted := os.Getenv("NO_COLOR") == "" // an empty one does not count, by no-color.org
	t.colours, t.errColours = t.live && wanted, t.liveErr && wanted
	return t
}

// The colours that are used.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

// colour dresses s if it is to be; without a code s has no colour.
func colour(on bool, code, s string) string {
	if !on || code == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// words are the colours of those that lines begin with.
var words = map[string]string{"error": red, "todo": red, "lost": yellow, "warning": yellow, "check": yellow, "hint": green}

// say writes lines of "error", "warning", "note", "hint" or another word.
func (t *terminal) say(word, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	dressed := colour(t.errColours, words[word], word+":")
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		width := columns(os.Stderr)
		if word == "hint" { // which is to be pasted
			width = 0
		}
		fmt.Fprintf(t.err, "%s%s\n", dressed, hang(word+":", strings.TrimSuffix(line, "\n"), width))
	}
}

// clean returns s with what a terminal would obey, or not show, written as its escape.
func clean(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// bounded bounds what a command asks of DigitalOcean; the cause of its end is told alone. (TestScripts, timeout)
func bounded(ctx context.Context, timeout span) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, timeout.Duration, fmt.Errorf("DigitalOcean was not done within %s (--timeout)", timeout.text))
}

// misuse is a command line that makes no sense.
type misuse string

func (m misuse) Error() string { return string(m) }

// hinted is an error, and what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// waits shows a person what is waited for, or how far that is: one line on a terminal, which is written over.
func (t *terminal) waits(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.liveErr {
		t.progress = true
		most := cmp.Or(columns(os.Stderr), 80) - 1 // a line that wraps could not be taken off the screen
		fmt.Fprintf(t.err, "\r\x1b[K%.*s", most, clean(fmt.Sprintf(format, args...)))
	}
}

// wipe takes the line of waits off the screen. Called with mu held.
func (t *terminal) wipe() {
	if t.progress {
		fmt.Fprint(t.err, "\r\x1b[K")
	}
	t.progress = false
}

// done ends the line of waits.
func (t *terminal) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
}

// columns is the width of a terminal, 80 where it does not say; 0 = it is none.
func columns(f *os.File) int {
	n, _, err := term.GetSize(int(f.Fd()))
	if err == nil && n == 0 {
		return 80
	}
	return n
}

// confirm asks a person; nobody answers for a script.
func (t *terminal) confirm(question string) (yes bool, err error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false, hinted{misuse("there is nobody to ask"), "give --yes"}
	}
	fmt.Fprintf(t.err, "%s [y/N] ", clean(question))
	answer, _ := bufio.NewReader(os.Stdin).ReadString('\n') // a terminal gives a line at a time
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes", nil
}

// json writes a struct of ours as an object whose first key is the version of its form, escaped for terminals.
func (t *terminal) json(v any) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // it is of a type that has no JSON
	}
	var text strings.Builder
	for _, r := range "{\n  \"version\": 1," + strings.TrimPrefix(string(b), "{") + "\n" {
		if r == '\n' || unicode.IsPrint(r) || r > 0xffff {
			text.WriteRune(r)
		} else {
			fmt.Fprintf(&text, "\\u%04x", r)
		}
	}
	_, _ = io.WriteString(t.out, text.String())
}

// log is the plugin's logger for a person: what goes wrong, as it is logged.
type log struct {
	hclog.Logger
	t *terminal
}

func newLog(t *terminal) hclog.Logger { return log{hclog.NewNullLogger(), t} }

func (l log) With(...any) hclog.Logger      { return l }
func (l log) Warn(msg string, args ...any)  { l.say("warning", msg, args) }
func (l log) Error(msg string, args ...any) { l.say("error", msg, args) }

func (l log) say(word, msg string, args []any) {
	for pair := range slices.Chunk(args, 2) {
		if pair[0] == "hint" {
			defer l.t.say("hint", "%v", pair[1])
		} else {
			msg += fmt.Sprintf(" %v=%v", pair...)
		}
	}
	l.t.say(word, "%s", msg)
}
