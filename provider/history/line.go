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

// line is a line of the log: when it was written, what it says and the fields of it.
type line struct {
	at    time.Time // zero = it does not say
	msg   string
	field func(key string) string // "" = it has none of that key
}

const cut = "lines that are cut, or of another version"

// parse reads a line as journalctl -o json or short-iso, docker logs -t or gitlab-runner
// itself writes it, in each of the runner's log formats. It returns what is wrong with
// a line that is none of these; a line of other programs is one without a message.
func parse(text []byte) (line, string) {
	first, rest, _ := bytes.Cut(bytes.TrimSpace(text), []byte(" "))
	at, ok := parseTime(string(first))
	if !ok {
		return parseEntry(text, time.Time{})
	}
	if host, entry, ok := bytes.Cut(rest, []byte("]: ")); ok && bytes.Count(host, []byte(" ")) == 1 && bytes.IndexByte(host, '[') > 0 {
		rest = entry // after "host gitlab-runner[123]: "
	}
	return parseEntry(rest, at)
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// parseEntry reads what journald or the runner wrote. at is what is known of the time.
func parseEntry(entry []byte, at time.Time) (line, string) {
	entry = bytes.TrimSpace(entry)
	if bytes.HasPrefix(entry, []byte("{")) {
		return parseJSON(entry, at)
	}
	text := string(colours.ReplaceAll(entry, nil))
	if strings.HasPrefix(text, `time="`) {
		return parseLogfmt(text)
	}
	msg, fields, _ := strings.Cut(text, "  ") // it is filled up to 50 columns, and two spaces
	for _, level := range []string{"WARNING: ", "ERROR: ", "FATAL: ", "PANIC: "} {
		msg = strings.TrimPrefix(msg, level)
	}
	fields = " " + strings.TrimLeft(fields, " ")
	return line{at, message(msg), func(key string) string { return fieldOf(fields, key) }}, ""
}

var nextField = regexp.MustCompile(` [\w-]+=`)

// fieldOf finds a field in " key=value with spaces key=value".
func fieldOf(fields, key string) string {
	at := strings.LastIndex(fields, " "+key+"=") // they are sorted; a text before may contain the like
	if at < 0 {
		return ""
	}
	value := fields[at+len(key)+2:]
	if next := nextField.FindStringIndex(value); next != nil {
		value = value[:next[0]]
	}
	return value
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

// parseJSON reads an entry of journald, or the runner's log_format = "json".
func parseJSON(text []byte, at time.Time) (line, string) {
	var entry struct {
		Realtime *string         `json:"__REALTIME_TIMESTAMP"`
		Message  json.RawMessage `json:"MESSAGE"`
		Time     string          `json:"time"`
		Msg      string          `json:"msg"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return line{}, cut
	}
	if entry.Realtime == nil {
		if own, ok := parseTime(entry.Time); ok {
			at = own
		}
		return line{at, message(entry.Msg), jsonField(text)}, ""
	}
	micros, err := strconv.ParseInt(*entry.Realtime, 10, 64)
	if err != nil {
		return line{}, cut
	}
	at = time.UnixMicro(micros)
	var s string
	switch m := entry.Message; {
	case len(m) == 0:
		return line{at: at}, ""
	case string(m) == "null":
		return line{}, "lines that journalctl left out: give it --all" // it is longer than 4 KiB
	case m[0] == '"':
		_ = json.Unmarshal(m, &s) // it is one
		return parseEntry([]byte(s), at)
	}
	b, ok := byteArray(entry.Message) // it has colours, or is no UTF-8
	if !ok {
		return line{}, cut
	}
	return parseEntry(b, at)
}

// byteArray reads journald's [27,91,48]. Most lines of a journal are such arrays, for which encoding/json takes four
// times as long.
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
	return out, array[0] == '['
}

// jsonField decodes an object when the first of its fields is asked for.
func jsonField(object []byte) func(string) string {
	var fields map[string]any
	return func(key string) string {
		if fields == nil {
			d := json.NewDecoder(bytes.NewReader(object))
			d.UseNumber()
			_ = d.Decode(&fields) // it is one
		}
		if fields[key] == nil {
			return ""
		}
		return fmt.Sprint(fields[key])
	}
}

var pair = regexp.MustCompile(`(\S+?)=("(?:[^"\\]|\\.)*"|\S*)`)

// parseLogfmt reads key=value key="quoted value", the runner's log_format = "text".
func parseLogfmt(text string) (line, string) {
	fields := map[string]string{}
	for _, m := range pair.FindAllStringSubmatch(text, -1) {
		value := m[2]
		if strings.HasPrefix(value, `"`) {
			var err error
			if value, err = strconv.Unquote(value); err != nil {
				return line{}, cut
			}
		}
		fields[m[1]] = value
	}
	at, ok := parseTime(fields["time"])
	if !ok {
		return line{}, cut
	}
	return line{at, message(fields["msg"]), func(key string) string { return fields[key] }}, ""
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
