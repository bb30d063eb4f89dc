package dosim_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

func TestParseFault(t *testing.T) {
	for text, want := range map[string]dosim.Fault{
		"POST /v2/droplets: applied reset": {Op: "POST /v2/droplets", Applied: true, Reset: true},
		"GET /v2/droplets?page=3: 503 html skip 1 times 2": {
			Op: "GET /v2/droplets?page=3", Status: 503, Body: dosim.HTMLBody, Skip: 1, Times: 2,
		},
		"GET /v2/droplets?tag_name=fleeting-group:ci: hang": {Op: "GET /v2/droplets?tag_name=fleeting-group:ci", Hang: true},
		"*: 429 header Retry-After=7 times forever":         {Op: "*", Status: 429, Header: map[string]string{"Retry-After": "7"}, Times: -1},
		"*: refused delay 2s":                               {Op: "*", Refused: true, Delay: 2 * time.Second},
		"*: 200 empty cut":                                  {Op: "*", Status: 200, Body: dosim.EmptyBody, Cut: true},
		"DELETE /v2/droplets/{id}: pending-event":           {Op: "DELETE /v2/droplets/{id}", Message: dosim.MessagePendingEvent},
		"POST /v2/droplets: stuck-new for 2m0s first 3": {
			Op: "POST /v2/droplets", Behaviour: dosim.StuckNew, For: 2 * time.Minute, First: 3,
		},
		"*: 429 header A=b header C=d=e":                        {Op: "*", Status: 429, Header: map[string]string{"A": "b", "C": "d=e"}},
		"POST /v2/droplets: region nyc1 reset":                  {Op: "POST /v2/droplets", Region: "nyc1", Reset: true},
		"*: 403 says \"No \\\"plan\\\",  friend: 422\" times 2": {Op: "*", Status: 403, Message: `No "plan",  friend: 422`, Times: 2},
		"*: says no\t skip 1":                                   {Op: "*", Message: "no", Skip: 1},
	} {
		got, err := dosim.ParseFault(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		again, err := dosim.ParseFault(want.String())
		if err != nil {
			t.Errorf("%s, written as %q: %v", text, want, err)
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Errorf("%s, written as %q (-want +got):\n%s", text, want, diff)
		}
	}
}

func TestParseFaultSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "want OPERATION: WORD...",
		"POST /v2/droplets":                 "want OPERATION: WORD...",
		"POST /v2/droplets: ":               "it does nothing",
		"POST /v2/droplets: appear reset":   `"appear" is neither a word of faults nor an HTTP status`,
		"POST /v2/droplets: 999":            `"999" is neither`,
		"POST /v2/droplets: reset skip":     `"skip" needs a value`,
		"POST /v2/droplets: reset skip two": "invalid syntax",
		"POST /v2/droplets: delay 5":        "missing unit",
		"POST /v2/droplets: says":           `"says" needs a value`,
	} {
		if _, err := dosim.ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestGrammarNamesEveryBehaviour(t *testing.T) {
	for _, b := range dosim.Behaviours {
		if !strings.Contains(dosim.FaultGrammar, string(b)) {
			t.Errorf("FaultGrammar does not mention %s", b)
		}
		if _, err := dosim.ParseFault("*: " + string(b)); err != nil {
			t.Error(err)
		}
	}
}
