package history

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

const (
	maxLine      = 1 << 20 // bytes; longer lines are cut
	clockStep    = 5 * time.Second
	betweenSteps = 100_000 // lines
)

// ErrForeign is a journal that says nothing.
var ErrForeign = errors.New("it has no line of gitlab-runner with a time, in a form that is known; a text log in a file has no times")

// Read reads a journal in a stream: memory grows with its jobs and Droplets, not with its lines. What it cannot use it counts
// in Problems; what ended before since is left out. progress is called every 100,000 lines. Its errors are those of the
// journal's reader, and ErrForeign.
func Read(journal io.Reader, since time.Time, progress func(lines int, at time.Time)) (*History, error) {
	r := &reader{since: since.UTC(), running: map[int64]*Job{}, droplets: map[string]*Droplet{}}
	r.Prices, r.Failures, r.Problems = map[string]float64{}, []Failure{}, map[string]int{}
	in := bufio.NewReaderSize(journal, maxLine)
	for lines := 0; ; {
		text, err := in.ReadSlice('\n')
		if len(text) > 0 {
			lines++
			r.line(text)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // to the end of that line
			_, err = in.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			if !r.To.IsZero() {
				return r.end(), nil
			}
			if err = ErrForeign; lines == 0 {
				err = errors.New("it is empty")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read the journal up to line %d: %w", lines, err)
		}
		if lines%betweenSteps == 0 && !r.last.IsZero() {
			progress(lines, r.last)
		}
	}
}

// reader is what was read so far: From and To are those of the lines that are used, Jobs those that have ended.
type reader struct {
	History
	since    time.Time
	last     time.Time // of the last line that is used
	odd      time.Time // of the line above, if it was left out for its time
	stopped  time.Time // when the runner before the last start did not run any more, at the latest
	running  map[int64]*Job
	droplets map[string]*Droplet
}

const unread = "lines that are cut, have no time, or are of another version"

// line does what one line says: what the runner logs of jobs, and the plugin of Droplets. (TestMessagesAreLogged)
func (r *reader) line(text []byte) {
	l, ok := parse(text, time.Time{})
	if !ok {
		r.Problems[unread]++
		return
	}
	for _, begin := range []string{"Starting multi-runner", "Job failed"} { // what follows varies
		if strings.HasPrefix(l.msg, begin) {
			l.msg = begin
		}
	}
	if l.at.IsZero() && l.msg == "Starting multi-runner" { // it is written before log_format is known
		l.at = r.last
	}
	if r.isOdd(l.at) {
		r.Problems["lines a month and more from the line above, which the next one does not bear out: left out"]++
		return
	}
	switch l.msg {
	default:
		return
	case "Starting multi-runner": // what the process before had to do ended with it, if no later line speaks of it
		r.stopped = r.last
		for _, j := range r.running {
			if j.Ended.IsZero() {
				j.Ended = r.stopped
			}
		}
		for _, d := range r.droplets {
			if d.Gone.IsZero() {
				d.Gone, d.Assumed = r.stopped, true
			}
		}
	case "Checking for jobs... received":
		if id := int64(l.number("job", maxID)); !l.at.IsZero() {
			r.running[id] = &Job{ID: id, Received: l.at}
		}
		r.job(&l)
	case "Added job to processing list":
		r.job(&l).AtGitLab = time.Duration(l.number("time_in_queue_seconds", month) * float64(time.Second))
	case "Dialing instance": // perhaps after it tried another Droplet
		j := r.job(&l)
		j.Started, j.Droplet = l.at, l.field("instance-id")
		if group := groupOf(j.Droplet); group != "" && j.ID > 0 && r.droplets[j.Droplet] == nil { // it was there before the first line
			r.droplets[j.Droplet] = &Droplet{Name: j.Droplet, Group: group}
		}
	case "Job succeeded", "Job failed", "Removed job from processing list":
		r.endJob(r.job(&l), l.at)
	case "Droplets requested", "a create was not confirmed; lists will show whether its Droplets exist":
		r.each(&l, func(d *Droplet) { d.Requested = l.at })
	case "Droplet is active":
		r.each(&l, func(d *Droplet) { d.Active = l.at })
	case "Droplet is being deleted":
		r.each(&l, func(d *Droplet) { d.Gone, d.Assumed = l.at, true })
	case "Droplet is gone", "a Droplet vanished: it is reported to the runner as gone":
		r.each(&l, func(d *Droplet) { d.Gone = l.at })
	case "a Droplet was never created: it is reported to the runner as gone": // it costs nothing
		r.each(&l, func(d *Droplet) { delete(r.droplets, d.Name) })
	case "took over the Droplets of earlier plugin processes",
		"took over Droplets of plugin processes that this host does not know: if their manager is alive, stop one of the two " +
			"or give it a plugin_config.name of its own":
		r.each(&l, func(*Droplet) {})
	case "a placement cools down", "Droplets were refused; the group backs off before it asks again":
		if r.old(l.at) {
			break
		}
		f := Failure{Group: l.field("group"), Size: l.field("size"), Region: l.field("region"), Why: cmp.Or(l.field("why"), "refused")}
		i := slices.IndexFunc(r.Failures, func(o Failure) bool { o.Last, o.Times = "", 0; return o == f })
		if i < 0 {
			i, r.Failures = len(r.Failures), append(r.Failures, f)
		}
		r.Failures[i].Times++
		r.Failures[i].Last = requestID.ReplaceAllString(l.field("err"), "")
	case "Configuration loaded", "Updating job...", "Appending trace to coordinator...ok": // the runner is there
	}
	if l.at.IsZero() {
		return
	}
	if r.From.IsZero() || l.at.Before(r.From) {
		r.From = l.at
	}
	if l.at.After(r.To) {
		r.To = l.at
	}
	if l.at.Before(r.last.Add(-clockStep)) {
		r.Problems["times that are before those of the line above: the clock was set back, or files are out of order"]++
	}
	r.last, r.odd = l.at, time.Time{}
}

// isOdd reports whether a line is to be left out for its time: a clock was wrong, or a digit. After a real pause the next line
// bears it out; before one that nothing happened in, the history has not begun.
func (r *reader) isOdd(at time.Time) bool {
	far := func(from time.Time) bool { return at.Sub(from).Abs() > month*time.Second }
	if at.IsZero() || r.last.IsZero() || !far(r.last) {
		return false
	}
	if far(r.odd) {
		r.odd = at
		return true
	}
	if len(r.running)+len(r.droplets)+len(r.Jobs) == 0 {
		r.From, r.To = time.Time{}, time.Time{}
	}
	return false
}

// groupOf returns the group of an instance by its name; "" = it is no Droplet of this plugin.
func groupOf(name string) string {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 || instancegroup.RunOf(name[:i], name) == "" {
		return ""
	}
	return name[:i]
}

// job returns the job of a line, by its id alone, which is GitLab's for all runners; or one that does not count.
func (r *reader) job(l *line) *Job {
	id := int64(l.number("job", maxID))
	if id == 0 || l.at.IsZero() {
		r.Problems[unread]++
		return &Job{}
	}
	j := cmp.Or(r.running[id], &Job{})
	j.Ended = time.Time{} // what started was another process
	j.Project = cmp.Or(int64(l.number("project", maxID)), j.Project)
	if took := l.number("duration_s", month); took > 0 && math.Abs(l.at.Sub(j.Received).Seconds()-took) > clockStep.Seconds() && j.ID > 0 {
		r.Problems["jobs across a change of the clock: their waits may be wrong"]++
	}
	return j
}

// endJob ends a job; zero = it runs on.
func (r *reader) endJob(j *Job, at time.Time) {
	delete(r.running, j.ID)
	switch {
	case r.old(at) || j.ID == 0:
	case j.Droplet == "":
		r.Problems["jobs without a Droplet: of another executor, or ended before one was ready; left out"]++
	default:
		j.Ended = at
		r.Jobs = append(r.Jobs, *j)
	}
}

// each does what a line says of Droplets: it names them, or the first 20 "and 3 more". One that was thought gone is not.
func (r *reader) each(l *line, do func(*Droplet)) {
	named := cmp.Or(l.field("names"), l.field("name"))
	some, _, more := strings.Cut(named, " and ")
	names, group := strings.Fields(some), l.field("group")
	for _, d := range r.droplets {
		if more && d.Group == group && (d.Gone.IsZero() || d.Assumed && d.Gone.Equal(r.stopped)) {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 || l.at.IsZero() || strings.HasSuffix(l.text, named) { // fields follow a name: this one is cut
		r.Problems[unread]++
		return
	}
	for _, name := range names {
		d := cmp.Or(r.droplets[name], &Droplet{Name: name})
		r.droplets[name] = d
		d.Group, d.Size = cmp.Or(group, d.Group), cmp.Or(l.field("size"), d.Size)
		d.Gone, d.Assumed = time.Time{}, false
		if l.field("name") != "" { // a line about several has their sum
			d.PriceHourly = cmp.Or(l.number("usd_per_hour", 1e4), d.PriceHourly)
		}
		if d.Size != "" && d.PriceHourly > 0 {
			r.Prices[d.Size] = d.PriceHourly
		}
		if age, err := time.ParseDuration(cmp.Or(l.field("age"), l.field("after"))); err == nil && age >= 0 { // by DigitalOcean's clock
			d.Requested = l.at.Add(-age)
		}
		if do(d); !d.Assumed && r.old(d.Gone) {
			delete(r.droplets, name)
		}
	}
}

// end returns what was read, from since on.
func (r *reader) end() *History {
	if r.since.After(r.From) {
		r.From = r.since
	}
	if r.To.Before(r.From) { // nothing is as young as since
		r.To, r.running, r.droplets = r.From, nil, nil
	}
	for _, j := range r.running {
		if d := r.droplets[j.Droplet]; d != nil && j.Ended.IsZero() && !d.Gone.IsZero() {
			j.Ended = d.Gone
			r.Problems["jobs whose end was not logged: counted to that of their Droplets"]++
		}
		r.endJob(j, j.Ended)
	}
	slices.SortFunc(r.Jobs, func(a, b Job) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	for _, d := range r.droplets {
		if r.old(d.Gone) {
			continue
		}
		if d.Assumed {
			r.Problems["Droplets whose end was not logged: counted to when they were deleted, or to the runner's last line"]++
		}
		if d.PriceHourly = cmp.Or(d.PriceHourly, r.Prices[d.Size]); d.PriceHourly == 0 {
			r.Problems["Droplets without a price: not in what is summed"]++
		}
		r.Droplets = append(r.Droplets, *d)
	}
	slices.SortFunc(r.Droplets, func(a, b Droplet) int { return cmp.Or(a.Requested.Compare(b.Requested), cmp.Compare(a.Name, b.Name)) })
	return &r.History
}

// old reports whether what ended then is left out.
func (r *reader) old(ended time.Time) bool { return !ended.IsZero() && ended.Before(r.since) }
