package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// boot hooks an SSH server into every Droplet that becomes active, and says how to reach it. The caller must Close the
// fleet.
func boot(ctx context.Context, c *config, out io.Writer) (*guest.Fleet, error) {
	options := guest.Options{Port: c.sshPort, Log: log.Printf}
	if c.docker {
		docker, err := guest.FindDocker(ctx, c.socket)
		if err != nil {
			return nil, fmt.Errorf("-docker: %w", err)
		}
		options.Docker = docker
		fmt.Fprintf(out, "All Droplets share the Docker Engine at %s: what jobs leave there stays.\n", docker.Host)
	}
	fleet, err := guest.NewFleet(options)
	if err != nil {
		return nil, fmt.Errorf("-guests: %w", err)
	}
	fmt.Fprintf(out, "Guests listen for SSH on port %[1]d of their Droplets' addresses. For a runner that is to reach them:\n"+
		"  [runners.autoscaler.connector_config]\n    protocol_port = %[1]d\n", fleet.Port())
	c.options.Hooks = fleet.Hooks("", time.Until, func(d dosim.Droplet, err error) {
		log.Printf("Droplet %d (%s) has no SSH server: %v", d.ID, d.Name, err)
	})
	return fleet, nil
}
