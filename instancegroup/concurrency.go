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

// each calls f for every item and returns the results in their order. It runs a
// bounded number at once, and waits for all.
func each[T, R any](items []T, f func(T) R) []R {
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

// mutex counts how often it is taken, by which TestLocks holds the calls to few.
type mutex struct {
	sync.Mutex
	taken int
}

func (m *mutex) Lock() {
	m.Mutex.Lock()
	m.taken++
}

// turns are held over requests, by one call of a kind at a time.
type turns struct {
	increase, update, save turn
	lastUpdate             *time.Time // end of the last Update; owned by the holder of update
}

func newTurns() turns {
	return turns{increase: make(turn, 1), update: make(turn, 1), save: make(turn, 1), lastUpdate: new(time.Time)}
}

// pace waits until minUpdate has passed since the last Update.
func (t turns) pace(ctx context.Context) error {
	return pause(ctx, time.Until(t.lastUpdate.Add(minUpdate)))
}

func (t turns) updated() { *t.lastUpdate = time.Now() }

// turn is a mutex whose waiting ends with the context.
type turn chan struct{}

func (t turn) lock(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t turn) unlock() { <-t }

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
