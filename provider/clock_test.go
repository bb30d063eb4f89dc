package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

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

// TestClocks: whatever the clocks say, and however they jump while the plugin
// runs or between its runs, every Droplet is kept, taken over, and destroyed in
// the end; what another manager makes later is left alone.
func TestClocks(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct{ before, during, after time.Duration }{
		{hour, hour, hour}, {-hour, -hour, -hour}, // set wrongly
		{0, hour, 0}, {0, -hour, 0}, {0, 0, hour}, {0, 0, -hour}, // jumps
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			ownState(t)
			synctest.Test(t, func(t *testing.T) {
				sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second, BootTime: 4 * time.Minute})
				defer sim.Close()
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
				settled := func(p *process, n int) error {
					c := p.provisioner.Capacity()
					if c.Running != n || c.Creating+c.Deleting+c.Requested != 0 {
						return fmt.Errorf("want %d running: %+v", n, c)
					}
					return nil
				}
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Error(err)
					}
				}

				offset.Store(int64(c.before))
				p := begin()
				p.provisioner.Request(5)
				must(within(5*time.Minute, func() error { return settled(p, 5) }))
				offset.Store(int64(c.during))
				p.provisioner.Request(5)
				must(within(5*time.Minute, func() error { return settled(p, 10) }))
				time.Sleep(20 * time.Minute)
				must(settled(p, 10))
				p.provisioner.Request(5)
				time.Sleep(time.Minute)
				p.stop()

				offset.Store(int64(c.after))
				p = begin() // while five boot
				time.Sleep(10 * time.Second)
				other := sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxa", Tags: []string{"fleeting", "fleeting-group:ci"}})
				must(within(5*time.Minute, func() error { return settled(p, 15) }))
				time.Sleep(10 * time.Minute)
				must(settled(p, 15))
				for _, i := range p.provisioner.Instances() {
					i.Delete()
				}
				must(within(10*time.Minute, func() error { return settled(p, 0) }))
				if left := sim.Droplets(); len(left) != 1 || left[0].ID != other {
					t.Errorf("left: %v, want what another manager made", left)
				}
				sim.Destroy(other)
				p.stop()
				must(verdict(sim, p))
			})
		})
	}
}

// TestSecondManagerOnAnotherHost: nothing but the account tells two hosts of each
// other. What each made after both had begun stays its own; each is told.
func TestSecondManagerOnAnotherHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second})
		defer sim.Close()
		hosts := []string{t.TempDir(), t.TempDir()}
		books := make([]logBook, len(hosts))
		ps := make([]*process, len(hosts))
		for i, host := range hosts {
			t.Setenv("XDG_STATE_HOME", host)
			p, err := launch(t.Context(), configured(t, sim, nil), sim, books[i].logger())
			if err != nil {
				t.Fatal(err)
			}
			ps[i] = p
		}
		for _, p := range ps {
			time.Sleep(10 * time.Second) // whose Droplet is younger is told in whole seconds
			p.provisioner.Request(3)
		}
		if err := within(2*time.Minute, func() error {
			for i, p := range ps {
				if c := p.provisioner.Capacity(); c.Running != 3 {
					return fmt.Errorf("host %d: %+v", i, c)
				}
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		for _, i := range ps[0].provisioner.Instances() {
			i.Delete()
		}
		time.Sleep(5 * time.Minute)
		if n := len(sim.Droplets()); n != 3 {
			t.Errorf("%d Droplets, want the 3 of the other host", n)
		}
		for _, i := range ps[1].provisioner.Instances() {
			if i.State() != provider.StateRunning {
				t.Errorf("%s of the other host is %s", i.ID(), i.State())
			}
			i.Delete()
		}
		time.Sleep(5 * time.Minute)
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
