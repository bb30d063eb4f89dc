package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/harness"
)

func TestPictureIsWellFormedAndReadableWithoutSight(t *testing.T) {
	text := picture(t, exampleReport())
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	for _, want := range []string{
		"<title id=\"title\">Droplets over the time of a run of a &lt;b&gt; &amp; c.toml</title>", `<desc id="desc">`,
		`role="img" aria-labelledby="title desc"`, "@media (prefers-color-scheme: dark)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %s", want)
		}
	}
}

// The example report spans 10 s and counts up to 4 (max_instances), so on the
// plot a second is 88 wide and a Droplet 76 high.
func TestPictureDrawsEachSeriesToScale(t *testing.T) {
	text := picture(t, exampleReport())
	for what, path := range map[string]string{
		"one busy Droplet from 4 s to 10 s": `<path class="busy" d="M56.0 404.0H408.0V328.0H936.0V404.0V404.0H56.0V404.0Z"/>`,
		"an idle one on top of it":          `<path class="idle" d="M56.0 404.0H408.0V252.0H936.0V404.0V404.0H936.0V328.0H408.0V404.0H56.0V404.0Z"/>`,
		"a queue of 2 from 2 s to 4 s":      `<path class="queue" d="M56.0 404.0H232.0V252.0H408.0V404.0H936.0V404.0"/>`,
		"idle_count 3 from 2 s to 10 s":     `<path class="floor" d="M56.0 404.0H232.0V176.0H936.0V404.0"/>`,
		"max_instances 4 throughout":        `<path class="max" d="M56.0 100.0H936.0V100.0"/>`,
	} {
		if !strings.Contains(text, path) {
			t.Errorf("the picture lacks %s:\n%s\n%s", what, path, text)
		}
	}
}

func TestPictureOfOddRuns(t *testing.T) {
	if text := picture(t, &harness.Report{}); strings.Contains(text, "NaN") || strings.Contains(text, `class="max"`) {
		t.Errorf("without samples, and without a limit:\n%s", text)
	}
	r := exampleReport()
	r.CapacityPerInstance = 2 // idle_count 3, in jobs, is 2 Droplets
	want := `<path class="floor" d="M56.0 404.0H232.0V252.0H936.0V404.0"/>`
	if text := picture(t, r); !strings.Contains(text, want) {
		t.Errorf("lacks %s in\n%s", want, text)
	}
}

func TestStepsAreRoundAndFewEnough(t *testing.T) {
	for total, want := range map[int]int{0: 1, 1: 1, 10: 1, 11: 2, 20: 2, 21: 5, 37: 5, 60: 10, 101: 20, 3600: 500} {
		if got := step(total, 10); got != want {
			t.Errorf("step(%d, 10) = %d, want %d", total, got, want)
		}
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
