package state

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

const program = "fleeting-plugin-digitalocean"

// home is where this host keeps the state of a group.
type home struct {
	group   string
	dir     string // of all groups
	lock    string // a file there
	state   string // state.json
	host    string // its identity
	hostErr error  // why that is not known now
}

func here(ctx context.Context, apiURL, group string) home {
	h := homeIn(directory(os.Geteuid() == 0), apiURL, group)
	h.host, h.hostErr = thisHost.identity(ctx)
	return h
}

// homeIn names the files. The group's name alone is not enough: a simulator may have a
// group of that name too.
func homeIn(dir, apiURL, group string) home {
	sum := sha256.Sum256([]byte(apiURL))
	base := filepath.Join(dir, fmt.Sprintf("%s-%x", group, sum[:4]))
	return home{group: group, dir: dir, lock: base + ".lock", state: base + ".json"}
}

// directory returns the directory in which the state of all groups is.
func directory(root bool) string {
	// systemd sets it to what StateDirectory= of a unit names. A command that root runs
	// outside of the unit must come to the same directory.
	if dirs := filepath.SplitList(os.Getenv("STATE_DIRECTORY")); len(dirs) > 0 && filepath.IsAbs(dirs[0]) {
		return filepath.Join(strings.TrimSuffix(filepath.Clean(dirs[0]), string(filepath.Separator)+program), program)
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, program)
	}
	if !root {
		dir, err := os.UserHomeDir()
		if u, unknown := user.Current(); err != nil && unknown == nil { // a service may have no HOME
			dir = u.HomeDir
		}
		if filepath.IsAbs(dir) {
			return filepath.Join(dir, ".local", "state", program)
		}
	}
	return filepath.Join("/var/lib", program)
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
func askDropletID(ctx context.Context, url string) (id int64, err error) {
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
	if _, err := fmt.Fscan(io.LimitReader(answer.Body, 64), &id); err != nil {
		return 0, fmt.Errorf("%s: %w", url, err)
	}
	return id, nil
}
