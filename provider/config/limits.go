package config

import (
	"fmt"
	"strconv"
	"time"
)

// The bounds of numbers are far above any account's: they catch typos.

var droplets = number("a whole number from 1 to 100000", func(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= 100_000
})

var cost = number("a number of USD, more than 0 and at most 100000, such as 1.50", func(text string) (float64, bool) {
	usd, err := strconv.ParseFloat(text, 64)
	return usd, err == nil && usd > 0 && usd <= 100_000
})

// createTimeout has bounds because a Droplet takes about 30 s to become active, and no job waits for a day.
func createTimeout(v any) (time.Duration, error) {
	const expected = `a duration with its unit, such as "10m"`
	text, ok := v.(string)
	if !ok {
		return 0, wrongType(expected, v)
	}
	timeout, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("must be %s, not %s", expected, quote(text))
	case timeout < 30*time.Second || timeout > 24*time.Hour:
		return 0, fmt.Errorf("must be from 30s to 24h, not %s", quote(text))
	}
	return timeout, nil
}
