package doctor

import (
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// The last policy that contains a moment counts, in its own time zone.
func TestActive(t *testing.T) {
	active, err := Active([]runnerconfig.Policy{
		{Periods: []string{"* 8-17 * * *"}, Timezone: "UTC"},
		{Periods: []string{"* 9 * * *", "* 23 * * *"}, Timezone: "Europe/Berlin"}, // 8 and 22 o'clock, UTC
	})
	if err != nil {
		t.Fatal(err)
	}
	for hour, want := range map[int]int{7: -1, 8: 1, 9: 0, 17: 0, 18: -1, 22: 1} {
		if got := active(time.Date(2026, 11, 2, hour, 59, 0, 0, time.UTC)); got != want {
			t.Errorf("%d o'clock: policy %d, want %d", hour, got, want)
		}
	}
	if _, err := Active([]runnerconfig.Policy{{Periods: []string{"x"}}}); err == nil {
		t.Error("a period that nobody can read is read")
	}
}
