package dosim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault makes matching requests go wrong. It is a pair, (applied, error): whether the operation is carried out, and
// what the client hears. A fault without an error of its own (no Status, Body, Message, Reset, Refused, Hang or Cut)
// leaves the answer as it is, and only its Delay and Behaviour count.
//
// One request meets at most one error, of the first fault injected whose turn has come, and any number of behaviours.
type Fault struct {
	// Which requests. Op is an operation such as "POST /v2/droplets" or "GET /v2/droplets/{id}", or ends in a star:
	// "*" is every request, "DELETE *" every DELETE. Behind a question mark it may have a key=value that the query must
	// have, such as "GET /v2/droplets?page=3". Region, when set, is a slug that a create must ask for. Of the matching
	// requests the first Skip are spared, and then Times of them (0: one; -1: all) are hit.
	Op     string
	Region string
	Skip   int
	Times  int

	// The error. Status alone answers with the body that DigitalOcean gives with it.
	Applied bool              // the operation is carried out all the same
	Status  int               // of the answer; 0 with a Body: 500, with a Message: 422
	Body    string            // EmptyBody: none at all; see also HTMLBody
	Message string            // instead of a Body: this message in DigitalOcean's form, with error_attributes
	Header  map[string]string // added to the answer, such as Retry-After
	Refused bool              // connection refused (a reset, over a real network); never applied
	Reset   bool              // the connection (over HTTP/2: the stream) is reset without an answer
	Hang    bool              // no answer until the client gives up
	Cut     bool              // half of the body, then a reset; with no Status half of the true answer
	Delay   time.Duration     // before the operation is carried out, or after it if Applied

	// What becomes of an operation that is carried out; see the Behaviour's own comment for what For and First mean.
	Behaviour Behaviour
	For       time.Duration
	First     int // how many of a request's Droplets the behaviour touches; 0: all
}

// Behaviour is how an accepted operation turns out differently than its answer says.
type Behaviour string

// Of POST /v2/droplets:
const (
	NeverSeen   Behaviour = "never-seen"   // accepted and never made: 404 for good, in no list, not billed
	FailsLater  Behaviour = "fails-later"  // new for For (0: half of BootTime), then 404 for good, and not billed
	StuckNew    Behaviour = "stuck-new"    // new, and billed, for For more than BootTime (0: for ever)
	LateInLists Behaviour = "late-in-list" // billed and found by id, but lists miss it until For after the create
	LateToRise  Behaviour = "late-to-rise" // billed, but neither lists nor GET know it until For after the create
)

// Of DELETE /v2/droplets/{id} and DELETE /v2/droplets?tag_name=:
const (
	DeleteIgnored    Behaviour = "delete-ignored"     // 204, and nothing happens
	DeleteNewIgnored Behaviour = "delete-new-ignored" // the same, but only while the Droplet is new
)

// Of GET /v2/droplets:
const (
	ListLags      Behaviour = "list-lags"       // lists are For behind in what exists
	TagFilterLags Behaviour = "tag-filter-lags" // ?tag_name= goes by the tags of For ago
	ListSkips     Behaviour = "list-skips"      // from page 2 on, shifted: the First (0: one) Droplets of the page are missed
	ListRepeats   Behaviour = "list-repeats"    // from page 2 on, shifted: the last First (0: one) of the page before come again
	ListEmpty     Behaviour = "list-empty"      // nothing, and no more pages, although Droplets live
)

// Of GET /v2/droplets, GET /v2/droplets/{id} and POST /v2/droplets: a field of the answer has an unexpected type.
const (
	OddNetmask  Behaviour = "odd-netmask"  // an IPv4 netmask is a number
	OddPrice    Behaviour = "odd-price"    // price_hourly is a string
	OddNetworks Behaviour = "odd-networks" // networks is an empty list
)

// Of POST /v2/account/keys:
const (
	KeyLate Behaviour = "key-late" // for For after the upload, creates with the key are refused: invalid key identifiers
)

// Behaviours are all of them, for tables of faults.
var Behaviours = []Behaviour{
	NeverSeen, FailsLater, StuckNew, LateInLists, LateToRise, DeleteIgnored, DeleteNewIgnored,
	ListLags, TagFilterLags, ListSkips, ListRepeats, ListEmpty, OddNetmask, OddPrice, OddNetworks, KeyLate,
}

// EmptyBody as a Fault's Body answers with no body at all.
const EmptyBody = "(empty)"

// HTMLBody as a Fault's Body is the page of whatever stands between client and API, with the fault's status in its
// title; as it is here, in an outage. The answer has none of the headers that only the API sends.
const HTMLBody = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n" +
	"<body><center><h1>503 Service Temporarily Unavailable</h1></center></body>\r\n</html>\r\n"

// Inject arms faults, behind those already armed.
func (s *Sim) Inject(faults ...Fault) {
	s.locked(func() {
		for _, f := range faults {
			s.faults = append(s.faults, &armedFault{Fault: f})
		}
	})
}

// ClearFaults disarms all faults. What they have already done to Droplets and keys stays done.
func (s *Sim) ClearFaults() { s.locked(func() { s.faults = nil }) }

// Faults are the armed faults that have not hit as often as they are to.
func (s *Sim) Faults() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []Fault
	for _, f := range s.faults {
		left = append(left, f.Fault)
	}
	return left
}

// armedFault counts what an injected fault has met.
type armedFault struct {
	Fault
	met, hit int
}

func (f Fault) matches(op string, c *call) bool {
	want, query, _ := strings.Cut(f.Op, "?")
	if prefix, star := strings.CutSuffix(want, "*"); op != want && (!star || !strings.HasPrefix(op, prefix)) {
		return false
	}
	if key, value, _ := strings.Cut(query, "="); query != "" && !slices.Contains(c.query[key], value) {
		return false
	}
	if f.Region == "" {
		return true
	}
	var asked createRequest
	return json.Unmarshal(c.body, &asked) == nil && f.Region == asked.Region
}

// answers reports whether the fault has an answer of its own.
func (f Fault) answers() bool { return f.Status != 0 || f.Body != "" || f.Message != "" }

// fails reports whether the fault has an error of its own.
func (f Fault) fails() bool {
	return f.answers() || f.Reset || f.Refused || f.Hang || f.Cut
}

// carriedOut reports whether the operation is carried out.
func (f Fault) carriedOut() bool {
	if f.Refused {
		return false
	}
	return f.Applied || !f.fails() || f.Cut && !f.answers()
}

// meet finds the faults that a request meets, and returns the one that has an error or a delay, if one has. Callers hold
// s.mu.
func (s *Sim) meet(op string, c *call) (fault Fault) {
	for _, f := range s.faults {
		if !f.matches(op, c) {
			continue
		}
		if f.met++; f.met <= f.Skip {
			continue
		}
		if f.fails() || f.Delay > 0 {
			if fault.Op != "" {
				continue
			}
			fault = f.Fault
		}
		f.hit++
		c.faults = append(c.faults, f.Fault)
	}
	s.faults = slices.DeleteFunc(s.faults, func(f *armedFault) bool { return f.Times >= 0 && f.hit >= max(1, f.Times) })
	return fault
}

// answer is the fault's own answer.
func (f Fault) answer(c *call) reply {
	status := cmp.Or(f.Status, http.StatusInternalServerError)
	if f.Status == 0 && f.Message != "" {
		status = http.StatusUnprocessableEntity
	}
	rep := reply{status: status, header: http.Header{}}
	switch f.Body {
	case "":
		no := c.refusal(status, f.Message)
		if f.Message != "" {
			no.Attributes = map[string][]string{"base": {f.Message}}
		}
		rep = jsonReply(status, no)
	case EmptyBody:
	case HTMLBody:
		title := fmt.Sprintf("%d %s", status, http.StatusText(status))
		rep.body = []byte(strings.ReplaceAll(HTMLBody, "503 Service Temporarily Unavailable", title))
		rep.header.Set("Content-Type", "text/html")
		rep.foreign = true
	default: // the API's own is made above
		rep.foreign = true
		rep.body = []byte(f.Body)
		rep.header.Set("Content-Type", http.DetectContentType(rep.body))
		if json.Valid(rep.body) {
			rep.header.Set("Content-Type", jsonType)
		}
	}
	for key, value := range f.Header {
		rep.header.Set(key, value)
	}
	return rep
}

// touches reports whether the behaviour touches the i-th (from 0) of a request's Droplets.
func (f Fault) touches(i int) bool { return f.First == 0 || i < f.First }
