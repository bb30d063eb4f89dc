package instancegroup

import (
	"crypto/rand"
	"slices"
	"strings"
)

// The tags by which a Droplet says whose it is. There is no state file: a new
// process finds its group's Droplets by listing GroupTag.
const (
	commonTag      = "fleeting"
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

// NewSuffix mints what makes a name unique: 8 random characters of Crockford's
// base32 alphabet, 40 bits. A run's id is one too.
func NewSuffix() string {
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	b := make([]byte, suffixLen)
	rand.Read(b) // never fails (crypto/rand)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

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
// group: it carries the group's tag and has a minted name. The name matters
// because people tag by hand, and "ci" must never own "ci-big-7k2m9qxa".
func Owns(group string, d Droplet) bool {
	suffix, ok := strings.CutPrefix(d.Name, group+"-")
	return ok && IsSuffix(suffix) && hasTag(d, GroupTag(group))
}

// hasTag compares as DigitalOcean does: tags keep their first spelling on the
// account but are the same in any case.
func hasTag(d Droplet, tag string) bool {
	return slices.ContainsFunc(d.Tags, func(t string) bool { return strings.EqualFold(t, tag) })
}

// runOf returns the run that made d, or "".
func runOf(d Droplet) string {
	for _, t := range d.Tags {
		if len(t) > len(runTagPrefix) && strings.EqualFold(t[:len(runTagPrefix)], runTagPrefix) {
			return strings.ToLower(t[len(runTagPrefix):])
		}
	}
	return ""
}
