package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// pair is a key of [runners.cache.s3] and its value, as they are written.
type pair struct {
	key, value string
	line       int
}

// s3Keys were directly below [runners.cache] until Runner 12.0, and are in its s3 now.
var s3Keys = []string{"serveraddress", "accesskey", "secretkey", "bucketname", "bucketlocation", "insecure"}

// cache corrects [runners.cache] where it cannot work: the keys of before 12.0, and what Spaces does not take.
func (c *conversion) cache() {
	if kind := c.get("cache.type"); kind != nil && !strings.EqualFold(unquoted(kind.value), "s3") {
		return
	}
	var all, moved []pair
	for _, b := range c.blocks {
		for _, k := range b.keys {
			p := pair{k.name, k.value, k.line}
			name, flat := strings.CutPrefix(k.path, "cache.")
			switch {
			case b.path == "cache.s3":
				all = append(all, p)
			case b.path != "cache" || !flat:
			case name == "s3cachepath":
				c.edits.replace(k.span, strings.Repeat(c.unit, 2)+"Path = "+k.value+c.doc.eol)
			case name == "cacheshared":
				c.edits.replace(k.span, strings.Repeat(c.unit, 2)+"Shared = "+k.value+c.doc.eol)
			case slices.Contains(s3Keys, name):
				typed := ""
				if c.get("cache.type") == nil && moved == nil {
					typed = strings.Repeat(c.unit, 2) + `Type = "s3"` + c.doc.eol
				}
				c.edits.replace(k.span, typed)
				moved = append(moved, p)
			}
		}
	}
	if moved == nil && c.old.Cache["ServerAddress"] != nil { // dotted, or in braces
		c.note(Check, "cache", "[runners.cache]", "the runner ignores ServerAddress and its like here since 12.0",
			"move them to [runners.cache.s3]")
	}
	for _, p := range moved {
		if !slices.ContainsFunc(all, func(other pair) bool { return strings.EqualFold(other.key, p.key) }) {
			all = append(all, p)
		}
	}
	corrected, changed := c.spaces(all)
	if moved != nil {
		c.at(Check, moved[0].line, "[runners.cache]",
			"the runner ignores "+moved[0].key+" and its like here since 12.0: moved to [runners.cache.s3], so that the cache works again", "")
	}
	if moved != nil || changed {
		c.s3 = corrected
	}
}

// spacesHost matches what people write as the address of a Space.
var spacesHost = regexp.MustCompile(`(?i)^(?:https?://)?(?:([a-z0-9][a-z0-9.-]*)\.)?([a-z]{3}\d)(?:\.spaces|\.cdn)?` +
	`\.digitaloceanspaces\.com(?::\d+)?(?:/([a-z0-9.-]*))?/?$`)

// spaces corrects the keys of a Space.
func (c *conversion) spaces(all []pair) (_ []pair, changed bool) {
	find := func(key string) *pair {
		if i := slices.IndexFunc(all, func(p pair) bool { return strings.EqualFold(p.key, key) }); i >= 0 {
			return &all[i]
		}
		return &pair{}
	}
	address := *find("ServerAddress")
	m := spacesHost.FindStringSubmatch(strings.TrimSpace(unquoted(address.value)))
	if m == nil {
		if strings.Contains(address.value, "digitaloceanspaces") {
			c.at(Todo, address.line, "ServerAddress", "is no host of Spaces",
				`ServerAddress = "nyc3.digitaloceanspaces.com", with the region of the Space`)
		}
		return all, false
	}
	region, bucket := strings.ToLower(m[2]), m[1]+m[3]
	var done []string
	set := func(key, value string) {
		if p := find(key); p.key == "" {
			all = append(all, pair{key, quote(value), address.line})
		} else if unquoted(p.value) == value {
			return
		} else {
			p.value = quote(value)
		}
		done = append(done, key+" = "+quote(value))
	}
	set("ServerAddress", region+".digitaloceanspaces.com")
	if name := *find("BucketName"); bucket != "" && unquoted(name.value) != "" && unquoted(name.value) != bucket {
		c.at(Check, name.line, "BucketName", fmt.Sprintf("is %s, and ServerAddress had %q in front", name.value, bucket),
			"one of them is the Space's name")
	} else if bucket != "" {
		set("BucketName", bucket)
	}
	if unquoted(find("BucketLocation").value) == "" {
		set("BucketLocation", region)
	}
	if find("Insecure").value == "true" {
		all = slices.DeleteFunc(all, func(p pair) bool { return strings.EqualFold(p.key, "Insecure") })
		done = append(done, "no Insecure, since Spaces speaks https")
	}
	if done != nil {
		c.at(Check, address.line, "ServerAddress", "as Spaces takes it: "+strings.Join(done, ", "), "")
	}
	return all, done != nil
}

// unquoted is the content of a simple string of TOML.
func unquoted(value string) string { return strings.Trim(value, `"'`) }
