package migrate

import (
	"encoding/json"
	"strings"
)

// cloudConfig is what a Droplet's first boot has to do: what docker-machine did over
// SSH.
type cloudConfig struct {
	image  imageClass
	port   string // that SSH is let in by, where a firewall is
	user   string // that is to reach Docker; empty = root
	engine engine
}

// String returns user data for cloud-init, or "" when there is nothing to do.
func (c cloudConfig) String() string {
	var out strings.Builder
	var run []string
	if c.image == imagePlain {
		out.WriteString("package_update: true\npackages:\n  - docker.io\n")
		// Debian 13 has the client in a package of its own.
		run = append(run, "command -v docker >/dev/null || apt-get install -y docker-cli")
	}
	files := []struct{ path, content string }{
		{"/etc/docker/daemon.json", c.engine.json()},
		{"/etc/systemd/system/docker.service.d/environment.conf", c.engine.dropIn()},
	}
	wrote := false
	for _, f := range files {
		if f.content == "" {
			continue
		}
		if !wrote {
			out.WriteString("write_files:\n")
			wrote = true
		}
		out.WriteString("  - path: " + f.path + "\n    content: |\n")
		for line := range strings.Lines(f.content) {
			out.WriteString("      " + line)
		}
	}
	if c.image == imageOwn || c.image == imageUnknown {
		run = append(run,
			"command -v docker >/dev/null || (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io)",
			"if command -v ufw >/dev/null; then ufw allow "+c.port+"; fi")
	}
	if c.image == imageWithDocker {
		run = append(run, "ufw allow "+c.port)
	}
	// Files are written before packages are installed; where Docker runs already it
	// has to read them.
	if wrote && c.image != imagePlain {
		run = append(run, "systemctl daemon-reload", "systemctl restart docker")
	}
	if c.user != "" {
		run = append(run, "usermod -aG docker "+c.user)
	}
	if len(run) > 0 {
		out.WriteString("runcmd:\n")
		for _, command := range run {
			out.WriteString("  - " + yamlText(command) + "\n")
		}
	}
	if out.Len() == 0 {
		return ""
	}
	return "#cloud-config\n" + out.String()
}

// yamlText is a string of YAML: as it is where that is safe, else in quotes.
func yamlText(s string) string {
	if !strings.ContainsAny(s, `:#"'{}[]|>&*!%@`) {
		return s
	}
	quoted, _ := json.Marshal(s) // cannot fail; YAML reads JSON's strings
	return strings.NewReplacer(`\u003e`, ">", `\u003c`, "<", `\u0026`, "&").Replace(string(quoted))
}
