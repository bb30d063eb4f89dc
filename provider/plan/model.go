// Package plan says what a runner's policy should be, from what really happened: it
// replays jobs and boots through the runner's autoscaler, and searches policies. It
// reads and writes nothing: the command does.
package plan

import (
	"cmp"
	"math"
	"slices"
	"time"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
)

// Policy is what one [[runners.autoscaler.policy]] decides.
type Policy struct {
	IdleCount        int // jobs
	IdleTime         time.Duration
	ScaleFactor      float64
	ScaleFactorLimit int
	Preemptive       bool
}

// fallback is the runner's policy where none applies.
var fallback = Policy{IdleTime: 5 * time.Minute}

// Setup is how a runner scales.
type Setup struct {
	Policies []Policy
	Shifts   []Shift // by time, the first at 0; none = the first policy always applies, the runner's own if there is none

	Capacity     int // jobs at once on a Droplet, at least 1
	MaxUses      int // jobs on a Droplet until it goes; 0 = unlimited
	MaxInstances int // 0 = unlimited
	MaxJobs      int // the smaller of concurrent and limit; 0 = unlimited

	UpdateInterval time.Duration // at least 2 s
}

// Shift is when another policy begins to count; -1 is the runner's own.
type Shift struct {
	At     int64 // ms since the work begins
	Policy int
}

// Work is what is replayed. Times are milliseconds since it begins.
type Work struct {
	Length int64 // of all
	Jobs   []Job // by Arrive
	Boots  []int // from request to active: the nth Droplet has the nth, over and over
	Ready  int   // from active until a job runs
	Gone   int   // from the request to delete until the bill ends
	Price  float64

	Poll   int  // the runner's check_interval
	Queued bool // jobs arrive at GitLab, where the next poll finds them; else at the runner
}

// Job is a job that is replayed.
type Job struct{ Arrive, Takes int64 }

// Outcome is what a Setup makes of Work.
type Outcome struct {
	USD   float64
	Made  int     // Droplets
	Most  int     // of them at once
	Waits []int32 // of each job until it has a Droplet, ms, sorted

	Lives []Life // of Droplets, if it is traced
	Runs  []Life // of jobs on them, likewise
}

// Life is a span of time, in milliseconds since the work began.
type Life struct{ From, To int64 }

// Wait returns a quantile of the waits, 0 to 1.
func (o *Outcome) Wait(q float64) time.Duration {
	if len(o.Waits) == 0 {
		return 0
	}
	i := min(int(q*float64(len(o.Waits))), len(o.Waits)-1)
	return time.Duration(o.Waits[i]) * time.Millisecond
}

// The runner's own times, in milliseconds.
const (
	tick    = 1000 // the taskscaler decides
	look    = 2000 // a waiting job looks for a slot
	update  = 2000 // update_interval_when_expecting
	call    = 157  // a call of the plugin, and DigitalOcean's answer
	pollLag = 370  // the runner asks for jobs at no tick of the taskscaler
	never   = math.MaxInt64
)

// droplet is one as the runner sees it.
type droplet struct {
	born, active int64
	readyAt      int64
	since        int64 // idle
	gone         int64 // 0 = it is not deleted
	busy, used   int
	ready        bool // for jobs
	removing     bool
}

// ending is when a job ends.
type ending struct {
	at int64
	d  *droplet
}

// model is a run. Nothing changes between its events.
type model struct {
	Setup
	w     *Work
	trace bool
	out   Outcome
	now   int64

	policy  Policy
	shift   int      // the next
	taken   int      // jobs that the runner has; those after them are at GitLab
	waiting []Job    // for a slot
	ends    []ending // of the jobs that run, the last one first

	requests  int
	creating  []*droplet
	list      []*droplet // in the order in which they were seen running
	preparing []*droplet // those of list that are not ready, likewise
	removing  int        // those of list that are to be deleted, or are

	// The taskscaler's counts, of jobs: what Droplets have room for, and what they will not take any more.
	idle, unavailable int
	idleSince         int64 // no Droplet is idle for longer

	takeAt, tickAt, roundAt int64
	listAt                  int64 // when the next of list is to be deleted, or is gone
	roundBegan, roundEnded  int64
}

// Run replays work.
func Run(s Setup, w *Work, trace bool) Outcome {
	m := &model{Setup: s, w: w, trace: trace, policy: fallback, tickAt: tick, roundAt: call}
	m.Capacity, m.UpdateInterval = max(1, m.Capacity), max(m.UpdateInterval, update*time.Millisecond)
	if len(m.Shifts) == 0 && len(m.Policies) > 0 {
		m.Shifts = []Shift{{}}
	}
	m.out.Waits = make([]int32, 0, len(w.Jobs))
	for m.step() {
	}
	for _, j := range append(m.waiting, w.Jobs[m.taken:]...) {
		m.waited(j, w.Length)
	}
	for _, d := range slices.Concat(m.list, m.creating) {
		if d.gone == 0 {
			m.bill(d, w.Length)
		}
	}
	slices.Sort(m.out.Waits)
	return m.out
}

// step does what comes next, and reports whether there was something before the end.
func (m *model) step() bool {
	end, shift, ready, lookAt := int64(never), int64(never), int64(never), int64(never)
	if n := len(m.ends); n > 0 {
		end = m.ends[n-1].at
	}
	if m.shift < len(m.Shifts) {
		shift = m.Shifts[m.shift].At
	}
	if len(m.preparing) > 0 {
		ready = m.preparing[0].readyAt
	}
	if len(m.waiting) > 0 && m.idle > 0 {
		lookAt = up(m.now+1, look)
	}
	m.now = min(end, shift, ready, lookAt, m.takeAt, m.tickAt, m.roundAt)
	if m.now >= m.w.Length {
		return false
	}
	switch m.now {
	case shift:
		m.policy = fallback
		if i := m.Shifts[m.shift].Policy; i >= 0 {
			m.policy = m.Policies[i]
		}
		m.shift++
		m.changed()
	case end:
		m.end()
	case ready:
		d := m.preparing[0]
		m.preparing = m.preparing[1:]
		m.change(d, func() { d.ready = true })
	case lookAt:
		for len(m.waiting) > 0 && m.idle > 0 {
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

// changed has the taskscaler decide at its next tick.
func (m *model) changed() { m.tickAt = min(m.tickAt, up(m.now+1, tick)) }

// up is the next multiple of step, t itself if it is one.
func up(t, step int64) int64 { return t + (step-t%step)%step }

// poll is when the runner asks for jobs, at t or later.
func (w *Work) poll(t int64) int64 { return up(t-pollLag, int64(w.Poll)) + pollLag }

// take is the runner's question for jobs: it takes those that it has room for.
func (m *model) take() {
	for ; m.taken < len(m.w.Jobs); m.taken++ {
		j := m.w.Jobs[m.taken]
		if m.takeAt = j.Arrive; m.w.Queued || j.Arrive <= m.now {
			m.takeAt = m.w.poll(max(j.Arrive, m.now+1))
		}
		if j.Arrive > m.now || !m.reserve() {
			return
		}
		m.waiting = append(m.waiting, j)
		if m.idle > 0 {
			m.start()
		}
		m.changed()
	}
	m.takeAt = never
}

// reserve reports whether the runner has room for one more job.
func (m *model) reserve() bool {
	reserved := len(m.waiting)
	switch {
	case m.MaxJobs > 0 && reserved+len(m.ends) >= m.MaxJobs:
		return false
	case m.idle > reserved:
		return true
	case m.policy.IdleCount > 0 && m.policy.Preemptive:
		return false
	}
	return m.MaxInstances == 0 || m.MaxInstances*m.Capacity > m.unavailable+len(m.ends)+reserved-m.idle
}

// room is how many jobs more a Droplet takes before it goes.
func (m *model) room(d *droplet) int {
	if m.MaxUses > 0 {
		return min(m.Capacity-d.busy, m.MaxUses-d.used)
	}
	return m.Capacity - d.busy
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
		m.unavailable += n * m.Capacity
	default:
		m.unavailable += n * (m.Capacity - d.busy - room)
		if d.ready {
			m.idle += n * room
		}
	}
}

// start begins a job that waits, on the first Droplet with room for it.
func (m *model) start() {
	job := m.waiting[0]
	m.waiting = m.waiting[1:]
	d := m.list[slices.IndexFunc(m.list, func(d *droplet) bool { return d.ready && !d.removing && m.room(d) > 0 })]
	m.change(d, func() { d.busy++; d.used++ })
	end := m.now + job.Takes
	i, _ := slices.BinarySearchFunc(m.ends, end, func(e ending, at int64) int { return cmp.Compare(at, e.at) })
	m.ends = slices.Insert(m.ends, i, ending{end, d})
	m.waited(job, m.now)
	if m.trace {
		m.out.Runs = append(m.out.Runs, Life{m.now, min(end, m.w.Length)})
	}
}

func (m *model) waited(j Job, until int64) {
	m.out.Waits = append(m.out.Waits, int32(min(until-j.Arrive, math.MaxInt32)))
}

// end ends a job.
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
		m.removing++
		m.listAt = m.now
		m.expect()
	}
}

// scale is the taskscaler's decision, once a second.
func (m *model) scale() {
	m.tickAt = never
	have := len(m.list) - m.removing + len(m.creating) + m.requests
	n := m.required(have, 0)
	if n < 0 {
		n = min(0, m.required(have, len(m.waiting)))
	}
	if n > 0 {
		m.requests += n
		m.expect()
	}
	if n >= 0 {
		return
	}
	idle := m.policy.IdleTime.Milliseconds()
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
func (m *model) required(have, reserved int) int {
	busy := len(m.ends)
	if busy+m.unavailable > have*m.Capacity {
		return 0
	}
	desired := busy + max(m.policy.IdleCount, len(m.waiting)+reserved)
	if f := m.policy.ScaleFactor; f > 0 {
		scaled := int(math.Ceil(f * float64(busy)))
		if m.policy.ScaleFactorLimit > 0 {
			scaled = min(scaled, m.policy.ScaleFactorLimit)
		}
		desired = max(desired, scaled)
	}
	n := (desired+m.unavailable+m.Capacity-1)/m.Capacity - have
	if m.MaxInstances > 0 && n > 0 {
		n = min(n, max(0, m.MaxInstances-have))
	}
	return n
}

// expect has the runner begin its next round sooner, because there is something to do, or to expect.
func (m *model) expect() { m.roundAt = min(m.roundAt, m.next(update)) }

// next is when the next round's first call is answered: the runner looks once a second whether the interval is over.
func (m *model) next(interval int64) int64 {
	return m.roundEnded + up(max(m.roundBegan+interval, m.now+1)-m.roundEnded, tick) + call
}

// round is the runner's update: it deletes, lists and creates.
func (m *model) round() {
	m.roundBegan, m.roundEnded = m.now-call, m.now
	if m.removing > 0 && m.listAt <= m.roundEnded {
		before := len(m.list)
		m.listAt = never
		m.list = slices.DeleteFunc(m.list, func(d *droplet) bool {
			if d.removing && d.gone == 0 {
				m.roundEnded = m.now + call
				m.change(d, func() { d.gone = m.now + int64(m.w.Gone) })
				m.bill(d, d.gone)
			}
			gone := d.gone > 0 && d.gone <= m.roundEnded
			if d.gone > 0 && !gone {
				m.listAt = min(m.listAt, d.gone)
			}
			return gone
		})
		m.removing -= before - len(m.list)
		m.changed()
	}
	m.creating = slices.DeleteFunc(m.creating, func(d *droplet) bool {
		if d.active > m.roundEnded {
			return false
		}
		d.readyAt = m.roundEnded + int64(m.w.Ready)
		m.list, m.preparing = append(m.list, d), append(m.preparing, d)
		m.count(d, 1)
		m.idleSince = min(m.idleSince, d.since)
		m.changed()
		return true
	})
	n := m.requests
	if m.MaxInstances > 0 {
		n = min(n, m.MaxInstances-len(m.list)-len(m.creating))
	}
	if n > 0 {
		m.roundEnded += call
		m.create(n)
	}
	interval := m.UpdateInterval.Milliseconds()
	if len(m.creating) > 0 || m.requests > 0 || m.removing > 0 {
		interval = update
	}
	m.roundAt = m.next(interval)
}

func (m *model) create(n int) {
	for range n {
		d := &droplet{born: m.roundEnded, active: m.roundEnded, since: m.roundEnded + update + call}
		if len(m.w.Boots) > 0 {
			d.active += int64(m.w.Boots[m.out.Made%len(m.w.Boots)])
		}
		m.creating = append(m.creating, d)
		m.out.Made++
	}
	m.requests -= n
	m.out.Most = max(m.out.Most, len(m.list)+len(m.creating))
}

// bill ends a Droplet's life.
func (m *model) bill(d *droplet, gone int64) {
	l := Life{d.born, min(gone, m.w.Length)}
	m.out.USD += instancegroup.Cost(m.w.Price, time.Duration(l.To-l.From)*time.Millisecond)
	if m.trace {
		m.out.Lives = append(m.out.Lives, l)
	}
}
