package guest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Docker is a Docker Engine of this host. The guests of a fleet share it: unlike that of a Droplet it keeps its images,
// volumes and containers when a guest ends.
type Docker struct {
	Host    string // its address, as in DOCKER_HOST
	command string // the path of this host's docker
}

// FindDocker returns the Engine that listens at a unix socket, or, of "", the one that this host's docker command uses. It
// fails if there is no such command, or no Engine answers it within 10 s.
func FindDocker(ctx context.Context, socket string) (*Docker, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	command, err := exec.LookPath("docker")
	if err != nil {
		return nil, fmt.Errorf("no Docker: %w", err)
	}
	d := &Docker{command: command, Host: "unix://" + socket}
	if socket == "" {
		cmd := exec.CommandContext(ctx, command, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
		if d.Host, err = answer(cmd); err != nil {
			return nil, fmt.Errorf("no Docker: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, command, "version", "--format", "{{.Server.Version}}")
	cmd.Env = d.env() // nothing else, as in a guest
	if _, err := answer(cmd); err != nil {
		return nil, fmt.Errorf("no Docker Engine: %w", err)
	}
	return d, nil
}

func (d *Docker) env() []string { return []string{"DOCKER_HOST=" + d.Host} }

// answer is what a command prints. If it fails, the error is the last line of its complaint.
func answer(cmd *exec.Cmd) (string, error) {
	output, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && len(exit.Stderr) > 0 {
		complaint := strings.TrimSpace(string(exit.Stderr))
		err = errors.New(complaint[strings.LastIndexByte(complaint, '\n')+1:])
	}
	return strings.TrimSpace(string(output)), err
}
