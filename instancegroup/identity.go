package instancegroup

import (
	"crypto/rand"
	"slices"
	"strings"
)

// CommonTag is the tag that the Droplets of all groups carry.
const CommonTag = "fleeting"

// The other tags by which a Droplet says whose it is. There is no state file: a new
// process finds its group's Droplets by listing GroupTag.
const (
	groupTagPrefix = "fleeting-group:"
	runTagPrefix   = "fleeting-run:"
	bulkTagPrefix  = "fleeting-delete:"
)

// GroupTag is the tag that all Droplets of a group carry.
func GroupTag(group string) string { return groupTagPrefix + group }

// RunTag is the tag of all Droplets that one run of the plugin made.
func RunTag(run string) string { return runTagPrefix + run }

// BulkTag is the tag that a run puts on Droplets only to destroy them, many with
// one request.
func BulkTag(run string) string { return bulkTagPrefix + run }

// IsBulkTag tells whether tag is one: the one kind by which Droplets are
// destroyed.
func IsBulkTag(tag string) bool {
	run, ok := strings.CutPrefix(tag, bulkTagPrefix)
	return ok && IsSuffix(run)
}

// RunOfTag returns the run that a RunTag or a BulkTag is of.
func RunOfTag(tag string) (run string, ok bool) {
	for _, prefix := range []string{runTagPrefix, bulkTagPrefix} {
		if len(tag) > len(prefix) && strings.EqualFold(tag[:len(prefix)], prefix) {
			run = strings.ToLower(tag[len(prefix):])
			return run, IsSuffix(run)
		}
	}
	return "", false
}

// KeyName is the name of a group's SSH key on the account. Generated keys end in the
// run, by which they are swept.
func KeyName(group, suffix string) string { return "fleeting-" + group + "-" + suffix }

// RunOfKey returns the run that generated a group's SSH key of that name.
func RunOfKey(group, name string) (run string, ok bool) {
	run, ok = strings.CutPrefix(name, KeyName(group, ""))
	return run, ok && IsSuffix(run)
}

// NewSuffix mints what makes a name unique: 8 random characters of Crockford's
// base32 alphabet, almost 40 bits. One at least is a digit, which tells it from a
// word. A run's id is one too.
func NewSuffix() string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	b := make([]byte, suffixLen)
	for {
		rand.Read(b) // never fails (crypto/rand)
		for i := range b {
			b[i] = alphabet[int(b[i])%len(alphabet)]
		}
		if s := string(b); hasDigit(s) {
			return s
		}
	}
}

func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

const suffixLen = 8

// IsSuffix tells whether s has the shape of a minted suffix. It is wider than
// the minted alphabet, so that a later version may change that and still take
// over the Droplets of this one.
func IsSuffix(s string) bool {
	if len(s) != suffixLen {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Owns tells whether a Droplet that this process did not make belongs to the
// group: it carries the group's tag and CommonTag or a RunTag, as every create asks
// for, and has a minted name. The name matters because people tag by hand, and "ci"
// must never own "ci-big-7k2m9qxa"; the other tags, because eight letters may be a
// word: "ci-database". (One of them will do: somebody may delete a tag.)
//
// Where the token is shown no tags but the one that was listed by, the digit that
// is minted has to do. (0.1 minted one name in twenty without.)
func Owns(group string, d Droplet) bool {
	suffix, ok := strings.CutPrefix(d.Name, group+"-")
	if !ok || !IsSuffix(suffix) || !hasTag(d, GroupTag(group)) {
		return false
	}
	if d.TagsHidden {
		return hasDigit(suffix)
	}
	return hasTag(d, CommonTag) || IsSuffix(RunOf(d))
}

// hasTag compares as DigitalOcean does: tags keep their first spelling on the
// account but are the same in any case.
func hasTag(d Droplet, tag string) bool {
	return slices.ContainsFunc(d.Tags, func(t string) bool { return strings.EqualFold(t, tag) })
}

// isGroupTag tells whether tag is a group's.
func isGroupTag(tag string) bool {
	return len(tag) > len(groupTagPrefix) && strings.EqualFold(tag[:len(groupTagPrefix)], groupTagPrefix)
}

// GroupOf returns the group that owns d, or "".
func GroupOf(d Droplet) string {
	for _, t := range d.Tags {
		if isGroupTag(t) {
			if group := strings.ToLower(t[len(groupTagPrefix):]); Owns(group, d) {
				return group
			}
		}
	}
	return ""
}

// AdriftFrom returns the group that made d, by its name and by the other tags of a
// create, if no group's tag is on d: somebody took it off, or deleted it from the
// account. No list of the group has d then. It returns "" of any other Droplet.
//
// The tag of its run may be gone too: then a digit in the name has to do, which tells it
// from a word.
func AdriftFrom(d Droplet) (group string) {
	i := len(d.Name) - len("-") - suffixLen
	if d.TagsHidden || i <= 0 || d.Name[i] != '-' || !IsSuffix(d.Name[i+1:]) || !hasTag(d, CommonTag) || slices.ContainsFunc(d.Tags, isGroupTag) {
		return ""
	}
	if run := RunOf(d); !IsSuffix(run) && (run != "" || !hasDigit(d.Name[i+1:])) {
		return ""
	}
	return d.Name[:i]
}

// RunOf returns the run that made d, or "".
func RunOf(d Droplet) string {
	for _, t := range d.Tags {
		if len(t) > len(runTagPrefix) && strings.EqualFold(t[:len(runTagPrefix)], runTagPrefix) {
			return strings.ToLower(t[len(runTagPrefix):])
		}
	}
	return ""
}
