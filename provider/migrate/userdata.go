package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
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
	maxUserData = 64 << 10 // DigitalOcean's limit, in bytes
)

// daemonLists are the options of the Docker daemon that are converted, and their keys in daemon.json.
var daemonLists = map[string]string{"engine-registry-mirror": "registry-mirrors", "engine-insecure-registry": "insecure-registries"}

// cloudConfig returns what the Droplets need.
func (c *conversion) cloudConfig() (ours cloudConfig) {
	if image := fmt.Sprint(c.Image); !strings.HasPrefix(image, "docker-") {
		const install = "DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y "
		ours.Run = []string{"command -v docker >/dev/null || (apt-get update && " + install + "docker.io)",
			"command -v docker >/dev/null || " + install + "docker-cli"} // Debian 13 has the client apart
	}
	// The firewall of DigitalOcean's image with Docker locks out a client that connects as often as a runner does.
	ours.Run = append(ours.Run, fmt.Sprintf("if command -v ufw >/dev/null; then ufw allow %d/tcp; fi", c.Port))
	if len(c.engine) > 0 {
		daemon := map[string][]string{}
		for _, o := range c.engine {
			daemon[daemonLists[o.key]] = append(daemon[daemonLists[o.key]], o.value)
		}
		text, _ := json.MarshalIndent(daemon, "", "  ") // cannot fail
		ours.Files = []cloudFile{{Path: daemonFile, Content: string(text) + "\n"}}
		ours.Run = append(ours.Run, "systemctl restart docker") // one of the image runs already, and has not read the file
	}
	if c.User != "root" {
		ours.Run = append(ours.Run, "usermod -aG docker "+c.User)
	}
	return ours
}

// userData returns user_data. A file of the user's is merged into it, so that there is one cloud-config.
func (c *conversion) userData() string {
	ours := c.cloudConfig()
	alone, _ := ours.mergedInto(cloudHeader) // cannot fail
	o := c.driver["userdata"]
	if o.value == "" || c.faulty(!path.IsAbs(o.value), "userdata", notAbsolute, "merge the file into user_data by hand") {
		return alone // a relative path may be that of another file here
	}
	content, err := c.Host.ReadFile(o.value, maxUserData)
	both, why := ours.mergedInto(string(content))
	if err != nil {
		why = errors.New("cannot be read here")
	}
	if why != nil {
		c.note(Todo, o.path, o.key, fmt.Sprintf("%s %v: it is not in the new section", o.value, why), "merge it into user_data by hand")
		return alone
	}
	c.note(Check, o.path, o.key, o.value+" is merged into user_data: the file itself has no effect any more", "")
	return both
}

var errNotMerged = errors.New("is no cloud-config whose lists could be continued")

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
	if strings.Contains(theirs, daemonFile) && len(c.Files) > 0 {
		return "", errors.New("writes " + daemonFile + " too")
	}
	into := yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{{Kind: yaml.MappingNode}}} // if there is nothing in theirs
	if err := yaml.Unmarshal([]byte(theirs), &into); err != nil || !ok || into.Content[0].Kind != yaml.MappingNode {
		return "", errNotMerged
	}
	var from yaml.Node
	_ = from.Encode(c) // cannot fail
	root := into.Content[0]
	for pair := range slices.Chunk(from.Content, 2) {
		at := 0
		for at < len(root.Content) && root.Content[at].Value != pair[0].Value {
			at += 2
		}
		if at == len(root.Content) {
			root.Content = append(root.Content, pair...)
			continue
		}
		list := root.Content[at+1]
		if list.Kind != yaml.SequenceNode {
			return "", errNotMerged
		}
		list.Style = 0 // one line for each, however it was
		list.Content = append(list.Content, pair[1].Content...)
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	err := encoder.Encode(&into)
	return cloudHeader + out.String(), err
}
