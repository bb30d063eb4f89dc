package dosim_test

import (
	"errors"
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestLifeOfADroplet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{BootTime: 30 * time.Second, DeleteTime: 3 * time.Second})
		id := create(t, c, "ci-1", "fleeting", "fleeting-delete:x").ID
		look := func() string {
			d, resp, err := c.Droplets.Get(ctx, id)
			if err != nil {
				return fmt.Sprint(resp.StatusCode)
			}
			return fmt.Sprintf("%s locked=%t addresses=%d", d.Status, d.Locked, len(d.Networks.V4))
		}
		want := func(when, want string) {
			t.Helper()
			if got := look(); got != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
		want("at once", "new locked=false addresses=0")
		time.Sleep(10 * time.Second)
		want("a third into the boot", "new locked=false addresses=2")
		time.Sleep(20*time.Second - time.Millisecond)
		want("a moment before the end of the boot", "new locked=false addresses=2")
		time.Sleep(time.Millisecond)
		want("after the boot", "active locked=false addresses=2")
		sim.PowerOff(id)
		want("powered off", "off locked=false addresses=2")
		sim.PowerOn(id)
		sim.Lock(id, true)
		want("locked", "active locked=true addresses=2")
		_, err := c.Droplets.Delete(ctx, id)
		wantRefusal(t, err, 422, dosim.MessageLocked)
		if _, err := c.Droplets.DeleteByTag(ctx, "fleeting-delete:x"); err != nil || !sim.Droplets()[0].Gone.IsZero() {
			t.Errorf("deleted by tag: %v, to be gone at %s", err, sim.Droplets()[0].Gone)
		}
		sim.Lock(id, false)
		time.Sleep(time.Hour)
		remove(t, c, id)
		want("deleted", "active locked=false addresses=2")
		_, err = c.Droplets.Delete(ctx, id)
		wantRefusal(t, err, 422, dosim.MessagePendingEvent)
		time.Sleep(3 * time.Second)
		want("gone", "404")
		_, err = c.Droplets.Delete(ctx, id)
		wantRefusal(t, err, 404, dosim.MessageNotFound)
	})
}

func TestListsLagBehindTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{ListLag: 5 * time.Second, DeleteTime: time.Second})
		d := create(t, c, "ci-1", "fleeting")
		if got := all(t, c); got != "" || truth(sim) != "ci-1" {
			t.Errorf("just made: listed %q, billed %q", got, truth(sim))
		}
		time.Sleep(5 * time.Second)
		if got := all(t, c); got != "ci-1" {
			t.Errorf("5 s later: listed %q", got)
		}
		sim.Destroy(d.ID)
		_, _, err := c.Droplets.Get(ctx, d.ID)
		wantRefusal(t, err, 404, dosim.MessageNotFound)
		if got := all(t, c); got != "ci-1" || truth(sim) != "" {
			t.Errorf("just gone: listed %q, billed %q", got, truth(sim))
		}
		time.Sleep(5 * time.Second)
		if got := all(t, c); got != "" {
			t.Errorf("5 s later: listed %q", got)
		}
	})
}

func TestBilledPerSecondButAtLeastAMinuteAndACent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		for i, life := range []time.Duration{time.Second, 10 * time.Minute, 100 * time.Hour} {
			id := sim.AddDroplet(dosim.Droplet{Name: fmt.Sprint("ci-", i), Size: "c-2"})
			time.Sleep(life)
			sim.Destroy(id)
		}
		sim.AddDroplet(dosim.Droplet{Name: "still-there", Size: "c-2"})
		time.Sleep(30 * time.Minute)
		type bill struct {
			Name             string
			Seconds, Dollars float64
			Gone             bool
		}
		var got []bill
		for _, b := range sim.Ledger() {
			got = append(got, bill{b.Name, b.Seconds, b.Dollars, !b.Gone.IsZero()})
		}
		want := []bill{
			{"ci-0", 60, 0.01, true}, {"ci-1", 600, 0.010417, true}, {"ci-2", 360000, 6.25, true}, {"still-there", 1800, 0.03125, false},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestHooksHearOfEveryDropletOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var heard []string
		said := make(chan string, 100)
		hear := func(what string) func(dosim.Droplet) {
			return func(d dosim.Droplet) {
				if what == "created" && d.Name == "failing" {
					time.Sleep(25 * time.Second) // longer than it lives
				}
				said <- fmt.Sprintf("%s %s %s %t", time.Since(start), what, d.Name, d.ReadyAt.IsZero())
			}
		}
		sim, c := open(t, dosim.Options{Hooks: dosim.Hooks{Created: hear("created"), Gone: hear("gone")}})
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Behaviour: dosim.FailsLater, For: 20 * time.Second, Skip: 1})
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Behaviour: dosim.NeverSeen, Skip: 2})
		id := create(t, c, "deleted").ID
		create(t, c, "failing")
		create(t, c, "never-made")
		time.Sleep(time.Second)
		byHand := sim.AddDroplet(dosim.Droplet{Name: "destroyed-by-hand"})
		time.Sleep(time.Minute)
		remove(t, c, id)
		sim.Destroy(id) // it is on its way out already
		sim.Destroy(byHand)
		time.Sleep(time.Minute)
		sim.Close()
		close(said)
		for s := range said {
			heard = append(heard, s)
		}
		want := []string{
			"0s created deleted false", "25s created failing true", "25s gone failing true", "26s created destroyed-by-hand false",
			"1m26s gone destroyed-by-hand false", "1m29s gone deleted false",
		}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestCloseStopsWhatWaitsToCallHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{DeleteTime: time.Hour, Hooks: dosim.Hooks{
			Gone: func(dosim.Droplet) { t.Error("Gone was called after Close") },
		}})
		c := client(t, sim)
		remove(t, c, create(t, c, "ci-1").ID)
		sim.Close() // the bubble fails the test if a goroutine is left when it ends
	})
}

// Latency is a round trip; the clock dates what comes of it.
func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(t, dosim.Options{Latency: 4 * time.Second})
		start := time.Now() // bubbles begin at 2000-01-01
		d, resp, err := c.Droplets.Create(ctx, single("ci-1"))
		if err != nil || time.Since(start) != 4*time.Second || d.Created != "2000-01-01T00:00:02Z" {
			t.Errorf("after %s: %v, created_at is %q", time.Since(start), err, d.Created)
		}
		if date := resp.Header.Get("Date"); date != time.Now().UTC().Format(http.TimeFormat) {
			t.Errorf("Date is %q", date)
		}
	})
}

func TestClosedSimEndsHangingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		sim.Inject(dosim.Fault{Op: "*", Hang: true})
		time.AfterFunc(time.Minute, sim.Close)
		start := time.Now()
		_, _, err := c.Account.Get(ctx)
		if !errors.Is(err, syscall.ECONNRESET) || time.Since(start) != time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
