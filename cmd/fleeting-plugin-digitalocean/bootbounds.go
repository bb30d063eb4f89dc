package main

import (
	"math"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

// The bounds of a test Droplet's life.
const (
	createBound  = 90 * time.Second
	activeBound  = 15 * time.Minute
	sshBound     = 10 * time.Minute // connector_config.timeout's default
	readyBound   = 15 * time.Minute // the runner has none of its own
	dockerBound  = time.Minute
	destroyBound = 5 * time.Minute
	leftBound    = 12 * time.Second // lists lag behind
	pluginBound  = 80 * time.Second // what has bounds of its own: Init, one Increase, ConnectInfo, Shutdown
)

// boundsOf are how long each step may take; 0 = it is not made.
func boundsOf(s doctor.Subject) (b struct{ create, active, ssh, ready, docker time.Duration }) {
	a := s.Runner.Autoscaler
	b.create, b.active, b.ssh = createBound, min(activeBound, s.Config.CreateTimeout+30*time.Second), sshBound
	if a.Connector.Timeout > 0 {
		b.ssh = min(b.ssh, a.Connector.Timeout)
	}
	if a.InstanceReadyCommand != "" {
		b.ready = readyBound
	}
	if s.Runner.Executor == "docker-autoscaler" {
		b.docker = dockerBound
	}
	return b
}

// most is the longest that a boot takes, from the first look to the last, if every step
// ends just in time: in minutes.
func most(s doctor.Subject) int {
	b := boundsOf(s)
	all := pluginBound + destroyBound + b.create + b.active + b.ssh + b.ready + b.docker + destroyBound + leftBound
	return int(math.Ceil(all.Minutes()))
}
