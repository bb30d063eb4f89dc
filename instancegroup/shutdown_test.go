package instancegroup

import (
	"context"
	"time"
)

// shutdown is the runner's last call.
func (r *runner) shutdown() (clean bool) {
	r.t.Helper()
	r.within(18*time.Second, "Shutdown", func() {
		ctx, cancel := context.WithTimeout(ctx, 18*time.Second)
		defer cancel()
		clean = r.Shutdown(ctx)
	})
	return clean
}
