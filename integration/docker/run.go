package docker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/client"
	"gitlab.com/gitlab-org/fleeting/fleeting/connector"
)

// Job is what runs in a container.
type Job struct {
	Key    string    // by which Engine.Runs counts it
	Script string    // for the image's shell, which has it on stdin; /cache is the volume
	Log    io.Writer // both output streams; not written to after Run
}

// ExitStatus is the error of a script that failed by itself. Whatever else ends a job is the system's failure.
type ExitStatus int

func (s ExitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// Run runs a job on a Droplet, until it or ctx ends. The container stays, for Runs and Close.
func (e *Engine) Run(ctx context.Context, droplet connector.Client, job Job) error {
	ctx, cancel := context.WithCancel(ctx) // which the connections end with
	defer cancel()
	api, err := client.New(client.WithDialContext(func(context.Context, string, string) (net.Conn, error) {
		return droplet.DialRun(ctx, "docker system dial-stdio") // a connection outlives the request that it is made for
	}))
	if err != nil {
		return err
	}
	defer api.Close()

	created, err := api.ContainerCreate(ctx, client.ContainerCreateOptions{
		Config: &container.Config{
			Image: e.name, Labels: map[string]string{e.name: job.Key},
			OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		},
		HostConfig: &container.HostConfig{
			NetworkMode: "none",
			Mounts:      []mount.Mount{{Type: mount.TypeVolume, Source: e.name, Target: "/cache"}},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the container: %w", err)
	}
	streams, err := api.ContainerAttach(ctx, created.ID, client.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attaching to the container: %w", err)
	}
	defer streams.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(job.Log, job.Log, streams.Reader)
		copied <- err
	}()

	status, err := finish(ctx, api, created.ID, streams, job.Script)
	if err != nil {
		streams.Close() // the container may have more to say
	}
	unread := <-copied
	switch {
	case err != nil:
		return err
	case unread != nil:
		return fmt.Errorf("reading the container's output: %w", unread)
	case status != 0:
		return ExitStatus(status)
	}
	return nil
}

// finish starts the container, hands the script in, and waits for the end. When ctx ends, the error is its cause.
func finish(
	ctx context.Context, api *client.Client, id string, streams client.ContainerAttachResult, script string,
) (status int64, err error) {
	ended := api.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})
	if _, err := api.ContainerStart(ctx, id, client.ContainerStartOptions{}); err != nil {
		return 0, fmt.Errorf("starting the container: %w", cmp.Or(context.Cause(ctx), err))
	}
	_, err = io.WriteString(streams.Conn, script)
	if err = errors.Join(err, streams.CloseWrite()); err != nil {
		return 0, fmt.Errorf("handing the script in: %w", cmp.Or(context.Cause(ctx), err))
	}
	select {
	case result := <-ended.Result:
		return result.StatusCode, nil
	case err := <-ended.Error:
		return 0, fmt.Errorf("waiting for the container: %w", cmp.Or(context.Cause(ctx), err))
	}
}
