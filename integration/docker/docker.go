// Package docker runs jobs in containers as the runner's docker-autoscaler does: by Docker's API, over SSH and the
// Droplet's `docker system dial-stdio`. The client is this host's docker command, which has the same code in it.
//
// Nothing is pulled. The containers are of an image with one program, which is built for it (see shell).
package docker

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
)

const (
	shellPackage = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker/shell"
	closeLimit   = time.Minute // of Close
	dockerFailed = 125         // the status with which docker run says that it failed itself
)

// Engine is the Docker Engine of this host, with an image for jobs and a volume for what they share.
type Engine struct {
	host string // its address, as in DOCKER_HOST
	name string // of the image, of the volume, and of the label on every container; no other Engine has it
	dir  string // of the image's program, and of a socket for each job
}

// Open builds the image on the Engine at host, an address as in DOCKER_HOST. The caller must Close the Engine.
func Open(ctx context.Context, host string) (*Engine, error) {
	e := &Engine{host: host, name: "fleeting-jobs-" + strings.ToLower(rand.Text())}
	err := e.makeImage(ctx)
	if err != nil {
		_ = e.Close() // what there is of it
		return nil, fmt.Errorf("making an image for jobs on the Docker Engine at %s: %w", host, err)
	}
	return e, nil
}

// makeImage makes an image that has nothing but the jobs' shell.
func (e *Engine) makeImage(ctx context.Context) (err error) {
	if e.dir, err = os.MkdirTemp("", "jobs"); err != nil { // short: the path of a socket is bounded
		return err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(e.dir, "shell"), shellPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux") // static: there is no C library in the image
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the jobs' shell: %w\n%s", err, output)
	}
	layer, err := exec.CommandContext(ctx, "tar", "-c", "-C", e.dir, "shell").Output()
	if err != nil {
		return fmt.Errorf("packing the jobs' shell: %w", err)
	}
	_, err = e.docker(ctx, bytes.NewReader(layer), "import", "--change", `CMD ["/shell"]`, "-", e.name)
	return err
}

// docker runs the docker command, and returns what it prints.
func (e *Engine) docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "docker", append([]string{"-H", e.host}, args...)...)
	var complaint bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &complaint
	output, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return string(output), err
}

// Name is that of the image, of the volume, and of the label on every container.
func (e *Engine) Name() string { return e.name }

// Runs counts the containers of each job, by its key: the Engine's own record of what has run.
func (e *Engine) Runs(ctx context.Context) (map[string]int, error) {
	keys, err := e.docker(ctx, nil, "ps", "-a", "--filter", "label="+e.name, "--format", fmt.Sprintf("{{.Label %q}}", e.name))
	runs := map[string]int{}
	for _, key := range strings.Fields(keys) {
		runs[key]++
	}
	return runs, err
}

// Close removes the containers, those that still run too, the volume and the image.
func (e *Engine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	containers, err := e.docker(ctx, nil, "ps", "-aq", "--filter", "label="+e.name)
	errs := []error{err, os.RemoveAll(e.dir)}
	for _, remove := range [][]string{
		append([]string{"rm", "-f"}, strings.Fields(containers)...),
		{"volume", "rm", "-f", e.name}, // there need not be one
		{"image", "rm", e.name},
	} {
		if remove[0] != "rm" || len(remove) > 2 {
			_, err := e.docker(ctx, nil, remove...)
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what jobs left on the Docker Engine, by the name of %s: %w", e.name, err)
	}
	return nil
}

// ExitStatus is the error of a script that failed by itself. Whatever else ends a job is the system's failure.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Job is what runs in a container.
type Job struct {
	Key    string    // by which Engine.Runs counts it
	Script string    // for the image's shell, which has it on stdin; /cache is the volume
	Log    io.Writer // both output streams; not written to after Run
}

// Run runs a job on a Droplet, until it or ctx ends, whose cause is then the error. The container stays, for Runs and
// Close.
func (e *Engine) Run(ctx context.Context, droplet connector.Client, job Job) error {
	ctx, cancel := context.WithCancel(ctx) // which the connections end with
	defer cancel()
	socket := filepath.Join(e.dir, job.Key)
	if err := forward(ctx, socket, droplet); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "docker", "-H", "unix://"+socket, "run", "-i", "--network=none",
		"--label="+e.name+"="+job.Key, "--volume="+e.name+":/cache", e.name)
	var said bytes.Buffer
	output := io.MultiWriter(job.Log, &said)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(job.Script), output, output
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && ctx.Err() == nil && exit.ExitCode() != dockerFailed {
		return ExitStatus(exit.ExitCode())
	}
	if err != nil {
		return fmt.Errorf("docker run: %w: %s", cmp.Or(context.Cause(ctx), err), bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// forward connects what dials a socket to the Droplet's Engine, until ctx ends.
func forward(ctx context.Context, socket string, droplet connector.Client) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	go func() {
		for {
			here, err := listener.Accept()
			if err != nil {
				return // ctx has ended
			}
			there, err := droplet.DialRun(ctx, "docker system dial-stdio")
			if err != nil {
				here.Close()
				continue
			}
			context.AfterFunc(ctx, func() { here.Close() })
			go func() {
				_, _ = io.Copy(there, here)
				_ = there.(interface{ CloseWrite() error }).CloseWrite()
			}()
			go func() {
				_, _ = io.Copy(here, there)
				here.Close()
			}()
		}
	}()
	return nil
}
