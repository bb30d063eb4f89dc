package main

import (
	"os"
	"strings"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

// pasted is a command of this program that a person can paste, called as this one was: a file that is not in PATH by its
// path, and with sudo where there was one.
func pasted(words ...string) string {
	line := append([]string{os.Args[0]}, words...)
	if os.Getenv("SUDO_UID") != "" {
		line = append([]string{"sudo"}, line...)
	}
	return quote(line...)
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

// quote is a command line as a shell reads it.
func quote(words ...string) string {
	var quoted []string
	for _, w := range words {
		quoted = append(quoted, doctor.Quote(w))
	}
	return strings.Join(quoted, " ")
}

// asRoot is this command line for root.
func asRoot() string {
	self, err := os.Executable() // root's PATH may be another
	if err != nil {
		self = program
	}
	return quote(append([]string{"sudo", self}, os.Args[1:]...)...)
}
