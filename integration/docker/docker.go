// Package docker runs jobs in containers as the runner's docker-autoscaler does: with Docker's own client, over SSH
// and the Droplet's `docker system dial-stdio`.
//
// Nothing is pulled. The containers are of an image with one program, which is built for it (see shell).
package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

const (
	shellPackage = "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/docker/shell"
	closeLimit   = time.Minute // of Close
)

// Engine is the Docker Engine of this host, with an image for jobs and a volume for what they share.
type Engine struct {
	api  *client.Client // from here, not over a Droplet
	name string         // of the image, of the volume, and of the label on every container; no other Engine has it
}

// Open builds the image on the Engine at host, an address as in DOCKER_HOST. The caller must Close the Engine.
func Open(ctx context.Context, host string) (*Engine, error) {
	api, err := client.New(client.WithHost(host))
	if err != nil {
		return nil, err
	}
	e := &Engine{api: api, name: "fleeting-jobs-" + strings.ToLower(rand.Text())}
	if err := e.importImage(ctx); err != nil {
		_ = e.Close() // what there is of it
		return nil, fmt.Errorf("making an image for jobs on the Docker Engine at %s: %w", host, err)
	}
	return e, nil
}

// Name is that of the image, of the volume, and of the label on every container.
func (e *Engine) Name() string { return e.name }

// Runs counts the containers of each job, by its key: the Engine's own record of what has run.
func (e *Engine) Runs(ctx context.Context) (map[string]int, error) {
	list, err := e.containers(ctx)
	if err != nil {
		return nil, err
	}
	runs := make(map[string]int)
	for _, c := range list.Items {
		runs[c.Labels[e.name]]++
	}
	return runs, nil
}

// Close removes the containers, those that still run too, the volume and the image.
func (e *Engine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	defer e.api.Close()
	var errs []error
	list, err := e.containers(ctx)
	errs = append(errs, err)
	for _, c := range list.Items {
		_, err := e.api.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true})
		errs = append(errs, err)
	}
	_, err = e.api.VolumeRemove(ctx, e.name, client.VolumeRemoveOptions{Force: true}) // there need not be one
	errs = append(errs, err)
	_, err = e.api.ImageRemove(ctx, e.name, client.ImageRemoveOptions{PruneChildren: true})
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what jobs left on the Docker Engine, by the name of %s: %w", e.name, err)
	}
	return nil
}

func (e *Engine) containers(ctx context.Context) (client.ContainerListResult, error) {
	return e.api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", e.name)})
}

func (e *Engine) importImage(ctx context.Context) error {
	layer, err := shellLayer(ctx)
	if err != nil {
		return err
	}
	answer, err := e.api.ImageImport(ctx, client.ImageImportSource{Source: layer, SourceName: "-"}, e.name,
		client.ImageImportOptions{Tag: "latest", Changes: []string{`CMD ["/shell"]`}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, answer) // it is imported when the answer ends
	return errors.Join(err, answer.Close())
}

// shellLayer is a file system that has nothing but the jobs' shell, as a tar.
func shellLayer(ctx context.Context) (io.Reader, error) {
	dir, err := os.MkdirTemp("", "fleeting-jobs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "shell")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, shellPackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux") // static: there is no C library in the image
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the jobs' shell: %w\n%s", err, output)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	err = w.WriteHeader(&tar.Header{Name: "shell", Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	return &layer, errors.Join(err, w.Close())
}
