package config

import (
	"errors"
	"regexp"
	"strings"
)

// MaxName is the most characters of a group's name. It leaves room for bootSuffix, and for "-" and 10 characters more in a
// Droplet's name, which is a DNS label of at most 63.
const MaxName = 45

// bootSuffix ends the names of the groups of doctor --boot. plugin_config may name none of them: what is in them is
// destroyed.
const bootSuffix = "-doctor"

// names are those of groups, of those of doctor --boot too.
var names = format{what: "1 to 45 characters of a-z, 0-9 and -, with a letter or a digit at both ends",
	pattern: `^[a-z0-9]([a-z0-9-]{0,43}[a-z0-9])?(-doctor)?$`}

// BootGroup returns the group of the Droplet that doctor --boot makes for a group. Two groups never share one.
func BootGroup(name string) string { return name + bootSuffix }

// CheckName returns why no group can have the name, following the name's key in a sentence, or nil. It accepts the groups
// of doctor --boot, which plugin_config may not name.
func CheckName(name string) error {
	_, err := names.read(name)
	return err
}

func (p *parser) notBoot() error {
	if strings.HasSuffix(p.config.Name, bootSuffix) {
		return errors.New("must not end in -doctor, as the groups do that doctor --boot makes and deletes")
	}
	return nil
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

// SafeName makes a name for plugin_config of any text, or returns "" when nothing of it can be in one.
func SafeName(text string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(text), "-"), "-")
	name = strings.TrimRight(name[:min(len(name), MaxName)], "-")
	for strings.HasSuffix(name, bootSuffix) {
		name = strings.TrimRight(strings.TrimSuffix(name, bootSuffix), "-")
	}
	return name
}
