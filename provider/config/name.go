package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxName leaves room for "-" and the 10 characters that follow it in a Droplet's name: that is a hostname's label, of at
// most 63 characters.
const maxName = 52

// bootSuffix ends the names of the groups of doctor --boot, which no plugin_config may name: whatever is in them may be
// destroyed.
const bootSuffix = "-doctor"

var (
	namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)
	notInName   = regexp.MustCompile(`[^a-z0-9]+`)
)

// CheckName returns why no group can have the name, following the name's key in a sentence, or nil. It accepts the groups
// of doctor --boot, which plugin_config may not name.
func CheckName(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("must be 1 to 52 characters of a-z, 0-9 and -, with a letter or a digit at both ends, not %s", quote(name))
	}
	return nil
}

// groupName checks the name of a group in plugin_config.
func groupName(name string) (string, error) {
	err := CheckName(name)
	if err == nil && strings.HasSuffix(name, bootSuffix) {
		err = errors.New("must not end in -doctor, as the groups do that doctor --boot makes and destroys")
	}
	return name, err
}

// SafeName makes a name for plugin_config of any text, or returns "" when nothing of it can be in one.
func SafeName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-")
	name = strings.TrimRight(name[:min(len(name), maxName)], "-")
	for strings.HasSuffix(name, bootSuffix) {
		name = strings.TrimRight(strings.TrimSuffix(name, bootSuffix), "-")
	}
	return name
}

// BootGroup returns the group of the Droplet that doctor --boot makes for a group.
func BootGroup(name string) string {
	return strings.TrimRight(name[:min(len(name), maxName-len(bootSuffix))], "-") + bootSuffix
}
