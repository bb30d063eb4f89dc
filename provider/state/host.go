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
)

// home is where this host keeps the state of its groups, and what it is asked for.
type home struct {
	dir  string
	host string // its identity
	proc procfs
	lock func(f *os.File, shared bool) (locked bool, err error)
}

func here(ctx context.Context) (home, error) {
	dir, err := Dir()
	if err != nil {
		return home{}, err
	}
	return home{dir: dir, host: thisHost.identity(ctx), proc: "/proc", lock: tryLock}, nil
}

// sources are what identifies a host.
type sources struct {
	machineID string // a file
	vendor    string // a file
	dropletID string // a URL
}

var thisHost = sources{
	machineID: "/etc/machine-id",
	vendor:    "/sys/class/dmi/id/sys_vendor",
	dropletID: "http://169.254.169.254/metadata/v1/id",
}

// identity returns what distinguishes this host from all others. A Droplet that is made
// from another's snapshot has the machine-id of that one, so a Droplet's own id is
// part of it. Where nothing is known (other systems than Linux, some containers) it is
// "", which equals only "": processes there still know of each other, but a copied disk
// goes unnoticed.
func (s sources) identity(ctx context.Context) string {
	var parts []string
	if id, err := os.ReadFile(s.machineID); err == nil {
		if id := strings.TrimSpace(string(id)); id != "" && id != "uninitialized" {
			// machine-id(5): not to be shown, but hashed with it as the key.
			mac := hmac.New(sha256.New, []byte(id))
			io.WriteString(mac, program)
			parts = append(parts, fmt.Sprintf("machine-%x", mac.Sum(nil)[:16]))
		}
	}
	if vendor, err := os.ReadFile(s.vendor); err == nil && strings.TrimSpace(string(vendor)) == "DigitalOcean" {
		if id, err := askDropletID(ctx, s.dropletID); err == nil {
			parts = append(parts, fmt.Sprintf("droplet-%d", id))
		}
	}
	return strings.Join(parts, "/")
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
		return 0, errors.New(answer.Status)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, 64))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
}
