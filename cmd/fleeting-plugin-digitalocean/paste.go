package main

import (
	"fmt"
	"os"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

// pasted is a command of this program that a person can paste, called as this one was: a file that is not in PATH by its
// path, and with sudo where there was one.
func pasted(words ...string) string {
	line := []string{os.Args[0]}
	if os.Getenv("SUDO_UID") != "" {
		line = []string{"sudo", os.Args[0]}
	}
	line = append(line, words...)
	for i, word := range line {
		line[i] = doctor.Quote(word)
	}
	return strings.Join(line, " ")
}

// command is pasted of a command that is about the same groups.
func (c choice) command(words ...string) string {
	for _, flag := range [][2]string{{"--config", c.config}, {"--runner", c.runner}, {"--token-file", c.tokenFile}} {
		if flag[1] != "" {
			words = append(words, flag[:]...)
		}
	}
	for _, name := range c.groups {
		words = append(words, "--group", name)
	}
	return pasted(words...)
}

// tell is say of a text that may be long: on a terminal it is broken between words.
func (t *terminal) tell(word, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wipe()
	width := 0
	if t.liveErr {
		width = columns(os.Stderr)
	}
	fmt.Fprintf(t.err, "%s%s\n", colour(t.errColours, words[word], word+":"), hang(word+":", text, width))
}

// hang is a clean text as it follows a head, which has a colour of its own. The lines that it is broken into, where a width is
// known, begin below its first word.
func hang(head, text string, width int) string {
	line := head + " " + clean(text)
	if width > 0 {
		line = wrap(line, width, len(head)+1)
	}
	return line[len(head):]
}
