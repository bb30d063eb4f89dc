package provider

import (
	"encoding/json"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

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
		sim := dosim.New(dosim.Options{})
		defer sim.Close()
		g := configured(t, sim, options{"max_instances": 1, "user_data": text})
		if _, _, err := tryInit(t, g); err != nil {
			if !strings.HasPrefix(err.Error(), "plugin_config.user_data: ") || len(sent) >= 16 && strings.Contains(err.Error(), sent) {
				t.Errorf("it is another fault, or repeats user_data: %v", err)
			}
			return
		}
		increase(t, g, 1)
		if got := sim.Droplets()[0].UserData; got != sent || len(sent) > 64<<10 {
			t.Errorf("user_data %.200q, want %.200q", got, sent)
		}
		_ = g.Shutdown(t.Context())
	})
}
