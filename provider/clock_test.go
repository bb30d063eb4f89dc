package provider

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"testing"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// otherClock is DigitalOcean with a clock that differs from ours, or ours from
// DigitalOcean's: in the Date of answers, and in when Droplets were created.
type otherClock struct {
	base   http.RoundTripper
	offset time.Duration
}

var createdAt = regexp.MustCompile(`"created_at":"([^"]+)"`)

func (c otherClock) RoundTrip(r *http.Request) (*http.Response, error) {
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
		return fmt.Appendf(nil, `"created_at":%q`, at.Add(c.offset).Format(time.RFC3339))
	})
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		resp.Header.Set("Date", date.Add(c.offset).Format(http.TimeFormat))
	}
	return resp, nil
}

// TestSecondManagerOnAnotherHost: nothing but the account tells two hosts of each
// other. What each made after both had begun stays its own, whatever their clocks say;
// each is told.
func TestSecondManagerOnAnotherHost(t *testing.T) {
	for _, offset := range []time.Duration{0, time.Hour, -time.Hour} {
		onAccount(t, dosim.Options{Latency: 150 * time.Millisecond, ListLag: 4 * time.Second}, func(t *testing.T, sim *dosim.Sim) {
			books := make([]logBook, 2)
			var ps []*process
			for i := range books {
				ownState(t) // of a host of its own
				g := configured(t, sim, nil)
				g.transport = otherClock{g.transport, offset}
				p, err := launch(t.Context(), g, sim, books[i].logger())
				if err != nil {
					t.Fatal(err)
				}
				ps = append(ps, p)
			}
			for _, p := range ps {
				time.Sleep(10 * time.Second) // whose Droplet is younger is told in whole seconds
				p.provisioner.Request(3)
			}
			time.Sleep(10 * time.Minute)
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
}
