package dosim

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

// words are those of a fault that set a field of it, as flags.
func (f *Fault) words() *flag.FlagSet {
	words := flag.NewFlagSet("", flag.ContinueOnError)
	words.StringVar(&f.Region, "region", f.Region, "")
	words.StringVar(&f.Message, "says", f.Message, "")
	words.BoolVar(&f.Applied, "applied", f.Applied, "")
	words.BoolVar(&f.Refused, "refused", f.Refused, "")
	words.BoolVar(&f.Reset, "reset", f.Reset, "")
	words.BoolVar(&f.Hang, "hang", f.Hang, "")
	words.BoolVar(&f.Cut, "cut", f.Cut, "")
	words.DurationVar(&f.Delay, "delay", f.Delay, "")
	words.DurationVar(&f.For, "for", f.For, "")
	words.IntVar(&f.First, "first", f.First, "")
	words.IntVar(&f.Skip, "skip", f.Skip, "")
	words.IntVar(&f.Times, "times", f.Times, "")
	words.Func("header", "", func(text string) error {
		key, value, _ := strings.Cut(text, "=")
		if f.Header == nil {
			f.Header = map[string]string{}
		}
		f.Header[key] = value
		return nil
	})
	return words
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
	op, rest, _ := strings.Cut(text, ": ") // with a space: tags in a query may have colons
	rest = strings.TrimSpace(rest)
	if op == "" || rest == "" {
		return Fault{}, fmt.Errorf("fault %q: want OPERATION: WORD..., such as \"POST /v2/droplets: applied reset\"", text)
	}
	f := Fault{Op: op}
	words := f.words()
	for rest != "" {
		var word, value string
		word, rest = cutWord(rest)
		known := words.Lookup(word)
		switch status, err := strconv.Atoi(word); {
		case known != nil:
			if _, alone := known.Value.(interface{ IsBoolFlag() bool }); alone {
				value = "true"
			} else if value, rest = cutWord(rest); value == "forever" {
				value = "-1"
			}
			if err := known.Value.Set(value); err != nil {
				return Fault{}, fmt.Errorf("fault %q: the value %q of %s: %w", text, value, word, err)
			}
		case bodies[word] != "":
			f.Body = bodies[word]
		case word == "pending-event":
			f.Message = MessagePendingEvent
		case slices.Contains(Behaviours, Behaviour(word)):
			f.Behaviour = Behaviour(word)
		case err != nil || http.StatusText(status) == "":
			return Fault{}, fmt.Errorf("fault %q: %q is neither a word of faults nor an HTTP status", text, word)
		default:
			f.Status = status
		}
	}
	return f, nil
}

// cutWord takes the first word off, if there is one, without its quotes if it is quoted as in Go.
func cutWord(text string) (word, rest string) {
	if fields := strings.Fields(text); len(fields) > 0 {
		word, rest = fields[0], strings.TrimPrefix(text, fields[0])
	}
	if quoted, err := strconv.QuotedPrefix(text); err == nil {
		word, _ = strconv.Unquote(quoted)
		rest = text[len(quoted):]
	}
	return word, strings.TrimSpace(rest)
}

// String writes the fault in the form that ParseFault reads. A Body of one's own shows as the word body only.
func (f Fault) String() string {
	text := f.Op + ":"
	if f.Status != 0 {
		text += fmt.Sprintf(" %d", f.Status)
	}
	if f.Body != "" {
		word := "body"
		for name, body := range bodies {
			if body == f.Body {
				word = name
			}
		}
		text += " " + word
	}
	if f.Behaviour != "" {
		text += " " + string(f.Behaviour)
	}
	f.words().VisitAll(func(word *flag.Flag) {
		field, ok := word.Value.(flag.Getter)
		if !ok || reflect.ValueOf(field.Get()).IsZero() {
			return
		}
		switch v := field.Get().(type) {
		case bool:
			text += " " + word.Name
		case string:
			text += fmt.Sprintf(" %s %q", word.Name, v)
		default:
			text += fmt.Sprintf(" %s %v", word.Name, v)
		}
	})
	for _, key := range slices.Sorted(maps.Keys(f.Header)) {
		text += fmt.Sprintf(" header %s=%s", key, f.Header[key])
	}
	return text
}
