package provider

import (
	"fmt"
	"strings"
	"testing"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// TestMaxSize: MaxSize is max_instances, or else the account's Droplet limit; 0 would
// never scale. max_hourly_cost lowers it, at the price of the dearest size, and the log
// says what holds. What cannot be kept is refused.
func TestMaxSize(t *testing.T) {
	account := func(status int, body string) dosim.Fault {
		return dosim.Fault{Op: "GET /v2/account", Status: status, Body: body}
	}
	const (
		mustBeSet = "plugin_config.max_instances: must be set, since the account's Droplet limit "
		unread    = "counts where plugin_config.max_instances is not set: GET /v2/account: "
	)
	small, large := []string{"s-1vcpu-1gb"}, []string{"s-1vcpu-1gb", "s-2vcpu-4gb"} // 0.00893 and 0.03571 USD
	for _, tt := range []struct {
		o     options
		fault dosim.Fault
		want  int    // 0 = Init is refused
		says  string // in a line of the log, or in the error
	}{
		{want: 25},
		{o: options{"max_instances": 7}, want: 7},
		{o: options{"max_instances": 70}, want: 70, says: "[WARN]  max_instances is "},
		{o: options{"max_instances": 7}, fault: account(403, ""), want: 7, says: "could not be read"},
		{o: options{"max_instances": 7}, fault: account(503, ""), want: 7, says: "could not be read"},
		{fault: account(403, ""), says: mustBeSet + "could not be read: GET /v2/account: 403 You are not authorized to perform this operation"},
		{fault: account(503, ""), says: unread + "503 Service is not available."},
		{fault: account(200, "{}"), says: unread + "the answer has no account"},
		{fault: account(200, `{"account":{}}`), says: mustBeSet + "reads 0"},

		{o: options{"max_hourly_cost": 0.1786, "size": small}, want: 20, says: "limited_by=max_hourly_cost"}, // 20 of them cost exactly that
		{o: options{"max_hourly_cost": 0.1785, "size": small}, want: 19, says: "limited_by=max_hourly_cost"},
		{o: options{"max_hourly_cost": 0.1786, "size": large}, want: 5, says: "dearest_size=s-2vcpu-4gb"},
		{o: options{"max_hourly_cost": 0.1786, "size": small, "max_instances": 3}, want: 3, says: "limited_by=max_instances"},
		{o: options{"max_hourly_cost": 0.03, "size": large},
			says: "plugin_config.max_hourly_cost: 0.03 USD an hour is less than one Droplet of size s-2vcpu-4gb costs, 0.03571"},
		{o: options{"max_hourly_cost": 1}, fault: dosim.Fault{Op: "GET /v2/sizes", Status: 403}, says: "plugin_config.max_hourly_cost: DigitalOcean's prices could not be read"},
		{fault: dosim.Fault{Op: "GET /v2/sizes", Status: 403}, want: 25}, // no guard, no need
	} {
		t.Run(fmt.Sprint(tt.o, tt.fault), func(t *testing.T) {
			onAccount(t, dosim.Options{DropletLimit: 25}, func(t *testing.T, sim *dosim.Sim) {
				if tt.fault.Op != "" {
					tt.fault.Times = -1
					sim.Inject(tt.fault)
				}
				g := configured(t, sim, tt.o)
				info, book, err := tryInit(t, g)
				defer func() { _ = g.Shutdown(t.Context()) }()
				if tt.want == 0 {
					if err == nil || !strings.Contains(err.Error(), tt.says) {
						t.Errorf("got  %v\nwant %s", err, tt.says)
					}
					return
				}
				if err != nil || info.MaxSize != tt.want || len(book.lines(tt.says)) == 0 {
					t.Fatalf("MaxSize is %d, %v; want %d, and %q in the log:\n%s", info.MaxSize, err, tt.want, tt.says, book)
				}
				if n, err := g.Increase(t.Context(), 80); n != min(25, tt.want) || err != nil {
					t.Errorf("Increase(80) = %d, %v; want %d", n, err, tt.want)
				}
			})
		})
	}
}
