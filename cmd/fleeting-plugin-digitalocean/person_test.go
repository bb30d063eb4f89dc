package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/creack/pty"
	"github.com/rogpeppe/go-internal/testscript"
)

// person is `person [-columns N] [ANSWER...] -- COMMAND...`: it is run on a terminal, and each of
// its questions answered. ^C is an answer too, and ^D at an answer's end. The screen as it looks at the end is standard
// output, and every byte that was sent to it is standard error.
func person(ts *testscript.TestScript, neg bool, args []string) {
	columns := 80
	if args[0] == "-columns" {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		columns, args = n, args[2:]
	}
	var answers []string
	for args[0] != "--" {
		answers, args = append(answers, args[0]), args[1:]
	}
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "DIGITALOCEAN_API_URL", "XDG_STATE_HOME", "CONFIG_FILE", "NO_COLOR", "GORACE"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	cmd.Env = append(cmd.Env, "TERM=xterm")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: uint16(columns)})
	ts.Check(err)
	defer tty.Close()
	stuck := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	var sent strings.Builder
	asked := 0
	for buffer := make([]byte, 4096); ; {
		n, err := tty.Read(buffer)
		sent.Write(buffer[:n])
		for strings.Count(sent.String(), "[y/N] ")+strings.Count(sent.String(), "Ctrl-D\r\n") > asked && asked < len(answers) {
			if answers[asked] == "^C" { // typed, the kernel may throw away what is written after it
				ts.Check(cmd.Process.Signal(os.Interrupt))
			} else {
				_, werr := tty.WriteString(strings.Replace(answers[asked], "^D", "\n\x04", 1) + "\n")
				ts.Check(werr)
			}
			asked++
		}
		if err != nil { // EIO: it has ended
			break
		}
	}
	failed := cmd.Wait() != nil
	_, _ = ts.Stderr().Write([]byte(sent.String()))
	_, _ = ts.Stdout().Write([]byte(shown(sent.String(), columns)))
	if failed != neg {
		ts.Fatalf("failed: %t\n%s", failed, sent.String())
	}
	if asked < len(answers) {
		ts.Fatalf("it asked %d questions\n%s", asked, sent.String())
	}
}

// shown is what a terminal of so many columns shows in the end of what was sent to it.
func shown(sent string, columns int) string {
	lines := [][]rune{{}}
	x, y := 0, 0
	down := func() {
		if x, y = 0, y+1; y == len(lines) {
			lines = append(lines, nil)
		}
	}
	for runes := []rune(sent); len(runes) > 0; {
		r := runes[0]
		runes = runes[1:]
		switch {
		case r == '\r':
			x = 0
		case r == '\n':
			down()
		case r == '\x1b' && len(runes) > 1 && runes[0] == '[':
			n := 1
			for runes[n] < '@' {
				n++
			}
			switch runes[n] {
			case 'K':
				lines[y] = lines[y][:min(x, len(lines[y]))]
			case 'J':
				lines = [][]rune{{}}
				x, y = 0, 0
			}
			runes = runes[n+1:]
		default:
			if x == columns {
				down()
			}
			for len(lines[y]) <= x {
				lines[y] = append(lines[y], ' ')
			}
			lines[y][x] = r
			x++
		}
	}
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
