package dosim_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"
	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// Every error of the table must be heard by the client as it is meant, and leave a Droplet behind exactly if it was
// applied: in-process and over a real network alike.
func TestAFaultIsAppliedAndError(t *testing.T) {
	refusal := func(status int, message string) func(error) bool {
		return func(err error) bool {
			r, ok := errors.AsType[*godo.ErrorResponse](err)
			return ok && r.Response.StatusCode == status && strings.Contains(r.Message, message)
		}
	}
	is := func(target error) func(error) bool {
		return func(err error) bool {
			_, unanswered := errors.AsType[*url.Error](err) // it is not from within an answer
			return unanswered && errors.Is(err, target)
		}
	}
	for _, test := range []struct {
		fault dosim.Fault
		heard func(error) bool
	}{
		{dosim.Fault{Status: 401}, refusal(401, "Unable to authenticate you")},
		{dosim.Fault{Status: 418}, refusal(418, "teapot")},
		{dosim.Fault{Status: 503, Body: dosim.HTMLBody}, refusal(503, "<title>503 Service Unavailable</title>")},
		{dosim.Fault{Message: "no such plan"}, refusal(422, "no such plan")},
		{dosim.Fault{Status: 502, Body: dosim.EmptyBody}, refusal(502, "")},
		{dosim.Fault{Body: "upstream connect error"}, refusal(500, "upstream")},
		{dosim.Fault{Reset: true}, is(syscall.ECONNRESET)},
		{dosim.Fault{Hang: true}, is(context.DeadlineExceeded)},
		{dosim.Fault{Status: 503, Cut: true}, refusal(503, "")},
	} {
		check := func(t *testing.T, sim *dosim.Sim, c *godo.Client) {
			patience := time.Minute
			if test.fault.Hang {
				patience = 2 * time.Second
			}
			for _, applied := range []bool{false, true} {
				test.fault.Op, test.fault.Applied = "POST /v2/droplets", applied
				sim.Inject(test.fault)
				before := len(sim.Droplets())
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				_, _, err := c.Droplets.Create(ctx, ordinary("ci-1"))
				if err == nil || !test.heard(err) {
					t.Errorf("%s: the client heard %v", test.fault, err)
				}
				if made := len(sim.Droplets()) > before; made != applied || len(sim.Faults()) != 0 {
					t.Errorf("%s: carried out: %t; still armed: %v", test.fault, made, sim.Faults())
				}
			}
		}
		synctest.Test(t, func(t *testing.T) {
			sim, c := open(t, dosim.Options{})
			check(t, sim, c)
		})
		sim, c := network(t, false)
		check(t, sim, c)
	}
}

// Over HTTP/2 a reset is one of the stream.
func TestFaultsOverTLSWithEitherProtocol(t *testing.T) {
	for proto, heard := range map[string]string{"HTTP/1.1": syscall.ECONNRESET.Error(), "HTTP/2.0": "INTERNAL_ERROR"} {
		sim, c := network(t, proto == "HTTP/2.0")
		for range 2 {
			sim.AddDroplet(dosim.Droplet{Name: "ci"})
		}
		_, resp, err := c.Droplets.List(ctx, &godo.ListOptions{PerPage: 1})
		if err != nil || !strings.HasPrefix(resp.Links.Pages.Next, "https://127.0.0.1:") || sim.Requests()[0].Proto != proto {
			t.Errorf("%s: %v; links %+v; logged as %s", proto, err, resp.Links, sim.Requests()[0].Proto)
		}
		sim.Inject(dosim.Fault{Op: "GET *", Cut: true}, dosim.Fault{Op: "POST *", Applied: true, Reset: true})
		if _, _, err := c.Droplets.List(ctx, nil); err == nil {
			t.Errorf("%s: a list cut in half was read as a list", proto)
		}
		if _, _, err := c.Droplets.Create(ctx, ordinary("new")); err == nil || !strings.Contains(err.Error(), heard) || billed(sim) != "ci ci new" {
			t.Errorf("%s: heard %v, made %q", proto, err, billed(sim))
		}
	}
}

// A refused connection is never applied; a cut answer without a status of its own is half of the true one; a slow one is
// an answer.
func TestRefusedCutAndSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, test := range []struct {
			fault dosim.Fault
			heard error
		}{
			{dosim.Fault{Op: "*", Refused: true, Applied: true}, syscall.ECONNREFUSED},
			{dosim.Fault{Op: "*", Cut: true}, syscall.ECONNRESET},
			{dosim.Fault{Op: "*", Delay: 20 * time.Second, Applied: true}, nil},
		} {
			sim, c := open(t, dosim.Options{})
			sim.Inject(test.fault)
			start := time.Now()
			_, _, err := c.Droplets.Create(ctx, ordinary("ci-1"))
			if !errors.Is(err, test.heard) || (billed(sim) != "") == test.fault.Refused || time.Since(start) != test.fault.Delay {
				t.Errorf("%s: heard %v after %s, made %q", test.fault, err, time.Since(start), billed(sim))
			}
			if all := sim.Droplets(); len(all) > 0 && !all[0].Created.Equal(start) {
				t.Errorf("%s: made at %s: applied means before the delay", test.fault, all[0].Created)
			}
		}
	})
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]dosim.Fault{
		"POST /v2/droplets: applied reset": {Op: "POST /v2/droplets", Applied: true, Reset: true},
		"GET /v2/droplets?page=3: 503 html skip 1 times 2": {
			Op: "GET /v2/droplets?page=3", Status: 503, Body: dosim.HTMLBody, Skip: 1, Times: 2,
		},
		"GET /v2/droplets?tag_name=fleeting-group:ci: hang": {Op: "GET /v2/droplets?tag_name=fleeting-group:ci", Hang: true},
		"*: refused delay 2s":                               {Op: "*", Refused: true, Delay: 2 * time.Second},
		"*: 200 empty cut":                                  {Op: "*", Status: 200, Body: dosim.EmptyBody, Cut: true},
		"POST /v2/droplets: stuck-new for 2m0s first 3": {
			Op: "POST /v2/droplets", Behaviour: dosim.StuckNew, For: 2 * time.Minute, First: 3,
		},
		"*: 429 header A=b header C=d=e times forever":          {Op: "*", Status: 429, Header: map[string]string{"A": "b", "C": "d=e"}, Times: -1},
		"POST /v2/droplets: region nyc1 pending-event":          {Op: "POST /v2/droplets", Region: "nyc1", Message: dosim.MessagePendingEvent},
		"*: 403 says \"No \\\"plan\\\",  friend: 422\" times 2": {Op: "*", Status: 403, Message: `No "plan",  friend: 422`, Times: 2},
		"*: says no\t skip 1":                                   {Op: "*", Message: "no", Skip: 1},
	} {
		for _, text := range []string{text, want.String()} {
			got, err := dosim.ParseFault(text)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
			}
		}
	}
	for text, want := range map[string]string{
		"":                                  "want OPERATION: WORD...",
		"POST /v2/droplets: ":               "want OPERATION: WORD...",
		"POST /v2/droplets: appear reset":   `"appear" is neither a word of faults nor an HTTP status`,
		"POST /v2/droplets: 999":            `"999" is neither`,
		"POST /v2/droplets: reset skip":     `the value "" of skip: `,
		"POST /v2/droplets: reset skip two": `the value "two" of skip: `,
		"POST /v2/droplets: delay 5":        `the value "5" of delay: `,
	} {
		if _, err := dosim.ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for _, b := range dosim.Behaviours {
		if _, err := dosim.ParseFault("*: " + string(b)); err != nil || !strings.Contains(dosim.FaultGrammar, string(b)) {
			t.Errorf("%s: %v; or FaultGrammar does not mention it", b, err)
		}
	}
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
		id := must[*godo.Droplet](t)(c.Droplets.Create(ctx, ordinary("deleted"))).ID
		must[*godo.Droplet](t)(c.Droplets.Create(ctx, ordinary("failing")))
		must[*godo.Droplet](t)(c.Droplets.Create(ctx, ordinary("never-made")))
		time.Sleep(time.Second)
		byHand := sim.AddDroplet(dosim.Droplet{Name: "destroyed-by-hand"})
		time.Sleep(time.Minute)
		if _, err := c.Droplets.Delete(ctx, id); err != nil {
			t.Fatal(err)
		}
		sim.Destroy(id) // it is on its way out already
		sim.Destroy(byHand)
		time.Sleep(time.Minute)
		_, _ = c.Droplets.Delete(ctx, sim.AddDroplet(dosim.Droplet{Name: "outlives-the-simulator"}))
		sim.Close() // the bubble fails the test if a goroutine is left when it ends
		close(said)
		for s := range said {
			heard = append(heard, s)
		}
		want := []string{
			"0s created deleted false", "25s created failing true", "25s gone failing true", "26s created destroyed-by-hand false",
			"1m26s gone destroyed-by-hand false", "1m29s gone deleted false", "2m26s created outlives-the-simulator false",
		}
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
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
