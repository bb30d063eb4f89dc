package state

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// home is where this host keeps the state of its groups, and what it is asked for.
type home struct {
	dir     string
	host    string // its identity
	hostErr error  // why that is not known now
	proc    procfs
	lock    func(l *flock.Flock, shared bool) (locked bool, err error)
}

func here(ctx context.Context) (home, error) {
	dir, err := Dir()
	if err != nil {
		return home{}, err
	}
	h := home{dir: dir, proc: "/proc", lock: tryLock}
	h.host, h.hostErr = thisHost.identity(ctx)
	return h, nil
}

// knows returns an error if a file of that host is not to be believed here: what it calls
// dead may be a living manager's there.
func (h home) knows(host string) error {
	if h.hostErr != nil {
		return h.hostErr
	}
	if h.host != host {
		return errors.New("another host wrote it (this disk is a copy or was restored)")
	}
	return nil
}

// sources are what identifies a host: three files and a URL.
type sources struct{ vendor, serial, machineID, metadata string }

var thisHost = sources{
	vendor:    "/sys/class/dmi/id/sys_vendor",
	serial:    "/sys/class/dmi/id/product_serial",
	machineID: "/etc/machine-id",
	metadata:  "http://169.254.169.254/metadata/v1/id",
}

// identity returns what distinguishes this host from all others. Of a Droplet that is its
// id and nothing else, for one that is made from a snapshot has the machine-id of the
// other. The id is the serial number, which only root can read, or what the metadata
// service says. If neither says it, that is an error: the state file is then left alone,
// neither believed nor overwritten, so that the next process can believe it again.
// Elsewhere it is the machine-id. Where there is none (other systems than Linux, some
// containers) it is "": a copied disk goes unnoticed there.
func (s sources) identity(ctx context.Context) (string, error) {
	if readLine(s.vendor) == "DigitalOcean" {
		id, err := strconv.ParseInt(readLine(s.serial), 10, 64)
		if err != nil {
			id, err = askDropletID(ctx, s.metadata)
		}
		if err != nil {
			return "", fmt.Errorf("this Droplet does not know its own id now: %w", err)
		}
		return fmt.Sprintf("droplet-%d", id), nil
	}
	id := readLine(s.machineID)
	if id == "" || id == "uninitialized" {
		return "", nil
	}
	// machine-id(5): not to be shown, but hashed with it as the key.
	mac := hmac.New(sha256.New, []byte(id))
	_, _ = io.WriteString(mac, program)
	return fmt.Sprintf("machine-%x", mac.Sum(nil)[:16]), nil
}

// readLine returns "" for a file that cannot be read.
func readLine(path string) string {
	content, _ := os.ReadFile(path)
	return strings.TrimSpace(string(content))
}

// askDropletID asks the metadata service, which is on the Droplet's own link.
func askDropletID(ctx context.Context, url string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy
	answer, err := transport.RoundTrip(r)                 // and no redirects
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 64))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, answer.Status)
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
}
