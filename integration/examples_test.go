package integration

import (
	"encoding/json"
	"errors"
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

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/simulated"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/texts"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// reference is where users get the plugin.
const reference = "registry.gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean"

// managerUnit is how the manager runs the runner.
const managerUnit = "/etc/systemd/system/gitlab-runner.service.d/fleeting.conf"

// What people paste is accepted by the runner and by the plugin, whole or in part; and
// where it is whole, there are slots for all Droplets, which the runner can reach.
func TestConfigurationsInDocs(t *testing.T) {
	t.Parallel()
	host := config.ThisHost()
	host.ReadFile = func(string, int64) ([]byte, error) { return []byte("#cloud-config"), nil }
	found := 0
	for name, source := range texts.Configurations(t) {
		whole := strings.Contains(source, `"docker-autoscaler"`) && strings.Contains(source, "plugin_config")
		if whole {
			found++
			writtenOut(t, name, source)
		}
		if !regexp.MustCompile(`(?m)^\s*\[\[runners\]\]`).MatchString(source) {
			source = "[[runners]]\n" + source
		}
		file, err := runnerconfig.Parse(name, source)
		if err != nil || len(file.Ignored) > 0 {
			t.Errorf("%s: %v, or the runner would ignore %q", name, err, file.Ignored)
			continue
		}
		for _, r := range file.Runners {
			a := r.Autoscaler
			if a == nil || a.PluginConfig == nil || a.Plugin != "" && !r.OurPlugin() {
				continue
			}
			data, err := json.Marshal(a.PluginConfig)
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Parse(data, host)
			faults, _ := err.(config.Faults) //nolint:errorlint // Parse promises its type
			for _, f := range faults {
				if a.Plugin != "" || !strings.HasPrefix(f.Text, "is required") { // a fragment need not be complete
					t.Errorf("%s: %v", name, f)
				}
			}
			if !whole || r.Executor != "docker-autoscaler" {
				continue
			}
			if slots := a.MaxInstances * max(1, a.CapacityPerInstance); file.Concurrent < slots {
				t.Errorf("%s: concurrent is %d, there can be %d jobs", name, file.Concurrent, slots)
			}
			image, _ := a.PluginConfig["image"].(string)
			userData, _ := a.PluginConfig["user_data"].(string)
			if a.PluginConfig["user_data_file"] == nil && strings.HasPrefix(image, "docker-") && !strings.Contains(userData, "ufw allow ssh") {
				t.Errorf("%s: the 1-Click image's firewall would lock the runner out", name)
			}
		}
	}
	if found < 4 {
		t.Errorf("found only %d whole configurations", found)
	}
}

// writtenOut looks for the keys that runners warn of, or take for 0, when a whole configuration lacks them.
func writtenOut(t *testing.T, name, source string) {
	t.Helper()
	has := func(part string, keys ...string) {
		for _, key := range keys {
			if !regexp.MustCompile(`(?m)^ *` + key + ` = `).MatchString(part) {
				t.Errorf("%s: %s is not written out", name, key)
			}
		}
	}
	has(source, "request_concurrency", "update_interval", "update_interval_when_expecting", "protocol_port")
	for _, policy := range strings.Split(source, "[[runners.autoscaler.policy]]")[1:] {
		has(policy, "idle_time", "preemptive_mode")
	}
	if strings.Contains(source, "\n    delete_instances_on_shutdown = true") {
		has(source, "shutdown_deletion_interval", "shutdown_deletion_retries")
	}
}

// The manager's user data has no secret in it, and what it writes is what its configuration and its own commands name.
func TestManager(t *testing.T) {
	t.Parallel()
	text, files := texts.Read(t, texts.Manager), texts.ManagerFiles(t)
	if m := regexp.MustCompile(`do[opr]_v1_\w+|glrt-[0-9a-z]\S*`).FindString(text); m != "" || len(text) > 64<<10 {
		t.Errorf("%d bytes of user data, with the secret %q", len(text), m)
	}
	for path, f := range files {
		secret := path == "/etc/gitlab-runner/config.toml"
		if f.Owner != "root:root" || !regexp.MustCompile(`^0[67][0-5][0-5]$`).MatchString(f.Permissions) || secret && f.Permissions != "0600" {
			t.Errorf("%s: owner %q, permissions %q", path, f.Owner, f.Permissions)
		}
	}
	file, err := runnerconfig.Parse("config.toml", files["/etc/gitlab-runner/config.toml"].Content)
	if err != nil {
		t.Fatal(err)
	}
	a, unit := file.Runners[0].Autoscaler, files[managerUnit].Content
	if droplet := files[a.PluginConfig["user_data_file"].(string)].Content; !strings.Contains(droplet, "ufw allow ssh") {
		t.Errorf("%s: %q", a.PluginConfig["user_data_file"], droplet)
	}
	writable := strings.Fields(regexp.MustCompile(`(?m)^ReadWritePaths=(.*)$`).FindStringSubmatch(unit)[1])
	for _, path := range []string{a.PluginConfig["ssh_key_file"].(string), a.StateStorage.Dir} {
		if !slices.ContainsFunc(writable, func(dir string) bool { return strings.HasPrefix(path+"/", dir+"/") }) {
			t.Errorf("the unit cannot write to %s", path)
		}
	}
	// A directory for the plugin's state, and a HOME, below which the runner installs plugins.
	for _, line := range []string{"StateDirectory=fleeting-plugin-digitalocean", "Environment=HOME=/root"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	for _, m := range regexp.MustCompile(`\[(install-[a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if files["/usr/local/sbin/"+m[1]].Permissions != "0755" {
			t.Errorf("runcmd names %s, which is not there", m[1])
		}
	}
}

// The values for GitLab's chart: the init container puts the plugin where the runner looks for it, and what its
// configuration names is in a volume.
func TestKubernetesExample(t *testing.T) {
	t.Parallel()
	type mount struct {
		MountPath string `yaml:"mountPath"`
	}
	values := texts.YAML[struct {
		InitContainers []struct {
			Image        string
			Args         []string
			VolumeMounts []mount        `yaml:"volumeMounts"`
			Security     map[string]any `yaml:"securityContext"`
		} `yaml:"initContainers"`
		ExtraEnv     map[string]string `yaml:"extraEnv"`
		VolumeMounts []mount           `yaml:"volumeMounts"`
		Runners      struct{ Executor, Config string }
	}](t, texts.Kubernetes)
	file, err := runnerconfig.Parse("values.yaml", values.Runners.Config)
	if err != nil || len(values.InitContainers) != 1 {
		t.Fatalf("%v, init containers %v", err, values.InitContainers)
	}
	c, r := values.InitContainers[0], file.Runners[0]
	asTested := c.Security["runAsUser"] == 100 && c.Security["runAsGroup"] == 65533 // by TestReleases
	if !asTested || !slices.Equal(c.Args, []string{"bootstrap", reference}) ||
		!strings.HasPrefix(c.Image, reference+":") || r.Autoscaler.Plugin != c.Image || r.Executor != values.Runners.Executor {
		t.Errorf("init container %+v, plugin %s, executor %s", c, r.Autoscaler.Plugin, r.Executor)
	}
	in := func(all []mount, path any) bool {
		return slices.ContainsFunc(all, func(m mount) bool { return strings.HasPrefix(fmt.Sprint(path, "/"), m.MountPath+"/") })
	}
	plugins, config := values.ExtraEnv["FLEETING_PLUGIN_PATH"], r.Autoscaler.PluginConfig
	if plugins != "/plugins" || !in(c.VolumeMounts, plugins) { // bootstrap's own
		t.Errorf("the runner looks for plugins in %s, where none are put", plugins)
	}
	for _, path := range []any{plugins, config["token_file"], config["ssh_key_file"]} {
		if !in(values.VolumeMounts, path) {
			t.Errorf("%v is in no volume", path)
		}
	}
}

// packerOptions are those of packer's DigitalOcean builder, with the communicator's that matter (its documentation, v1.4).
const packerOptions = `api_token api_url region size image private_networking monitoring droplet_agent ipv6 snapshot_name snapshot_regions
	state_timeout snapshot_timeout droplet_name user_data user_data_file tags vpc_uuid connect_with_private_ip
	ssh_key_id ssh_username ssh_private_key_file`

// The golden image's template has options that packer's builder has, and the scripts that it names are there.
func TestPackerTemplate(t *testing.T) {
	t.Parallel()
	template := texts.Read(t, "examples/packer/golden.pkr.hcl")
	_, source, _ := strings.Cut(template, "\nsource \"digitalocean\" \"golden\" {\n")
	source, _, _ = strings.Cut(source, "\n}\n")
	options := regexp.MustCompile(`(?m)^  (\w+) +=`).FindAllStringSubmatch(source, -1)
	if len(options) < 5 {
		t.Errorf("found only the options %v", options)
	}
	for _, o := range options {
		if !slices.Contains(strings.Fields(packerOptions), o[1]) {
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
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("not run: the script needs jq")
	}
	w := newWorld(t, quick)
	w.Others = true // curl
	id := w.Sim.AddImage(dosim.Image{Name: "ci-golden-1", Regions: []string{"fra1", "ams3"}})
	dir := t.TempDir()
	manifest := fmt.Sprintf(`{"builds": [{"artifact_id": "fra1:1"}, {"artifact_id": "ams3,fra1:%d"}]}`, id)
	script, err := filepath.Abs("../examples/packer/tag-snapshot.sh")
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte(manifest), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ tag, token, says string }{
		{"ci-golden", dosim.DefaultToken, fmt.Sprintf("image %d carries the tag ci-golden", id)},
		{"new-tag", dosim.DefaultToken, fmt.Sprintf("image %d carries the tag new-tag", id)},
		{"refused", "wrong", "401"},
	} {
		cmd := exec.CommandContext(t.Context(), script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TAG="+c.tag, "DIGITALOCEAN_API_URL="+w.URL, "DIGITALOCEAN_TOKEN="+c.token,
			"CURL_CA_BUNDLE="+simulated.Host.Certificates())
		said, err := cmd.CombinedOutput()
		if (err != nil) != (c.says == "401") || !strings.Contains(string(said), c.says) {
			t.Errorf("%s: %v\n%s", c.tag, err, said)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/v2/images?tag_name=new-tag", nil)
	r.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	answer := httptest.NewRecorder()
	w.Sim.ServeHTTP(answer, r)
	if want := fmt.Sprintf(`"id":%d,`, id); !strings.Contains(answer.Body.String(), want) {
		t.Errorf("by the tag, DigitalOcean finds %s, want %s", answer.Body, want)
	}
}
