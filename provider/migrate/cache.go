package migrate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// s3Keys were directly below [runners.cache] until Runner 12.0, and are in its s3 now.
var s3Keys = []string{"serveraddress", "accesskey", "secretkey", "bucketname", "bucketlocation", "insecure"}

// spacesHost matches what people write as the address of a Space.
var spacesHost = regexp.MustCompile(`(?i)^(?:https?://)?(?:([a-z0-9][a-z0-9.-]*)\.)?([a-z]{3}\d)(?:\.spaces|\.cdn)?\.digitaloceanspaces\.com(?::\d+)?(?:/([a-z0-9.-]*))?/?$`)

// cache corrects [runners.cache] where it cannot work: the keys of before 12.0, and what Spaces does not take.
func (c *conversion) cache() {
	t, s3 := c.table("cache"), c.table("cache.s3")
	kind := c.get("cache.type")
	if _, flat := c.old.Cache["ServerAddress"]; t == nil && flat {
		c.note(Check, "cache", "[runners.cache]", "the runner ignores ServerAddress and its like here since 12.0", "move them to [runners.cache.s3]")
	}
	if t == nil || kind != nil && !strings.EqualFold(unquoted(kind.value), "s3") {
		return
	}
	var stay, move []*entry
	for _, e := range t.entries {
		switch key := strings.ToLower(unquoted(e.key)); {
		case slices.Contains(s3Keys, key) && c.get("cache.s3."+key) == nil:
			e.path = "cache.s3." + key
			move = append(move, e)
		case slices.Contains(s3Keys, key): // ignored, and there is another one
		case key == "s3cachepath":
			e.key = "Path"
			stay = append(stay, e)
		case key == "cacheshared":
			e.key = "Shared"
			stay = append(stay, e)
		default:
			stay = append(stay, e)
		}
	}
	if move != nil {
		c.at(Check, move[0].line, "[runners.cache]", "the runner ignores "+move[0].key+" and its like here since 12.0: moved to [runners.cache.s3]",
			"the cache works again, for the first time since")
		if kind == nil {
			stay = append([]*entry{{key: "Type", value: `"s3"`}}, stay...)
		}
		if s3 == nil {
			s3 = &table{path: "cache.s3", header: "[" + strings.Trim(t.header, "[] \t") + ".s3]"}
			c.tables = append(c.tables, s3)
		}
	}
	t.entries = stay
	if s3 != nil {
		s3.entries = append(s3.entries, move...)
		c.spaces(s3)
	}
}

// spaces corrects the keys of a Space.
func (c *conversion) spaces(s3 *table) {
	address := c.get("cache.s3.serveraddress")
	if address == nil {
		return
	}
	m := spacesHost.FindStringSubmatch(strings.TrimSpace(unquoted(address.value)))
	if m == nil {
		if strings.Contains(address.value, "digitaloceanspaces") {
			c.at(Todo, address.line, "ServerAddress", "is no host of Spaces", `ServerAddress = "nyc3.digitaloceanspaces.com", with the region of the Space`)
		}
		return
	}
	region, bucket := strings.ToLower(m[2]), m[1]+m[3]
	var done []string
	set := func(key, value string) {
		e := c.get("cache.s3." + strings.ToLower(key))
		if e == nil {
			e = &entry{key: key, path: "cache.s3." + strings.ToLower(key)}
			s3.entries = append(s3.entries, e)
		}
		if e.value != quote(value) {
			e.value, e.above, e.after = quote(value), nil, ""
			done = append(done, key+" = "+e.value)
		}
	}
	set("ServerAddress", region+".digitaloceanspaces.com")
	if name := c.get("cache.s3.bucketname"); bucket != "" && name != nil && unquoted(name.value) != "" && unquoted(name.value) != bucket {
		c.at(Check, name.line, "BucketName", fmt.Sprintf("is %s, and ServerAddress had %q in front", name.value, bucket), "one of them is the Space's name")
	} else if bucket != "" {
		set("BucketName", bucket)
	}
	if location := c.get("cache.s3.bucketlocation"); location == nil || unquoted(location.value) == "" {
		set("BucketLocation", region)
	}
	if insecure := c.get("cache.s3.insecure"); insecure != nil && insecure.value == "true" {
		s3.entries = slices.DeleteFunc(s3.entries, func(e *entry) bool { return e == insecure })
		done = append(done, "no Insecure, since Spaces speaks https")
	}
	if done != nil {
		c.at(Check, address.line, "ServerAddress", "as Spaces takes it: "+strings.Join(done, ", "), "")
	}
}

// unquoted is the content of a simple string of TOML.
func unquoted(value string) string { return strings.Trim(value, `"'`) }
