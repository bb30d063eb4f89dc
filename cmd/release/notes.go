package main

import (
	"os"
	"regexp"
	"strings"
)

// readNotes cuts what a changelog says about a version out of it: the section
// "## [0.2.0] - 2026-12-01", without its heading. Such a section tells an operator what
// to do.
func readNotes(changelog, version string) (string, error) {
	if err := checkVersion(version); err != nil {
		return "", err
	}
	content, err := os.ReadFile(changelog)
	if err != nil {
		return "", err
	}
	heading := regexp.MustCompile(`(?m)^## \[` + regexp.QuoteMeta(version) + `\](.*)\n`)
	found := heading.FindStringSubmatchIndex(string(content))
	write := "write it, as a section \"## [" + version + "] - YYYY-MM-DD\""
	if found == nil {
		return "", problemf(write, "%s says nothing about %s", changelog, version)
	}
	if date := string(content[found[2]:found[3]]); !regexp.MustCompile(`^ - \d{4}-\d\d-\d\d$`).MatchString(date) {
		return "", problemf(write, "%s: the section of %s has no date: %q", changelog, version, strings.TrimSpace(date))
	}
	notes := string(content[found[1]:])
	// Up to the next version, or the links at the end.
	if next := regexp.MustCompile(`(?m)^(## |\[[^\]]+\]: )`).FindStringIndex(notes); next != nil {
		notes = notes[:next[0]]
	}
	notes = strings.TrimSpace(notes)
	if notes == "" {
		return "", problemf(write, "%s: the section of %s is empty", changelog, version)
	}
	if !regexp.MustCompile(`(?m)^### Upgrading\n\n- `).MatchString(notes) {
		return "", problemf("write a section \"### Upgrading\" with a list; that there is nothing to do is worth a line",
			"%s: the section of %s does not say what an operator has to do", changelog, version)
	}
	return notes + "\n", nil
}
