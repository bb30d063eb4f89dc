package dosim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

type answer struct {
	status int
	header http.Header
	length int64
	body   string // what could be read of it before the error
}

// roundTrip asks h a question.
func roundTrip(ctx context.Context, h http.HandlerFunc) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, "POST", "https://api.example.com/v2/x?y=1", strings.NewReader("question"))
	if err != nil {
		return answer{}, err
	}
	resp, err := dosim.InProcess(h).RoundTrip(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, resp.ContentLength, string(body)}, err
}

func TestInProcessTransportHandsRequestAndAnswerOn(t *testing.T) {
	got, err := roundTrip(ctx, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Asked", r.Host+r.RequestURI+" "+string(body))
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("Too-Late", "yes")
		_, _ = io.WriteString(w, "answer")
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.status != 202 || got.body != "answer" || got.length != 6 {
		t.Errorf("got %d %q, %d long", got.status, got.body, got.length)
	}
	if got.header.Get("Asked") != "api.example.com/v2/x?y=1 question" || got.header.Get("Too-Late") != "" {
		t.Errorf("got headers %v", got.header)
	}
}

func TestInProcessTransportHonoursTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carriedOn := false
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := roundTrip(ctx, func(http.ResponseWriter, *http.Request) {
			time.Sleep(time.Minute)
			carriedOn = true
		})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !carriedOn {
			t.Error("the handler was stopped in its tracks: a server goes on")
		}

	})
}

func TestClosedSimEndsHangingRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := dosim.New(dosim.Options{})
		c := client(t, sim)
		sim.Inject(dosim.Fault{Op: "*", Hang: true})
		time.AfterFunc(time.Minute, sim.Close)
		start := time.Now()
		_, _, err := c.Account.Get(ctx)
		if !errors.Is(err, syscall.ECONNRESET) || time.Since(start) != time.Minute {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
	})
}
