package digitalocean

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// readTimeout bounds one attempt at a GET, its answer's body included, and
	// readTries their number. The caller's context bounds them all.
	readTimeout = 8 * time.Second
	readTries   = 3

	// readPause is the pause after the first attempt. It doubles.
	readPause = 250 * time.Millisecond

	// maxRetryAfter is the longest that a GET waits inside a call because
	// DigitalOcean asks it to. Longer waits are the caller's to plan.
	maxRetryAfter = 2 * time.Second
)

// repeatReads repeats a GET that failed in a way that time may heal. Nothing
// else is ever repeated here: a POST that was carried out and not answered
// would make Droplets twice.
type repeatReads struct{ base http.RoundTripper }

func (r repeatReads) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		return r.base.RoundTrip(req)
	}
	pause := readPause
	for try := 1; ; try++ {
		resp, err := r.attempt(req)
		wait := max(pause, retryAfterOf(resp))
		if try == readTries || !curable(resp, err) || wait > maxRetryAfter {
			return resp, err
		}
		select {
		case <-time.After(wait):
		case <-req.Context().Done():
			return resp, err
		}
		pause *= 2
	}
}

// attempt sends a GET once and reads the whole answer, so that one which is cut
// off or never ends can be asked for again.
func (r repeatReads) attempt(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), readTimeout)
	defer cancel()
	resp, err := r.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if n := resp.ContentLength; 0 < n && n <= maxBody {
		body.Grow(int(n) + bytes.MinRead) // a page of a list has half a megabyte
	}
	_, err = body.ReadFrom(resp.Body)
	if err != nil && resp.StatusCode < http.StatusBadRequest { // the status alone tells of an error
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body.Bytes()))
	return resp, nil
}

// curable tells whether the same GET may fare better in a moment.
func curable(resp *http.Response, err error) bool {
	if err != nil {
		return !errors.As(err, new(tokenError)) && !errors.As(err, new(spentError)) && !errors.Is(err, errTooLarge)
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		return retryAfterOf(resp) > 0
	}
	return resp.StatusCode >= http.StatusInternalServerError
}

func retryAfterOf(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	return retryAfter(resp.Header)
}
