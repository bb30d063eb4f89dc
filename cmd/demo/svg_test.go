package main

import (
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

// The example report spans 10 s and counts up to 4 (max_instances), so on the
// picture a second is 86.4 wide and a Droplet 76 high.
func TestPictureDrawsEachSeriesToScale(t *testing.T) {
	text := picture(t, exampleReport())
	for what, path := range map[string]string{
		"one busy Droplet from 4 s to 10 s": `<path class="blue area" d="M72.0 404V404.0H417.6V328.0H936.0V404.0V404Z"/>`,
		"an idle one on top of it":          `<path class="green area" d="M72.0 404V404.0H417.6V252.0H936.0V404.0V404Z"/>`,
		"a queue of 2 from 2 s to 4 s":      `<path class="red line" d="M72.0 404.0H244.8V252.0H417.6V404.0H936.0V404.0"/>`,
		"idle_count 3 from 2 s to 10 s":     `<path class="teal line dotted" d="M72.0 404.0H244.8V176.0H936.0V404.0"/>`,
		"max_instances 4 throughout":        `<path class="ink line dashed" d="M72.0 100.0H936.0V100.0"/>`,
	} {
		if !strings.Contains(text, path) {
			t.Errorf("the picture lacks %s:\n%s\n%s", what, path, text)
		}
	}
}

func TestPictureOfOddRuns(t *testing.T) {
	if text := picture(t, &harness.Report{}); strings.Contains(text, "NaN") || strings.Contains(text, "max_instances") {
		t.Errorf("without samples, and without a limit:\n%s", text)
	}
	r := exampleReport()
	r.CapacityPerInstance = 2 // idle_count 3, in jobs, is 2 Droplets
	want := `<path class="teal line dotted" d="M72.0 404.0H244.8V252.0H936.0V404.0"/>`
	if text := picture(t, r); !strings.Contains(text, want) {
		t.Errorf("lacks %s in\n%s", want, text)
	}
}

func picture(t *testing.T, r *harness.Report) string {
	t.Helper()
	var b strings.Builder
	if err := writePicture(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
