package digitalocean

import (
	"strings"
	"testing"
	"testing/synctest"
)

// FuzzAnswers: no answer to any operation makes the Client panic, hang, or
// return a value and an error at once; and an error is always a CloudError of
// one line.
func FuzzAnswers(f *testing.F) {
	for i := range operations {
		for _, body := range []string{"", "null", "{}", "[]", "<html>", `{"message":{}}`, `{"account":null}`, `{"image":{"id":5,"created_at":"?"}}`, `{"droplets":[null]}`, pageOf(2, 1, 2)} {
			f.Add(uint8(i), 200, body)
			f.Add(uint8(i), 422, body)
		}
	}
	f.Fuzz(func(t *testing.T, n uint8, status int, body string) {
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
