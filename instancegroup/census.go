package instancegroup

import "time"

// Census is how many Droplets a run may have had. A run writes it down outside
// of the process: should it be killed, the next one knows how many there may be
// that lists do not show yet, and does not exceed MaxInstances by them.
type Census struct {
	Droplets int
	At       time.Time // when a create was sent last
}

// counted returns how many Droplets of earlier runs there may be, of which listed
// are known.
func (c Census) counted(listed int, now time.Time) int {
	if age := now.Sub(c.At); age < 0 || age >= unprovedFor {
		return listed // lists have shown by now what there is; or a clock was set
	}
	return max(listed, c.Droplets)
}

// lag returns for how long yet lists may lack some of earlier runs' Droplets, of which
// listed have been known; 0 = they do not.
func (c Census) lag(listed int, now time.Time) time.Duration {
	if c.counted(listed, now) == listed {
		return 0
	}
	return c.At.Add(unprovedFor).Sub(now)
}

// census counts the Droplets that exist or may exist. Called with mu held.
//
// Invariant: it is at least the account's, but for late risers and what other
// managers make. (TestCensusAfterKill)
func (g *Group) census(now time.Time) int {
	own, earlier := 0, 0
	for m := range g.all() {
		switch {
		case m.phase == gone:
		case m.run == g.Run:
			own++
		default:
			earlier++
		}
	}
	return own + g.Before.counted(earlier, now)
}

// note writes down that coming Droplets are about to be created. 0 = none: then
// it is written only if there are fewer than it says, and while that matters.
func (g *Group) note(coming int) {
	if g.Note == nil {
		return
	}
	g.noting.Lock()
	defer g.noting.Unlock()
	g.mu.Lock()
	now := time.Now()
	c := Census{Droplets: g.census(now) + coming, At: now}
	if coming == 0 {
		c.At = g.noted.At
		if c.Droplets >= g.noted.Droplets || now.Sub(c.At) >= unprovedFor {
			g.mu.Unlock()
			return
		}
	}
	g.noted = c
	g.mu.Unlock()
	g.Note(c)
}
