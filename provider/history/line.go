package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// line is a line of the log: when it was written, what it says and its fields.
type line struct {
	at     time.Time // zero = it does not say
	msg    string
	text   string         // the runner's own format, from where the fields begin
	fields map[string]any // of a JSON log; nil = they are in text
}

var (
	stamp     = regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\S+)\s+(?:\S+ \S+\[\d+\]: )?`) // the time, and "host gitlab-runner[123]: "
	colours   = regexp.MustCompile("\x1b\\[[0-9;]*m")
	level     = regexp.MustCompile(`^(WARNING|ERROR|FATAL|PANIC): `)
	nextField = regexp.MustCompile(` [\w-]+=`)
	requestID = regexp.MustCompile(` \(request id [^)]*\)`)
)

// parse reads a line in any form that Read takes; at is its time, as far as it is known. A line of another program has no
// message; ok = false is a line that is broken.
func parse(text []byte, at time.Time) (l line, ok bool) {
	text = bytes.TrimSpace(text)
	if m := stamp.FindSubmatch(text); m != nil {
		if own := parseTime(string(m[1])); !own.IsZero() {
			at, text = own, text[len(m[0]):]
		}
	}
	if !bytes.HasPrefix(text, []byte("{")) {
		l.text = colours.ReplaceAllString(string(text), "")
		if strings.HasPrefix(l.text, `time="`) { // log_format = "text"
			l.at, l.msg = parseTime(l.field("time")), l.field("msg")
			return l, true
		}
		msg, fields, _ := strings.Cut(l.text, "  ") // it is filled up to 50 columns, and two spaces
		return line{at: at, msg: strings.TrimSpace(level.ReplaceAllString(msg, "")), text: strings.TrimLeft(fields, " ")}, true
	}
	if !bytes.Contains(text, []byte(`"__REALTIME_TIMESTAMP"`)) {
		if json.Unmarshal(text, &l.fields) != nil {
			return l, false
		}
		l.msg, l.at = l.field("msg"), parseTime(l.field("time"))
		if l.at.IsZero() {
			l.at = at
		}
		return l, true
	}
	var entry struct {
		Micros  int64           `json:"__REALTIME_TIMESTAMP,string"`
		Message json.RawMessage `json:"MESSAGE"`
	}
	var message string
	var raw []byte                                                               // of a message that has colours, or is no UTF-8: journald has an array of its bytes
	if json.Unmarshal(text, &entry) != nil || string(entry.Message) == "null" || // without --all journalctl leaves long ones out
		json.Unmarshal(entry.Message, &message) != nil && json.Unmarshal(entry.Message, &raw) != nil {
		return l, false
	}
	return parse(append(raw, message...), believed(time.UnixMicro(entry.Micros)))
}

// field returns a field; "" = the line has none of that key. In text it is key=value with spaces, or key="quoted value"; the
// last of a key counts: they are sorted, and an error before may contain the like.
func (l *line) field(key string) string {
	if value := l.fields[key]; value != nil {
		return fmt.Sprint(value)
	}
	i := strings.LastIndex(" "+l.text, " "+key+"=")
	if i < 0 {
		return ""
	}
	value := l.text[i+len(key)+1:]
	if quoted, err := strconv.QuotedPrefix(value); err == nil {
		value, _ = strconv.Unquote(quoted)
	} else if next := nextField.FindStringIndex(value); next != nil {
		value = value[:next[0]]
	}
	return strings.Clone(strings.TrimSpace(value)) // the line is not kept with it
}

// The largest numbers that are believed.
const (
	maxID = 1 << 53
	month = 31 * 24 * 3600 // in seconds
)

// number is a field that is a number from 0 to most; else 0.
func (l *line) number(key string, most float64) float64 {
	if n, err := strconv.ParseFloat(l.field(key), 64); err == nil && n >= 0 && n <= most { // NaN is not
		return n
	}
	return 0
}

// parseTime returns a time of a log; zero = it is none.
func parseTime(s string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return believed(t)
		}
	}
	return time.Time{}
}

// believed returns a time of this century; else zero.
func believed(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 2000 || t.Year() > 2099 {
		return time.Time{}
	}
	return t
}
