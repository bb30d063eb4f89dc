package dosim_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestScaledClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		clock := dosim.NewScaledClock(60)
		if err := clock.Sleep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if real, scaled := time.Since(start), clock.Now().Sub(start); real != time.Minute || scaled != time.Hour {
			t.Errorf("an hour took %s; the clock shows %s", real, scaled)
		}
	})
}

func TestClocksWakeWhenTheContextEnds(t *testing.T) {
	for name, clock := range map[string]func() dosim.Clock{
		"real":   func() dosim.Clock { return dosim.RealClock{} },
		"scaled": func() dosim.Clock { return dosim.NewScaledClock(2) },
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := clock().Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
}
