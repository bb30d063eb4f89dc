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
	"slices"
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
			ID: 34, Project: 1, Runner: "glrtABCDE", Droplet: "ci-xnw9vvjq", Queued: clock("15:12:45.485"), Received: clock("15:12:46.713"),
			Started: clock("15:13:18.725"), Ended: clock("15:13:18.774"),
		}, Droplet{
			Name: "ci-xnw9vvjq", Group: "ci", Size: "s-2vcpu-4gb", Region: "fra1", PriceHourly: 0.03571,
			Requested: clock("15:12:48.223"), Active: clock("15:13:18.456"), Gone: clock("15:13:25.223"),
		}},
		"text.log": {6, 4, Job{
			ID: 24, Project: 1, Runner: "glrtABCDE", Droplet: "ci-xgzyg3ef", Queued: clock("15:11:34.984"), Received: clock("15:11:36.094"),
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

var millis = cmp.Transformer("ms", func(t time.Time) string { return t.Round(time.Millisecond).String() })

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
			got.Lines, want.Lines = 0, 0
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
		if strings.Contains(msg, "Droplet") || strings.Contains(msg, "group") || strings.Contains(msg, "placement") {
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

func (l *log) requested(at time.Time, names string) {
	l.at(at, msgRequested, "group", "ci", "names", names, "size", "s-1", "region", "fra1")
}

// TestFaults reads what real journals have besides lines in order.
func TestFaults(t *testing.T) {
	t0 := clock("12:00:00")
	at := func(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }
	job := Job{ID: 7, Runner: "r1", Received: t0, Started: at(10), Ended: at(30), Droplet: "ci-a"}
	with := func(change func(*Job)) []Job {
		j := job
		change(&j)
		return []Job{j}
	}
	droplet := Droplet{Name: "ci-a", Group: "ci", Size: "s-1", Region: "fra1", Requested: t0, Active: at(20), Gone: at(60), PriceHourly: 0.5}
	withDroplet := func(change func(*Droplet)) []Droplet {
		d := droplet
		change(&d)
		return []Droplet{d}
	}
	ready := func(l *log, at time.Time, droplets int) { l.at(at, msgReady, "group", "ci", "droplets", droplets) }
	active := func(l *log, at time.Time, after string) {
		l.at(at, msgActive, "group", "ci", "name", "ci-a", "after", after, "usd_per_hour", "0.5")
	}
	for _, test := range []struct {
		name     string
		log      func(*log)
		o        Options
		jobs     []Job
		droplets []Droplet
		failures []Failure
		problem  string
	}{
		{name: "a line that is cut", log: func(l *log) {
			l.job(7, t0, at(10), at(30), "ci-a")
			fmt.Fprint(l, `{"msg":"Job succeeded","job":8,"ti`)
		}, jobs: []Job{job}, problem: cut},
		{name: "a message that is cut", log: func(l *log) {
			l.job(7, t0, at(10), at(30), "ci-a")
			l.at(at(31), msgRequested, "names", "ci-b")
		}, jobs: []Job{job}, droplets: []Droplet{{Name: "ci-b", Requested: at(31)}}, problem: cut},
		{name: "other programs' lines", log: func(l *log) {
			fmt.Fprintln(l, "2026-11-29T11:00:00+0000 host kernel: Out of memory: job=7")
			fmt.Fprintln(l, "2026-11-29T11:00:00+0000 host sshd[9]: session opened for user root")
			l.job(7, t0, at(10), at(30), "ci-a")
		}, jobs: []Job{job}},
		{name: "a line that is too long", log: func(l *log) {
			fmt.Fprintln(l, strings.Repeat("x", 3*maxLine))
			l.job(7, t0, at(10), at(30), "ci-a")
		}, jobs: []Job{job}, problem: "lines of more than a megabyte"},
		{name: "what journalctl leaves out", log: func(l *log) {
			fmt.Fprintln(l, `{"__REALTIME_TIMESTAMP":"1","MESSAGE":null}`)
			l.job(7, t0, at(10), at(30), "ci-a")
		}, jobs: []Job{job}, problem: "lines that journalctl left out: give it --all"},
		{name: "no times", log: func(l *log) {
			fmt.Fprintln(l, "Job succeeded      \x1b[0;m  job\x1b[0;m=7")
			l.job(7, t0, at(10), at(30), "ci-a")
		}, jobs: []Job{job}, problem: "lines without a time: give what journalctl -u gitlab-runner -o json writes"},
		{name: "another Droplet after the first failed", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(5), "Dialing instance", "job", 7, "instance-id", "ci-z")
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(30), "Job failed (system failure): ssh: handshake failed", "job", 7, "duration_s", 30)
		}, jobs: with(func(j *Job) { j.Failed = true })},
		{name: "two runners, whose GitLabs count alike", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(1), "Checking for jobs... received", "job", 7, "runner", "r2")
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(11), "Dialing instance", "job", 7, "instance-id", "ci-b", "runner", "r2")
			l.at(at(30), "Job succeeded", "job", 7)
			l.at(at(40), "Job succeeded", "job", 7, "runner", "r2")
		}, jobs: append([]Job{job}, Job{ID: 7, Runner: "r2", Received: at(1), Started: at(11), Ended: at(40), Droplet: "ci-b"})},
		{name: "a job that only leaves the list", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(30), "Removed job from processing list", "job", 7, "runner", "its name")
		}, jobs: with(func(j *Job) { j.Failed = true })},
		{name: "a restart ends jobs", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(29), "Configuration loaded")
			fmt.Fprintln(l, "Starting multi-runner from /etc/gitlab-runner/config.toml...   builds=0") // not JSON yet
			l.at(at(90), "Configuration loaded")
		}, jobs: with(func(j *Job) { j.Failed, j.Ended = true, at(29) }), problem: "jobs that ended with the runner's process"},
		{name: "another process's start ends none", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(20), "Starting multi-runner from /etc/gitlab-runner/other.toml...")
			l.at(at(30), "Job succeeded", "job", 7)
		}, jobs: []Job{job}},
		{name: "a job that runs on after another process's start", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(5), "Starting multi-runner from /etc/gitlab-runner/other.toml...")
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
		}, jobs: with(func(j *Job) { j.Ended = time.Time{} })},
		{name: "an error with the like of fields", log: func(l *log) {
			fmt.Fprintln(l, "2026-11-29T12:00:00Z WARNING: a placement cools down   err=422: size=s-9 region=xyz is out "+
				"group=ci region=fra1 size=s-1 why=it refused")
		}, failures: []Failure{{"s-1", "fra1", "it refused", 1}}},
		{name: "a job that runs", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
		}, jobs: with(func(j *Job) { j.Ended = time.Time{} })},
		{name: "a job without a Droplet", log: func(l *log) {
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Job failed: no instance", "job", 7)
		}, problem: "jobs without a Droplet: of another executor, or ended before one was ready; left out"},
		{name: "a job from before", log: func(l *log) { l.at(t0, "Job succeeded", "job", 7) },
			problem: "jobs that began before the first line: left out"},
		{name: "the clock is set back", log: func(l *log) {
			l.at(at(3600), "Checking for jobs... received", "job", 7, "runner", "r1")
			l.at(at(3610), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(30), "Job succeeded", "job", 7, "duration_s", 30)
		}, jobs: []Job{job}, problem: "jobs across a change of the clock: their waits may be wrong"},
		{name: "the clock is set forward", log: func(l *log) {
			l.at(at(-3600), "Checking for jobs... received", "job", 7)
			l.at(at(-3590), "Dialing instance", "job", 7, "instance-id", "ci-a")
			l.at(at(30), "Job succeeded", "job", 7, "duration_s", 30)
		}, jobs: []Job{job}, problem: "jobs across a change of the clock: their waits may be wrong"},
		{name: "only what is young", log: func(l *log) {
			l.requested(at(-100), "ci-old")
			l.job(6, at(-100), at(-90), at(-80), "ci-old")
			l.at(at(-50), msgGone, "group", "ci", "name", "ci-old", "age", "50s")
			l.at(at(-50), msgCoolsDown, "size", "s-1", "region", "fra1", "why", "it refused")
			l.job(7, t0, at(10), at(30), "ci-a")
		}, o: Options{Since: at(20)}, jobs: []Job{job}},
		{name: "a journal that ended long ago", log: func(l *log) {
			l.requested(t0, "ci-a")
			l.at(t0, "Checking for jobs... received", "job", 7)
			l.at(at(10), "Dialing instance", "job", 7, "instance-id", "ci-a")
		}, o: Options{Since: at(20)}},
		{name: "a Droplet's life; its price is another's of its size", log: func(l *log) {
			l.requested(t0, "ci-a ci-b")
			active(l, at(20), "20s")
			l.at(at(60), msgGone, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
		}, droplets: append(withDroplet(func(*Droplet) {}), withDroplet(func(d *Droplet) {
			d.Name, d.Active, d.Gone = "ci-b", time.Time{}, time.Time{}
		})...)},
		{name: "a Droplet that vanishes", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(60), msgVanished, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
		}, droplets: withDroplet(func(d *Droplet) { d.Lost = true })},
		{name: "a Droplet that never runs", log: func(l *log) {
			l.requested(t0, "ci-a")
			l.at(at(50), msgWillBeDeleted, "group", "ci", "name", "ci-a", "usd_per_hour", "0.5")
			l.at(at(60), msgGone, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
		}, droplets: withDroplet(func(d *Droplet) { d.Lost, d.Active = true, time.Time{} })},
		{name: "a Droplet from before", log: func(l *log) {
			l.at(at(60), msgGone, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
		}, droplets: withDroplet(func(d *Droplet) { d.Size, d.Region, d.Active = "", "", time.Time{} })},
		{name: "creates that fail", log: func(l *log) {
			l.at(t0, msgUnconfirmed, "group", "ci", "names", "ci-a", "size", "s-1", "region", "fra1")
			l.at(at(1), msgNeverMade, "group", "ci", "name", "ci-a", "age", "1s", "usd_per_hour", "0")
			l.at(at(2), msgCoolsDown, "group", "ci", "size", "s-1", "region", "ams3", "why", "it refused")
			l.at(at(3), msgCoolsDown, "group", "ci", "size", "s-1", "region", "ams3", "why", "it refused")
			l.at(at(4), msgRefused, "group", "ci", "refused", 3)
		}, failures: []Failure{{"s-1", "ams3", "it refused", 2}, {"", "", "all were refused", 1}, {"s-1", "fra1", "it was never made", 1}}},
		{name: "the runner stops before it sees a Droplet gone", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(60), msgDeleting, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
			l.at(at(600), "Configuration loaded")
		}, droplets: withDroplet(func(*Droplet) {})},
		{name: "a Droplet that is gone when the plugin starts again", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(60), "Updating job...", "job", 7)
			l.at(at(599), "Starting multi-runner from /etc/gitlab-runner/config.toml...")
			ready(l, at(600), 0)
		}, droplets: withDroplet(func(*Droplet) {}),
			problem: "Droplets that ended while no plugin process ran: counted to the last line before"},
		{name: "a Droplet that the plugin takes over", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(599), msgTookOver, "group", "ci", "droplets", 1, "names", "ci-a", "usd_per_hour", "0.5")
			ready(l, at(600), 1)
		}, droplets: withDroplet(func(d *Droplet) { d.Gone = time.Time{} })},
		{name: "a Droplet of before that the plugin takes over", log: func(l *log) {
			l.at(t0, msgTookOverUnknown, "group", "ci", "droplets", 1, "names", "ci-a", "usd_per_hour", "0.5")
			ready(l, at(1), 1)
		}, droplets: []Droplet{{Name: "ci-a", Group: "ci", PriceHourly: 0.5}}},
		{name: "more Droplets taken over than named", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(599), msgTookOver, "group", "ci", "droplets", 3, "names", "ci-b ...", "usd_per_hour", "1.5")
			ready(l, at(600), 3)
		}, droplets: withDroplet(func(d *Droplet) { d.Gone = time.Time{} })},
		{name: "a Droplet that a person keeps", log: func(l *log) {
			l.requested(t0, "ci-a")
			active(l, at(20), "20s")
			l.at(at(60), msgKept, "group", "ci", "name", "ci-a", "age", "1m0s", "usd_per_hour", "0.5")
		}, droplets: withDroplet(func(d *Droplet) { d.Gone = time.Time{} }), problem: "Droplets that a person keeps: counted to the end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l log
			test.log(&l)
			h := read(t, l.String(), test.o)
			if diff := cmp.Diff(test.jobs, h.Jobs); diff != "" {
				t.Error("jobs:", diff)
			}
			droplets := slices.DeleteFunc(h.Droplets, func(d Droplet) bool {
				return strings.HasPrefix(d.Name, "ci-b") && test.droplets == nil || d.Name == "..."
			})
			if test.name == "more Droplets taken over than named" {
				droplets = slices.DeleteFunc(droplets, func(d Droplet) bool { return d.Name != "ci-a" })
			}
			if len(test.droplets)+len(droplets) > 0 {
				if diff := cmp.Diff(test.droplets, droplets); diff != "" {
					t.Error("Droplets:", diff)
				}
			}
			if diff := cmp.Diff(test.failures, h.Failures); diff != "" {
				t.Error("failures:", diff)
			}
			found := slices.ContainsFunc(h.Problems, func(p Problem) bool { return p.What == test.problem })
			if test.problem != "" && !found {
				t.Errorf("problems: %+v, want %q", h.Problems, test.problem)
			} else if test.problem == "" && slices.ContainsFunc(h.Problems, func(p Problem) bool { return !strings.Contains(p.What, "price") }) {
				t.Errorf("problems: %+v", h.Problems)
			}
		})
	}
}

// A line is shown as a terminal may see it, and not whole.
func TestProblemIsEscaped(t *testing.T) {
	h := read(t, "{\x1b[2J"+strings.Repeat("é", 200)+"\n"+file(t, "json.log"), Options{})
	if len(h.Problems) != 1 || !strings.HasPrefix(h.Problems[0].First, `{\x1b[2Jéé`) || len([]rune(h.Problems[0].First)) > maxFirst {
		t.Errorf("%+v", h.Problems)
	}
}

func TestExport(t *testing.T) {
	job := func(id, pipeline int, at string) string {
		return fmt.Sprintf(`{"id":%d,"status":"success","created_at":"2026-11-29T11:00:00Z","started_at":%q,"queued_duration":4.5,
			"pipeline":{"id":%d},"project":{"id":3,"path":"x"},"user":{"id":1}}`, id, at, pipeline)
	}
	t0 := clock("12:00:00")
	const same, other = "2026-11-29T12:00:01.5Z", "2026-11-20T12:00:00Z"
	for name, test := range map[string]struct {
		export   string
		pipeline int64
		problem  bool
		fails    bool
	}{
		"an array":            {"[" + job(6, 1, same) + ",\n" + job(7, 55, same) + "]", 55, false, false},
		"pages":               {"[" + job(6, 1, same) + "]\n[" + job(7, 55, same) + "][]", 55, false, false},
		"another GitLab's":    {"[" + job(7, 55, other) + "]", 0, false, false},
		"no jobs":             {"[]", 0, false, false},
		"cut":                 {"[" + job(7, 55, same) + `][{"id":8,`, 55, true, false},
		"an error of GitLab":  {`{"message":"401 Unauthorized"}`, 0, false, true},
		"nothing":             {"\n", 0, false, true},
		"something else":      {"<html>", 0, false, true},
		"cut before any jobs": {`[{"id":`, 0, false, true},
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
			if h.Jobs[0].Pipeline != test.pipeline || (test.pipeline > 0) != (h.Jobs[0].Queued.Equal(t0.Add(-4500*time.Millisecond))) {
				t.Errorf("%+v", h.Jobs[0])
			}
			if test.problem != (len(h.Problems) > 0) {
				t.Errorf("%+v", h.Problems)
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

// TestStream reads a million lines, and keeps only what is asked for.
func TestStream(t *testing.T) {
	const lines, most = 1_000_000, 16 << 20
	var l log
	t0 := clock("12:00:00")
	l.requested(t0, "ci-4242")
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
	if err != nil || h.Lines < lines || told < 9 || len(h.Jobs)+len(h.Droplets) > 0 {
		t.Errorf("%v: %d lines, told %d times, %d jobs", err, h.Lines, told, len(h.Jobs))
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
