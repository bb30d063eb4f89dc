package main

import (
	"context"
	"fmt"
	"io"
)

// readAll is io.ReadAll of what may never end, such as a pipe that nobody closes, or a person who types nothing: it ends with
// ctx, so that Ctrl-C and SIGTERM end the command. More than limit bytes are an error.
func readAll(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	read := make(chan result, 1)
	go func() { // it may wait for ever: the process ends soon
		text, err := io.ReadAll(io.LimitReader(r, limit+1))
		read <- result{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case all := <-read:
		if int64(len(all.text)) > limit {
			return nil, fmt.Errorf("it is larger than %d bytes", limit)
		}
		return all.text, all.err
	}
}
