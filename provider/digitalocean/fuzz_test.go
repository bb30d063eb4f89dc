package digitalocean

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// FuzzAnswers: no answer to any operation makes the Client panic, hang, or
// return a value and an error at once; and an error is always a CloudError of
// one line.
func FuzzAnswers(f *testing.F) {
	for i := range operations {
		f.Add(uint8(i), 200, genuine(f, operations[i]))
		for _, body := range []string{"", "null", "{}", "[]", "<html>", `{"message":{}}`, `{"account":null}`, `{"ssh_key":{}}`, `{"droplets":[null]}`} {
			f.Add(uint8(i), 200, body)
			f.Add(uint8(i), 422, body)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, status int, body string) {
		if strings.Contains(body, `"next"`) {
			t.Skip() // a thousand requests; see TestEndlessPages
		}
		if status < 200 || status > 599 {
			t.Skip()
		}
		synctest.Test(t, func(t *testing.T) {
			var sent int
			o := operations[int(n)%len(operations)]
			value, err := o.call(t.Context(), over(t, always(&sent, status, body, "Location", body, "Retry-After", body, "Content-Type", body)))
			if err == nil {
				return
			}
			e := cloudError(t, err)
			if !zero(value) {
				t.Errorf("%s: %+v besides %v", o.name, value, err)
			}
			if e.Class == nil || e.Message == "" || len(e.Error()) > 600 || strings.ContainsAny(e.Error(), "\r\n\x00\x1b") {
				t.Errorf("%s: %q", o.name, e.Error())
			}
		})
	})
}

// genuine is what the simulator answers.
func genuine(f *testing.F, o operation) string {
	sim := dosim.New(dosim.Options{Token: testToken})
	defer sim.Close()
	sim.AddDroplet(dosim.Droplet{Name: "ci-7k2m9qxabc", Tags: []string{"fleeting", "fleeting-group:ci"}})
	sim.AddKey("laptop", somePublic)
	var mu sync.Mutex
	var body strings.Builder
	c, err := New(Options{
		URL:   "https://api.digitalocean.com",
		Token: func() (string, error) { return testToken, nil },
		Transport: answering(func(r *http.Request) (*http.Response, error) {
			resp, err := sim.Transport().RoundTrip(r)
			mu.Lock()
			defer mu.Unlock()
			if err == nil && body.Len() == 0 {
				b := make([]byte, 8<<10)
				n, _ := resp.Body.Read(b)
				body.Write(b[:n])
			}
			return resp, err
		}),
	})
	if err != nil {
		f.Fatal(err)
	}
	_, _ = o.call(f.Context(), c)
	return body.String()
}
