package migrate

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// What becomes of a period, or that nothing does.
func TestPeriods(t *testing.T) {
	for old, want := range map[string]string{
		"* * * * * * *":               "* * * * *",
		"* * 0-9,18-23 * * Mon-Fri *": "* 0-9,18-23 * * mon-fri",
		"* 30 6 ? January-march 7 *":  "30 6 * jan-mar 7",
		"* * * 1,15 * ? *":            "* * 1,15 * *",
		"* * * 1,15 * monday *":       "",
		"* * * * * * 2027":            "",
		"30 * * * * * *":              "",
		"* */15 * * * * *":            "",
		"* * 9-17/2 * * * *":          "",
		"* * * L * * *":               "",
		"* * * 15W * * *":             "",
		"* * * * * 5#3 *":             "",
		"* * * * *":                   "",
		"@daily":                      "",
		"* * 22-6 * * * *":            "",
		"* * * * * fri-sunday *":      "",
		"* * * * dec-1 * *":           "",
		"* * 8-8 * jan-dec 1-fri *":   "* 8-8 * jan-dec 1-fri",
		"":                            "",
	} {
		if got := newPeriod(old); got != want {
			t.Errorf("%q: %s, want %s", old, got, want)
		}
	}
}

// A policy made of IdleScaleFactor keeps as many machines idle as docker+machine did, one more for rounding, as long as
// these are fewer than IdleCount; and never more than IdleCount.
func TestIdleScaleFactorIsKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		i := oldIdle{
			IdleCount:       rapid.IntRange(1, 60).Draw(t, "IdleCount"),
			IdleScaleFactor: float64(rapid.IntRange(1, 40).Draw(t, "tenths")) / 10,
			IdleCountMin:    rapid.IntRange(0, 70).Draw(t, "IdleCountMin"),
		}
		p := i.policy(100_000)
		for busy := range 300 {
			// As in the runner's idle limits.
			old := min(max(int(float64(busy)*i.IdleScaleFactor), max(i.IdleCountMin, 1)), i.IdleCount)
			// As the autoscaler computes what it desires.
			now := max(busy+p.IdleCount, min(int(math.Ceil(p.ScaleFactor*float64(busy))), p.ScaleFactorLimit)) - busy
			if now > i.IdleCount || now < p.IdleCount || busy <= p.ScaleFactorLimit-i.IdleCount && (now < old || now > old+1) {
				t.Fatalf("%+v, %+v: %d idle beside %d busy ones, docker+machine had %d", i, p, now, busy, old)
			}
		}
	})
}
