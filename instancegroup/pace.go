package instancegroup

import "time"

const (
	// minUpdate is the least time between two Updates. Some releases of the
	// runner pass an unset update_interval on as 0; their loop never waits.
	minUpdate = 500 * time.Millisecond

	// perListRequest is the least time between two lists, for each request
	// that a list takes. At this pace listing alone never spends more than
	// 2,400 of the 5,000 requests that DigitalOcean gives a token an hour, and
	// 40 of the 250 a minute, whatever the size of the group; a group of 200
	// is still listed at every Update of the runner's default 2 s.
	perListRequest = 1500 * time.Millisecond

	// scarce is the fraction of the hourly budget below which lists are four
	// times as far apart: what is left is for creates and deletes. Others may
	// be spending from the same token.
	scarce = 5 // a fifth

	// staleMost is how old the last complete list may be for Update to answer
	// from it when DigitalOcean does not. After that Update fails, which stops
	// the runner from provisioning blindly.
	staleMost = 60 * time.Second
)

// listInterval returns the least time between the list l and the next.
func listInterval(l List) time.Duration {
	d := time.Duration(max(1, l.Requests)) * perListRequest
	if l.Limit > 0 && l.Remaining < l.Limit/scarce {
		d *= 4
	}
	return d
}
