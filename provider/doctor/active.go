package doctor

import (
	"fmt"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Active returns which policy counts at a moment, as the runner decides it: the last
// whose periods contain it; -1 = none does.
func Active(policies []runnerconfig.Policy) (func(time.Time) int, error) {
	all, _, err := readPeriods(policies)
	if err != nil {
		return nil, fmt.Errorf("%s: the runner then uses none of the policies: %s", err.what, err.hint)
	}
	return func(t time.Time) int {
		for i, periods := range slices.Backward(all) {
			if slices.ContainsFunc(periods, func(p period) bool { return p.contains(t) }) {
				return i
			}
		}
		return -1
	}, nil
}
