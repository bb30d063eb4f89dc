package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxDroplets bounds max_instances and max_creating: far above any account's droplet_limit, so that it only catches
// slips of the finger.
const maxDroplets = 100_000

func decodeMaxInstances(p *parser, value json.RawMessage) { p.config.MaxInstances = p.droplets(value) }
func decodeMaxCreating(p *parser, value json.RawMessage)  { p.config.MaxCreating = p.droplets(value) }

// droplets reads a number of Droplets, 0 when there is none or a fault.
func (p *parser) droplets(value json.RawMessage) int {
	expected := fmt.Sprintf("a whole number from 1 to %d", maxDroplets)
	switch kindOf(value) {
	case aNumber:
		n, ok := whole(value)
		if !ok || n < 1 || n > maxDroplets {
			p.fault("must be %s, not %s", expected, literal(value))
			return 0
		}
		return n
	case aString:
		hint := ""
		if n, err := strconv.Atoi(unquote(value)); err == nil && n >= 1 && n <= maxDroplets {
			hint = fmt.Sprintf("did you mean %d, without quotes?", n)
		}
		p.faultHint("must be "+expected+", not a string", hint)
	default:
		p.mismatch(expected, value)
	}
	return 0
}

// maxCost bounds max_hourly_cost, to catch slips of the finger.
const maxCost = 100_000

func decodeMaxHourlyCost(p *parser, value json.RawMessage) {
	expected := fmt.Sprintf("a number of USD, more than 0 and at most %d, such as 1.50", maxCost)
	switch kindOf(value) {
	case aNumber:
		usd, err := strconv.ParseFloat(literal(value), 64)
		if err != nil || !(usd > 0 && usd <= maxCost) {
			p.fault("must be %s, not %s", expected, literal(value))
			return
		}
		p.config.MaxHourlyCost = usd
	case aString:
		hint := ""
		text := strings.TrimPrefix(strings.TrimSpace(unquote(value)), "$")
		if usd, err := strconv.ParseFloat(text, 64); err == nil && usd > 0 && usd <= maxCost {
			hint = fmt.Sprintf("did you mean %s, without quotes?", text)
		}
		p.faultHint("must be "+expected+", not a string", hint)
	default:
		p.mismatch(expected, value)
	}
}

// The bounds of create_timeout. A Droplet takes about 30 s to become active; no job waits for a day.
const (
	minCreateTimeout = 30 * time.Second
	maxCreateTimeout = 24 * time.Hour
)

func decodeCreateTimeout(p *parser, value json.RawMessage) {
	const expected = `must be a duration with its unit, such as "10m"`
	switch kindOf(value) {
	case aNumber:
		p.faultHint(expected+", not a number", proposeSeconds(literal(value)))
	case aString:
		text, ok := p.text(value)
		if !ok {
			return
		}
		timeout, err := time.ParseDuration(text)
		if err != nil {
			p.faultHint(expected+", not "+quote(text), proposeSeconds(text))
			return
		}
		if !isCreateTimeout(timeout) {
			p.fault("must be from 30s to 24h, not %s", quote(text))
			return
		}
		p.config.CreateTimeout = timeout
	default:
		p.mismatch(`a duration, such as "10m"`, value)
	}
}

// proposeSeconds returns a hint that a number without a unit means seconds, as in docker-machine's options, or "".
func proposeSeconds(number string) string {
	timeout, err := time.ParseDuration(number + "s")
	if err != nil || !isCreateTimeout(timeout) {
		return ""
	}
	return didYouMean(number + "s")
}

func isCreateTimeout(d time.Duration) bool { return d >= minCreateTimeout && d <= maxCreateTimeout }
