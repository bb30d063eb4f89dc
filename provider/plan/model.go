// Package plan says what a runner's policy should be, from what really happened: it
// replays jobs and boots through the runner's autoscaler, and searches policies. It
// reads and writes nothing: the command does.
package plan

import (
	"math"
	"slices"
	"sort"
	"time"
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

	Lives []Life // Droplets, in the order of their creation
	Runs  []Life // jobs on them
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

// Bill is what a Droplet costs: by the second, 60 of them or a cent at least.
func Bill(perHour float64, life time.Duration) float64 {
	return max(0.01, perHour*max(life, time.Minute).Hours())
}

// The runner's own times, in milliseconds.
const (
	tick    = 1000 // the taskscaler decides
	acquire = 2000 // a job looks for a free slot
	update  = 2000 // update_interval_when_expecting
	call    = 157  // a call of the plugin, and DigitalOcean's answer
	never   = math.MaxInt64
)

// droplet is one as the runner sees it.
type droplet struct {
	born, active, ready int64 // ready: never = it is not running yet
	since               int64 // idle
	busy, used          int
	removing            bool
	deleted, gone       int64 // never = not yet
	life                int
}

// model is a run. What it has no event for does not change.
type model struct {
	Setup
	w     *Work
	trace bool
	out   Outcome
	now   int64

	policy Policy
	shift  int // the next
	job    int // the next to arrive

	queue   []int64 // at GitLab: when each arrived
	head    int     // of queue
	taken   int     // jobs that the runner has
	waiting []waiter
	ends    ends

	list     []*droplet // in the order in which they were seen running
	creating []*droplet
	requests int
	free     []*droplet // for reuse

	tickAt, pollAt, loopAt, listAt, readyAt int64
	loopStart, loopEnd                      int64 // of the runner's last update
	expecting                               bool
}

// waiter is a job that the runner has taken, and that looks for a slot every 2 s from then.
type waiter struct {
	phase int64 // of its looks
	job   int
}

// Run replays work.
func Run(s Setup, w *Work, trace bool) Outcome {
	m := &model{Setup: s, w: w, trace: trace, policy: fallback, pollAt: never, loopAt: never, listAt: never, readyAt: never}
	m.loopEnd, m.Capacity, m.UpdateInterval = call, max(1, m.Capacity), max(m.UpdateInterval, update*time.Millisecond)
	if len(m.Shifts) == 0 && len(m.Policies) > 0 {
		m.Shifts = []Shift{{}}
	}
	m.out.Waits = make([]int32, 0, len(w.Jobs))
	for m.step() {
	}
	m.close()
	return m.out
}

// step does what comes next, and reports whether there was something before the end.
func (m *model) step() bool {
	look, who := m.nextLook()
	arrive, end, shift := int64(never), int64(never), int64(never)
	if m.job < len(m.w.Jobs) {
		arrive = m.w.Jobs[m.job].Arrive
	}
	if len(m.ends) > 0 {
		end = m.ends[0].at
	}
	if m.shift < len(m.Shifts) {
		shift = m.Shifts[m.shift].At
	}
	m.now = min(arrive, end, shift, look, m.tickAt, m.pollAt, m.loopAt, m.listAt, m.readyAt)
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
	case m.readyAt:
		m.markReady()
	case look:
		m.start(who)
	case arrive:
		m.arrive()
	case m.pollAt:
		m.take()
	case m.loopAt:
		m.update()
	case m.listAt:
		m.see()
	default:
		m.scale()
	}
	return true
}

// changed has the taskscaler decide at its next tick.
func (m *model) changed() { m.tickAt = min(m.tickAt, up(m.now+1, tick)) }

// up is the next multiple of step, t itself if it is one.
func up(t, step int64) int64 { return t + (step-t%step)%step }

// poll is when the runner asks for jobs, at t or later: at no tick of the taskscaler.
func (w *Work) poll(t int64) int64 {
	const phase = 370
	return up(t-phase, int64(w.Poll)) + phase
}

func (m *model) arrive() {
	m.queue = append(m.queue, int64(m.job))
	m.job++
	if m.w.Queued {
		m.pollAt = min(m.pollAt, m.w.poll(m.now))
	} else {
		m.take()
	}
}

// take is the runner's question for jobs: it takes those that it has room for.
func (m *model) take() {
	for m.head < len(m.queue) && (m.MaxJobs == 0 || m.taken < m.MaxJobs) && m.reserve() {
		w := waiter{m.now % acquire, int(m.queue[m.head])}
		m.head++
		m.taken++
		i := sort.Search(len(m.waiting), func(i int) bool { return m.waiting[i].phase > w.phase })
		m.waiting = slices.Insert(m.waiting, i, w)
		m.changed()
		if m.slot() != nil {
			m.start(i)
		}
	}
	m.pollAt = never
	if m.head < len(m.queue) {
		m.pollAt = m.w.poll(m.now + 1)
	} else {
		m.queue, m.head = m.queue[:0], 0
	}
}

// reserve reports whether the taskscaler has room for one more.
func (m *model) reserve() bool {
	reserved, preemptive := len(m.waiting), m.policy.IdleCount > 0 && m.policy.Preemptive
	if !preemptive && (m.MaxInstances == 0 || (m.MaxInstances-len(m.list))*m.Capacity > reserved) {
		return true // it is sure without counting
	}
	c := m.count()
	available := max(0, c.idle-reserved)
	if preemptive {
		return available > 0
	}
	return available > 0 || m.MaxInstances*m.Capacity-c.unavailable-c.acquired-max(0, reserved-c.idle) > 0
}

// nextLook returns when a waiting job next finds a slot, and which.
func (m *model) nextLook() (at int64, who int) {
	if len(m.waiting) == 0 || m.slot() == nil {
		return never, 0
	}
	phase := m.now % acquire
	who = sort.Search(len(m.waiting), func(i int) bool { return m.waiting[i].phase >= phase })
	if who == len(m.waiting) {
		return m.now - phase + acquire + m.waiting[0].phase, 0
	}
	return m.now - phase + m.waiting[who].phase, who
}

// slot returns the Droplet that the next job gets.
func (m *model) slot() *droplet {
	for _, d := range m.list {
		if !d.removing && d.ready <= m.now && d.busy < m.Capacity && (m.MaxUses == 0 || d.used < m.MaxUses) {
			return d
		}
	}
	return nil
}

// start begins a job that waits.
func (m *model) start(who int) {
	d, j := m.slot(), m.w.Jobs[m.waiting[who].job]
	m.waiting = slices.Delete(m.waiting, who, who+1)
	d.busy++
	d.used++
	m.ends.push(ending{m.now + j.Takes, d})
	m.out.Waits = append(m.out.Waits, int32(min(m.now-j.Arrive, math.MaxInt32)))
	if m.trace {
		m.out.Runs = append(m.out.Runs, Life{m.now, min(m.now+j.Takes, m.w.Length)})
	}
	m.changed()
}

// end ends a job.
func (m *model) end() {
	d := m.ends.pop().d
	d.busy--
	d.since = m.now
	m.taken--
	if d.busy == 0 && m.MaxUses > 0 && d.used >= m.MaxUses {
		m.remove(d)
	}
	m.changed()
}

// remove marks a Droplet for deletion by the runner's next update.
func (m *model) remove(d *droplet) {
	if !d.removing {
		d.removing = true
		m.wake(m.now)
		m.changed()
	}
}

// counts is the taskscaler's, of jobs.
type counts struct{ idle, acquired, unavailable, running int }

func (m *model) count() (c counts) {
	for _, d := range m.list {
		if !d.removing {
			c.running++
		}
		if d.deleted <= m.now {
			continue
		}
		unavailable := 0
		if d.removing {
			unavailable = m.Capacity - d.busy
		} else if m.MaxUses > 0 {
			unavailable = max(0, m.Capacity-(m.MaxUses-d.used+d.busy))
		}
		c.acquired += d.busy
		c.unavailable += unavailable
		if d.ready <= m.now {
			c.idle += m.Capacity - d.busy - unavailable
		}
	}
	return c
}

// scale is the taskscaler's decision, once a second.
func (m *model) scale() {
	m.tickAt = never
	if m.listAt != never { // a call is under way: what it changes counts next time
		m.tickAt = m.now + tick
	}
	c := m.count()
	have := c.running + len(m.creating) + m.requests
	n := m.required(c, have, 0)
	if n < 0 {
		n = min(0, m.required(c, have, len(m.waiting)))
	}
	if n > 0 {
		m.requests += n
		m.wake(m.now)
		return
	}
	idle := m.policy.IdleTime.Milliseconds()
	for _, d := range m.list {
		if n == 0 {
			return
		}
		switch expires := d.since + idle; {
		case d.busy > 0:
		case expires <= m.now || m.MaxUses > 0 && d.used >= m.MaxUses:
			m.remove(d)
			n++
		default:
			m.tickAt = min(m.tickAt, up(expires, tick))
		}
	}
}

// required is how many Droplets the taskscaler wants more.
func (m *model) required(c counts, have, reserved int) int {
	if c.acquired+c.unavailable > have*m.Capacity {
		return 0
	}
	desired := c.acquired + max(m.policy.IdleCount, len(m.waiting)+reserved)
	if f := m.policy.ScaleFactor; f > 0 {
		scaled := int(math.Ceil(f * float64(c.acquired)))
		if m.policy.ScaleFactorLimit > 0 {
			scaled = min(scaled, m.policy.ScaleFactorLimit)
		}
		desired = max(desired, scaled)
	}
	n := (desired+c.unavailable+m.Capacity-1)/m.Capacity - have
	if m.MaxInstances > 0 && n > 0 {
		n = min(n, max(0, m.MaxInstances-have))
	}
	return n
}

// wake has the runner update when it can, at t or later. A round of its is a call, and
// pauses of a second until the interval is over.
func (m *model) wake(t int64) {
	if m.listAt != never {
		return // see does it
	}
	interval := m.UpdateInterval.Milliseconds()
	if m.expecting {
		interval = update
	}
	start, end := m.loopStart, m.loopEnd
	if next, round := end+up(start+interval-end, tick), up(interval, tick)+call; next < t { // those without effect
		start = next + (t-next-1)/round*round
		end = start + call
	}
	if !m.expecting && t < end { // it is in one
		m.loopStart, m.listAt = start, end
		return
	}
	if !m.expecting { // until it does, which is now
		interval = update
	}
	m.loopAt = min(m.loopAt, end+up(max(start+interval, t, end+1)-end, tick))
}

// update begins the runner's round: it deletes.
func (m *model) update() {
	m.loopAt, m.loopStart, m.listAt = never, m.now, m.now+call
	for _, d := range m.list {
		if d.removing && d.deleted == never {
			m.listAt = m.now + 2*call
			d.deleted, d.gone = m.now+call, m.now+call+int64(m.w.Gone)
			m.out.Lives[d.life].To = d.gone
		}
	}
	m.tickAt = min(m.tickAt, up(m.now+call, tick))
}

// see is the rest of the round: it lists and creates.
func (m *model) see() {
	m.listAt, m.loopEnd = never, m.now
	before, unseen := len(m.creating), 0
	for _, d := range m.creating {
		if d.active <= m.now {
			d.ready = m.now + int64(m.w.Ready)
			m.readyAt = min(m.readyAt, d.ready)
			m.list = append(m.list, d)
		} else {
			m.creating[unseen] = d
			unseen++
		}
	}
	m.creating = m.creating[:unseen]
	running := len(m.list)
	m.list = slices.DeleteFunc(m.list, func(d *droplet) bool {
		if d.gone <= m.now {
			m.free = append(m.free, d)
		}
		return d.gone <= m.now
	})
	if unseen < before || len(m.list) < running {
		m.changed()
	}
	n := m.requests
	if m.MaxInstances > 0 {
		n = min(n, m.MaxInstances-len(m.list)-len(m.creating))
	}
	if n > 0 {
		m.loopEnd += call
		m.create(n, m.loopEnd)
	}
	need := int64(never)
	for _, d := range m.creating {
		need = min(need, d.active-call)
	}
	m.expecting = len(m.creating) > 0 || m.requests > 0
	for _, d := range m.list {
		if d.removing {
			m.expecting = true
			if d.deleted == never {
				need = m.now
			} else {
				need = min(need, d.gone-call)
			}
		}
	}
	if need < never {
		m.wake(max(need, m.loopEnd))
	}
}

func (m *model) create(n int, t int64) {
	for range n {
		d := &droplet{}
		if last := len(m.free) - 1; last >= 0 {
			d, m.free = m.free[last], m.free[:last]
		}
		boot := 0
		if len(m.w.Boots) > 0 {
			boot = m.w.Boots[m.out.Made%len(m.w.Boots)]
		}
		*d = droplet{born: t, active: t + int64(boot), ready: never, since: t + update + call, deleted: never, gone: never, life: m.out.Made}
		m.out.Made++
		m.out.Lives = append(m.out.Lives, Life{t, never})
		m.creating = append(m.creating, d)
	}
	m.requests -= n
	m.out.Most = max(m.out.Most, len(m.list)+len(m.creating))
}

// markReady lets jobs look for the Droplets that are ready now.
func (m *model) markReady() {
	m.readyAt = never
	for _, d := range m.list {
		if d.ready > m.now && !d.removing {
			m.readyAt = min(m.readyAt, d.ready)
		}
	}
	m.changed()
}

// close ends a run: what is not over lasts until the end.
func (m *model) close() {
	for _, j := range m.queue[m.head:] {
		m.waiting = append(m.waiting, waiter{job: int(j)})
	}
	for _, w := range m.waiting {
		m.out.Waits = append(m.out.Waits, int32(min(m.w.Length-m.w.Jobs[w.job].Arrive, math.MaxInt32)))
	}
	slices.Sort(m.out.Waits)
	for i := range m.out.Lives {
		l := &m.out.Lives[i]
		l.To = min(l.To, m.w.Length)
		m.out.USD += Bill(m.w.Price, time.Duration(l.To-l.From)*time.Millisecond)
	}
	if !m.trace {
		m.out.Lives = nil
	}
}

// ending is when a job ends; ends is a heap of them. (container/heap makes the search twice as slow.)
type ending struct {
	at int64
	d  *droplet
}
type ends []ending

func (e *ends) push(x ending) {
	h := append(*e, x)
	i := len(h) - 1
	for ; i > 0 && h[(i-1)/2].at > x.at; i = (i - 1) / 2 {
		h[i] = h[(i-1)/2]
	}
	h[i] = x
	*e = h
}

func (e *ends) pop() ending {
	h := *e
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	i := 0
	for c := 1; c < len(h); c = 2*i + 1 {
		if c+1 < len(h) && h[c+1].at < h[c].at {
			c++
		}
		if last.at <= h[c].at {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	*e = h
	return top
}
