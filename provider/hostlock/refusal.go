package hostlock

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"
)

// refusalRest is how long after a refused Init began to ask DigitalOcean the
// next one spends no request. From its beginning, not its end: an Init that
// failed because DigitalOcean is slow leaves the next one so much more time.
const refusalRest = 30 * time.Second

// WaitAfterRefusal waits until refusalRest has passed since the last refused
// Init: the runner starts the plugin again every second, and each start would
// spend requests on an account that has already said no.
func (l *Lock) WaitAfterRefusal(ctx context.Context, log hclog.Logger) error {
	info, err := os.Stat(l.base + ".refused")
	if err != nil {
		return nil
	}
	since := time.Since(info.ModTime())
	left := refusalRest - since
	if since < 0 || left <= 0 { // the clock was set back, or it is long ago
		return nil
	}
	log.Warn("the last start was refused; waiting before DigitalOcean is asked again", "wait", left.Round(time.Second))
	select {
	case <-time.After(left):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting after a refused start: %w", ctx.Err())
	}
}

// NoteRefusal notes that the Init which began to ask DigitalOcean at asked was
// refused.
func (l *Lock) NoteRefusal(log hclog.Logger, asked time.Time) {
	err := os.WriteFile(l.base+".refused", nil, 0o600)
	if err == nil {
		err = os.Chtimes(l.base+".refused", asked, asked)
	}
	if err != nil {
		log.Warn("could not note the refused start", "err", err)
	}
}

// ClearRefusal forgets it.
func (l *Lock) ClearRefusal() { os.Remove(l.base + ".refused") }
