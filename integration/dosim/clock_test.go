package dosim_test

import (
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
