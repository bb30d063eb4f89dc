package instancegroup

import (
	"context"
	"sync"
	"time"
)

const (
	// callBound keeps Increase, Update and Decrease under 15 s, whatever
	// DigitalOcean does: the runner has one loop, and it waits for them.
	callBound = 13 * time.Second

	// concurrency is how many requests of one kind are under way at once.
	concurrency = 10
)

// concurrently calls f for every item and returns the results in their order. It
// runs a bounded number at once, and waits for all.
func concurrently[T, R any](items []T, f func(T) R) []R {
	results := make([]R, len(items))
	var wg sync.WaitGroup
	slots := make(chan struct{}, concurrency)
	for n, item := range items {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			results[n] = f(item)
		})
	}
	wg.Wait()
	return results
}

// ctxMutex is a mutex that honours a context.
type ctxMutex chan struct{}

func (m ctxMutex) lock(ctx context.Context) error {
	select {
	case m <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m ctxMutex) unlock() { <-m }

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 { // as mostly
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
