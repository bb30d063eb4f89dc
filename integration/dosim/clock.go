package dosim

import (
	"context"
	"time"
)

// Clock is the simulated account's time: it dates Droplets, answers and rate limits.
type Clock interface {
	Now() time.Time
	// Sleep returns nil after d, or the context's error as soon as ctx is done.
	Sleep(ctx context.Context, d time.Duration) error
}

// RealClock is the time of package time, which inside a testing/synctest bubble is the bubble's.
type RealClock struct{}

// Now is time.Now in UTC.
func (RealClock) Now() time.Time { return time.Now().UTC() }

// Sleep waits for d or for ctx. A d of zero or less returns at once, whatever ctx says.
func (RealClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ScaledClock runs a number of times faster (or slower) than the real clock, from the moment that it was made.
type ScaledClock struct {
	factor float64
	start  time.Time
}

// NewScaledClock returns a clock on which factor seconds pass in a real one. It panics unless factor is positive.
func NewScaledClock(factor float64) ScaledClock {
	if !(factor > 0) {
		panic("dosim.NewScaledClock: factor must be positive")
	}
	return ScaledClock{factor: factor, start: time.Now()}
}

// Now is the real time at which the clock was made plus the scaled time since.
func (c ScaledClock) Now() time.Time {
	passed := time.Duration(float64(time.Since(c.start)) * c.factor)
	return c.start.Add(passed).Round(0).UTC()
}

// Sleep waits until d has passed on this clock.
func (c ScaledClock) Sleep(ctx context.Context, d time.Duration) error {
	return RealClock{}.Sleep(ctx, time.Duration(float64(d)/c.factor))
}
