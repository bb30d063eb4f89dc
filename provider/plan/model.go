// Package plan says what a runner's policy should be, from what really happened: it replays jobs and boots through the
// runner's autoscaler, and searches policies. It reads and writes nothing: the command does.
package plan

import (
	"cmp"
	"math"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// Setup is how a runner scales.
type Setup struct {
	runnerconfig.Autoscaler
	Concurrent int                 // jobs of all groups; 0 = unlimited
	Limit      int                 // jobs of this one; 0 = unlimited
	Active     func(time.Time) int // which of its policies counts at a moment; -1 = the runner's own
	Zone       *time.Location      // whose hours count

	shifts []shift // by time, the first at 0
}

// shift is when another of the policies begins to count, since the work began.
type shift struct {
	at     time.Duration
	policy int
}

// shifts are those of so much time; active returns which policy counts at a moment.
func shifts(from time.Time, length time.Duration, active func(time.Time) int) (all []shift) {
	for t := from; t.Sub(from) < length; t = t.Truncate(time.Minute).Add(time.Minute) {
		if n := active(t); len(all) == 0 || n != all[len(all)-1].policy {
			all = append(all, shift{t.Sub(from), n})
		}
	}
	return all
}

// expecting is how often the runner looks at Droplets while it expects a change of them.
func (s *Setup) expecting() time.Duration { return cmp.Or(s.UpdateIntervalWhenExpecting, update) }

// Work is what is replayed.
type Work struct {
	Length time.Duration // of all
	Jobs   []Job         // by Arrive
	Boots  []time.Duration
	Ready  time.Duration // from active until a job runs
	Gone   time.Duration // from the request to delete until the bill ends
	Price  float64       // USD an hour

	Queued bool // jobs arrive at GitLab, where the next poll finds them; else at the runner
}

// Job is a job that is replayed: when it arrives, since the work began, and how long it takes.
type Job struct{ Arrive, Takes time.Duration }

// Outcome is what a Setup makes of Work, or what really became of it.
type Outcome struct {
	USD   float64
	Most  int             // Droplets at once
	Waits []time.Duration // until a job has a Droplet, in the order of Jobs
	On    []int           // which of Lives that is, of those that have one
	Lives []Life          // of Droplets: the nth has the nth of Boots, over and over
}

// Life is a span of time since the work began.
type Life struct{ From, To time.Duration }

// The runner's own times.
const (
	tick    = time.Second            // the taskscaler decides
	look    = 2 * time.Second        // a waiting job looks for a slot
	update  = 2 * time.Second        // update_interval_when_expecting, where it is not set
	call    = 157 * time.Millisecond // a call of the plugin, and DigitalOcean's answer
	checks  = 3 * time.Second        // check_interval
	pollLag = 370 * time.Millisecond // the runner asks for jobs at no tick of the taskscaler
	never   = time.Duration(math.MaxInt64)
)

// droplet is one as the runner sees it.
type droplet struct {
	n              int // of Lives
	active, ready  time.Duration
	since          time.Duration // idle
	gone           time.Duration // 0 = it is not deleted
	busy, used     int
	runs, removing bool // jobs; it is to be deleted, or is
}

type ending struct {
	at time.Duration
	d  *droplet
}

// model is a run. Nothing changes between its events.
type model struct {
	Setup
	w   *Work
	out Outcome
	now time.Duration

	policy runnerconfig.Policy
	shift  int      // the next
	taken  int      // jobs that the runner has, of which len(out.Waits) have a Droplet; those after them are at GitLab
	ends   []ending // of the jobs that run, the last one first

	requests  int
	creating  []*droplet
	list      []*droplet // in the order in which they were seen running
	preparing []*droplet // those of list that run no jobs yet, likewise
	removing  []*droplet // those of list that are to be deleted, or are

	// The taskscaler's counts, of jobs: what Droplets have room for, and what they will not take any more.
	idle, unavailable int
	idleSince         time.Duration // no Droplet is idle for longer

	takeAt, tickAt, roundAt time.Duration
	roundBegan, roundEnded  time.Duration
}

// Replay returns what a policy makes of work.
func Replay(s Setup, w *Work) Outcome {
	m := &model{Setup: s, w: w, tickAt: tick, roundAt: call}
	m.CapacityPerInstance, m.UpdateInterval = max(1, m.CapacityPerInstance), max(cmp.Or(m.UpdateInterval, time.Minute), m.expecting())
	m.out.Waits, m.out.On = make([]time.Duration, 0, len(w.Jobs)), make([]int, 0, len(w.Jobs))
	for m.step() {
	}
	for _, j := range w.Jobs[len(m.out.Waits):] {
		m.out.Waits = append(m.out.Waits, w.Length-j.Arrive)
	}
	for _, l := range m.out.Lives {
		m.out.USD += instancegroup.Cost(w.Price, l.To-l.From)
	}
	return m.out
}

// step does what comes next, and reports whether there was something before the end.
func (m *model) step() bool {
	end, shift, ready, start := never, never, never, never
	if n := len(m.ends); n > 0 {
		end = m.ends[n-1].at
	}
	if m.shift < len(m.shifts) {
		shift = m.shifts[m.shift].at
	}
	if len(m.preparing) > 0 {
		ready = m.preparing[0].ready
	}
	if m.waiting() > 0 && m.idle > 0 {
		start = up(m.now+1, look)
	}
	m.now = min(end, shift, ready, start, m.takeAt, m.tickAt, m.roundAt)
	if m.now >= m.w.Length {
		return false
	}
	switch m.now {
	case shift:
		m.policy = runnerconfig.Policy{IdleTime: 5 * time.Minute} // the runner's own
		if n := m.shifts[m.shift].policy; n >= 0 {
			m.policy = m.Policy[n]
		}
		m.shift++
		m.changed()
	case end:
		m.end()
	case ready:
		d := m.preparing[0]
		m.preparing = m.preparing[1:]
		m.change(d, func() { d.runs = true })
	case start:
		for m.waiting() > 0 && m.idle > 0 {
			m.start()
		}
	case m.takeAt:
		m.take()
	case m.roundAt:
		m.round()
	default:
		m.scale()
	}
	return true
}

func (m *model) changed() { m.tickAt = min(m.tickAt, up(m.now+1, tick)) } // then the taskscaler decides

func (m *model) waiting() int { return m.taken - len(m.out.Waits) }

// up is the next multiple of step, t itself if it is one.
func up(t, step time.Duration) time.Duration {
	over := t % step
	if over > 0 {
		t += step
	}
	return t - over
}

func poll(t time.Duration) time.Duration { return up(t-pollLag, checks) + pollLag }

// take is the runner's question for jobs: it takes those that it has room for.
func (m *model) take() {
	for m.takeAt = never; m.taken < len(m.w.Jobs); {
		if arrive := m.w.Jobs[m.taken].Arrive; arrive > m.now || !m.reserve() {
			if m.takeAt = arrive; m.w.Queued || arrive <= m.now {
				m.takeAt = poll(max(arrive, m.now+1))
			}
			return
		}
		m.taken++
		if m.idle > 0 {
			m.start()
		}
		m.changed()
	}
}

// reserve reports whether the runner has room for one more job.
func (m *model) reserve() bool {
	reserved := m.waiting()
	switch {
	case m.Concurrent > 0 && reserved+len(m.ends) >= m.Concurrent, m.Limit > 0 && reserved+len(m.ends) >= m.Limit:
		return false
	case m.idle > reserved:
		return true
	case m.policy.IdleCount > 0 && m.policy.Preemptive():
		return false
	}
	return m.MaxInstances == 0 || m.MaxInstances*m.CapacityPerInstance > m.unavailable+len(m.ends)+reserved-m.idle
}

// room is how many jobs more a Droplet takes before it goes.
func (m *model) room(d *droplet) int {
	if m.MaxUseCount > 0 {
		return min(m.CapacityPerInstance-d.busy, m.MaxUseCount-d.used)
	}
	return m.CapacityPerInstance - d.busy
}

// change changes a Droplet of list, and the counts with it.
func (m *model) change(d *droplet, f func()) {
	m.count(d, -1)
	f()
	m.count(d, 1)
	m.changed()
}

// count adds a Droplet of list to the counts, or with -1 takes it off them.
func (m *model) count(d *droplet, n int) {
	switch room := m.room(d); {
	case d.gone > 0:
	case d.removing:
		m.unavailable += n * m.CapacityPerInstance
	default:
		m.unavailable += n * (m.CapacityPerInstance - d.busy - room)
		if d.runs {
			m.idle += n * room
		}
	}
}

// start begins the job that waits longest, on the first Droplet with room for it.
func (m *model) start() {
	job := m.w.Jobs[len(m.out.Waits)]
	d := m.list[slices.IndexFunc(m.list, func(d *droplet) bool { return d.runs && !d.removing && m.room(d) > 0 })]
	m.change(d, func() { d.busy++; d.used++ })
	end := m.now + job.Takes
	i, _ := slices.BinarySearchFunc(m.ends, end, func(e ending, at time.Duration) int { return cmp.Compare(at, e.at) })
	m.ends = slices.Insert(m.ends, i, ending{end, d})
	m.out.Waits, m.out.On = append(m.out.Waits, m.now-job.Arrive), append(m.out.On, d.n)
}

func (m *model) end() {
	last := len(m.ends) - 1
	d := m.ends[last].d
	m.ends = m.ends[:last]
	m.change(d, func() { d.busy-- })
	d.since = m.now
	m.idleSince = min(m.idleSince, m.now)
	if d.busy == 0 && m.room(d) == 0 {
		m.remove(d)
	}
}

// remove marks a Droplet for deletion by the runner's next round.
func (m *model) remove(d *droplet) {
	if !d.removing {
		m.change(d, func() { d.removing = true })
		m.removing = append(m.removing, d)
		m.expect()
	}
}

// scale is the taskscaler's decision, once a second.
func (m *model) scale() {
	m.tickAt = never
	have := len(m.list) - len(m.removing) + len(m.creating) + m.requests
	n := m.required(have, m.waiting())
	if n > 0 {
		m.requests += n
		m.expect()
	} else if n < 0 {
		n = min(0, m.required(have, 2*m.waiting())) // it deletes fewer than it has too many: jobs that wait count twice
	}
	if n >= 0 {
		return
	}
	idle := m.policy.IdleTime
	if m.idleSince+idle <= m.now {
		m.idleSince = m.w.Length
		for _, d := range m.list {
			switch {
			case d.busy > 0:
			case n < 0 && (d.since+idle <= m.now || m.room(d) == 0):
				m.remove(d) // one that is being removed counts too
				n++
			default:
				m.idleSince = min(m.idleSince, d.since)
			}
		}
	}
	m.tickAt = min(m.tickAt, up(max(m.idleSince+idle, m.now+1), tick))
}

// required is how many Droplets the taskscaler wants more than it has.
func (m *model) required(have, waiting int) int {
	busy := len(m.ends)
	if busy+m.unavailable > have*m.CapacityPerInstance {
		return 0
	}
	desired := busy + max(m.policy.IdleCount, waiting)
	if f := m.policy.ScaleFactor; f > 0 {
		scaled := int(math.Ceil(f * float64(busy)))
		if m.policy.ScaleFactorLimit > 0 {
			scaled = min(scaled, m.policy.ScaleFactorLimit)
		}
		desired = max(desired, scaled)
	}
	n := (desired+m.unavailable+m.CapacityPerInstance-1)/m.CapacityPerInstance - have
	if m.MaxInstances > 0 && n > 0 {
		n = min(n, max(0, m.MaxInstances-have))
	}
	return n
}

// expect has the runner begin its next round sooner, because there is something to do, or to expect.
func (m *model) expect() { m.roundAt = min(m.roundAt, m.next(m.expecting())) }

// next is when the next round's first call is answered: the runner looks once a second whether the interval is over.
func (m *model) next(interval time.Duration) time.Duration {
	return m.roundEnded + up(max(m.roundBegan+interval, m.now+1)-m.roundEnded, min(tick, m.expecting())) + call
}

// round is the runner's update: it deletes, lists and creates.
func (m *model) round() {
	m.roundBegan, m.roundEnded = m.now-call, m.now
	for _, d := range m.removing {
		if d.gone == 0 {
			m.roundEnded = m.now + call
			m.change(d, func() { d.gone = m.now + m.w.Gone })
			m.out.Lives[d.n].To = min(d.gone, m.w.Length)
		}
	}
	gone := func(d *droplet) bool { return d.gone > 0 && d.gone <= m.roundEnded }
	if slices.ContainsFunc(m.removing, gone) {
		m.removing, m.list = slices.DeleteFunc(m.removing, gone), slices.DeleteFunc(m.list, gone)
		m.changed()
	}
	m.creating = slices.DeleteFunc(m.creating, m.seenActive)
	n := m.requests
	if m.MaxInstances > 0 {
		n = min(n, m.MaxInstances-len(m.list)-len(m.creating))
	}
	if n > 0 {
		m.roundEnded += call
		m.create(n)
	}
	interval := m.UpdateInterval
	if len(m.creating) > 0 || m.requests > 0 || len(m.removing) > 0 {
		interval = m.expecting()
	}
	m.roundAt = m.next(interval)
}

// seenActive puts a Droplet that is active into list, and reports whether it is.
func (m *model) seenActive(d *droplet) bool {
	if d.active > m.roundEnded {
		return false
	}
	d.ready = m.roundEnded + m.w.Ready
	m.list, m.preparing = append(m.list, d), append(m.preparing, d)
	m.count(d, 1)
	m.idleSince = min(m.idleSince, d.since)
	m.changed()
	return true
}

func (m *model) create(n int) {
	m.requests -= n
	for range n {
		made := len(m.out.Lives)
		active := m.roundEnded + m.w.Boots[made%len(m.w.Boots)]
		m.creating = append(m.creating, &droplet{n: made, active: active, since: m.roundEnded + m.expecting() + call})
		m.out.Lives = append(m.out.Lives, Life{m.roundEnded, m.w.Length})
	}
	m.out.Most = max(m.out.Most, len(m.list)+len(m.creating))
}
