package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// line is a line of the log: when it was written, what it says and the fields of it.
type line struct {
	at    time.Time // zero = it does not say
	msg   string
	field func(key string) string // "" = it has none of that key
}

// message is journald's: a string, or an array of bytes if it has colours or is no UTF-8. nil = journalctl left it out.
type message []byte

func (m *message) UnmarshalJSON(b []byte) error {
	if b[0] != '"' {
		return json.Unmarshal(b, (*[]byte)(m))
	}
	var s string
	err := json.Unmarshal(b, &s)
	*m = message(s)
	return err
}

// parse reads a line as journalctl -o json or short-iso, docker logs -t or gitlab-runner itself writes it, in each of the
// runner's log formats. at is what is known of its time. A line of another program has no message; ok = false is one that
// should be one of these.
func parse(text []byte, at time.Time) (l line, ok bool) {
	text = bytes.TrimSpace(text)
	first, rest, _ := bytes.Cut(text, []byte(" "))
	if t, ok := parseTime(string(first)); ok {
		at, text = t, bytes.TrimSpace(rest)
		if host, entry, ok := bytes.Cut(text, []byte("]: ")); ok && bytes.Count(host, []byte(" ")) == 1 && bytes.IndexByte(host, '[') > 0 {
			text = bytes.TrimSpace(entry) // after "host gitlab-runner[123]: "
		}
	}
	if !bytes.HasPrefix(text, []byte("{")) {
		return parseText(string(text), at)
	}
	var entry struct {
		Micros  int64   `json:"__REALTIME_TIMESTAMP,string"`
		Message message `json:"MESSAGE"`
		Time    string  `json:"time"`
		Msg     string  `json:"msg"`
	}
	if err := json.Unmarshal(text, &entry); err != nil {
		return l, false
	}
	if entry.Micros != 0 {
		if entry.Message == nil {
			return l, false
		}
		return parse(entry.Message, time.UnixMicro(entry.Micros))
	}
	if own, ok := parseTime(entry.Time); ok {
		at = own
	}
	fields := sync.OnceValue(func() (fields map[string]any) {
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		_ = d.Decode(&fields) // it is an object
		return fields
	})
	return line{at, entry.Msg, func(key string) string {
		if value := fields()[key]; value != nil {
			return fmt.Sprint(value)
		}
		return ""
	}}, true
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// parseText reads the runner's own format, and its log_format = "text".
func parseText(text string, at time.Time) (l line, ok bool) {
	text = colours.ReplaceAllString(text, "")
	fields := " " + text
	l.field = func(key string) string { return fieldOf(fields, key) }
	if strings.HasPrefix(text, `time="`) {
		l.at, ok = parseTime(l.field("time"))
		l.msg = l.field("msg")
		return l, ok
	}
	l.msg, fields, _ = strings.Cut(text, "  ") // it is filled up to 50 columns, and two spaces
	fields = " " + strings.TrimLeft(fields, " ")
	for _, level := range []string{"WARNING: ", "ERROR: ", "FATAL: ", "PANIC: "} {
		l.msg = strings.TrimPrefix(l.msg, level)
	}
	l.at, l.msg = at, strings.TrimSpace(l.msg)
	return l, true
}

var nextField = regexp.MustCompile(` [\w-]+=`)

// fieldOf finds a field in " key=value with spaces key="quoted value"".
func fieldOf(fields, key string) string {
	at := strings.LastIndex(fields, " "+key+"=") // they are sorted; a text before may contain the like
	if at < 0 {
		return ""
	}
	value := fields[at+len(key)+2:]
	if quoted, err := strconv.QuotedPrefix(value); err == nil {
		value, _ = strconv.Unquote(quoted)
	} else if next := nextField.FindStringIndex(value); next != nil {
		value = value[:next[0]]
	}
	return strings.Clone(value) // the line is not kept with it
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

func (l *line) seconds(key string) time.Duration {
	f, _ := strconv.ParseFloat(l.field(key), 64)
	return seconds(f)
}

// seconds is a time of at most a month; 0 = it is none.
func seconds(n float64) time.Duration {
	if n > 0 && n < 31*24*3600 {
		return time.Duration(n * float64(time.Second))
	}
	return 0
}

func parseTime(s string) (time.Time, bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' {
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
