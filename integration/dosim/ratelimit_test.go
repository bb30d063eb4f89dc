package dosim_test

import (
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/digitalocean/godo"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestEveryAnswerHasTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, dosim.New(dosim.Options{}))
		_, first, err := c.Account.Get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		_, _, err = c.Droplets.Get(ctx, 1)
		missing, _ := errors.AsType[*godo.ErrorResponse](err)
		for i, h := range []godo.Rate{first.Rate, {Limit: 5000, Remaining: header(t, missing, "ratelimit-remaining"), Reset: godo.Timestamp{Time: time.Unix(int64(header(t, missing, "ratelimit-reset")), 0)}}} {
			if h.Limit != 5000 || h.Remaining != 4999-i || h.Reset.Unix() != time.Now().Add(time.Hour-10*time.Second).Unix() {
				t.Errorf("request %d: got %+v", i+1, h)
			}
		}
	})
}

func header(t *testing.T, e *godo.ErrorResponse, name string) int {
	t.Helper()
	n, err := strconv.Atoi(e.Response.Header.Get(name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func TestBurstHasRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{PerMinute: 3})
		must[*godo.Account](t)(c.Account.Get(ctx))
		time.Sleep(20 * time.Second)
		must[*godo.Account](t)(c.Account.Get(ctx))
		must[*godo.Account](t)(c.Account.Get(ctx))
		_, _, err := c.Account.Get(ctx)
		wantRefusal(t, err, 429, dosim.MessageTooMany)
		refusal, _ := errors.AsType[*godo.ErrorResponse](err)
		if after := header(t, refusal, "retry-after"); after != 40 {
			t.Errorf("retry-after is %d, want 40", after)
		}
		time.Sleep(40 * time.Second)
		must[*godo.Account](t)(c.Account.Get(ctx))
		_, _, err = c.Account.Get(ctx)
		wantRefusal(t, err, 429, dosim.MessageTooMany)
		if sim.Throttled() != 2 {
			t.Errorf("%d requests were throttled, want 2", sim.Throttled())
		}
	})
}

func TestHourlyLimitSlides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := client(t, dosim.New(dosim.Options{PerHour: 2}))
		must[*godo.Account](t)(c.Account.Get(ctx))
		time.Sleep(30 * time.Minute)
		must[*godo.Account](t)(c.Account.Get(ctx))
		_, _, err := c.Account.Get(ctx)
		wantRefusal(t, err, 429, dosim.MessageTooMany)
		refusal, _ := errors.AsType[*godo.ErrorResponse](err)
		if refusal.Response.Header.Get("retry-after") != "" || header(t, refusal, "ratelimit-remaining") != 0 {
			t.Errorf("the hourly 429 has the headers %v", refusal.Response.Header)
		}
		time.Sleep(30 * time.Minute)
		must[*godo.Account](t)(c.Account.Get(ctx))
		_, _, err = c.Account.Get(ctx)
		wantRefusal(t, err, 429, dosim.MessageTooMany)
	})
}

func TestListOfKeysHasALimitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, c := open(t, dosim.Options{})
		key := sim.AddKey("mine", publicKey)
		for range 10 {
			must[[]godo.Key](t)(c.Keys.List(ctx, nil))
		}
		_, _, err := c.Keys.List(ctx, nil)
		wantRefusal(t, err, 429, dosim.MessageTooMany)
		must[*godo.Key](t)(c.Keys.GetByFingerprint(ctx, key.Fingerprint))
		time.Sleep(time.Minute)
		must[[]godo.Key](t)(c.Keys.List(ctx, nil))
	})
}
