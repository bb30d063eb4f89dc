package provider

import "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"

// Boot makes g, which has taken a plugin_config, the group of doctor --boot for it: of one
// Droplet, and with a key of its own, which is taken off the account again.
func (g *InstanceGroup) Boot() {
	g.config.Name = config.BootGroup(g.config.Name)
	g.config.MaxInstances, g.config.SSHKeyFile = 1, ""
}
