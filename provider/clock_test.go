package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// otherClock is DigitalOcean with a clock that differs from ours, or ours from
// DigitalOcean's: in the Date of answers, and in when Droplets were created.
type otherClock struct {
	base   http.RoundTripper
	offset *atomic.Int64 // time.Duration
}

var createdAt = regexp.MustCompile(`"created_at":"([^"]+)"`)

func (c otherClock) RoundTrip(r *http.Request) (*http.Response, error) {
	offset := time.Duration(c.offset.Load())
	resp, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	body = createdAt.ReplaceAllFunc(body, func(field []byte) []byte {
		at, err := time.Parse(time.RFC3339, string(createdAt.FindSubmatch(field)[1]))
		if err != nil {
			return field
		}
		return fmt.Appendf(nil, `"created_at":%q`, at.Add(offset).Format(time.RFC3339))
	})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		resp.Header.Set("Date", date.Add(offset).Format(http.TimeFormat))
	}
	return resp, nil
}

// TestClocks: whatever the clocks say, and however they jump while the plugin runs
// or between its runs, every Droplet is kept, taken over, and destroyed in the end;
// what another manager makes later is left alone.
func TestClocks(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct{ before, during, after time.Duration }{
		{hour, hour, hour}, {-hour, -hour, -hour}, // set wrongly
		{0, hour, 0}, {0, -hour, 0}, // jumps, and back
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			onAccount(t, dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second, BootTime: 4 * time.Minute}, func(t *testing.T, sim *dosim.Sim) {
				var offset atomic.Int64
				begin := func() *process {
					g := configured(t, sim, nil)
					g.transport = otherClock{g.transport, &offset}
					p, err := launch(t.Context(), g, sim, hclog.NewNullLogger())
					if err != nil {
						t.Fatal(err)
					}
					return p
				}
				settle := func(p *process, n int, d time.Duration) {
					t.Helper()
					if err := within(d, func() error {
						if c := p.provisioner.Capacity(); c.Running != n || c.Creating+c.Deleting+c.Requested != 0 {
							return fmt.Errorf("want %d running: %+v", n, c)
						}
						return nil
					}); err != nil {
						t.Error(err)
					}
				}

				offset.Store(int64(c.before))
				p := begin()
				p.provisioner.Request(2)
				settle(p, 2, 5*time.Minute)
				offset.Store(int64(c.during))
				p.provisioner.Request(2)
				settle(p, 4, 5*time.Minute)
				time.Sleep(20 * time.Minute)
				settle(p, 4, time.Second)
				p.provisioner.Request(2)
				time.Sleep(time.Minute)
				p.stop()

				offset.Store(int64(c.after))
				p = begin() // while two boot
				time.Sleep(10 * time.Second)
				other := sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: []string{"fleeting", "fleeting-group:ci"}})
				settle(p, 6, 5*time.Minute)
				time.Sleep(10 * time.Minute)
				settle(p, 6, time.Second)
				for _, i := range p.provisioner.Instances() {
					i.Delete()
				}
				settle(p, 0, 10*time.Minute)
				if left := sim.Droplets(); len(left) != 1 || left[0].ID != other {
					t.Errorf("left: %v, want what another manager made", left)
				}
				sim.Destroy(other)
				p.stop()
				if err := verdict(sim, p); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSecondManagerOnAnotherHost: nothing but the account tells two hosts of each
// other. What each made after both had begun stays its own; each is told.
func TestSecondManagerOnAnotherHost(t *testing.T) {
	onAccount(t, dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
		books := make([]logBook, 2)
		var ps []*process
		for i := range books {
			ownState(t) // of a host of its own
			p, err := launch(t.Context(), configured(t, sim, nil), sim, books[i].logger())
			if err != nil {
				t.Fatal(err)
			}
			ps = append(ps, p)
		}
		for _, p := range ps {
			time.Sleep(10 * time.Second) // whose Droplet is younger is told in whole seconds
			p.provisioner.Request(3)
		}
		time.Sleep(2 * time.Minute)
		for i, p := range ps { // the second one's outlive the first one's
			if c := p.provisioner.Capacity(); c.Running != 3 {
				t.Errorf("host %d: %+v", i, c)
			}
			for _, instance := range p.provisioner.Instances() {
				instance.Delete()
			}
			time.Sleep(5 * time.Minute)
			if n := len(sim.Droplets()); n != 3-3*i {
				t.Errorf("%d Droplets after host %d has deleted its own", n, i)
			}
		}
		for i, p := range ps {
			p.stop()
			if n := len(books[i].lines("a second manager uses the same name")); n != 1 {
				t.Errorf("host %d was told %d times", i, n)
			}
		}
		if err := verdict(sim, ps...); err != nil {
			t.Error(err)
		}
	})
}
