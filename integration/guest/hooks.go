package guest

import (
	"net/netip"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Hooks boot a guest in every Droplet of a simulated account that becomes
// active, and cut its power at the Droplet's end. User is the one who may log in,
// as in Spec. until tells how far away, in real time, a moment of the account's
// clock is. failed hears of a Droplet that got no guest.
func (f *Fleet) Hooks(user string, until func(time.Time) time.Duration, failed func(dosim.Droplet, error)) dosim.Hooks {
	return dosim.Hooks{
		Created: func(d dosim.Droplet) {
			if d.ReadyAt.IsZero() {
				return // it never becomes active
			}
			var addrs []netip.Addr
			// Not IPv6: those of the simulator are no addresses of this host.
			for _, a := range []netip.Addr{d.PublicIPv4, d.PrivateIPv4} {
				if a.IsValid() {
					addrs = append(addrs, a)
				}
			}
			err := f.Start(Spec{ID: d.ID, Name: d.Name, Addrs: addrs, AuthorizedKeys: d.AuthorizedKeys, User: user, ReadyIn: until(d.ReadyAt)})
			if err != nil {
				failed(d, err)
			}
		},
		Gone: func(d dosim.Droplet) { f.Stop(d.ID) },
	}
}
