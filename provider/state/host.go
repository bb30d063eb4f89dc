package state

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

const (
	program = "fleeting-plugin-digitalocean"

	setDirectory = "set StateDirectory=" + program + " in the runner's systemd unit, " +
		"or XDG_STATE_HOME to a directory that the runner's user can write to"
)

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

// checkAccess reports whether path exists. It is an error if it is of another type, or
// if anybody but this user and root has access: what they may have written is not to be
// believed. It is called before a file is opened, since a pipe would block; nobody else
// can change the directory in between.
func checkAccess(path string, want fs.FileMode) (bool, error) {
	wanted, forbidden := "regular file", fs.FileMode(0o077)
	if want == fs.ModeDir {
		wanted, forbidden = "directory", 0o022
	}
	info, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode().Type() != want {
		return false, fmt.Errorf("%s is not a %s, and symbolic links are not followed: remove it", path, wanted)
	}
	return true, checkOwner(path, info, forbidden)
}

// sources are what identifies a host: two files and a URL.
type sources struct{ vendor, machineID, metadata string }

var thisHost = sources{
	vendor:    "/sys/class/dmi/id/sys_vendor",
	machineID: "/etc/machine-id",
	metadata:  "http://169.254.169.254/metadata/v1/id",
}

var errNoIdentity = errors.New("this Droplet does not know its own id now")

// identity returns what distinguishes this host from all others. Of a Droplet that is its
// id, for one that is made from a snapshot has the machine-id of the other. While the
// metadata service does not say it the state file is neither believed nor overwritten, so
// that the next process can believe it. Elsewhere it is the machine-id: a copied disk goes
// unnoticed if it has the same, or where there is none (other systems than Linux).
func (s sources) identity(ctx context.Context) (string, error) {
	if readLine(s.vendor) == "DigitalOcean" {
		id, err := askDropletID(ctx, s.metadata)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errNoIdentity, err)
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

func readLine(path string) string {
	content, _ := os.ReadFile(path) // "" if it cannot be read
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
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r) // by no proxy, and not elsewhere
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
