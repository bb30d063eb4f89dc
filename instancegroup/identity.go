package instancegroup

import (
	"crypto/rand"
	"slices"
	"strings"
)

// The tags of a Droplet. With its name they say which group it belongs to; the
// name alone says which plugin process made it.
const (
	// CommonTag is on the Droplets of all groups.
	CommonTag = "fleeting"

	// KeepTag, put on a Droplet by a person, means hands off: once a list has shown
	// it the runner is told that it is gone, and it is never destroyed.
	KeepTag = "fleeting-keep"

	groupTagPrefix  = "fleeting-group:"
	deleteTagPrefix = "fleeting-delete:"
)

// GroupTag is the tag that all Droplets of a group carry.
func GroupTag(group string) string { return groupTagPrefix + group }

// DeleteTag is the tag that a group puts on Droplets to delete many with one request.
func DeleteTag(group string) string { return deleteTagPrefix + group }

// IsDeleteTag reports whether tag is one, the one kind by which Droplets are deleted.
func IsDeleteTag(tag string) bool {
	group, ok := cutPrefixFold(tag, deleteTagPrefix)
	return ok && strings.Trim(strings.ToLower(group), "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// KeyName is the name of a group's generated SSH key on the account; suffix is
// from NewSuffix.
func KeyName(group, suffix string) string { return "fleeting-" + group + "-" + suffix }

// RunOfKey returns the run that generated a group's SSH key of that name, or "".
func RunOfKey(group, name string) string { return RunOf("fleeting-"+group, name) }

const (
	runLen    = 4
	suffixLen = runLen + 6
)

// NewRun draws the id of a plugin process: 4 random characters of Crockford's base32
// alphabet, a million of them.
func NewRun() string { return random(runLen) }

// NewSuffix mints what makes a name unique: the run and 6 random characters.
// One at least of the ten is a digit, which distinguishes it from a word.
func NewSuffix(run string) string {
	for {
		if s := run + random(suffixLen-runLen); isSuffix(s) {
			return s
		}
	}
}

func random(n int) string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	b := make([]byte, n)
	rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

// isSuffix reports whether s has the shape of a minted suffix. It is wider than the minted
// alphabet, which a later version may change.
func isSuffix(s string) bool {
	odd := func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') }
	return len(s) == suffixLen && !strings.ContainsFunc(s, odd) && strings.ContainsAny(s, "0123456789")
}

// Owns reports whether a Droplet that this process did not make belongs to the group: it
// has both tags of every create, and a minted name, since people tag by hand: "ci" must
// never own "ci-database" or a Droplet of the group "ci-big". (TestOwnership)
func Owns(group string, d Droplet) bool {
	return RunOf(group, d.Name) != "" && HasTag(d, GroupTag(group)) && HasTag(d, CommonTag)
}

// RunOf returns the run that minted a name of the group, or "" if none did.
func RunOf(group, name string) string {
	suffix, ok := strings.CutPrefix(name, group+"-")
	if !ok || !isSuffix(suffix) {
		return ""
	}
	return suffix[:runLen]
}

// GroupOf returns the group that owns d, or "".
func GroupOf(d Droplet) string {
	for _, t := range d.Tags {
		if group, ok := cutPrefixFold(t, groupTagPrefix); ok {
			if group = strings.ToLower(group); Owns(group, d) {
				return group
			}
		}
	}
	return ""
}

// HasTag compares as DigitalOcean does, in any case.
func HasTag(d Droplet, tag string) bool {
	return slices.ContainsFunc(d.Tags, func(t string) bool { return strings.EqualFold(t, tag) })
}

// Kept reports whether a person keeps d: see KeepTag.
func Kept(d Droplet) bool { return HasTag(d, KeepTag) }

func cutPrefixFold(s, prefix string) (after string, found bool) {
	if len(s) <= len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return "", false
	}
	return s[len(prefix):], true
}

// GPUSize reports whether a size is one of a GPU Droplet, by its slug.
func GPUSize(slug string) bool { return strings.HasPrefix(slug, "gpu-") }
