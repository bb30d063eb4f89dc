package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cloudConfig is what a Droplet's first boot does for cloud-init: what docker-machine did over SSH.
type cloudConfig struct {
	Files []cloudFile `yaml:"write_files,omitempty"`
	Run   []string    `yaml:"runcmd"`
}

type cloudFile struct {
	Path        string `yaml:"path"`
	Permissions string `yaml:"permissions,omitempty"`
	Content     string `yaml:"content"`
}

const (
	cloudHeader = "#cloud-config\n"
	daemonFile  = "/etc/docker/daemon.json"
)

// daemonLists are the options of the Docker daemon that are converted, and their keys in daemon.json.
var daemonLists = map[string]string{"engine-registry-mirror": "registry-mirrors", "engine-insecure-registry": "insecure-registries"}

// newCloudConfig returns what Droplets of an image need. daemon is daemon.json; port is that of SSH.
func newCloudConfig(image string, daemon map[string][]string, user string, port int) (c cloudConfig) {
	if !strings.HasPrefix(image, "docker-") {
		const install = "DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y "
		c.Run = []string{"command -v docker >/dev/null || (apt-get update && " + install + "docker.io)",
			"command -v docker >/dev/null || " + install + "docker-cli"} // Debian 13 has the client apart
	}
	// The firewall of DigitalOcean's image with Docker locks out a client that connects as often as a runner does.
	c.Run = append(c.Run, fmt.Sprintf("if command -v ufw >/dev/null; then ufw allow %d/tcp; fi", port))
	if len(daemon) > 0 {
		text, _ := json.MarshalIndent(daemon, "", "  ") // cannot fail
		c.Files = []cloudFile{{Path: daemonFile, Content: string(text) + "\n"}}
		c.Run = append(c.Run, "systemctl restart docker") // one of the image runs already, and has not read the file
	}
	if user != "root" {
		c.Run = append(c.Run, "usermod -aG docker "+user)
	}
	return c
}

// userData returns user_data. A file of the user's is merged into it, so that there is one cloud-config.
func (c *conversion) userData() string {
	daemon := map[string][]string{}
	for _, o := range c.options {
		if list := daemonLists[o.key]; list != "" {
			daemon[list] = append(daemon[list], o.value)
		}
	}
	ours := newCloudConfig(fmt.Sprint(c.Image), daemon, c.User, c.Port)
	alone, _ := ours.mergedInto(cloudHeader) // cannot fail
	o := c.option("userdata")
	if o.value == "" {
		return alone
	}
	both := ""
	content, err := c.Host.ReadFile(o.value, maxUserData)
	if err != nil {
		err = errors.New("cannot be read here")
	} else {
		both, err = ours.mergedInto(string(content))
	}
	if err != nil {
		c.note(Todo, o.line, o.key, fmt.Sprintf("%s %v: it is not in the new section", o.value, err), "merge it into user_data by hand")
		return alone
	}
	c.note(Check, o.line, o.key, o.value+" is merged into user_data: the file itself has no effect any more", "")
	return both
}

// maxUserData is DigitalOcean's limit, in bytes.
const maxUserData = 64 << 10

// mergedInto returns a user's cloud-config, or script, with what c has: lists are continued, so that c comes last. The error
// follows the name of the file.
func (c cloudConfig) mergedInto(theirs string) (string, error) {
	theirs = strings.ReplaceAll(theirs, "\r\n", "\n")
	if strings.HasPrefix(theirs, "#!") { // it runs where cloud-init would have run it
		script := cloudFile{"/usr/local/sbin/user-data", "0700", theirs}
		c.Files = append([]cloudFile{script}, c.Files...)
		c.Run = append([]string{script.Path}, c.Run...)
		theirs = cloudHeader
	}
	theirs, ok := strings.CutPrefix(theirs, cloudHeader)
	if !ok {
		return "", errors.New("is no cloud-config")
	}
	for _, f := range c.Files {
		if strings.Contains(theirs, f.Path) {
			return "", errors.New("writes " + f.Path + " too")
		}
	}
	var into, from yaml.Node
	if err := yaml.Unmarshal([]byte(theirs), &into); err != nil {
		return "", errors.New("is no YAML")
	}
	_ = from.Encode(c)  // cannot fail
	if into.Kind == 0 { // there is nothing in it
		into = yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}}
	}
	root := into.Content[0]
	if root.Kind != yaml.MappingNode {
		return "", errors.New("is no cloud-config")
	}
	for pair := range slices.Chunk(from.Content, 2) {
		at := 0
		for at < len(root.Content) && root.Content[at].Value != pair[0].Value {
			at += 2
		}
		switch {
		case at == len(root.Content):
			root.Content = append(root.Content, pair...)
		case root.Content[at+1].Kind != yaml.SequenceNode:
			return "", errors.New("has no list in " + pair[0].Value)
		default:
			root.Content[at+1].Style = 0 // one line for each, however it was
			root.Content[at+1].Content = append(root.Content[at+1].Content, pair[1].Content...)
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(&into)
	return cloudHeader + out.String(), err
}
