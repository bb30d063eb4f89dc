// Package plan says what a runner's policy should be, from what really happened: it
// replays jobs and boots through the runner's autoscaler, and searches policies. It
// reads and writes nothing: the command does.
package plan

import (
	"cmp"
	"math"
	"slices"
	"sort"
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
	acquire = 2000 // a job looks for a free slot
	update  = 2000 // update_interval_when_expecting
	call    = 157  // a call of the plugin, and DigitalOcean's answer
	never   = math.MaxInt64
)

// droplet is one as the runner sees it.
type droplet struct {
	born, active  int64
	readyAt       int64 // never = it is not running yet
	since         int64 // idle
	busy, used    int
	ready         bool // for jobs
	removing      bool
	deleted, gone int64 // never = not yet
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

	arrived int // jobs
	taken   int // by the runner; the others wait at GitLab
	waiting []waiter
	ends    []ending // of the jobs that run, the last one first

	list     []*droplet // in the order in which they were seen running
	creating []*droplet
	requests int
	unused   []*droplet // to be used again

	// The taskscaler's counts, of jobs: what Droplets have room for, and what they will not take any more.
	idle, unavailable int
	removing          int   // Droplets of list
	accepted          int   // deletes of the runner's last update, which free their room ...
	acceptedAt        int64 // ... then
	idleSince         int64 // no Droplet is idle for longer

	tickAt, pollAt, loopAt, listAt, readyAt int64
	loopStart, loopEnd                      int64 // of the runner's last update
	expecting                               bool
}

// ending is when a job ends.
type ending struct {
	at int64
	d  *droplet
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
	if m.arrived < len(m.w.Jobs) {
		arrive = m.w.Jobs[m.arrived].Arrive
	}
	if n := len(m.ends); n > 0 {
		end = m.ends[n-1].at
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
	m.arrived++
	if m.w.Queued {
		m.pollAt = min(m.pollAt, m.w.poll(m.now))
	} else {
		m.take()
	}
}

// take is the runner's question for jobs: it takes those that it has room for.
func (m *model) take() {
	for m.taken < m.arrived && (m.MaxJobs == 0 || len(m.waiting)+len(m.ends) < m.MaxJobs) && m.reserve() {
		w := waiter{m.now % acquire, m.taken}
		m.taken++
		i := sort.Search(len(m.waiting), func(i int) bool { return m.waiting[i].phase > w.phase })
		m.waiting = slices.Insert(m.waiting, i, w)
		m.changed()
		if m.idle > 0 {
			m.start(i)
		}
	}
	m.pollAt = never
	if m.taken < m.arrived {
		m.pollAt = m.w.poll(m.now + 1)
	}
}

// reserve reports whether the taskscaler has room for one more.
func (m *model) reserve() bool {
	m.settle()
	reserved := len(m.waiting)
	switch {
	case m.idle > reserved:
		return true
	case m.policy.IdleCount > 0 && m.policy.Preemptive:
		return false
	}
	return m.MaxInstances == 0 || m.MaxInstances*m.Capacity > m.unavailable+len(m.ends)+reserved-m.idle
}

// nextLook returns when a waiting job next finds a slot, and which.
func (m *model) nextLook() (at int64, who int) {
	if len(m.waiting) == 0 || m.idle == 0 {
		return never, 0
	}
	phase := m.now % acquire
	who = sort.Search(len(m.waiting), func(i int) bool { return m.waiting[i].phase >= phase })
	if who == len(m.waiting) {
		return m.now - phase + acquire + m.waiting[0].phase, 0
	}
	return m.now - phase + m.waiting[who].phase, who
}

// room is how many jobs more a Droplet takes before it goes.
func (m *model) room(d *droplet) int {
	if m.MaxUses > 0 {
		return min(m.Capacity-d.busy, m.MaxUses-d.used)
	}
	return m.Capacity - d.busy
}

// count adds a Droplet to the counts, or with -1 takes it off them before it changes.
func (m *model) count(d *droplet, n int) {
	room := m.room(d)
	m.unavailable += n * (m.Capacity - d.busy - room)
	if d.ready {
		m.idle += n * room
	}
}

// start begins a job that waits, on the first Droplet with room for it.
func (m *model) start(who int) {
	d := m.list[slices.IndexFunc(m.list, func(d *droplet) bool { return d.ready && !d.removing && m.room(d) > 0 })]
	job := m.w.Jobs[m.waiting[who].job]
	m.waiting = slices.Delete(m.waiting, who, who+1)
	m.count(d, -1)
	d.busy++
	d.used++
	m.count(d, 1)
	end := m.now + job.Takes
	i, _ := slices.BinarySearchFunc(m.ends, end, func(e ending, at int64) int { return cmp.Compare(at, e.at) })
	m.ends = slices.Insert(m.ends, i, ending{end, d})
	m.out.Waits = append(m.out.Waits, int32(min(m.now-job.Arrive, math.MaxInt32)))
	if m.trace {
		m.out.Runs = append(m.out.Runs, Life{m.now, min(end, m.w.Length)})
	}
	m.changed()
}

// end ends a job.
func (m *model) end() {
	last := len(m.ends) - 1
	d := m.ends[last].d
	m.ends = m.ends[:last]
	m.count(d, -1)
	d.busy--
	m.count(d, 1)
	d.since = m.now
	m.idleSince = min(m.idleSince, m.now)
	if d.busy == 0 && m.room(d) == 0 {
		m.remove(d)
	}
	m.changed()
}

// remove marks a Droplet for deletion by the runner's next update.
func (m *model) remove(d *droplet) {
	if !d.removing {
		m.count(d, -1)
		d.removing = true
		m.removing++
		m.unavailable += m.Capacity // until the delete is accepted
		m.wake(m.now)
		m.changed()
	}
}

// settle takes what has been deleted off the counts.
func (m *model) settle() {
	if m.acceptedAt <= m.now {
		m.unavailable -= m.accepted * m.Capacity
		m.accepted = 0
	}
}

// scale is the taskscaler's decision, once a second.
func (m *model) scale() {
	m.tickAt = never
	if m.listAt != never { // a call is under way: what it changes counts next time
		m.tickAt = m.now + tick
	}
	m.settle()
	have := len(m.list) - m.removing + len(m.creating) + m.requests
	n := m.required(have, 0)
	if n < 0 {
		n = min(0, m.required(have, len(m.waiting)))
	}
	switch {
	case n == 0:
		return
	case n > 0:
		m.requests += n
		m.wake(m.now)
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
	m.tickAt = min(m.tickAt, max(m.now+tick, up(m.idleSince+idle, tick)))
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
	m.settle()
	if m.removing > 0 {
		for _, d := range m.list {
			if d.removing && d.deleted == never {
				m.listAt = m.now + 2*call
				m.accepted++
				m.acceptedAt = m.now + call
				d.deleted, d.gone = m.acceptedAt, m.acceptedAt+int64(m.w.Gone)
				m.bill(d)
			}
		}
	}
	m.tickAt = min(m.tickAt, up(m.now+call, tick))
}

// bill ends a Droplet's life.
func (m *model) bill(d *droplet) {
	l := Life{d.born, min(d.gone, m.w.Length)}
	m.out.USD += instancegroup.Cost(m.w.Price, time.Duration(l.To-l.From)*time.Millisecond)
	if m.trace {
		m.out.Lives = append(m.out.Lives, l)
	}
}

// see is the rest of the round: it lists and creates.
func (m *model) see() {
	m.listAt, m.loopEnd = never, m.now
	before, unseen := len(m.creating), 0
	for _, d := range m.creating {
		if d.active <= m.now {
			d.readyAt = m.now + int64(m.w.Ready)
			m.readyAt = min(m.readyAt, d.readyAt)
			m.list = append(m.list, d)
			m.idleSince = min(m.idleSince, d.since)
			m.count(d, 1)
		} else {
			m.creating[unseen] = d
			unseen++
		}
	}
	m.creating = m.creating[:unseen]
	if unseen < before {
		m.changed()
	}
	need := int64(never)
	if m.removing > 0 {
		m.list = slices.DeleteFunc(m.list, func(d *droplet) bool {
			switch {
			case d.gone <= m.now:
				m.unused = append(m.unused, d)
				m.removing--
				m.changed()
			case d.deleted < never:
				need = min(need, d.gone-call)
			case d.removing:
				need = min(need, m.now)
			}
			return d.gone <= m.now
		})
	}
	n := m.requests
	if m.MaxInstances > 0 {
		n = min(n, m.MaxInstances-len(m.list)-len(m.creating))
	}
	if n > 0 {
		m.loopEnd += call
		m.create(n, m.loopEnd)
	}
	for _, d := range m.creating {
		need = min(need, d.active-call)
	}
	m.expecting = len(m.creating) > 0 || m.requests > 0 || m.removing > 0
	if need < never {
		m.wake(max(need, m.loopEnd))
	}
}

func (m *model) create(n int, t int64) {
	for range n {
		var d *droplet
		if last := len(m.unused) - 1; last >= 0 {
			d, m.unused = m.unused[last], m.unused[:last]
		} else {
			d = &droplet{}
		}
		boot := 0
		if len(m.w.Boots) > 0 {
			boot = m.w.Boots[m.out.Made%len(m.w.Boots)]
		}
		*d = droplet{born: t, active: t + int64(boot), readyAt: never, since: t + update + call, deleted: never, gone: never}
		m.out.Made++
		m.creating = append(m.creating, d)
	}
	m.requests -= n
	m.out.Most = max(m.out.Most, len(m.list)+len(m.creating))
}

// markReady lets jobs look for the Droplets that are ready now.
func (m *model) markReady() {
	m.readyAt = never
	for _, d := range m.list {
		switch {
		case d.ready || d.removing:
		case d.readyAt > m.now:
			m.readyAt = min(m.readyAt, d.readyAt)
		default:
			m.count(d, -1)
			d.ready = true
			m.count(d, 1)
		}
	}
	m.changed()
}

// close ends a run: what is not over lasts until the end.
func (m *model) close() {
	for ; m.taken < len(m.w.Jobs); m.taken++ {
		m.waiting = append(m.waiting, waiter{job: m.taken})
	}
	for _, w := range m.waiting {
		m.out.Waits = append(m.out.Waits, int32(min(m.w.Length-m.w.Jobs[w.job].Arrive, math.MaxInt32)))
	}
	slices.Sort(m.out.Waits)
	for _, d := range slices.Concat(m.list, m.creating) {
		if d.deleted == never {
			m.bill(d)
		}
	}
}
