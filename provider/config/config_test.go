package config

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := Config{
		Name:             "ci",
		Token:            Token{Value: NewSecret("dop_v1_minimal"), Source: "plugin_config.token"},
		APIURL:           "https://api.digitalocean.com",
		Regions:          []string{"nyc3"},
		Sizes:            []string{"s-2vcpu-4gb"},
		Image:            Image{Slug: "debian-13-x64"},
		PublicNetworking: true,
		CreateTimeout:    10 * time.Minute,
	}
	if diff := cmp.Diff(want, accept(t, `{}`, emptyHost)); diff != "" {
		t.Errorf("minimal config (-want +got):\n%s", diff)
	}
}

func TestEveryKey(t *testing.T) {
	t.Parallel()
	const input = `{
		"name": "linux-small",
		"token": "dop_v1_0123",
		"token_file": "/not/read",
		"api_url": "https://proxy.example.com/do/",
		"region": ["nyc3", "fra1", "ams3"],
		"size": ["s-2vcpu-4gb", "so1_5-2vcpu-16gb"],
		"image": 123456789,
		"ssh_keys": [289794, "0512", "3B:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"],
		"ssh_key_file": "/var/lib/ci/key",
		"vpc_uuid": {"fra1": "5A4981AA-9653-4BD1-BEF5-D6BFF52042E4", "nyc3": "760e09ef-dc84-11e8-981e-3cfdfeaae000"},
		"public_networking": true,
		"ipv6": true,
		"monitoring": true,
		"backups": true,
		"with_droplet_agent": false,
		"user_data": "#cloud-config\n",
		"tags": ["team:a", "fleet"],
		"project_id": "4E1BFBC3-DC3E-41F2-A18F-1B4D7BA71679",
		"max_instances": 5.0,
		"max_creating": 1e2,
		"max_hourly_cost": 1.5,
		"create_timeout": "1h30m"
	}`
	want := Config{
		Name:       "linux-small",
		Token:      Token{Value: NewSecret("dop_v1_0123"), Source: "plugin_config.token"},
		APIURL:     "https://proxy.example.com/do",
		Regions:    []string{"nyc3", "fra1", "ams3"},
		Sizes:      []string{"s-2vcpu-4gb", "so1_5-2vcpu-16gb"},
		Image:      Image{ID: 123456789},
		SSHKeys:    []string{"289794", "512", "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa"},
		SSHKeyFile: "/var/lib/ci/key",
		VPC: map[string]string{
			"fra1": "5a4981aa-9653-4bd1-bef5-d6bff52042e4",
			"nyc3": "760e09ef-dc84-11e8-981e-3cfdfeaae000",
		},
		PublicNetworking: true,
		IPv6:             true,
		Monitoring:       true,
		Backups:          true,
		WithDropletAgent: new(bool),
		UserData:         "#cloud-config\n",
		Tags:             []string{"team:a", "fleet"},
		ProjectID:        "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679",
		MaxInstances:     5,
		MaxCreating:      100,
		MaxHourlyCost:    1.5,
		CreateTimeout:    90 * time.Minute,
	}
	got, err := Parse([]byte(input), emptyHost)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("full config (-want +got):\n%s", diff)
	}

	given, err := members([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Keys() {
		exclusive := name == "image_tag" || name == "user_data_file"
		if !exclusive && !slices.ContainsFunc(given, func(m member) bool { return m.name == name }) {
			t.Errorf("this test lacks the key %s", name)
		}
	}
}

// TestOtherSpellings pins that a value can be written in another way with the same result.
func TestOtherSpellings(t *testing.T) {
	t.Parallel()
	host := hostWith(nil, map[string]string{"/etc/cloud.yaml": "#cloud-config\n"})
	with := func(edit func(*Config)) Config {
		config := accept(t, `{}`, host)
		edit(&config)
		return config
	}
	for change, want := range map[string]Config{
		`{"API_URL": "https://api.digitalocean.com/", "ReGion": "nyc3"}`: with(func(*Config) {}),
		`{"api_url": "http://localhost:8080"}`:                           with(func(c *Config) { c.APIURL = "http://localhost:8080" }),
		`{"api_url": "http://127.1.2.3"}`:                                with(func(c *Config) { c.APIURL = "http://127.1.2.3" }),
		`{"api_url": "http://[::1]:8080"}`:                               with(func(c *Config) { c.APIURL = "http://[::1]:8080" }),
		`{"region": ["nyc3"]}`:                                           with(func(*Config) {}),
		`{"image": "12"}`:                                                with(func(c *Config) { c.Image = Image{ID: 12} }),
		`{"ssh_keys": 12}`:                                               with(func(c *Config) { c.SSHKeys = []string{"12"} }),
		`{"ssh_keys": "12"}`:                                             with(func(c *Config) { c.SSHKeys = []string{"12"} }),
		`{"ssh_keys": []}`:                                               with(func(*Config) {}),
		`{"tags": "team:a"}`:                                             with(func(c *Config) { c.Tags = []string{"team:a"} }),
		`{"tags": []}`:                                                   with(func(*Config) {}),
		`{"vpc_uuid": {}}`:                                               with(func(*Config) {}),
		`{"public_networking": false}`:                                   with(func(c *Config) { c.PublicNetworking = false }),
		`{"with_droplet_agent": true}`:                                   with(func(c *Config) { c.WithDropletAgent = new(true) }),
		`{"create_timeout": "30s"}`:                                      with(func(c *Config) { c.CreateTimeout = 30 * time.Second }),
		`{"create_timeout": "24h"}`:                                      with(func(c *Config) { c.CreateTimeout = 24 * time.Hour }),
		`{"max_instances": 100000}`:                                      with(func(c *Config) { c.MaxInstances = 100000 }),
		`{"name": "0"}`:                                                  with(func(c *Config) { c.Name = "0" }),
		`{"token_file": "/not/read"}`:                                    with(func(*Config) {}),
		`{"ssh_key_file": "not/there"}`:                                  with(func(c *Config) { c.SSHKeyFile = "not/there" }),
		`{"user_data_file": "/etc/cloud.yaml"}`: with(func(c *Config) {
			c.UserData = "#cloud-config\n"
		}),
		`{"image": {"remove": 1}, "image_tag": "golden"}`: with(func(c *Config) {
			c.Image, c.ImageTag = Image{}, "golden"
		}),
		`{"vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}`: with(func(c *Config) {
			c.VPC = map[string]string{"nyc3": "5a4981aa-9653-4bd1-bef5-d6bff52042e4"}
		}),
	} {
		if diff := cmp.Diff(want, accept(t, change, host)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", change, diff)
		}
	}
}

func TestAPIURLFromTheEnvironment(t *testing.T) {
	t.Parallel()
	host := hostWith(map[string]string{"DIGITALOCEAN_API_URL": " https://env.example.com/ "}, nil)
	if got := accept(t, `{}`, host).APIURL; got != "https://env.example.com" {
		t.Errorf("without api_url it is %s", got)
	}
	if got := accept(t, `{"api_url": "https://key.example.com"}`, host).APIURL; got != "https://key.example.com" {
		t.Errorf("with api_url it is %s", got)
	}
}

func TestBoundsAreInclusive(t *testing.T) {
	t.Parallel()
	name, data, tag := strings.Repeat("n", 52), strings.Repeat("x", 65536), strings.Repeat("t", 255)
	change, err := json.Marshal(map[string]any{"name": name, "user_data": data, "tags": tag})
	if err != nil {
		t.Fatal(err)
	}
	got := accept(t, string(change), emptyHost)
	if got.Name != name || got.UserData != data || !slices.Equal(got.Tags, []string{tag}) {
		t.Errorf("a name of %d, user data of %d and a tag of %d characters came out otherwise", len(name), len(data), len(tag))
	}
}

// TestWholeNumbers covers image ids too, which are the largest numbers here.
func TestWholeNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"0": 0, "-0": 0, "5": 5, "5.0": 5, "1e2": 100, "1.5e1": 15, "-3": -3, "9007199254740993": 9007199254740993,
	} {
		if got, ok := whole(json.RawMessage(text)); !ok || got != want {
			t.Errorf("whole(%s) = %d, %t, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"0.5", "1e-1", "1e400", "1e300", "-1e300", "99999999999999999999"} {
		if got, ok := whole(json.RawMessage(text)); ok {
			t.Errorf("whole(%s) = %d, want none", text, got)
		}
	}
}
