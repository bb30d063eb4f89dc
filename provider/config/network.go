package config

import (
	"encoding/json"
	"fmt"
	"slices"
)

func decodeVPC(p *parser, value json.RawMessage) {
	switch kindOf(value) {
	case aString:
		p.oneVPC(value)
	case aTable:
		p.config.VPC = p.vpcTable(value)
	default:
		p.mismatch("a UUID or a table of region = UUID", value)
	}
}

// oneVPC reads one UUID, which is for the only region: a VPC is in one region.
func (p *parser) oneVPC(value json.RawMessage) {
	text, ok := p.text(value)
	if !ok {
		return
	}
	id, ok := p.uuid("", text)
	if !ok {
		return
	}
	switch regions := p.config.Regions; len(regions) {
	case 0: // a fault already
	case 1:
		p.config.VPC = map[string]string{regions[0]: id}
	default:
		p.faultHint("must be a table of region = UUID when there are several regions, since a VPC is in one region",
			fmt.Sprintf("for example vpc_uuid = { %q = %q }", regions[0], id))
	}
}

// vpcTable returns nil when the table is empty.
func (p *parser) vpcTable(value json.RawMessage) map[string]string {
	entries, _ := members(value) // cannot fail: the whole was valid, and this is a table
	var taken []string
	for _, e := range entries {
		taken = append(taken, e.name)
	}
	regions := p.config.Regions
	var vpc map[string]string
	for _, e := range entries {
		at := quote(e.name) + " "
		if len(regions) > 0 && !slices.Contains(regions, e.name) {
			free := slices.DeleteFunc(slices.Clone(regions), func(r string) bool { return slices.Contains(taken, r) })
			hint := ""
			if r, ok := nearest(e.name, free); ok {
				hint = didYouMean(r)
			}
			p.faultHint(at+"is not among the regions, which are "+quoteAll(regions, ", "), hint)
			continue
		}
		if _, twice := vpc[e.name]; twice {
			p.fault("lists %s more than once", quote(e.name))
			continue
		}
		if kind := kindOf(e.value); kind != aString {
			p.fault("%smust be a UUID, not %s", at, kind)
			continue
		}
		if id, ok := p.uuid(at, unquote(e.value)); ok {
			if vpc == nil {
				vpc = map[string]string{}
			}
			vpc[e.name] = id
		}
	}
	return vpc
}

func decodePublicNetworking(p *parser, value json.RawMessage) {
	p.boolean(value, &p.config.PublicNetworking)
}

func decodeIPv6(p *parser, value json.RawMessage) {
	p.boolean(value, &p.config.IPv6)
	if p.config.IPv6 && !p.config.PublicNetworking {
		p.fault("excludes public_networking = false: IPv6 addresses are public")
	}
}
