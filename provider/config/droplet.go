package config

import (
	"encoding/json"
	"fmt"
	"strings"
)

func decodeMonitoring(p *parser, value json.RawMessage) { p.boolean(value, &p.config.Monitoring) }
func decodeBackups(p *parser, value json.RawMessage)    { p.boolean(value, &p.config.Backups) }

func decodeWithDropletAgent(p *parser, value json.RawMessage) {
	var with bool
	p.boolean(value, &with)
	if kindOf(value) == aBoolean {
		p.config.WithDropletAgent = &with
	}
}

const (
	maxUserData     = 64 << 10 // DigitalOcean's limit, in bytes
	maxUserDataFile = 1 << 20  // read of a file, in bytes: more, so that a fault can give its size
)

func decodeUserData(p *parser, value json.RawMessage) {
	text, ok := p.text(value)
	if !ok {
		return
	}
	if wrong := checkUserData(text); wrong != "" {
		p.fault("%s", wrong)
		return
	}
	p.config.UserData = text
}

func decodeUserDataFile(p *parser, value json.RawMessage) {
	if value != nil && p.exclude("user_data") {
		return
	}
	path, ok := p.path(value)
	if !ok {
		return
	}
	content, err := p.host.read(path, maxUserDataFile)
	if err != nil {
		p.fault("%s %v", quote(path), err)
		return
	}
	if len(content) == 0 {
		p.fault("%s is empty", quote(path))
		return
	}
	if wrong := checkUserData(string(content)); wrong != "" {
		p.fault("%s %s", quote(path), wrong)
		return
	}
	p.config.UserData = string(content)
}

// checkUserData says what is wrong without repeating any of the data, which may hold secrets.
func checkUserData(data string) string {
	if len(data) > maxUserData {
		return fmt.Sprintf("has %d bytes, and DigitalOcean takes at most %d (64 KiB)", len(data), maxUserData)
	}
	for i := range len(data) {
		if data[i] >= 0x80 {
			return fmt.Sprintf("must be ASCII, since DigitalOcean truncates or refuses anything else:"+
				" the byte at offset %d (line %d) is not", i, 1+strings.Count(data[:i], "\n"))
		}
	}
	return ""
}
