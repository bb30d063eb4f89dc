package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// findLimit is how long an Engine may take to say that it is there.
const findLimit = 10 * time.Second

// Docker is a Docker Engine of this host. The guests of a fleet share it: unlike that of a Droplet it keeps its
// images, volumes and containers when a guest ends.
type Docker struct {
	// Host is its address, as in DOCKER_HOST.
	Host string

	command string // the path of this host's docker
}

// FindDocker returns the Engine that listens at a unix socket, or, of "", the one that this host's docker command
// uses. It fails if there is no such command, or no Engine answers it.
func FindDocker(ctx context.Context, socket string) (*Docker, error) {
	ctx, cancel := context.WithTimeout(ctx, findLimit)
	defer cancel()
	command, err := exec.LookPath("docker")
	if err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	d := &Docker{command: command}
	if socket != "" {
		if socket, err = filepath.Abs(socket); err != nil {
			return nil, err
		}
		d.Host = "unix://" + socket
	} else if d.Host, err = d.ask(ctx, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"); err != nil {
		return nil, err
	}
	if _, err := d.ask(ctx, "--host", d.Host, "version", "--format", "{{.Server.Version}}"); err != nil {
		return nil, err
	}
	return d, nil
}

// ask runs a docker command of this host. The error is the last line that it says.
func (d *Docker) ask(ctx context.Context, args ...string) (answer string, err error) {
	output, err := exec.CommandContext(ctx, d.command, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		said := strings.TrimSpace(string(exit.Stderr))
		err = errors.New(said[strings.LastIndexByte(said, '\n')+1:])
	}
	if err != nil {
		return "", fmt.Errorf("no Docker Engine: docker %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(output)), nil
}

// install puts this host's docker command in place of the one that stands in for it.
func (d *Docker) install(dir string) error {
	path := filepath.Join(dir, "docker")
	if err := errors.Join(os.Remove(path), os.Symlink(d.command, path)); err != nil {
		return fmt.Errorf("installing the guests' programs: %w", err)
	}
	return nil
}
