package instancegroup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// account is a DigitalOcean account as far as a Group can tell: a Cloud with
// time (the bubble's), lag and scripted faults. It reports to t what nobody may
// ever do to it: send a name twice, ask for too much at once, delete what is not
// the group's.
type account struct {
	t *testing.T

	// Set before use, or between calls.
	latency   time.Duration // of every call
	boot      time.Duration // from accepted to active
	createLag time.Duration // until lists show a new Droplet
	deleteLag time.Duration // until lists miss a destroyed one
	perPage   int           // Droplets per list request
	limit     int           // hourly budget; 0 = not told
	remaining int
	usage     Usage
	room      *int                         // for how many Droplets more the limit has room; a create is carried out or refused as a whole
	clock     time.Duration                // DigitalOcean's clock minus the bubble's
	loses     string                       // a region whose creates are accepted, and whose Droplets are gone at once
	garble    func(ds []Droplet) []Droplet // unless nil, what an answer to a create has

	mu        sync.Mutex
	machine   map[int64]*machine
	lastID    int64
	minted    []string // the names of all creates
	inProject map[int64]bool
	scripts   map[string][]fault
	always    map[string]*fault
	calls     []call
}

// machine is one Droplet and what DigitalOcean knows about it.
type machine struct {
	Droplet
	minted    string // its first name
	born      time.Time
	gone      time.Time // zero = it lives
	stuck     bool      // never becomes active
	foreign   bool      // not the group's to touch
	hidden    bool      // missing from lists
	deafTo    int       // DELETEs that are accepted and not carried out
	delivered int       // DELETEs received
}

func (m *machine) lives() bool { return m.gone.IsZero() }

func (m *machine) tag(tag string) { m.Tags = append(slices.Clone(m.Tags), tag) }

func (m *machine) untag(tag string) {
	m.Tags = slices.DeleteFunc(slices.Clone(m.Tags), func(s string) bool { return s == tag })
}

// fault is what happens to one call: it is carried out or not, and then there
// is an answer, an error, or none until the caller gives up.
type fault struct {
	applied bool
	late    time.Duration // after it was carried out
	err     error
	hang    bool
}

// call is one request that the account received.
type call struct {
	op   string
	at   time.Time
	id   int64   // delete, get
	tag  string  // list, tag
	ids  []int64 // project, tag
	gpus bool    // list
	CreateRequest
}

func newAccount(t *testing.T) *account {
	return &account{
		t: t, latency: 50 * time.Millisecond, boot: 20 * time.Second, deleteLag: 3 * time.Second, perPage: 200, lastID: 1000,
		usage: Usage{Limit: 1000}, machine: map[int64]*machine{}, inProject: map[int64]bool{},
		scripts: map[string][]fault{}, always: map[string]*fault{},
	}
}

// lock is for `defer a.lock()()`.
func (a *account) lock() (unlock func()) {
	a.mu.Lock()
	return a.mu.Unlock
}

// script queues what happens to the next calls of op.
func (a *account) script(op string, faults ...fault) {
	defer a.lock()()
	a.scripts[op] = append(a.scripts[op], faults...)
}

// breakOp lets every call of op end in f, until heal.
func (a *account) breakOp(op string, f fault) {
	defer a.lock()()
	a.always[op] = &f
}

func (a *account) heal(op string) {
	defer a.lock()()
	delete(a.always, op)
	delete(a.scripts, op)
}

// receive notes a call and lets its time pass. apply does what the call asks
// for, unless the script says otherwise, or refuses it.
func receive[T any](ctx context.Context, a *account, c call, apply func() (T, error)) (answer T, err error) {
	a.mu.Lock()
	c.at = time.Now()
	a.calls = append(a.calls, c)
	f := fault{applied: true}
	if q := a.scripts[c.op]; len(q) > 0 {
		f, a.scripts[c.op] = q[0], q[1:]
	} else if p := a.always[c.op]; p != nil {
		f = *p
	}
	a.mu.Unlock()
	var none T
	if pause(ctx, a.latency) != nil {
		return none, tooLate
	}
	if f.applied {
		a.mu.Lock()
		answer, err = apply()
		a.mu.Unlock()
		f.err = cmp.Or(f.err, err)
	}
	if f.hang {
		<-ctx.Done()
	}
	if f.hang || f.late > 0 && pause(ctx, f.late) != nil {
		return none, tooLate
	}
	if f.err != nil {
		return none, f.err
	}
	return answer, nil
}

// done is a call that has no answer but an error.
func (a *account) done(ctx context.Context, c call, apply func()) error {
	_, err := receive(ctx, a, c, func() (bool, error) { apply(); return true, nil })
	return err
}

func (a *account) List(ctx context.Context, tag string, gpus bool) (List, error) {
	date := time.Now().Add(a.clock)
	if f := a.always["GPUs"]; gpus && f != nil {
		a.script("list", *f)
	}
	return receive(ctx, a, call{op: "list", tag: tag, gpus: gpus}, func() (l List, err error) {
		now := time.Now()
		for _, m := range a.machine {
			shown := now.Sub(m.born) >= a.createLag && (m.lives() || now.Sub(m.gone) < a.deleteLag)
			if shown && !m.hidden && HasTag(m.Droplet, tag) && (gpus || !GPUSize(m.Size)) {
				l.Droplets = append(l.Droplets, a.now(m))
			}
		}
		slices.SortFunc(l.Droplets, func(x, y Droplet) int { return int(x.ID - y.ID) })
		l.Requests = max(1, (len(l.Droplets)+a.perPage-1)/a.perPage)
		l.Date = date
		l.Budget = Budget{Limit: a.limit, Remaining: a.remaining, Others: a.limit - a.remaining}
		return l, nil
	})
}

func (a *account) Get(ctx context.Context, id int64) (Droplet, error) {
	return receive(ctx, a, call{op: "get", id: id}, func() (Droplet, error) {
		if m := a.machine[id]; m != nil && m.lives() {
			return a.now(m), nil
		}
		return Droplet{}, refusal(ErrNotFound)
	})
}

func (a *account) Create(ctx context.Context, r CreateRequest) (Created, error) {
	a.atMost(MaxNames, len(r.Names), "names in one create")
	a.mu.Lock()
	for _, n := range r.Names {
		if slices.Contains(a.minted, n) || !Owns("ci", Droplet{Name: n, Tags: r.Tags}) {
			a.t.Errorf("%s %v was sent before, or would not be the group's", n, r.Tags)
		}
		a.minted = append(a.minted, n)
	}
	a.mu.Unlock()
	return receive(ctx, a, call{op: "create", CreateRequest: r}, func() (Created, error) {
		if a.room != nil {
			if len(r.Names) > *a.room {
				return Created{}, refusal(ErrQuota)
			}
			*a.room -= len(r.Names)
		}
		c := Created{RequestID: "req-create"}
		for _, n := range r.Names {
			m := &machine{Droplet: Droplet{Name: n, Tags: slices.Clone(r.Tags), Region: r.Region, Size: r.Size}}
			if r.Region == a.loses {
				m.gone = time.Now()
			}
			d := a.put(m)
			d.PublicIPv4, d.PrivateIPv4 = "", "" // not yet
			c.Droplets = append(c.Droplets, d)
		}
		if a.garble != nil {
			c.Droplets = a.garble(c.Droplets)
		}
		return c, nil
	})
}

func (a *account) atMost(most, n int, what string) {
	if n > most {
		a.t.Errorf("%d %s", n, what)
	}
}

func (a *account) Delete(ctx context.Context, id int64) (string, error) {
	return receive(ctx, a, call{op: "delete", id: id}, func() (string, error) {
		m := a.machine[id]
		if m == nil || !m.lives() {
			return "", refusal(ErrNotFound)
		}
		a.deliver(m)
		return "req-delete", nil
	})
}

// deliver carries one DELETE out.
func (a *account) deliver(m *machine) {
	if m.foreign || Kept(m.Droplet) {
		a.t.Errorf("DELETE of %s (%d), which is not the group's, or kept", m.Name, m.ID)
	}
	m.delivered++
	if m.delivered > m.deafTo {
		m.gone = time.Now()
	}
}

func (a *account) TagDroplets(ctx context.Context, tag string, ids []int64) error {
	a.atMost(MaxTagged, len(ids), "Droplets are tagged at once")
	return a.done(ctx, call{op: "tagging", tag: tag, ids: ids}, func() {
		for _, id := range ids {
			if m := a.machine[id]; m != nil && m.lives() {
				if m.foreign {
					a.t.Errorf("%s, which is not the group's, is tagged %s", m.Name, tag)
				}
				m.tag(tag)
			}
		}
	})
}

func (a *account) DeleteTagged(ctx context.Context, tag string) (string, error) {
	if !IsDeleteTag(tag) {
		a.t.Errorf("destroyed by the tag %s", tag)
	}
	return "req-bulk", a.done(ctx, call{op: "bulk", tag: tag}, func() {
		for _, m := range a.machine {
			if m.lives() && HasTag(m.Droplet, tag) {
				a.deliver(m)
			}
		}
	})
}

func (a *account) RemoveTag(ctx context.Context, tag string) error {
	return a.done(ctx, call{op: "tag", tag: tag}, func() {
		for _, m := range a.machine {
			if m.foreign && m.lives() && HasTag(m.Droplet, tag) {
				a.t.Errorf("tag %s was taken off %s, which is not the group's", tag, m.Name)
			}
			m.untag(tag)
		}
	})
}

// deleteTag deletes a tag by hand: whatever carried it does so no more.
func (a *account) deleteTag(tag string) {
	defer a.lock()()
	for _, m := range a.machine {
		m.untag(tag)
	}
}

func (a *account) AssignProject(ctx context.Context, project string, ids []int64) error {
	a.atMost(MaxAssign, len(ids), "Droplets in one assignment")
	return a.done(ctx, call{op: "project", tag: project, ids: ids}, func() {
		for _, id := range ids {
			if m := a.machine[id]; project != "p-1" || a.inProject[id] || time.Since(m.born) < a.createLag {
				a.t.Errorf("%s is assigned to %s before any list had it, or twice", m.Name, project)
			}
			a.inProject[id] = true
		}
	})
}

func (a *account) Usage(ctx context.Context, _ string) (Usage, error) {
	return receive(ctx, a, call{op: "usage"}, func() (Usage, error) { return a.usage, nil })
}

// put adds a machine, with what it does not say filled in. Called with mu held.
func (a *account) put(m *machine) Droplet {
	if m.ID == 0 {
		a.lastID++
		m.ID = a.lastID
	}
	if m.born.IsZero() {
		m.born = time.Now()
	}
	if m.Created.IsZero() {
		m.Created = m.born.Add(a.clock)
	}
	if m.Size == "" {
		m.Size, m.Region = "s-1", "nyc1"
	}
	m.minted, m.PriceHourly = m.Name, 0.01
	m.PublicIPv4 = fmt.Sprintf("192.0.2.%d", m.ID%250)
	m.PrivateIPv4 = fmt.Sprintf("10.0.0.%d", m.ID%250)
	a.machine[m.ID] = m
	return a.now(m)
}

// add puts a Droplet on the account that no create of this test made.
func (a *account) add(m machine) Droplet {
	defer a.lock()()
	return a.put(&m)
}

// now is m as DigitalOcean describes it at this moment.
func (a *account) now(m *machine) Droplet {
	d := m.Droplet
	if d.Status == "" {
		d.Status = StatusActive
		if m.stuck || time.Since(m.born) < a.boot {
			d.Status, d.PublicIPv4, d.PrivateIPv4 = StatusNew, "", ""
		}
	}
	d.Tags = slices.Clone(d.Tags)
	return d
}

// living returns the machines that live and were made with a name, unless that is "".
func (a *account) living(name string) (ms []*machine) {
	defer a.lock()()
	for _, m := range a.machine {
		if m.lives() && (name == "" || m.minted == name) {
			ms = append(ms, m)
		}
	}
	return ms
}

// change does something to a machine behind the group's back.
func (a *account) change(id int64, f func(m *machine)) {
	defer a.lock()()
	f(a.machine[id])
}

// billed counts the group's Droplets that are billed.
func (a *account) billed() int {
	defer a.lock()()
	n := 0
	for _, m := range a.machine {
		if m.lives() && !m.foreign {
			n++
		}
	}
	return n
}

// received returns the calls so far.
func (a *account) received() []call {
	defer a.lock()()
	return slices.Clone(a.calls)
}

// changes are what befalls a machine behind the group's back.
var changes = map[string]func(m *machine){
	"vanish":  func(m *machine) { m.gone = time.Now() },
	"off":     func(m *machine) { m.Status = StatusOff },
	"public":  func(m *machine) { m.addresses("192.0.2.9", "") },
	"private": func(m *machine) { m.addresses("", "10.0.0.9") },
	"both":    func(m *machine) { m.addresses("192.0.2.9", "10.0.0.9") },
	"blank":   func(m *machine) { m.addresses("", "") },
	"keep":    func(m *machine) { m.tag("Fleeting-Keep") }, // a person does
	"unkeep":  func(m *machine) { m.untag("Fleeting-Keep") },
	"doomed":  func(m *machine) { m.tag(DeleteTag("ci")) },
	"untag":   func(m *machine) { m.Tags = nil },
	"rename":  func(m *machine) { m.Name = fmt.Sprint("web-", m.ID) },
	"hide":    func(m *machine) { m.hidden = true },
	"unhide":  func(m *machine) { m.hidden = false },
	"stuck":   func(m *machine) { m.stuck = true },
	"foreign": func(m *machine) { m.foreign = true },
	"gpu":     func(m *machine) { m.Size = "gpu-h100x1-80gb" },
	"deaf":    func(m *machine) { m.deafTo = 1 },
	"deaf5":   func(m *machine) { m.deafTo = 5 },
}

func (m *machine) addresses(public, private string) {
	m.Status, m.PublicIPv4, m.PrivateIPv4 = StatusActive, public, private
}

// faultOf is the fault of a word: a class of errors, perhaps with how long to wait, as
// "limited/20s"; "hang"; "empty", an answer without anything; "ok". After "done-" the
// call is carried out all the same, and "+4s" makes the answer late.
func faultOf(word string) fault {
	word, late, _ := strings.Cut(word, "+")
	word, wait, _ := strings.Cut(word, "/")
	word, done := strings.CutPrefix(word, "done-")
	f := fault{applied: done || word == "ok", hang: word == "hang"}
	f.late, _ = time.ParseDuration(late)
	if slices.Contains([]string{"ok", "hang", "empty"}, word) {
		return f
	}
	class := map[string]error{"another": ErrOtherAccount, "forbidden": ErrForbidden, "key": ErrKey, "limited": ErrRateLimited,
		"lost": ErrUnconfirmed, "missing": ErrNotFound, "refused": ErrRefused, "size": ErrSizeLimit,
		"unauthorized": ErrUnauthorized, "unsent": ErrUnsent}[word]
	if class == nil {
		panic(word)
	}
	err := refusal(class)
	err.RetryAfter, _ = time.ParseDuration(wait)
	f.err = err
	return f
}

// refusal is an error of class.
func refusal(class error) *CloudError {
	return &CloudError{Class: class, Op: "OP", Status: 422, Message: class.Error(), RequestID: "req-42"}
}

// tooLate is what a request comes to that was sent, and not answered in its time.
var tooLate = &CloudError{Class: ErrUnconfirmed, Op: "OP", Message: "no answer in time"}
