package dosim

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"time"
)

// Bill is a Droplet and what it has cost so far. Its Gone is zero while it exists. Since 2026-01-01 a Droplet is billed
// per second, for at least a minute or a cent, whichever is higher.
type Bill struct {
	Droplet
	Dollars float64 // 0 for a creation that DigitalOcean itself gave up
}

// Ledger has one Bill for each Droplet ever made, by ascending id. Creations that were accepted and never made
// ([NeverSeen]) are not in it.
func (s *Sim) Ledger() []Bill {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var bills []Bill
	for _, m := range s.machines {
		if m.phantom {
			continue
		}
		bill, until := Bill{Droplet: m.view(now)}, m.Gone
		if m.exists(now) {
			bill.Gone, until = time.Time{}, now
		}
		if !m.failed {
			hours := max(time.Minute, until.Sub(m.Created)).Hours()
			bill.Dollars = max(0.01, math.Round(hours*m.size.PriceHourly*1e6)/1e6)
		}
		bills = append(bills, bill)
	}
	return bills
}

// Dollars is what all of them have cost so far.
func (s *Sim) Dollars() float64 {
	sum := 0.0
	for _, bill := range s.Ledger() {
		sum += bill.Dollars
	}
	return sum
}

// Request is one entry of the request log.
type Request struct {
	Time   time.Time
	Proto  string // such as HTTP/1.1
	Method string
	Path   string
	Query  string
	Op     string // such as "DELETE /v2/droplets/{id}"; empty when no operation is there
	Status int    // 0: not answered yet, or never
	Fault  string // the injected fault that it met, if any
}

// Requests is the log of all requests in the order of their arrival, refused ones included.
func (s *Sim) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// RequestCounts counts the log by operation: {"POST /v2/droplets": 10, ...}.
func (s *Sim) RequestCounts() map[string]int {
	counts := map[string]int{}
	for _, r := range s.Requests() {
		counts[r.Op]++
	}
	return counts
}

// Throttled counts the requests that were answered 429 by the rate limits themselves, not by an injected fault.
func (s *Sim) Throttled() int {
	n := 0
	for _, r := range s.Requests() {
		if r.Status == http.StatusTooManyRequests && r.Fault == "" {
			n++
		}
	}
	return n
}

// Tags is every tag of the account, sorted; tags outlive the Droplets that carried them.
func (s *Sim) Tags() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.tags))
}

// Keys is every SSH key of the account, by ascending id.
func (s *Sim) Keys() []Key {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Key
	for _, k := range s.keys {
		all = append(all, *k)
	}
	return all
}
