package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, journal string, since time.Time) *History {
	t.Helper()
	h, err := Read(strings.NewReader(journal), since, func(int, time.Time) {})
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
			Name: "ci-xnw9vvjq", Group: "ci", Size: "s-2vcpu-4gb", PriceHourly: 0.03571,
			Requested: clock("15:12:48.223"), Active: clock("15:13:18.456"), Gone: clock("15:13:25.223"),
		}},
		"text.log": {6, 4, Job{
			ID: 24, Project: 1, Droplet: "ci-xgzyg3ef", AtGitLab: 1110 * time.Millisecond, Received: clock("15:11:36.094"),
			Started: clock("15:11:46.112"), Ended: clock("15:11:48.195"),
		}, Droplet{
			Name: "ci-xgzyg3ef", Group: "ci", Size: "s-2vcpu-4gb", PriceHourly: 0.03571,
			Requested: clock("15:11:36.101"), Active: clock("15:11:46.082"), Gone: clock("15:11:58.101"),
		}},
	} {
		h := read(t, file(t, name), time.Time{})
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
	entry := func(at string, message any) string {
		written, _ := time.Parse(time.RFC3339, at)
		b, _ := json.Marshal(map[string]any{"__REALTIME_TIMESTAMP": fmt.Sprint(written.UnixMicro()), "MESSAGE": message, "_PID": "12"})
		return string(b)
	}
	short := func(at, text string) string {
		return strings.Replace(at, "Z", "+0000", 1) + " host gitlab-runner[12]: " + text
	}
	for name, form := range map[string]struct {
		log  string
		line func(at, text string) string
	}{
		"journalctl -o json, byte arrays": {"text.log", func(at, text string) string {
			var numbers []int
			for _, b := range []byte(text) {
				numbers = append(numbers, int(b))
			}
			return entry(at, numbers)
		}},
		"journalctl -o json, no colours":    {"text.log", func(at, text string) string { return entry(at, colours.ReplaceAllString(text, "")) }},
		"journalctl -o json of a JSON log":  {"json.log", func(at, text string) string { return entry(at, text) }},
		"journalctl -o short-iso":           {"text.log", short},
		"journalctl -o short-iso of a JSON": {"json.log", short},
		"journalctl -o short-iso-precise":   {"text.log", func(at, text string) string { return strings.Replace(short(at, text), "+0000", "+00:00", 1) }},
		"log_format = text": {"json.log", func(at, text string) string { // as logrus' TextFormatter writes it
			fields := map[string]any{}
			_ = json.Unmarshal([]byte(text), &fields)
			out := fmt.Sprintf("time=%q level=info msg=%q", at, fields["msg"])
			for key, v := range fields {
				if n, ok := v.(float64); ok {
					out += fmt.Sprintf(" %s=%v", key, n)
				} else if key != "time" && key != "msg" {
					out += fmt.Sprintf(" %s=%q", key, v)
				}
			}
			return out
		}},
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
			got, want := read(t, journal.String(), time.Time{}), read(t, file(t, form.log), time.Time{})
			if diff := cmp.Diff(want, got, millis); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// messages are those that are read.
func messages(t *testing.T) (all []string) {
	t.Helper()
	source, err := os.ReadFile("read.go")
	if err != nil {
		t.Fatal(err)
	}
	_, source, _ = bytes.Cut(source, []byte("switch l.msg {"))
	source, _, _ = bytes.Cut(source, []byte("if l.at.IsZero()"))
	for _, m := range regexp.MustCompile(`"([A-Z][\w. ]+ [\w.;:, ]+|(?:a|took) [\w.;:, ]+)"`).FindAllSubmatch(join.ReplaceAll(source, nil), -1) {
		all = append(all, string(m[1]))
	}
	return all
}

var join = regexp.MustCompile(`" ?\+\s+"`)

// TestMessagesAreLogged finds what is read of the plugin's lines in what logs them.
func TestMessagesAreLogged(t *testing.T) {
	var source []byte
	for _, pattern := range []string{"../../instancegroup/*.go", "../*.go"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			source = append(source, file(t, "../"+name)...)
		}
	}
	n := 0
	for _, msg := range messages(t) {
		if strings.Contains(msg, "Droplet") || strings.Contains(msg, "placement") {
			if n++; !bytes.Contains(join.ReplaceAll(source, nil), []byte(`"`+msg+`"`)) {
				t.Errorf("nothing logs %q", msg)
			}
		}
	}
	if n != 11 {
		t.Errorf("%d messages are the plugin's: %q", n, messages(t))
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

// TestFaults reads what real journals have besides lines in order: see testdata/faults.txt. A line there is seconds, a
// part of a message and those of its fields that differ from the usual ones; with ">" it is as it stands; "=" is what is read.
func TestFaults(t *testing.T) {
	t0, all := clock("12:00:00"), messages(t)
	for test := range strings.SplitSeq(file(t, "faults.txt"), "\n\n") {
		name, lines, _ := strings.Cut(strings.TrimPrefix(test, "# "), "\n")
		t.Run(name, func(t *testing.T) {
			var journal log
			var since time.Time
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
					since = at(rest)
				default:
					msg, pairs := rest, []any{"job", 7, "group", "ci", "name", "ci-a", "instance-id", "ci-a", "size", "s-1", "region", "fra1", "usd_per_hour", "0.5"}
					words := strings.Fields(rest)
					if i := slices.IndexFunc(all, func(m string) bool {
						return strings.Contains(strings.ToLower(m), strings.ReplaceAll(words[0], "-", " "))
					}); i >= 0 {
						msg = all[i]
						for _, word := range words[1:] {
							key, value, _ := strings.Cut(word, "=")
							pairs = append(pairs, key, strings.ReplaceAll(value, ",", " "))
						}
					}
					journal.at(at(first), msg, pairs...)
				}
			}
			slices.Sort(want)
			h := read(t, journal.String(), since)
			if h.Failures == nil || h.Problems == nil { // JSON says [] and {}
				t.Error("nil Failures or Problems")
			}
			if diff := cmp.Diff(want, shown(h, t0)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// shown is a history as faults.txt has it.
func shown(h *History, t0 time.Time) (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return strconv.FormatFloat(t.Sub(t0).Seconds(), 'f', -1, 64)
	}
	for _, j := range h.Jobs {
		add("job %d: %s %s %s on %s", j.ID, at(j.Received), at(j.Started), at(j.Ended), j.Droplet)
	}
	for _, d := range h.Droplets {
		add("Droplet %s of %s, %s: %s %s %s at %g", d.Name, d.Group, d.Size, at(d.Requested), at(d.Active), at(d.Gone), d.PriceHourly)
	}
	for _, f := range h.Failures {
		add("failure of %s, %s %s: %s, %s, %d times", f.Group, f.Size, f.Region, f.Why, f.Last, f.Times)
	}
	for problem := range h.Problems {
		add("problem: %s", problem)
	}
	slices.Sort(lines)
	return lines
}

// TestSpan reads a Droplet that was there for two hours, whatever the order of lines and whatever others log.
func TestSpan(t *testing.T) {
	t0 := clock("12:00:00")
	half := func(begin int, msg string) string {
		var l log
		at := t0.Add(time.Duration(begin) * time.Minute)
		l.at(at, "Configuration loaded")
		l.at(at.Add(time.Minute), msg, "group", "ci", "name", "ci-a", "size", "s-1", "usd_per_hour", "0.5", "after", fmt.Sprintf("%dm", begin+1))
		l.at(at.Add(time.Hour), "Appending trace to coordinator...ok", "job", 7)
		return l.String()
	}
	first, second := half(0, "Droplet is active"), half(60, "Droplet is active")
	other := func(day string) string { return day + "T00:00:00+0000 host sshd[9]: session opened for user root\n" }
	late := "2026-11-29T12:12:00+0000 host gitlab-runner[12]: Updating job...   job=7\n"
	const steps = "times that are before those of the line above: the clock was set back, or files are out of order"
	for name, test := range map[string]struct {
		journal string
		steps   int
	}{
		"in order":                  {first + second, 0},
		"a clock not yet set":       {strings.ReplaceAll(late, "2026", "2025") + "2026-11-29T11:59:59+0000 host gitlab-runner[12]: Updating job...\n" + first + second, 0},
		"the last line comes late":  {first + second + late, 1},
		"two late ones":             {first + second + late + late, 1},
		"halves in the wrong order": {second + first, 1},
		"other programs":            {other("1970-01-01") + first + other("1970-01-01") + second + other("2100-01-01"), 0},
	} {
		h := read(t, test.journal, time.Time{})
		if !h.From.Equal(t0) || !h.To.Equal(t0.Add(2*time.Hour)) || h.Usage("", time.UTC).All.USD != 1 || h.Problems[steps] != test.steps {
			t.Errorf("%s: from %s to %s, %v USD, problems: %v", name, h.From, h.To, h.Usage("", time.UTC).All.USD, h.Problems)
		}
	}
}

// A line that is too long is left out.
func TestLongLine(t *testing.T) {
	h := read(t, "{"+strings.Repeat("é", 3*maxLine)+"\n"+file(t, "json.log"), time.Time{})
	if len(h.Jobs) != 2 || h.Problems[unread] != 1 {
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
		"an array":           {"[" + job(6, 1) + ",\n" + job(7, 55) + "]", 55, false},
		"pages":              {"[" + job(6, 1) + "]\n[" + job(7, 55) + "][]", 55, false},
		"no jobs":            {"[]", 0, false},
		"cut":                {"[" + job(7, 55) + `][{"id":8,`, 0, true},
		"an error of GitLab": {`{"message":"401 Unauthorized"}`, 0, true},
		"nothing":            {"\n", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			var l log
			l.job(7, t0, t0.Add(time.Second), t0.Add(time.Minute), "ci-a")
			h := read(t, l.String(), time.Time{})
			err := h.AddExport(strings.NewReader(test.export))
			if (err != nil) != test.fails {
				t.Fatal(err)
			} else if err != nil {
				return
			}
			if h.Jobs[0].Pipeline != test.pipeline || (test.pipeline > 0) != (h.Jobs[0].AtGitLab == 4500*time.Millisecond) {
				t.Errorf("%+v", h.Jobs[0])
			}
		})
	}
}

// TestStream reads 110,000 lines, and keeps only what is asked for.
func TestStream(t *testing.T) {
	const most = 8 << 20
	var l log
	t0 := clock("12:00:00")
	l.at(t0, "Droplets requested", "group", "ci", "names", "ci-4242", "size", "s-1", "region", "fra1")
	l.job(4242, t0, t0.Add(time.Second), t0.Add(time.Minute), "ci-4242")
	l.at(t0.Add(time.Minute), "Droplet is gone", "group", "ci", "name", "ci-4242", "age", "1m0s")
	for range 45 {
		fmt.Fprintln(&l, "2026-11-29T12:01:00+0000 host gitlab-runner[12]: Appending trace to coordinator...ok   code=202 job=4242 job-log=0-220")
	}
	journal, w := io.Pipe()
	go func() {
		for i := range 2200 {
			_, _ = io.WriteString(w, strings.ReplaceAll(l.String(), "4242", strconv.Itoa(10_000_000+i)))
		}
		_ = w.Close()
	}()
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, peak, told := heap(), uint64(0), 0
	h, err := Read(journal, t0.Add(time.Hour), func(lines int, at time.Time) {
		if lines != betweenSteps || !at.Equal(t0.Add(time.Minute)) {
			t.Errorf("%d lines up to %s", lines, at)
		}
		told++
		peak = max(peak, heap())
	})
	if err != nil || told != 1 || len(h.Jobs)+len(h.Droplets) > 0 {
		t.Errorf("%v: told %d times, %d jobs", err, told, len(h.Jobs))
	}
	if peak > before+most {
		t.Errorf("%d MiB more", (peak-before)>>20)
	}
}

// A journal without the runner's lines, or without their times, says nothing, even if other programs' lines have some.
func TestForeign(t *testing.T) {
	text := regexp.MustCompile(`(?m)^\S+Z `).ReplaceAllString(file(t, "text.log"), "")
	for _, journal := range []string{strings.Repeat("\n", betweenSteps), "-- No entries --\n", "Nov 29 12:00:00 host sshd[9]: hello\n",
		`{"time":"2026-11-29T12:00:00Z","msg":"hello"}`, text, text + "2026-11-29T12:00:00+0000 host sshd[9]: hello\n"} {
		progress := func(lines int, at time.Time) { t.Errorf("%d lines, up to %s", lines, at) } // up to no time
		if _, err := Read(strings.NewReader(journal), time.Time{}, progress); !errors.Is(err, ErrForeign) {
			t.Errorf("%.100q: %v", journal, err)
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
		h, err := Read(bytes.NewReader(journal), time.Time{}, func(int, time.Time) {})
		if len(journal) == 0 || errors.Is(err, ErrForeign) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for _, j := range h.Jobs {
			if j.ID == 0 || j.Droplet == "" || j.Wait() < 0 {
				t.Errorf("%+v", j)
			}
		}
		for _, by := range []string{"", "project", "hour"} {
			if h.To.Sub(h.From) < 31*24*time.Hour { // else it is a long loop
				sumsAgree(t, h, by)
			}
		}
	})
}
