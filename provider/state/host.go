package state

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// home is where this host keeps the state of its groups.
type home struct {
	dir     string
	dirErr  error
	host    string // its identity
	hostErr error  // why that is not known now
}

func here(ctx context.Context) home {
	var h home
	h.dir, h.dirErr = directory(os.Geteuid() == 0)
	h.host, h.hostErr = thisHost.identity(ctx)
	return h
}

// sources are what identifies a host: two files and a URL.
type sources struct{ vendor, machineID, metadata string }

var thisHost = sources{
	vendor:    "/sys/class/dmi/id/sys_vendor",
	machineID: "/etc/machine-id",
	metadata:  "http://169.254.169.254/metadata/v1/id",
}

// identity returns what distinguishes this host from all others. Of a Droplet that is its
// id and nothing else, for one that is made from a snapshot has the machine-id of the
// other. While the metadata service does not say it the state file is left alone, neither
// believed nor overwritten, so that the next process can believe it again. Elsewhere it
// is the machine-id. Where there is none (other systems than Linux, some containers) it
// is "": a copied disk goes unnoticed there.
func (s sources) identity(ctx context.Context) (string, error) {
	if readLine(s.vendor) == "DigitalOcean" {
		id, err := askDropletID(ctx, s.metadata)
		if err != nil {
			return "", fmt.Errorf("this Droplet does not know its own id now: %w", err)
		}
		return fmt.Sprintf("droplet-%d", id), nil
	}
	id := readLine(s.machineID)
	if id == "" || id == "uninitialized" {
		return "", nil
	}
	sum := sha256.Sum256([]byte(program + id)) // machine-id(5): not to be shown
	return fmt.Sprintf("machine-%x", sum[:16]), nil
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
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", url, answer.Status)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, 64))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
}
