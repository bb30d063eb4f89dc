package provider

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// createBodies keeps the user_data of the creates that pass.
type createBodies struct {
	http.RoundTripper
	userData []string
}

func (c *createBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/v2/droplets") {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		var create struct {
			UserData string `json:"user_data"`
		}
		if err := json.Unmarshal(body, &create); err != nil {
			return nil, err
		}
		c.userData = append(c.userData, create.UserData)
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return c.RoundTripper.RoundTrip(r)
}

// FuzzUserData: what plugin_config takes as user_data reaches DigitalOcean byte
// for byte and within its limits, and no fault repeats any of it.
func FuzzUserData(f *testing.F) {
	for _, s := range []string{"", "#cloud-config\nruncmd:\n- echo \"a\tb\"\n", "#!/bin/sh\r\ntrue\r\n", "\u00fcmlaut", "\x00", "<b>&amp;</b>",
		"\\u0041\\n", "\xff\xfe", strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10+1), "\x1b[31m\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		data, err := json.Marshal(text)
		if err != nil {
			t.Skip()
		}
		var sent string // what JSON makes of it
		if err := json.Unmarshal(data, &sent); err != nil {
			t.Fatal(err)
		}
		ownState(t)
		config, err := json.Marshal(options{"name": "ci", "token": dosim.DefaultToken, "region": "nyc3", "size": "s-1vcpu-1gb",
			"image": "debian-13-x64", "max_instances": 1, "user_data": text})
		if err != nil {
			t.Fatal(err)
		}
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		wire := &createBodies{RoundTripper: sim.Transport()}
		g := &InstanceGroup{transport: wire}
		if err := json.Unmarshal(config, g); err != nil {
			t.Fatal(err)
		}
		if _, _, err := tryInit(t, g); err != nil {
			if !strings.HasPrefix(err.Error(), "plugin_config.user_data: ") || len(sent) >= 16 && strings.Contains(err.Error(), sent) {
				t.Errorf("it is another fault, or repeats user_data: %v", err)
			}
			return
		}
		if n, err := g.Increase(t.Context(), 1); n != 1 || err != nil {
			t.Errorf("Increase = %d, %v: taken by plugin_config, and refused by DigitalOcean", n, err)
		}
		if len(wire.userData) != 1 || wire.userData[0] != sent || len(sent) > 64<<10 {
			t.Errorf("%d creates, user_data %.200q, want %.200q", len(wire.userData), wire.userData, sent)
		}
		_ = g.Shutdown(t.Context())
	})
}
