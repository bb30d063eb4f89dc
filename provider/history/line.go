package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// line is a line of the log: when it was written, what it says and the fields of it.
type line struct {
	at   time.Time // zero = it does not say
	msg  string
	text string         // the fields, as in "key=value with spaces key=value"
	json map[string]any // instead of text; nil before the first field is asked for
	raw  []byte
}

// parse reads a line as journalctl -o json or short-iso, docker logs -t or gitlab-runner
// itself writes it, in each of the runner's log formats. It returns what is wrong with
// a line that is none of these; a line of other programs is one without a message.
func parse(text []byte) (line, string) {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return line{}, ""
	}
	if text[0] == '{' {
		return parseJSON(text)
	}
	first, rest, _ := bytes.Cut(text, []byte(" "))
	at, ok := parseTime(string(first))
	if !ok {
		return parseMessage(text, time.Time{})
	}
	if host, entry, ok := bytes.Cut(rest, []byte("]: ")); ok && bytes.Count(host, []byte(" ")) == 1 && bytes.IndexByte(host, '[') > 0 {
		rest = entry // after "host gitlab-runner[123]: "
	}
	return parseMessage(rest, at)
}

const cut = "lines that are cut, or of another version"

func parseJSON(text []byte) (line, string) {
	var entry struct {
		Realtime *string         `json:"__REALTIME_TIMESTAMP"`
		Message  json.RawMessage `json:"MESSAGE"`
		Time     string          `json:"time"`
		Msg      string          `json:"msg"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return line{}, cut
	}
	if entry.Realtime == nil { // the runner's log_format = "json"
		at, _ := parseTime(entry.Time)
		return line{at: at, msg: message(entry.Msg), raw: text}, ""
	}
	micros, err := strconv.ParseInt(*entry.Realtime, 10, 64)
	if err != nil {
		return line{}, cut
	}
	at := time.UnixMicro(micros)
	switch m := entry.Message; {
	case len(m) == 0:
		return line{at: at}, ""
	case m[0] == '"':
		var s string
		if json.Unmarshal(m, &s) != nil {
			return line{}, cut
		}
		return parseMessage([]byte(s), at)
	case m[0] == '[': // it has colours, or is no UTF-8
		b, ok := byteArray(m)
		if !ok {
			return line{}, cut
		}
		return parseMessage(b, at)
	}
	return line{}, "lines that journalctl left out: give it --all" // null: longer than 4 KiB
}

// byteArray reads journald's [27,91,48].
func byteArray(array []byte) ([]byte, bool) {
	var out []byte
	n := 0
	for _, c := range array[1:] {
		switch {
		case c >= '0' && c <= '9' && n < 256:
			n = 10*n + int(c-'0')
		case (c == ',' || c == ']') && n < 256:
			out = append(out, byte(n))
			n = 0
		case c != ' ':
			return nil, false
		}
	}
	return out, true
}

// parseMessage reads what the runner wrote, in one of its three formats.
func parseMessage(text []byte, at time.Time) (line, string) {
	text = bytes.TrimSpace(text)
	if len(text) > 0 && text[0] == '{' {
		l, fault := parseJSON(text)
		if l.at.IsZero() {
			l.at = at
		}
		return l, fault
	}
	plain := withoutColours(text)
	if strings.HasPrefix(plain, `time="`) {
		fields, ok := logfmt(plain)
		if !ok {
			return line{}, cut
		}
		if own, ok := parseTime(fields["time"].(string)); ok {
			at = own
		}
		msg, _ := fields["msg"].(string)
		return line{at: at, msg: message(msg), json: fields}, ""
	}
	msg, fields, _ := strings.Cut(plain, "  ") // it is filled up to 50 columns, and two spaces
	for _, level := range []string{"WARNING: ", "ERROR: ", "FATAL: ", "PANIC: "} {
		msg = strings.TrimPrefix(msg, level)
	}
	return line{at: at, msg: message(msg), text: " " + strings.TrimLeft(fields, " ")}, ""
}

// message is a message that handlers know without what varies in it.
func message(msg string) string {
	msg = strings.TrimSpace(msg)
	for _, begin := range []string{msgFailed, msgStarting} {
		if strings.HasPrefix(msg, begin) {
			return begin
		}
	}
	return msg
}

// logfmt reads key=value key="quoted value", the runner's log_format = "text".
func logfmt(s string) (map[string]any, bool) {
	fields := map[string]any{}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " ") {
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, false
		}
		value := ""
		if strings.HasPrefix(rest, `"`) {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, false
			}
			value, _ = strconv.Unquote(quoted) // it is one
			s = rest[len(quoted):]
		} else {
			value, s, _ = strings.Cut(rest, " ")
		}
		fields[key] = value
	}
	return fields, fields["time"] != nil
}

// field returns a field of a line; "" = it has none.
func (l *line) field(key string) string {
	if l.json == nil && l.raw != nil {
		d := json.NewDecoder(bytes.NewReader(l.raw))
		d.UseNumber()
		if d.Decode(&l.json) != nil {
			l.json = map[string]any{}
		}
	}
	if l.json != nil {
		if v := l.json[key]; v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
	at := strings.LastIndex(l.text, " "+key+"=") // fields are sorted; a text before may contain the like
	if at < 0 {
		return ""
	}
	value := l.text[at+len(key)+2:]
	for i := range len(value) { // up to the next " key="
		if value[i] == ' ' && isKey(value[i+1:]) {
			return value[:i]
		}
	}
	return value
}

func isKey(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c == '=':
			return i > 0
		case c != '-' && c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9'):
			return false
		}
	}
	return false
}

func (l *line) number(key string) int64 {
	n, _ := strconv.ParseInt(l.field(key), 10, 64)
	return max(0, n)
}

func (l *line) usd(key string) float64 {
	f, err := strconv.ParseFloat(l.field(key), 64)
	if err != nil || !(f >= 0 && f < 1e4) { // NaN is none either
		return 0
	}
	return f
}

// seconds returns a field that is a number of them; 0 = it is none, or more than a month.
func (l *line) seconds(key string) time.Duration {
	f, err := strconv.ParseFloat(l.field(key), 64)
	return bounded(f, err)
}

func bounded(seconds float64, err error) time.Duration {
	if err != nil || !(seconds > 0 && seconds < 31*24*3600) {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func (l *line) duration(key string) (time.Duration, bool) {
	d, err := time.ParseDuration(l.field(key))
	return d, err == nil && d >= 0
}

func parseTime(s string) (time.Time, bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' {
		return time.Time{}, false
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// withoutColours takes off what only a terminal reads.
func withoutColours(text []byte) string {
	var b strings.Builder
	b.Grow(len(text))
	for {
		at := bytes.Index(text, []byte("\x1b["))
		if at < 0 {
			b.Write(text)
			return b.String()
		}
		b.Write(text[:at])
		end := bytes.IndexByte(text[at:], 'm')
		if end < 0 {
			return b.String()
		}
		text = text[at+end+1:]
	}
}
