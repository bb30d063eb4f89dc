package dosim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
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

// ParseFault reads a fault as people write it on a command line, for example
//
//	POST /v2/droplets: applied reset
//	GET /v2/droplets?page=3: 503 html times 2
//	DELETE *: delete-ignored times forever
//
// [FaultGrammar] has all words. [Fault.String] writes the same form.
func ParseFault(text string) (Fault, error) {
	op, words, ok := cutOperation(text)
	if !ok {
		return Fault{}, fmt.Errorf("fault %q: want OPERATION: WORD..., such as \"POST /v2/droplets: applied reset\"", text)
	}
	var f Fault
	f.Op, f.Query, _ = strings.Cut(op, "?")
	words = strings.TrimSpace(words)
	if words == "" {
		return Fault{}, fmt.Errorf("fault %q: it does nothing; add a status such as 503, or a word such as reset or never-seen", text)
	}
	for words != "" {
		var word, arg string
		word, words = cutWord(words)
		if slices.Contains(wordsWithArgument, word) {
			if words == "" {
				return Fault{}, fmt.Errorf("fault %q: %q needs a value", text, word)
			}
			arg, words = cutWord(words)
		}
		if err := setWord(&f, word, arg); err != nil {
			return Fault{}, fmt.Errorf("fault %q: %w", text, err)
		}
	}
	return f, nil
}

// cutWord takes the first word off, without its quotes if it is quoted as in Go.
func cutWord(words string) (word, rest string) {
	if quoted, err := strconv.QuotedPrefix(words); err == nil {
		word, _ = strconv.Unquote(quoted)
		rest = words[len(quoted):]
	} else if i := strings.IndexFunc(words, unicode.IsSpace); i >= 0 {
		word, rest = words[:i], words[i:]
	} else {
		word = words
	}
	return word, strings.TrimSpace(rest)
}

// cutOperation splits at the colon that ends the operation; one with a space behind it, for tags may have colons.
func cutOperation(text string) (op, words string, ok bool) {
	op, words, ok = strings.Cut(text, ": ")
	op = strings.TrimSpace(op)
	return op, words, ok && op != ""
}

var wordsWithArgument = []string{"region", "skip", "times", "says", "header", "delay", "for", "first"}

func setWord(f *Fault, word, arg string) (err error) {
	switch word {
	case "applied":
		f.Applied = true
	case "html":
		f.Body = HTMLBody
	case "empty":
		f.Body = EmptyBody
	case "pending-event":
		pending := PendingEvent()
		f.Status, f.Message = pending.Status, pending.Message
	case "says":
		f.Message = arg
	case "region":
		f.Region = arg
	case "reset":
		f.Reset = true
	case "refused":
		f.Refused = true
	case "cut":
		f.Cut = true
	case "hang":
		f.Hang = true
	case "header":
		key, value, _ := strings.Cut(arg, "=")
		if f.Header == nil {
			f.Header = map[string]string{}
		}
		f.Header[key] = value
	case "skip":
		f.Skip, err = strconv.Atoi(arg)
	case "times":
		if f.Times = -1; arg != "forever" {
			f.Times, err = strconv.Atoi(arg)
		}
	case "first":
		f.First, err = strconv.Atoi(arg)
	case "delay":
		f.Delay, err = time.ParseDuration(arg)
	case "for":
		f.For, err = time.ParseDuration(arg)
	default:
		if slices.Contains(Behaviours, Behaviour(word)) {
			f.Behaviour = Behaviour(word)
			return nil
		}
		status, statusErr := strconv.Atoi(word)
		if statusErr != nil || http.StatusText(status) == "" {
			return fmt.Errorf("%q is neither a word of faults nor an HTTP status", word)
		}
		f.Status = status
	}
	return err
}

// String writes the fault in the form that ParseFault reads. A Body of one's own shows as the word body only.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.Op)
	if f.Query != "" {
		b.WriteString("?" + f.Query)
	}
	b.WriteString(":")
	say := func(yes bool, format string, args ...any) {
		if yes {
			fmt.Fprintf(&b, " "+format, args...)
		}
	}
	say(f.Region != "", "region %s", f.Region)
	say(f.Applied, "applied")
	say(f.Status != 0, "%d", f.Status)
	say(f.Message != "", "says %q", f.Message)
	say(f.Body == HTMLBody, "html")
	say(f.Body == EmptyBody, "empty")
	say(f.Body != "" && f.Body != HTMLBody && f.Body != EmptyBody, "body")
	for _, key := range slices.Sorted(maps.Keys(f.Header)) {
		say(true, "header %s=%s", key, f.Header[key])
	}
	say(f.Refused, "refused")
	say(f.Reset, "reset")
	say(f.Hang, "hang")
	say(f.Cut, "cut")
	say(f.Delay != 0, "delay %s", f.Delay)
	say(f.Behaviour != "", "%s", f.Behaviour)
	say(f.For != 0, "for %s", f.For)
	say(f.First != 0, "first %d", f.First)
	say(f.Skip != 0, "skip %d", f.Skip)
	say(f.Times < 0, "times forever")
	say(f.Times > 0, "times %d", f.Times)
	return b.String()
}
