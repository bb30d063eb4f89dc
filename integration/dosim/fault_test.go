package dosim_test

import (
	"context"
	"encoding/json"
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
	for _, fault := range []struct {
		fault dosim.Fault
		heard func(error) bool
	}{
		{dosim.Fault{Status: 401}, refusal(401, dosim.MessageUnauthorized)},
		{dosim.Fault{Status: 418}, refusal(418, "teapot")},
		{dosim.Fault{Status: 503, Body: dosim.HTMLBody}, refusal(503, "<title>503 Service Unavailable</title>")},
		{dosim.Fault{Message: "no such plan"}, refusal(422, "no such plan")},
		{dosim.Fault{Status: 502, Body: dosim.EmptyBody}, refusal(502, "")},
		{dosim.Fault{Body: "upstream connect error"}, refusal(500, "upstream")},
		{dosim.Fault{Reset: true}, is(syscall.ECONNRESET)},
		{dosim.Fault{Hang: true}, is(context.DeadlineExceeded)},
		{dosim.Fault{Status: 503, Cut: true}, refusal(503, "")},
	} {
		for _, applied := range []bool{false, true} {
			fault := fault
			fault.fault.Op, fault.fault.Applied = "POST /v2/droplets", applied
			check := func(t *testing.T, sim *dosim.Sim, c *godo.Client, patience time.Duration) {
				sim.Inject(fault.fault)
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				_, _, err := c.Droplets.Create(ctx, single("ci-1"))
				if err == nil || !fault.heard(err) {
					t.Errorf("the client heard %v", err)
				}
				if made := truth(sim) != ""; made != applied {
					t.Errorf("carried out: %t, want %t", made, applied)
				}
				if len(sim.Faults()) != 0 {
					t.Error("the fault is still armed")
				}
				create(t, c, "ci-2")
			}
			t.Run(fault.fault.String(), func(t *testing.T) {
				t.Run("in-process", func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						sim := dosim.New(dosim.Options{})
						check(t, sim, client(t, sim), time.Minute)
					})
				})
				t.Run("network", func(t *testing.T) {
					sim := dosim.New(dosim.Options{})
					check(t, sim, networkClient(t, sim, false), 500*time.Millisecond)
				})
			})
		}
	}
}

// Over HTTP/2 a reset is one of the stream.
func TestFaultsOverTLSWithEitherProtocol(t *testing.T) {
	for proto, heard := range map[string]string{"HTTP/1.1": syscall.ECONNRESET.Error(), "HTTP/2.0": "INTERNAL_ERROR"} {
		sim := dosim.New(dosim.Options{})
		c := networkClient(t, sim, proto == "HTTP/2.0")
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
		if _, _, err := c.Droplets.Create(ctx, single("new")); err == nil || !strings.Contains(err.Error(), heard) || truth(sim) != "ci ci new" {
			t.Errorf("%s: heard %v, made %q", proto, err, truth(sim))
		}
	}
}

// A refused connection is never applied; a cut answer without a status of its own is half of the true one.
func TestRefusedAndCut(t *testing.T) {
	for heard, fault := range map[error]dosim.Fault{
		syscall.ECONNREFUSED: {Op: "*", Refused: true, Applied: true},
		syscall.ECONNRESET:   {Op: "*", Cut: true},
	} {
		sim, c := open(t, dosim.Options{})
		sim.Inject(fault)
		if _, _, err := c.Droplets.Create(ctx, single("ci-1")); !errors.Is(err, heard) || (truth(sim) != "") != fault.Cut {
			t.Errorf("%s: heard %v, made %q", fault, err, truth(sim))
		}
	}
}

func TestSlowAnswerIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		start := time.Now()
		sim.Inject(dosim.Fault{Op: "POST /v2/droplets", Delay: 20 * time.Second, Applied: true})
		create(t, c, "ci-1")
		if took := time.Since(start); took != 20*time.Second {
			t.Errorf("it took %s", took)
		}
		if !sim.Droplets()[0].Created.Equal(start) {
			t.Error("applied means before the delay")
		}
	})
}

func TestWhichRequestsAFaultHits(t *testing.T) {
	for what, test := range map[string]struct {
		fault dosim.Fault
		want  string // of six GETs of one Droplet: x is hit
	}{
		"the first by default":  {dosim.Fault{Op: "GET /v2/droplets/{id}"}, "x....."},
		"after two":             {dosim.Fault{Op: "GET /v2/droplets/{id}", Skip: 2, Times: 3}, "..xxx."},
		"for ever":              {dosim.Fault{Op: "GET /v2/droplets/{id}", Skip: 1, Times: -1}, ".xxxxx"},
		"of any operation":      {dosim.Fault{Op: "*", Times: 2}, "xx...."},
		"of the method":         {dosim.Fault{Op: "GET *"}, "x....."},
		"of another method":     {dosim.Fault{Op: "DELETE *"}, "......"},
		"with a query it lacks": {dosim.Fault{Op: "*?page=2"}, "......"},
		"with a query":          {dosim.Fault{Op: "*?a=b", Times: 2}, "xx...."},
	} {
		t.Run(what, func(t *testing.T) {
			sim := dosim.New(dosim.Options{})
			id := sim.AddDroplet(dosim.Droplet{Name: "ci-1"})
			test.fault.Status = 500
			sim.Inject(test.fault)
			var got strings.Builder
			for range 6 {
				if request(sim, "GET", fmt.Sprintf("/v2/droplets/%d?a=b", id)).Code == 500 {
					got.WriteString("x")
				} else {
					got.WriteString(".")
				}
			}
			if got.String() != test.want {
				t.Errorf("got %s, want %s", &got, test.want)
			}
		})
	}
}

func TestHTMLIsNotTheAPIs(t *testing.T) {
	sim := dosim.New(dosim.Options{})
	sim.Inject(dosim.Fault{Op: "*", Status: 404, Body: dosim.HTMLBody})
	w := request(sim, "GET", "/v2/account")
	if w.Code != 404 || !strings.Contains(w.Body.String(), "<title>404 Not Found</title>") || w.Header().Get("Content-Type") != "text/html" ||
		w.Header().Get("X-Request-Id")+w.Header().Get("Ratelimit-Remaining") != "" {
		t.Errorf("got %d, %v, %s", w.Code, w.Header(), w.Body)
	}
}

func TestFaultsOfOnePlace(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	sim.Inject(
		dosim.Fault{Op: "POST /v2/droplets", Region: "nyc1", Behaviour: dosim.NeverSeen, Times: -1},
		dosim.Fault{Op: "GET *", Region: "nyc1", Status: 500}, // it asks for none
	)
	for _, region := range []string{"nyc1", "nyc3", "nyc1"} {
		req := single(region)
		req.Region = region
		must[*godo.Droplet](t)(c.Droplets.Create(ctx, req))
	}
	if got := all(t, c); got != "nyc3" {
		t.Errorf("made %q", got)
	}
}

func TestFaultsTakeTurns(t *testing.T) {
	sim, c := open(t, dosim.Options{})
	sim.Inject(dosim.Fault{Op: "*", Status: 500}, dosim.Fault{Op: "*", Status: 429, Header: map[string]string{"Retry-After": "7"}})
	_, _, err := c.Account.Get(ctx)
	wantRefusal(t, err, 500, "")
	_, resp, err := c.Account.Get(ctx)
	wantRefusal(t, err, 429, "")
	if resp.Header.Get("Retry-After") != "7" || resp.Header.Get("Ratelimit-Remaining") != "4998" {
		t.Errorf("got headers %v", resp.Header)
	}
	sim.Inject(dosim.Fault{Op: "*", Status: 500, Times: -1})
	sim.ClearFaults()
	must[*godo.Account](t)(c.Account.Get(ctx))
}

// Behaviours: what the client is told is a success, and what comes of it.

func TestCreatesThatTurnOutOtherwise(t *testing.T) {
	type snapshot struct{ Billed, Listed, Found string }
	for _, test := range []struct {
		fault dosim.Fault
		want  map[string]snapshot // by time since the create
	}{
		{dosim.Fault{Behaviour: dosim.NeverSeen}, map[string]snapshot{
			"0s": {}, "30s": {}, "5m0s": {},
		}},
		{dosim.Fault{Behaviour: dosim.FailsLater}, map[string]snapshot{
			"0s": {"a b", "a b", "new new"}, "14s": {"a b", "a b", "new new"}, "15s": {}, "5m0s": {},
		}},
		{dosim.Fault{Behaviour: dosim.StuckNew}, map[string]snapshot{
			"0s": {"a b", "a b", "new new"}, "5m0s": {"a b", "a b", "new new"},
		}},
		{dosim.Fault{Behaviour: dosim.StuckNew, For: time.Minute, First: 1}, map[string]snapshot{
			"30s": {"a b", "a b", "new active"}, "5m0s": {"a b", "a b", "active active"},
		}},
		{dosim.Fault{Behaviour: dosim.LateInLists, For: 2 * time.Minute, First: 1}, map[string]snapshot{
			"0s": {"a b", "b", "new new"}, "30s": {"a b", "b", "active active"}, "5m0s": {"a b", "a b", "active active"},
		}},
		{dosim.Fault{Behaviour: dosim.LateToRise, For: 2 * time.Minute}, map[string]snapshot{
			"0s": {"a b", "", ""}, "30s": {"a b", "", ""}, "5m0s": {"a b", "a b", "active active"},
		}},
	} {
		t.Run(test.fault.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, c := open(t, dosim.Options{})
				test.fault.Op = "POST /v2/droplets"
				sim.Inject(test.fault)
				req := several(2)
				req.Names = []string{"a", "b"}
				made := must[[]godo.Droplet](t)(c.Droplets.CreateMultiple(ctx, req))
				start := time.Now()
				for _, at := range []time.Duration{0, 14 * time.Second, 15 * time.Second, 30 * time.Second, 5 * time.Minute} {
					time.Sleep(at - time.Since(start))
					var found []string
					for _, d := range made {
						if now, _, err := c.Droplets.Get(ctx, d.ID); err == nil {
							found = append(found, now.Status)
						}
					}
					got := snapshot{truth(sim), all(t, c), strings.Join(found, " ")}
					if want, told := test.want[at.String()]; told {
						delete(test.want, at.String())
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("after %s (-want +got):\n%s", at, diff)
						}
					}
				}
				if len(test.want) > 0 {
					t.Errorf("never looked at %v", test.want)
				}
				given := test.fault.Behaviour == dosim.NeverSeen || test.fault.Behaviour == dosim.FailsLater
				if (sim.Dollars() == 0) != given {
					t.Errorf("it costs %v", sim.Dollars())
				}
			})
		})
	}
}

func TestDeletesThatAreNotCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		left := func(id int) string {
			remove(t, c, id)
			time.Sleep(5 * time.Second)
			return truth(sim)
		}
		hanging := sim.AddDroplet(dosim.Droplet{Name: "hanging", Tags: []string{"fleeting"}})
		sim.Inject(dosim.Fault{Op: "DELETE /v2/droplets/{id}", Behaviour: dosim.DeleteIgnored})
		if got := left(hanging); got != "hanging" {
			t.Errorf("after an ignored delete there is %q", got)
		}
		left(hanging)

		booting := create(t, c, "booting", "fleeting").ID
		sim.Inject(dosim.Fault{Op: "DELETE *", Behaviour: dosim.DeleteNewIgnored, Times: -1})
		if got := left(booting); got != "booting" {
			t.Errorf("after a delete while new there is %q", got)
		}
		time.Sleep(30 * time.Second)
		if got := left(booting); got != "" {
			t.Errorf("after a delete while active there is %q", got)
		}
		sim.ClearFaults()

		for _, name := range []string{"a", "b", "c"} {
			sim.AddDroplet(dosim.Droplet{Name: name, Tags: []string{"fleeting", "fleeting-delete:x"}})
		}
		sim.Inject(dosim.Fault{Op: "DELETE /v2/droplets", Behaviour: dosim.DeleteIgnored, First: 2})
		if _, err := c.Droplets.DeleteByTag(ctx, "fleeting-delete:x"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if truth(sim) != "a b" {
			t.Errorf("after a half-hearted delete by tag there is %q", truth(sim))
		}

		sim.Inject(dosim.Fault{Op: "DELETE *", Message: dosim.MessagePendingEvent})
		_, err := c.Droplets.Delete(ctx, sim.Droplets()[0].ID)
		wantRefusal(t, err, 422, dosim.MessagePendingEvent)
	})
}

func TestListsThatAreBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		byTag := func() string {
			return listed(must[[]godo.Droplet](t)(c.Droplets.ListByTag(ctx, "a", nil)))
		}
		old := sim.AddDroplet(dosim.Droplet{Name: "old", Tags: []string{"a"}})
		time.Sleep(time.Minute)
		sim.AddDroplet(dosim.Droplet{Name: "new", Tags: []string{"a"}})
		sim.Destroy(old)
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.ListLags, For: 30 * time.Second})
		if got := all(t, c); got != "old" {
			t.Errorf("a list that lags shows %q", got)
		}
		if got := all(t, c); got != "new" {
			t.Errorf("the next shows %q", got)
		}
		late := sim.AddDroplet(dosim.Droplet{Name: "late"})
		time.Sleep(time.Minute)
		sim.Tag(late, "a")
		sim.Untag(sim.Droplets()[0].ID, "a")
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: dosim.TagFilterLags, For: 30 * time.Second})
		if got := byTag(); got != "new" {
			t.Errorf("a tag filter that lags shows %q", got)
		}
		if got := byTag(); got != "late" {
			t.Errorf("the next shows %q", got)
		}
	})
}

// Lists whose pages shift, and one bad moment in which nothing lives.
func TestListsThatAreWrong(t *testing.T) {
	for behaviour, want := range map[dosim.Behaviour]string{
		dosim.ListSkips:   "0 1 2 4 5 of 6, last true",
		dosim.ListRepeats: "0 1 2 2 3 4 5 of 6, last true",
		dosim.ListEmpty:   " of 0, last true",
	} {
		sim, c := open(t, dosim.Options{})
		for i := range 6 {
			sim.AddDroplet(dosim.Droplet{Name: fmt.Sprint(i)})
		}
		sim.Inject(dosim.Fault{Op: "GET /v2/droplets", Behaviour: behaviour, Times: 2})
		first := must[[]godo.Droplet](t)(c.Droplets.List(ctx, &godo.ListOptions{PerPage: 3}))
		second, resp, err := c.Droplets.List(ctx, &godo.ListOptions{PerPage: 3, Page: 2})
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s of %d, last %t", listed(append(first, second...)), resp.Meta.Total, resp.Links.IsLastPage())
		if got != want || truth(sim) != "0 1 2 3 4 5" || all(t, c) != truth(sim) {
			t.Errorf("%s: got %q, want %q; then %q", behaviour, got, want, all(t, c))
		}
	}
}

func TestFieldsOfUnexpectedTypes(t *testing.T) {
	for behaviour, odd := range map[dosim.Behaviour]struct {
		field string
		times int // in one Droplet
	}{
		dosim.OddNetmask:  {`"netmask":20,`, 2},
		dosim.OddPrice:    {`"price_hourly":"0.00893"`, 1},
		dosim.OddNetworks: {`"networks":[],`, 1},
	} {
		sim, c := open(t, dosim.Options{BootTime: 1})
		sim.AddDroplet(dosim.Droplet{Name: "a"})
		id := sim.AddDroplet(dosim.Droplet{Name: "b"})
		sim.Inject(dosim.Fault{Op: "*", Behaviour: behaviour, First: 1, Times: 2})
		for _, target := range []string{"/v2/droplets", fmt.Sprint("/v2/droplets/", id)} {
			body := request(sim, "GET", target).Body.String()
			if got := strings.Count(body, odd.field); got != odd.times || !json.Valid([]byte(body)) {
				t.Errorf("%s, GET %s: %s", behaviour, target, body)
			}
		}
		if got := all(t, c); got != "a b" {
			t.Errorf("the next list: %q", got)
		}
	}
}

func TestKeyIsInvalidForAWhileAfterItsUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		sim.Inject(dosim.Fault{Op: "POST /v2/account/keys", Behaviour: dosim.KeyLate, For: 8 * time.Second})
		key := must[*godo.Key](t)(c.Keys.Create(ctx, &godo.KeyCreateRequest{Name: "k", PublicKey: publicKey}))
		req := single("ci-1")
		req.SSHKeys = []godo.DropletCreateSSHKey{{ID: key.ID}}
		_, _, err := c.Droplets.Create(ctx, req)
		wantRefusal(t, err, 422, fmt.Sprint(key.ID, " ", dosim.MessageInvalidKeys))
		time.Sleep(8 * time.Second)
		must[*godo.Droplet](t)(c.Droplets.Create(ctx, req))
	})
}
