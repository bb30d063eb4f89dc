package integration

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// packerOptions are those of packer's DigitalOcean builder, with the communicator's
// that matter (the builder's documentation, v1.4).
var packerOptions = strings.Fields(`api_token api_url region size image private_networking monitoring droplet_agent ipv6
	snapshot_name snapshot_regions state_timeout snapshot_timeout droplet_name user_data user_data_file tags vpc_uuid
	connect_with_private_ip ssh_key_id ssh_username ssh_private_key_file`)

// The golden image's template is HCL, of packer's blocks, with options that its
// builder has; and the scripts that it names are there.
func TestPackerTemplate(t *testing.T) {
	t.Parallel()
	file, faults := hclparse.NewParser().ParseHCLFile("../examples/packer/golden.pkr.hcl")
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	schema := &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "packer"}, {Type: "variable", LabelNames: []string{"name"}},
		{Type: "source", LabelNames: []string{"builder", "name"}}, {Type: "build"},
	}}
	body, faults := file.Body.Content(schema)
	if faults.HasErrors() {
		t.Fatal(faults)
	}
	var options hcl.BodySchema
	for _, name := range packerOptions {
		required := name == "region" || name == "size" || name == "image" || name == "ssh_username"
		options.Attributes = append(options.Attributes, hcl.AttributeSchema{Name: name, Required: required})
	}
	sources := body.Blocks.OfType("source")
	if len(sources) != 1 || sources[0].Labels[0] != "digitalocean" {
		t.Fatalf("sources: %v", sources)
	}
	if _, faults := sources[0].Body.Content(&options); faults.HasErrors() {
		t.Error(faults)
	}
	for _, script := range []string{"provision.sh", "tag-snapshot.sh"} {
		if !strings.Contains(string(file.Bytes), `script           = "`+script+`"`) {
			t.Errorf("the template does not run %s", script)
		}
		if info, err := os.Stat(filepath.Join("../examples/packer", script)); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("%s: %v", script, err)
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
	dir := t.TempDir()
	manifest := mustJSON(t, map[string]any{"builds": []map[string]any{
		{"artifact_id": "fra1:1"}, {"artifact_id": "ams3,fra1:" + json.Number(mustJSON(t, id)).String()},
	}})
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), manifest, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(tag, token string) (string, error) {
		cmd := exec.CommandContext(t.Context(), script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "TAG="+tag, "DIGITALOCEAN_API_URL="+w.url, "DIGITALOCEAN_TOKEN="+token, "CURL_CA_BUNDLE="+host.Certificates())
		said, err := cmd.CombinedOutput()
		return string(said), err
	}
	for _, tag := range []string{"ci-golden", "new-tag"} {
		if said, err := run(tag, dosim.DefaultToken); err != nil || !strings.Contains(said, "carries the tag "+tag) {
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
