package migrate

import (
	"fmt"
	"strconv"
	"time"
)

// drain is [machine.shutdown_drain], which is for all docker+machine runners.
type drain struct {
	on      bool
	retries int
	backoff time.Duration
}

// readGlobal reads [machine]. A duration there is text, as Go writes it.
func (m *migration) readGlobal() {
	for _, s := range m.globals() {
		switch s.path {
		case "shutdown_drain.enabled":
			m.drain.on = s.value.text == "true"
		case "shutdown_drain.max_retries":
			n, _ := strconv.ParseInt(s.value.text, 0, 32)
			m.drain.retries = int(max(n, 0))
		case "shutdown_drain.retry_backoff":
			d, err := time.ParseDuration(s.value.text)
			if err == nil {
				m.drain.backoff = max(d, 0)
			}
		}
	}
}

// globals are the keys of [machine].
func (m *migration) globals() []setting {
	var blocks []int
	for b := range m.doc.blocks {
		if !below(m.doc.blocks[b].path, "runners") {
			blocks = append(blocks, b)
		}
	}
	all, _ := m.doc.settings("machine", blocks)
	return all
}

// shutdown is what a runner does with its machines when it stops.
func (c *conversion) shutdown() {
	if !c.drain.on {
		return
	}
	a := &c.autoscaler
	a.set("delete_instances_on_shutdown", "true")
	if c.drain.retries > 0 {
		a.set("shutdown_deletion_retries", strconv.Itoa(c.drain.retries))
	}
	if c.drain.backoff > 0 {
		a.set("shutdown_deletion_interval", quote(c.drain.backoff.String()))
	}
}

// leaveGlobal makes comments of [machine] where no docker+machine runner is left, and
// says what became of it.
func (m *migration) leaveGlobal(left bool) {
	if len(m.migrated) == 0 {
		return
	}
	for _, s := range m.globals() {
		n := Note{Severity: Info, Line: s.line, Key: s.path, Kind: Converted}
		switch s.path {
		case "shutdown_drain.enabled":
			n.Text = fmt.Sprintf("delete_instances_on_shutdown = %t", m.drain.on)
		case "shutdown_drain.max_retries":
			n.Text = fmt.Sprintf("shutdown_deletion_retries = %d", m.drain.retries)
		case "shutdown_drain.retry_backoff":
			n.Severity, n.Kind = Warning, Approximated
			n.Text = fmt.Sprintf("shutdown_deletion_interval = %q; the pause no longer grows with each try", m.drain.backoff)
		case "shutdown_drain.concurrency":
			n.Kind, n.Text = Dropped, "the plugin destroys many Droplets with one request"
		default:
			n.Kind, n.Text = Dropped, "was about docker-machine's machines"
			if below(s.path, "heartbeat") {
				n.Key = "heartbeat"
			} else {
				n.Key = ""
			}
		}
		if !m.drain.on && below(s.path, "shutdown_drain") {
			n.Severity, n.Kind, n.Text = Info, Dropped, "shutdown_drain is off, and so is delete_instances_on_shutdown"
		}
		if left {
			n.Text += "; it stays for the other docker+machine runners"
		}
		m.notes = append(m.notes, n)
	}
	if left {
		return
	}
	for b := range m.doc.blocks {
		block := &m.doc.blocks[b]
		if below(block.path, "machine") {
			m.edits.replace(block.header, "# "+m.doc.text[block.header.start:block.header.end])
		}
		for i := range block.items {
			if it := &block.items[i]; it.key != nil && below(it.path, "machine") {
				m.commentOut(it)
			}
		}
	}
}
