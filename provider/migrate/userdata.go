package migrate

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// needs is what a Droplet's first boot has to do: what docker-machine did over SSH.
type needs struct {
	image  imageClass
	port   int // of SSH
	user   string
	daemon map[string]any // daemon.json
	env    []string       // of the Docker daemon, NAME=value
}

// cloudConfig returns user data for cloud-init, or "" when there is nothing to do.
func (n needs) cloudConfig() string {
	var out strings.Builder
	var run []string
	if n.image == imagePlain {
		out.WriteString("package_update: true\npackages:\n  - docker.io\n")
		// Debian 13 has the client in a package of its own.
		run = append(run, "command -v docker >/dev/null || apt-get install -y docker-cli")
	}
	wrote := false
	for _, f := range []struct{ path, content string }{
		{"/etc/docker/daemon.json", n.daemonJSON()},
		{"/etc/systemd/system/docker.service.d/environment.conf", n.dropIn()},
	} {
		if f.content == "" {
			continue
		}
		if !wrote {
			out.WriteString("write_files:\n")
		}
		wrote = true
		out.WriteString("  - path: " + f.path + "\n    content: |\n")
		for line := range strings.Lines(f.content) {
			out.WriteString("      " + line)
		}
	}
	port := "ssh"
	if n.port != 22 {
		port = strconv.Itoa(n.port) + "/tcp"
	}
	switch n.image {
	case imageOwn, imageUnknown:
		run = append(run,
			"command -v docker >/dev/null || (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y docker.io)",
			"if command -v ufw >/dev/null; then ufw allow "+port+"; fi")
	case imageWithDocker: // its firewall locks out whoever connects as often as a runner does
		run = append(run, "ufw allow "+port)
	}
	// Files are written before packages are installed; where Docker runs already it has to read them.
	if wrote && n.image != imagePlain {
		run = append(run, "systemctl daemon-reload", "systemctl restart docker")
	}
	if n.user != "root" {
		run = append(run, "usermod -aG docker "+n.user)
	}
	if len(run) > 0 {
		out.WriteString("runcmd:\n")
		for _, command := range run {
			if strings.ContainsAny(command, `:#"'{}[]|>&*!%@`) {
				command = strconv.Quote(command) // ASCII without escapes of Go's own, which YAML reads
			}
			out.WriteString("  - " + command + "\n")
		}
	}
	if out.Len() == 0 {
		return ""
	}
	return cloudHeader + out.String()
}

const cloudHeader = "#cloud-config\n"

// boot makes user_data. A file of the user's is merged into it, so that there is one cloud-config.
func (c *conversion) boot() {
	ours := c.needs.cloudConfig()
	o := c.option("userdata", "")
	switch {
	case o.value == "":
		c.UserData = ours
		return
	case ours == "":
		c.UserDataFile = o.value
		return
	}
	content, err := c.Host.ReadFile(o.value, maxUserData)
	why := "cannot be read here"
	if err == nil {
		c.UserData, err = merge(string(content), ours)
		if err == nil {
			c.at(Check, o.line, o.key, o.value+" is merged into user_data, with what docker-machine did over SSH", "that file has no effect any more")
			return
		}
		why = err.Error()
	}
	c.UserDataFile, c.Paste = o.value, strings.Split(strings.TrimSuffix(ours, "\n"), "\n")
	c.at(Todo, o.line, o.key, o.value+" "+why+", and also has to do what docker-machine did over SSH", "the comment below user_data_file has the lines for it")
}

// scriptConfig returns the cloud-config that runs a script where cloud-init would have run it.
func scriptConfig(script string) string {
	const path = "/usr/local/sbin/user-data"
	text, _ := yaml.Marshal(map[string]any{ // cannot fail: strings
		"write_files": []map[string]string{{"path": path, "permissions": "0700", "content": script}},
		"runcmd":      []string{path},
	})
	return cloudHeader + string(text)
}

// maxUserData is DigitalOcean's limit, in bytes.
const maxUserData = 64 << 10

// merge returns a user's cloud-config with what ours has: lists are continued, so that ours comes last. The error follows
// the name of the file.
func merge(theirs, ours string) (string, error) {
	theirs = strings.ReplaceAll(theirs, "\r\n", "\n")
	if strings.HasPrefix(theirs, "#!") {
		theirs = scriptConfig(theirs)
	}
	if !strings.HasPrefix(theirs, cloudHeader) {
		return "", errors.New("is no cloud-config")
	}
	if strings.Contains(theirs, daemonFile) && strings.Contains(ours, daemonFile) {
		return "", errors.New("writes " + daemonFile + " too")
	}
	var into, from yaml.Node
	if err := yaml.Unmarshal([]byte(strings.TrimPrefix(theirs, cloudHeader)), &into); err != nil {
		return "", errors.New("is no YAML")
	}
	if err := yaml.Unmarshal([]byte(strings.TrimPrefix(ours, cloudHeader)), &from); err != nil {
		return "", fmt.Errorf("cannot be merged: %w", err)
	}
	if into.Kind == 0 { // there is nothing in it
		return ours, nil
	}
	root := into.Content[0]
	if root.Kind != yaml.MappingNode {
		return "", errors.New("is no cloud-config")
	}
	add := from.Content[0].Content
	for i := 0; i < len(add); i += 2 {
		key, value := add[i], add[i+1]
		at := slices.IndexFunc(root.Content, func(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Value == key.Value })
		switch {
		case at < 0 || at%2 == 1:
			root.Content = append(root.Content, key, value)
		case value.Kind == yaml.ScalarNode:
			root.Content[at+1] = value
		case root.Content[at+1].Kind != yaml.SequenceNode:
			return "", errors.New("has no list in " + key.Value)
		default:
			root.Content[at+1].Style = 0 // one line for each, however it was
			root.Content[at+1].Content = append(root.Content[at+1].Content, value.Content...)
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&into); err != nil {
		return "", fmt.Errorf("cannot be merged: %w", err)
	}
	return cloudHeader + out.String(), nil
}
