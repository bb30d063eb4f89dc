package history

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, journal string, o Options) History {
	t.Helper()
	h, err := Read(t.Context(), strings.NewReader(journal), o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// clock is a time of the day that tests are on.
func clock(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05.999", "2026-11-29 "+s)
	if err != nil {
		panic(err)
	}
	return t
}

// TestRunnerLogs reads what real runners have logged.
func TestRunnerLogs(t *testing.T) {
	for name, want := range map[string]struct {
		jobs, droplets int
		job            Job
		droplet        Droplet
	}{
		"json.log": {2, 2, Job{
			ID: 34, Project: 1, Droplet: "ci-xnw9vvjq", AtGitLab: 1228 * time.Millisecond, Received: clock("15:12:46.713"),
			Started: clock("15:13:18.725"), Ended: clock("15:13:18.774"),
		}, Droplet{
			Name: "ci-xnw9vvjq", Group: "ci", Size: "s-2vcpu-4gb", Region: "fra1", PriceHourly: 0.03571,
			Requested: clock("15:12:48.223"), Active: clock("15:13:18.456"), Gone: clock("15:13:25.223"),
		}},
		"text.log": {6, 4, Job{
			ID: 24, Project: 1, Droplet: "ci-xgzyg3ef", AtGitLab: 1110 * time.Millisecond, Received: clock("15:11:36.094"),
			Started: clock("15:11:46.112"), Ended: clock("15:11:48.195"),
		}, Droplet{
			Name: "ci-xgzyg3ef", Group: "ci", Size: "s-2vcpu-4gb", Region: "fra1", PriceHourly: 0.03571,
			Requested: clock("15:11:36.101"), Active: clock("15:11:46.082"), Gone: clock("15:11:58.101"),
		}},
	} {
		h := read(t, file(t, name), Options{})
		if len(h.Jobs) != want.jobs || len(h.Droplets) != want.droplets || len(h.Problems) > 0 {
			t.Errorf("%s: %d jobs, %d Droplets, problems: %+v", name, len(h.Jobs), len(h.Droplets), h.Problems)
		}
		if diff := cmp.Diff(want.job, h.Jobs[0], millis); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if diff := cmp.Diff(want.droplet, h.Droplets[0], millis); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

var millis = cmp.Options{
	cmp.Transformer("ms", func(t time.Time) string { return t.Round(time.Millisecond).String() }),
	cmp.Transformer("d", func(d time.Duration) string { return d.Round(time.Millisecond).String() }),
}

// TestForms reads the same lines in each form that they may have.
func TestForms(t *testing.T) {
	colours := regexp.MustCompile("\x1b\\[[0-9;]*m")
	realtime := func(at string) string {
		t, _ := time.Parse(time.RFC3339, at)
		return strconv.FormatInt(t.UnixMicro(), 10)
	}
	entry := func(at string, message any) string {
		b, _ := json.Marshal(map[string]any{"__REALTIME_TIMESTAMP": realtime(at), "MESSAGE": message, "_PID": "12"})
		return string(b)
	}
	numbers := func(s string) (n []int) {
		for _, b := range []byte(s) {
			n = append(n, int(b))
		}
		return n
	}
	for name, form := range map[string]struct {
		log  string
		line func(at, text string) string
	}{
		"journalctl -o json, byte arrays":  {"text.log", func(at, text string) string { return entry(at, numbers(text)) }},
		"journalctl -o json, no colours":   {"text.log", func(at, text string) string { return entry(at, colours.ReplaceAllString(text, "")) }},
		"journalctl -o json of a JSON log": {"json.log", func(at, text string) string { return entry(at, text) }},
		"journalctl -o short-iso": {"text.log", func(at, text string) string {
			return strings.Replace(at, "Z", "+0000", 1) + " host gitlab-runner[12]: " + text
		}},
		"journalctl -o short-iso-precise": {"text.log", func(at, text string) string {
			return strings.Replace(at, "Z", "+00:00", 1) + " host gitlab-runner[12]: " + colours.ReplaceAllString(text, "")
		}},
		"journalctl -o short-iso of a JSON": {"json.log", func(at, text string) string {
			return strings.Replace(at, "Z", "+0000", 1) + " host gitlab-runner[12]: " + text
		}},
		"log_format = text": {"json.log", logrusText},
	} {
		t.Run(name, func(t *testing.T) {
			var journal strings.Builder
			fmt.Fprintln(&journal, "-- Boot 5a2a0a6ef1d94c7b8f6e1c6e1f8f0a1b --")
			for l := range strings.Lines(file(t, form.log)) {
				l = strings.TrimSuffix(l, "\n")
				at, text, _ := strings.Cut(l, " ")
				if form.log == "json.log" {
					var d struct{ Time string }
					_ = json.Unmarshal([]byte(l), &d)
					at, text = d.Time, l
				}
				if at != "" {
					fmt.Fprintln(&journal, form.line(at, text))
				}
			}
			got, want := read(t, journal.String(), Options{}), read(t, file(t, form.log), Options{})
			if diff := cmp.Diff(want, got, cmp.Transformer("us", func(t time.Time) string { return t.Round(10 * time.Microsecond).String() })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// logrusText is a line as logrus' TextFormatter writes it.
func logrusText(at, text string) string {
	fields := map[string]any{}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	_ = d.Decode(&fields)
	out := fmt.Sprintf("time=%q level=info msg=%q", at, fields["msg"])
	for key, v := range fields {
		if s := fmt.Sprint(v); key == "time" || key == "level" || key == "msg" {
			continue
		} else if regexp.MustCompile(`^[\w./@^+-]*$`).MatchString(s) {
			out += " " + key + "=" + s
		} else {
			out += fmt.Sprintf(" %s=%q", key, s)
		}
	}
	return out
}

// TestMessagesAreLogged finds what is read of the plugin's lines in what logs them.
func TestMessagesAreLogged(t *testing.T) {
	var source []byte
	for _, pattern := range []string{"../../instancegroup/*.go", "../*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, b...)
		}
	}
	source = regexp.MustCompile(`" ?\+\s+"`).ReplaceAll(source, nil)
	for msg := range handlers {
		if strings.Contains(msg, "Droplet") || strings.Contains(msg, "placement") {
			if !bytes.Contains(source, []byte(`"`+msg+`"`)) {
				t.Errorf("nothing logs %q", msg)
			}
		}
	}
}

// log is a journal in the runner's JSON form, which grows.
type log struct{ strings.Builder }

// at logs a line: msg, and key value pairs.
func (l *log) at(at time.Time, msg string, pairs ...any) {
	fields := map[string]any{"time": at.Format(time.RFC3339Nano), "msg": msg, "runner": "r1"}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i].(string)] = pairs[i+1]
	}
	b, _ := json.Marshal(fields)
	l.Write(append(b, '\n'))
}

// job logs a job of a Droplet from begin to end.
func (l *log) job(id int, begin, started, ended time.Time, droplet string, more ...any) {
	fields := append([]any{"job", id}, more...)
	l.at(begin, "Checking for jobs... received", fields...)
	l.at(started, "Dialing instance", append(fields, "instance-id", droplet)...)
	l.at(ended, "Job succeeded", append(fields, "duration_s", ended.Sub(begin).Seconds())...)
}

// short are names of messages in faults.txt.
var short = map[string]string{
	"received": "Checking for jobs... received", "dials": "Dialing instance", "succeeded": "Job succeeded",
	"removed": "Removed job from processing list", "starts": "Starting multi-runner from /etc/gitlab-runner/other.toml...",
	"requested": msgRequested, "unconfirmed": msgUnconfirmed, "active": msgActive, "deleting": msgDeleting,
	"gone": msgGone, "vanished": msgVanished, "never-made": msgNeverMade, "took-over": msgTookOver, "cools-down": msgCoolsDown, "refused": msgRefused,
}

// TestFaults reads what real journals have besides lines in order: see testdata/faults.txt. A line there is seconds, a
// message and those of its fields that differ from the usual ones; with ">" it is as it stands; "=" is what is read.
func TestFaults(t *testing.T) {
	t0 := clock("12:00:00")
	for test := range strings.SplitSeq(file(t, "faults.txt"), "\n\n") {
		name, lines, _ := strings.Cut(strings.TrimPrefix(test, "# "), "\n")
		t.Run(name, func(t *testing.T) {
			var journal log
			var o Options
			var want []string
			for text := range strings.Lines(lines) {
				first, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
				at := func(seconds string) time.Time {
					n, err := strconv.Atoi(seconds)
					if err != nil {
						t.Fatal(err)
					}
					return t0.Add(time.Duration(n) * time.Second)
				}
				switch first {
				case ">":
					fmt.Fprintln(&journal, rest)
				case "=":
					want = append(want, rest)
				case "since":
					o.Since = at(rest)
				default:
					msg, pairs := rest, []any{"job", 7, "group", "ci", "name", "ci-a", "instance-id", "ci-a", "size", "s-1", "region", "fra1", "usd_per_hour", "0.5"}
					if words := strings.Fields(rest); short[words[0]] != "" {
						msg = short[words[0]]
						for _, word := range words[1:] {
							key, value, _ := strings.Cut(word, "=")
							pairs = append(pairs, key, strings.ReplaceAll(value, ",", " "))
						}
					}
					journal.at(at(first), msg, pairs...)
				}
			}
			if diff := cmp.Diff(want, shown(read(t, journal.String(), o), t0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// shown is a history as faults.txt has it.
func shown(h History, t0 time.Time) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return fmt.Sprint(t.Sub(t0).Seconds())
	}
	for _, j := range h.Jobs {
		add("job %d: %s %s %s on %s%s", j.ID, at(j.Received), at(j.Started), at(j.Ended), j.Droplet, map[bool]string{true: " failed"}[j.Failed])
	}
	for _, d := range h.Droplets {
		add("Droplet %s of %s, %s %s: %s %s %s at %g", d.Name, d.Group, d.Size, d.Region, at(d.Requested), at(d.Active), at(d.Gone), d.PriceHourly)
	}
	for _, f := range h.Failures {
		add("failure of %s %s: %s, %d times", f.Size, f.Region, f.Why, f.Times)
	}
	for _, p := range h.Problems {
		add("problem: %s", p.What)
	}
	return lines
}

// A line that is too long is shown, but not whole.
func TestLongLine(t *testing.T) {
	h := read(t, "{"+strings.Repeat("é", 3*maxLine)+"\n"+file(t, "json.log"), Options{})
	if len(h.Jobs) != 2 || len(h.Problems) != 1 || h.Problems[0].Times != 1 ||
		len(h.Problems[0].First) > maxFirst || !strings.HasPrefix(h.Problems[0].First, "{é") {
		t.Errorf("%d jobs, %+v", len(h.Jobs), h.Problems)
	}
}

func TestExport(t *testing.T) {
	job := func(id, pipeline int) string {
		return fmt.Sprintf(`{"id":%d,"status":"success","created_at":"2026-11-29T11:00:00Z","started_at":"2026-11-29T12:00:01.5Z",
			"queued_duration":4.5,"pipeline":{"id":%d},"project":{"id":3,"path":"x"},"user":{"id":1}}`, id, pipeline)
	}
	t0 := clock("12:00:00")
	for name, test := range map[string]struct {
		export   string
		pipeline int64
		fails    bool
	}{
		"an array":            {"[" + job(6, 1) + ",\n" + job(7, 55) + "]", 55, false},
		"pages":               {"[" + job(6, 1) + "]\n[" + job(7, 55) + "][]", 55, false},
		"no jobs":             {"[]", 0, false},
		"cut":                 {"[" + job(7, 55) + `][{"id":8,`, 0, true},
		"an error of GitLab":  {`{"message":"401 Unauthorized"}`, 0, true},
		"nothing":             {"\n", 0, true},
		"something else":      {"<html>", 0, true},
		"cut before any jobs": {`[{"id":`, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var l log
			l.job(7, t0, t0.Add(time.Second), t0.Add(time.Minute), "ci-a")
			h, err := Read(t.Context(), strings.NewReader(l.String()), Options{Jobs: strings.NewReader(test.export)})
			if (err != nil) != test.fails {
				t.Fatal(err)
			} else if err != nil {
				if !errors.Is(err, errNoExport) {
					t.Error(err)
				}
				return
			}
			if h.Jobs[0].Pipeline != test.pipeline || (test.pipeline > 0) != (h.Jobs[0].AtGitLab == 4500*time.Millisecond) {
				t.Errorf("%+v", h.Jobs[0])
			}
		})
	}
}

// endless is a journal of so many lines, made as it is read.
type endless struct {
	lines int
	i     int
	buf   []byte
	block []byte
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.buf) == 0 {
		if e.i >= e.lines {
			return 0, io.EOF
		}
		e.buf = bytes.ReplaceAll(e.block, []byte("4242"), []byte(strconv.Itoa(10_000_000+e.i)))
		e.i += bytes.Count(e.block, []byte("\n"))
	}
	n := copy(p, e.buf)
	e.buf = e.buf[n:]
	return n, nil
}

// TestStream reads 200,000 lines, and keeps only what is asked for.
func TestStream(t *testing.T) {
	const lines, most = 200_000, 16 << 20
	var l log
	t0 := clock("12:00:00")
	l.at(t0, msgRequested, "group", "ci", "names", "ci-4242", "size", "s-1", "region", "fra1")
	l.job(4242, t0, t0.Add(time.Second), t0.Add(time.Minute), "ci-4242")
	l.at(t0.Add(time.Minute), msgGone, "group", "ci", "name", "ci-4242", "age", "1m0s")
	for range 45 {
		fmt.Fprintln(&l, "2026-11-29T12:01:00+0000 host gitlab-runner[12]: Appending trace to coordinator...ok   code=202 job=4242 job-log=0-220")
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak, told := heap(), uint64(0), 0
	h, err := Read(t.Context(), &endless{lines: lines, block: []byte(l.String())}, Options{
		Since:    t0.Add(time.Hour),
		Progress: func(int64, time.Time) { told++; peak = max(peak, heap()) },
	})
	if err != nil || told == 0 || len(h.Jobs)+len(h.Droplets) > 0 {
		t.Errorf("%v: told %d times, %d jobs", err, told, len(h.Jobs))
	}
	if peak > before+most {
		t.Errorf("%d MiB more", (peak-before)>>20)
	}
}

func TestReadEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Progress: func(int64, time.Time) { cancel() }}
	if _, err := Read(ctx, &endless{lines: 1 << 30, block: []byte("x\n")}, o); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestForeign(t *testing.T) {
	for _, journal := range []string{"", "-- No entries --\n", "Nov 29 12:00:00 host sshd[9]: hello\n",
		`{"time":"2026-11-29T12:00:00Z","msg":"hello"}`} {
		if _, err := Read(t.Context(), strings.NewReader(journal), Options{}); !errors.Is(err, ErrForeign) {
			t.Errorf("%q: %v", journal, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{"json.log", "text.log"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"__REALTIME_TIMESTAMP":"1764430000000000","MESSAGE":[74,111,98,32,102,97,105,108,101,100]}`))
	f.Add([]byte(`time="2026-11-29T15:12:40Z" level=info msg="Droplet is gone" name=ci-a age=5h usd_per_hour=1e3`))
	f.Fuzz(func(t *testing.T, journal []byte) {
		h, err := Read(t.Context(), bytes.NewReader(journal), Options{})
		if err != nil && !errors.Is(err, ErrForeign) {
			t.Fatal(err)
		}
		for _, j := range h.Jobs {
			if j.ID == 0 || j.Started.Before(j.Received) || !j.Ended.IsZero() && j.Ended.Before(j.Started) {
				t.Errorf("%+v", j)
			}
		}
		for _, d := range h.Droplets {
			if d.Name == "" || !d.Gone.IsZero() && d.Gone.Before(d.Requested) {
				t.Errorf("%+v", d)
			}
		}
		for _, by := range []string{"", ByProject, ByHour} {
			if h.To.Sub(h.From) < 31*24*time.Hour { // else it is a long loop
				sumsAgree(t, h, by)
			}
		}
	})
}
