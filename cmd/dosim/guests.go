package main

import (
	"fmt"
	"log"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/guest"
)

// boot hooks an SSH server into every Droplet that becomes active. The caller must Close the fleet.
func boot(options *dosim.Options, clock dosim.Clock, scale float64) (*guest.Fleet, error) {
	fleet, err := guest.NewFleet(guest.Options{Log: log.Printf})
	if err != nil {
		return nil, fmt.Errorf("-guests: %w", err)
	}
	options.Hooks = fleet.Hooks("",
		// Guests live in real time.
		func(t time.Time) time.Duration { return time.Duration(float64(t.Sub(clock.Now())) / scale) },
		func(d dosim.Droplet, err error) {
			log.Printf("Droplet %d (%s) has no SSH server: %v", d.ID, d.Name, err)
		})
	return fleet, nil
}
