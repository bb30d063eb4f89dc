package main

import (
	"fmt"
	"log"
	"net/netip"
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
	options.Hooks = dosim.Hooks{
		Created: func(d dosim.Droplet) {
			if d.ReadyAt.IsZero() {
				return // it never becomes active
			}
			var addrs []netip.Addr
			for _, addr := range []netip.Addr{d.PublicIPv4, d.PrivateIPv4} {
				if addr.IsValid() {
					addrs = append(addrs, addr)
				}
			}
			wait := time.Duration(float64(d.ReadyAt.Sub(clock.Now())) / scale) // guests live in real time
			err := fleet.Start(guest.Spec{ID: d.ID, Name: d.Name, Addrs: addrs, AuthorizedKeys: d.AuthorizedKeys, ReadyIn: wait})
			if err != nil {
				log.Printf("Droplet %d (%s) has no SSH server: %v", d.ID, d.Name, err)
			}
		},
		Gone: func(d dosim.Droplet) { fleet.Stop(d.ID) },
	}
	return fleet, nil
}
