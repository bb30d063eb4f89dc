package config

import (
	"fmt"
	"strconv"
	"time"
)

// The bounds of numbers are far above any account's: they catch typos.
const (
	maxDroplets = 100_000
	maxCost     = 100_000 // USD an hour
)

// The bounds of create_timeout. A Droplet takes about 30 s to become active; no job waits for a day.
const (
	minCreateTimeout = 30 * time.Second
	maxCreateTimeout = 24 * time.Hour
)

var droplets = number(fmt.Sprintf("a whole number from 1 to %d", maxDroplets),
	func(text string) (int, bool) {
		n, ok := whole(text)
		return int(n), ok && n >= 1 && n <= maxDroplets
	})

var cost = number(fmt.Sprintf("a number of USD, more than 0 and at most %d, such as 1.50", maxCost),
	func(text string) (float64, bool) {
		usd, err := strconv.ParseFloat(text, 64)
		return usd, err == nil && usd > 0 && usd <= maxCost
	})

func createTimeout(v value) (time.Duration, error) {
	const expected = `must be a duration with its unit, such as "10m", not %s`
	// A number without a unit means seconds, as in docker-machine's options.
	inSeconds := v.text + "s"
	if d, err := time.ParseDuration(inSeconds); err != nil || !isCreateTimeout(d) {
		inSeconds = ""
	}
	timeout, err := time.ParseDuration(v.text)
	switch {
	case v.kind == aNumber:
		return 0, withHint(didYouMean(inSeconds), expected, v.kind)
	case v.kind != aString:
		return 0, v.not(`a duration, such as "10m"`)
	case v.text == "":
		return 0, errEmpty
	case err != nil:
		return 0, withHint(didYouMean(inSeconds), expected, quote(v.text))
	case !isCreateTimeout(timeout):
		return 0, fmt.Errorf("must be from 30s to 24h, not %s", quote(v.text))
	}
	return timeout, nil
}

func isCreateTimeout(d time.Duration) bool { return d >= minCreateTimeout && d <= maxCreateTimeout }
