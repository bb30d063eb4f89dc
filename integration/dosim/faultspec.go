package dosim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultGrammar explains ParseFault to people.
const FaultGrammar = `A fault is  OPERATION: WORD...  where OPERATION is a method and a path such as
"POST /v2/droplets" or "GET /v2/droplets/{id}", optionally with ?KEY=VALUE that
the query must have; a star at the end stands for the rest ("DELETE *", "*").

which requests   region SLUG        of creates: those in this region
                 skip N             spare the first N that match
                 times N|forever    hit N of them (default 1)
the answer       500, 422 ...       this status; with what DigitalOcean says then
                 says "TEXT"        this message, with 422 unless a status is given
                 pending-event      422 Droplet already has a pending event.
                 html, empty        with an HTML page, or without a body
                 header KEY=VALUE   with this header
                 reset, refused     no answer: the connection is cut
                 cut                half an answer, then a reset
                 hang               no answer at all
                 delay D            slow
                 applied            carried out all the same, before the error
what comes of it
 (POST /v2/droplets)                never-seen, fails-later, stuck-new,
                                    late-in-list, late-to-rise
 (DELETE ...)    delete-ignored, delete-new-ignored
 (GET /v2/droplets)                 list-lags, tag-filter-lags, list-skips,
                                    list-repeats, list-empty
 (... /v2/droplets)                 odd-netmask, odd-price, odd-networks
 (POST /v2/account/keys)            key-late
                 for D              how long (5s, 2m)
                 first N            of how many of a request's Droplets
`

// words has, for each word of a fault but statuses, bodies and behaviours, where its value is. Those of a bool have none
// of their own.
var words = []struct {
	name  string
	field func(*Fault) any
}{
	{"region", func(f *Fault) any { return &f.Region }},
	{"applied", func(f *Fault) any { return &f.Applied }},
	{"says", func(f *Fault) any { return &f.Message }},
	{"header", func(f *Fault) any { return &f.Header }},
	{"refused", func(f *Fault) any { return &f.Refused }},
	{"reset", func(f *Fault) any { return &f.Reset }},
	{"hang", func(f *Fault) any { return &f.Hang }},
	{"cut", func(f *Fault) any { return &f.Cut }},
	{"delay", func(f *Fault) any { return &f.Delay }},
	{"for", func(f *Fault) any { return &f.For }},
	{"first", func(f *Fault) any { return &f.First }},
	{"skip", func(f *Fault) any { return &f.Skip }},
	{"times", func(f *Fault) any { return &f.Times }},
}

var bodies = map[string]string{"html": HTMLBody, "empty": EmptyBody}

// ParseFault reads a fault as people write it on a command line, for example
//
//	POST /v2/droplets: applied reset
//	GET /v2/droplets?page=3: 503 html times 2
//	DELETE *: delete-ignored times forever
//
// [FaultGrammar] has all words. [Fault.String] writes the same form.
func ParseFault(text string) (Fault, error) {
	op, rest, ok := strings.Cut(text, ": ") // with a space: tags in a query may have colons
	if !ok || op == "" {
		return Fault{}, fmt.Errorf("fault %q: want OPERATION: WORD..., such as \"POST /v2/droplets: applied reset\"", text)
	}
	f := Fault{Op: op}
	if rest = strings.TrimSpace(rest); rest == "" {
		return Fault{}, fmt.Errorf("fault %q: it does nothing; add a status such as 503, or a word such as reset or never-seen", text)
	}
	var err error
	for rest != "" && err == nil {
		rest, err = f.take(rest)
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", text, err)
	}
	return f, nil
}

// take sets what the first word says, with its value if it has one, and returns the words behind it.
func (f *Fault) take(text string) (rest string, err error) {
	word, rest := cutWord(text)
	for _, w := range words {
		if w.name != word {
			continue
		}
		if on, ok := w.field(f).(*bool); ok {
			*on = true
			return rest, nil
		}
		if rest == "" {
			return "", fmt.Errorf("%q needs a value", word)
		}
		var value string
		value, rest = cutWord(rest)
		switch field := w.field(f).(type) {
		case *string:
			*field = value
		case *int:
			if *field = -1; value != "forever" {
				*field, err = strconv.Atoi(value)
			}
		case *time.Duration:
			*field, err = time.ParseDuration(value)
		case *map[string]string:
			key, value, _ := strings.Cut(value, "=")
			if *field == nil {
				*field = map[string]string{}
			}
			(*field)[key] = value
		}
		return rest, err
	}
	status, err := strconv.Atoi(word)
	switch {
	case bodies[word] != "":
		f.Body = bodies[word]
	case word == "pending-event":
		f.Message = MessagePendingEvent
	case slices.Contains(Behaviours, Behaviour(word)):
		f.Behaviour = Behaviour(word)
	case err != nil || http.StatusText(status) == "":
		return "", fmt.Errorf("%q is neither a word of faults nor an HTTP status", word)
	default:
		f.Status = status
	}
	return rest, nil
}

// cutWord takes the first word off, without its quotes if it is quoted as in Go.
func cutWord(text string) (word, rest string) {
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		word, _ = strconv.Unquote(quoted)
		return word, strings.TrimSpace(text[len(quoted):])
	}
	word = strings.Fields(text)[0]
	return word, strings.TrimSpace(text[len(word):])
}

// String writes the fault in the form that ParseFault reads. A Body of one's own shows as the word body only.
func (f Fault) String() string {
	said := []string{f.Op + ":"}
	if f.Status != 0 {
		said = append(said, strconv.Itoa(f.Status))
	}
	if f.Body != "" {
		word := "body"
		for name, body := range bodies {
			if body == f.Body {
				word = name
			}
		}
		said = append(said, word)
	}
	if f.Behaviour != "" {
		said = append(said, string(f.Behaviour))
	}
	for _, w := range words {
		switch v := w.field(&f).(type) {
		case *bool:
			if *v {
				said = append(said, w.name)
			}
		case *string:
			if *v != "" {
				said = append(said, fmt.Sprintf("%s %q", w.name, *v))
			}
		case *int:
			if *v != 0 {
				said = append(said, strings.Replace(fmt.Sprint(w.name, " ", *v), " -1", " forever", 1))
			}
		case *time.Duration:
			if *v != 0 {
				said = append(said, fmt.Sprint(w.name, " ", *v))
			}
		case *map[string]string:
			for _, key := range slices.Sorted(maps.Keys(*v)) {
				said = append(said, fmt.Sprintf("%s %s=%s", w.name, key, (*v)[key]))
			}
		}
	}
	return strings.Join(said, " ")
}
