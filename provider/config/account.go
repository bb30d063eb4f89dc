package config

import "slices"

// Account is the part of a plugin_config that says whose Droplets a group's are. It
// is all that a person's commands need, also of a plugin_config with other faults.
type Account struct {
	Name   string // of the group; "" if it is not given
	Token  Token
	APIURL string
}

// ParseAccount decodes the keys of an Account, as Parse does, and passes over all
// others. The error is always a [Faults], and then the Account is zero.
func ParseAccount(data []byte, host Host) (Account, error) {
	given, err := members(data)
	if err != nil {
		return Account{}, Faults{{Text: err.Error()}}
	}
	p := &parser{host: host, config: defaults()}
	p.collect(given)
	for _, k := range keys {
		if slices.Contains([]string{"name", "token", "token_file", "api_url"}, k.name) && (p.has("name") || k.name != "name") {
			p.decode(k)
		}
	}
	if len(p.faults) > 0 {
		return Account{}, p.faults
	}
	return Account{Name: p.config.Name, Token: p.config.Token, APIURL: p.config.APIURL}, nil
}
