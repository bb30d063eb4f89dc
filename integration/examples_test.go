package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// reference is where users get the plugin.
const reference = "registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean"

// faultsIn are what the runner and the plugin would not take of a TOML block, which
// may be any part of a config.toml.
func faultsIn(t *testing.T, source string) (faults []string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^\s*\[\[runners\]\]`).MatchString(source) {
		source = "[[runners]]\n" + source
	}
	file, err := runnerconfig.Parse("block", source)
	if err != nil {
		return []string{err.Error()}
	}
	for _, key := range file.Ignored {
		faults = append(faults, fmt.Sprintf("%s: the runner would ignore %s", file.At(key), key))
	}
	for _, r := range file.Runners {
		if r.Autoscaler == nil || r.Autoscaler.PluginConfig == nil || r.Autoscaler.Plugin != "" && !r.OurPlugin() {
			continue
		}
		host := config.ThisHost()
		host.ReadFile = func(string, int64) ([]byte, error) { return []byte("#cloud-config"), nil }
		_, err := config.Parse(mustJSON(t, r.Autoscaler.PluginConfig), host)
		if err == nil {
			continue
		}
		for _, f := range err.(config.Faults) { //nolint:errorlint // Parse promises its type
			if r.Autoscaler.Plugin != "" || !strings.HasPrefix(f.Text, "is required") { // a fragment need not be complete
				faults = append(faults, f.Error())
			}
		}
	}
	return faults
}

const kubernetesValues = "examples/kubernetes/values.yaml"

// configurations are those of the docs and the examples, by where they are.
func configurations(t *testing.T) map[string]string {
	t.Helper()
	var chart struct{ Runners struct{ Config string } }
	if err := yaml.Unmarshal([]byte(readDoc(t, kubernetesValues)), &chart); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"examples/config.toml":      readDoc(t, "examples/config.toml"),
		"examples/demo/config.toml": readDoc(t, "examples/demo/config.toml"),
		managerConfig:               managerFiles(t)["/etc/gitlab-runner/config.toml"].Content,
		kubernetesValues:            "concurrent = 10\n" + chart.Runners.Config, // the chart writes the first line itself
	}
	for path, doc := range docs(t) {
		for _, f := range fences(doc) {
			if f.kind == "toml" {
				all[fmt.Sprintf("%s:%d", path, f.line)] = f.text
			}
		}
	}
	return all
}

// What people paste is accepted by the runner and by the plugin, whole or in part; and
// where it is whole, there are slots for all Droplets, which the runner can reach.
func TestConfigurationsInDocs(t *testing.T) {
	t.Parallel()
	whole := 0
	for name, source := range configurations(t) {
		for _, fault := range faultsIn(t, source) {
			t.Errorf("%s: %s", name, fault)
		}
		if !strings.Contains(source, `"docker-autoscaler"`) || !strings.Contains(source, "plugin_config") {
			continue
		}
		for _, key := range unwritten(source) {
			t.Errorf("%s: %s is not written out", name, key)
		}
		whole++
		file, err := runnerconfig.Parse(name, source)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range file.Runners {
			if r.Executor != "docker-autoscaler" {
				continue
			}
			if slots := r.Autoscaler.MaxInstances * max(1, r.Autoscaler.CapacityPerInstance); file.Concurrent < slots {
				t.Errorf("%s: concurrent is %d, there can be %d jobs", name, file.Concurrent, slots)
			}
			image, _ := r.Autoscaler.PluginConfig["image"].(string)
			userData, _ := r.Autoscaler.PluginConfig["user_data"].(string)
			_, byFile := r.Autoscaler.PluginConfig["user_data_file"]
			if strings.HasPrefix(image, "docker-") && !byFile && !strings.Contains(userData, "ufw allow ssh") {
				t.Errorf("%s: the 1-Click image's firewall would lock the runner out", name)
			}
		}
	}
	if whole < 4 {
		t.Errorf("found only %d whole configurations", whole)
	}
}

// unwritten are the keys that runners warn of, or take for 0, when a whole configuration lacks them.
func unwritten(source string) (keys []string) {
	lacks := func(part string, all ...string) {
		for _, key := range all {
			if !regexp.MustCompile(`(?m)^ *` + key + ` = `).MatchString(part) {
				keys = append(keys, key)
			}
		}
	}
	lacks(source, "request_concurrency", "update_interval", "update_interval_when_expecting", "protocol_port")
	for _, policy := range strings.Split(source, "[[runners.autoscaler.policy]]")[1:] {
		lacks(policy, "idle_time", "preemptive_mode")
	}
	if strings.Contains(source, "\n    delete_instances_on_shutdown = true") {
		lacks(source, "shutdown_deletion_interval", "shutdown_deletion_retries")
	}
	return keys
}

type mount struct {
	Name      string
	MountPath string `yaml:"mountPath"`
}

// The values for GitLab's chart: the init container puts the plugin where the runner
// looks for it, and the runner's configuration is one that the plugin accepts.
func TestKubernetesExample(t *testing.T) {
	t.Parallel()
	var values struct {
		InitContainers []struct {
			Image           string
			Args            []string
			VolumeMounts    []mount        `yaml:"volumeMounts"`
			SecurityContext map[string]any `yaml:"securityContext"`
		} `yaml:"initContainers"`
		ExtraEnv     map[string]string `yaml:"extraEnv"`
		Volumes      []struct{ Name string }
		VolumeMounts []mount `yaml:"volumeMounts"`
		Replicas     int
		Runners      struct{ Executor, Config string }
	}
	if err := yaml.Unmarshal([]byte(readDoc(t, kubernetesValues)), &values); err != nil {
		t.Fatal(err)
	}
	if len(values.InitContainers) != 1 || values.Replicas != 1 {
		t.Fatalf("%d init containers, %d replicas", len(values.InitContainers), values.Replicas)
	}
	c := values.InitContainers[0]
	image, tag, _ := strings.Cut(c.Image, ":")
	if image != reference || !slices.Equal(c.Args, []string{"bootstrap", reference}) ||
		c.SecurityContext["runAsUser"] != 100 || c.SecurityContext["runAsGroup"] != 65533 { // as TestBootstrap runs it
		t.Errorf("init container: %+v", c)
	}
	plugins := func(m mount) bool { return m.MountPath == "/plugins" && m.Name == "fleeting-plugins" }
	if values.ExtraEnv["FLEETING_PLUGIN_PATH"] != "/plugins" || !slices.ContainsFunc(c.VolumeMounts, plugins) || !slices.ContainsFunc(values.VolumeMounts, plugins) {
		t.Error("the runner looks for plugins where none are put")
	}
	for _, m := range values.VolumeMounts {
		if !slices.ContainsFunc(values.Volumes, func(v struct{ Name string }) bool { return v.Name == m.Name }) {
			t.Errorf("there is no volume %s", m.Name)
		}
	}
	file, err := runnerconfig.Parse("values.yaml", values.Runners.Config)
	if err != nil {
		t.Fatal(err)
	}
	a := file.Runners[0].Autoscaler
	if a.Plugin != reference+":"+tag || file.Runners[0].Executor != values.Runners.Executor {
		t.Errorf("plugin %s, executor %s", a.Plugin, file.Runners[0].Executor)
	}
	for _, key := range []string{"token_file", "ssh_key_file"} {
		path, _ := a.PluginConfig[key].(string)
		if !slices.ContainsFunc(values.VolumeMounts, func(m mount) bool { return strings.HasPrefix(path, m.MountPath+"/") }) {
			t.Errorf("%s %q is in no volume", key, path)
		}
	}
}

// packerOptions are those of packer's DigitalOcean builder, with the communicator's
// that matter (the builder's documentation, v1.4).
var packerOptions = strings.Fields(`api_token api_url region size image private_networking monitoring droplet_agent ipv6
	snapshot_name snapshot_regions state_timeout snapshot_timeout droplet_name user_data user_data_file tags vpc_uuid
	connect_with_private_ip ssh_key_id ssh_username ssh_private_key_file`)

// The golden image's template has options that packer's builder has, and the scripts that it names are there.
func TestPackerTemplate(t *testing.T) {
	t.Parallel()
	template := readDoc(t, "examples/packer/golden.pkr.hcl")
	_, source, _ := strings.Cut(template, "\nsource \"digitalocean\" \"golden\" {\n")
	source, _, _ = strings.Cut(source, "\n}\n")
	options := regexp.MustCompile(`(?m)^  (\w+) +=`).FindAllStringSubmatch(source, -1)
	if len(options) < 5 {
		t.Errorf("found only the options %v", options)
	}
	for _, o := range options {
		if !slices.Contains(packerOptions, o[1]) {
			t.Errorf("the builder has no option %s", o[1])
		}
	}
	for _, script := range []string{"provision.sh", "tag-snapshot.sh"} {
		info, err := os.Stat(filepath.Join("../examples/packer", script))
		if err != nil || info.Mode()&0o111 == 0 || !strings.Contains(template, `"`+script+`"`) {
			t.Errorf("the template does not run %s: %v", script, err)
		}
	}
}

// The last step of the template: the snapshot that packer's manifest names gets the
// tag, which there may be already, and the plugin would find it.
func TestTagSnapshot(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"curl", "jq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("not run: the script needs %s", program)
		}
	}
	w := newWorld(t, quick)
	w.others = true // curl
	id := w.sim.AddImage(dosim.Image{Name: "ci-golden-1", Regions: []string{"fra1", "ams3"}})
	script, err := filepath.Abs("../examples/packer/tag-snapshot.sh")
	if err != nil {
		t.Fatal(err)
	}
	manifest := save(t, "manifest.json", fmt.Sprintf(`{"builds": [{"artifact_id": "fra1:1"}, {"artifact_id": "ams3,fra1:%d"}]}`, id))
	run := func(tag, token string) (string, error) {
		cmd := exec.CommandContext(t.Context(), script)
		cmd.Dir = filepath.Dir(manifest)
		cmd.Env = append(os.Environ(), "TAG="+tag, "DIGITALOCEAN_API_URL="+w.url, "DIGITALOCEAN_TOKEN="+token, "CURL_CA_BUNDLE="+host.Certificates())
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	for _, tag := range []string{"ci-golden", "new-tag"} {
		if said, err := run(tag, dosim.DefaultToken); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		req := httptest.NewRequest(http.MethodGet, "/v2/images?tag_name="+tag, nil)
		req.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
		answer := httptest.NewRecorder()
		w.sim.ServeHTTP(answer, req)
		var found struct{ Images []struct{ ID int } }
		if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
			t.Fatal(err)
		}
		if n := len(found.Images); n == 0 || found.Images[n-1].ID != id {
			t.Errorf("%s is carried by %v, not by %d", tag, found.Images, id)
		}
	}
	if said, err := run("ci-golden", "wrong"); err == nil || !strings.Contains(said, "401") {
		t.Errorf("a token that is refused is no failure: %s", said)
	}
}
