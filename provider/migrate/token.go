package migrate

import (
	"fmt"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

const accessToken = "digitalocean-access-token"

// token moves the access token to a file of its own.
func (c *conversion) token(d droplet) {
	o := d.options.get("access-token")
	line := c.lineOf("machine.machineoptions")
	switch {
	case o == nil:
		c.plugin.set("token_file", quote(c.options.TokenFile), o.oldOf())
		c.note(Note{Kind: Decision, Line: line, Key: accessToken,
			Text: "there is none, here or in the environment of this command: token_file = " + c.options.TokenFile,
			Hint: "put the token there with mode 0600; or remove token_file, if the runner has it in DIGITALOCEAN_ACCESS_TOKEN or DIGITALOCEAN_TOKEN"})
	case o.env != "" && !c.options.TokenFileChosen:
		c.say(Converted, line, accessToken, "stays in the environment variable "+o.env+", which the plugin reads too: the runner must have it")
	default:
		known := len(c.secrets)
		file := c.tokenFile(config.NewSecret(o.value))
		c.plugin.set("token_file", quote(file), o.oldOf())
		n := Note{Kind: Converted, Line: o.line, Key: accessToken, Text: "token_file = " + file + ", to which --write moves the token" + o.from()}
		if len(c.secrets) > known {
			n.Hint = "whoever could read the old file may have it: make a new token, put it into the file, and revoke this one"
		}
		c.note(n)
		if config.Redact(o.value) == o.value {
			c.note(Note{Severity: Warning, Line: o.line, Key: accessToken, Text: "does not look like a token of DigitalOcean, which begins with dop_v1_"})
		}
	}
}

// tokenFile returns the file for a token: runners of one account share it.
func (c *conversion) tokenFile(token config.Secret) string {
	for _, s := range c.secrets {
		if s.Value.Equal(token) {
			return s.File
		}
	}
	file := c.options.TokenFile
	if len(c.secrets) > 0 {
		file = fmt.Sprintf("%s-%s", file, c.group)
	}
	c.secrets = append(c.secrets, Secret{file, token})
	return file
}
