package instancegroup

import (
	"context"
	"errors"
	"strings"
	"time"
)

// GPUSize tells whether a size is one of a GPU Droplet, by its slug.
func GPUSize(slug string) bool { return strings.HasPrefix(slug, "gpu-") }

// firstList is one of Start's. It has GPU Droplets too, whatever the sizes are now: they may
// have been others when the Droplets were made. But if they are not, the group does
// without when these fail to be listed, which takes half of the time at most.
func (g *Group) firstList(ctx context.Context, tag string) (List, error) {
	if g.GPUs {
		return g.cloud.List(ctx, tag, true)
	}
	first := ctx
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		first, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		defer cancel()
	}
	l, err := g.cloud.List(first, tag, true)
	if err == nil || errors.Is(err, ErrUnauthorized) || ctx.Err() != nil {
		return l, err
	}
	failed := err
	if l, err = g.cloud.List(ctx, tag, false); err == nil {
		g.log.Warn("GPU Droplets cannot be listed; no size is one, so the group does without: what an earlier configuration left of them is neither seen nor destroyed",
			"request_id", requestID(failed), "err", failed)
	}
	return l, err
}
