package dosim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// getDroplet is GET /v2/droplets/{id}.
func (s *Sim) getDroplet(c *call) reply {
	m := s.visible(c.PathValue("id"), c.now)
	if m == nil {
		return c.notFound()
	}
	return jsonReply(http.StatusOK, map[string]json.RawMessage{"droplet": c.odd(s.dropletJSON(m, c.now), 0)})
}

// visible finds the Droplet that the API shows under an id.
func (s *Sim) visible(id string, now time.Time) *machine {
	n, _ := strconv.Atoi(id) // 0 is nobody's
	if m := s.byID[n]; m != nil && m.visible(now) {
		return m
	}
	return nil
}

// listDroplets is GET /v2/droplets, by ascending id [?].
func (s *Sim) listDroplets(c *call) reply {
	keep, rep, ok := s.filter(c)
	if !ok {
		return rep
	}
	p, rep, ok := c.paging()
	if !ok {
		return rep
	}
	lag := s.opt.ListLag
	if f, lags := c.behaviour(ListLags); lags {
		lag += f.For
	}
	var all []*machine
	for _, m := range s.machines {
		if m.inList(c.now, lag) && keep(m) {
			all = append(all, m)
		}
	}
	if _, empty := c.behaviour(ListEmpty); empty {
		all = nil
	}
	from, to := p.bounds(len(all))
	from = shift(c, p, from, to)
	items := make([][]byte, 0, to-from)
	for i, m := range all[from:to] {
		items = append(items, c.odd(s.dropletJSON(m, c.now), i))
	}
	return c.page("droplets", items, len(all), p)
}

// filter reads tag_name, name and type. GPU Droplets are in no list unless it is type=gpus.
func (s *Sim) filter(c *call) (keep func(*machine) bool, rep reply, ok bool) {
	tag, name, kind := c.query.Get("tag_name"), c.query.Get("name"), c.query.Get("type")
	if tag != "" && (name != "" || kind != "") {
		return nil, c.unprocessable(MessageFilters), false
	}
	if kind != "" && kind != "droplets" && kind != "gpus" {
		return nil, c.unprocessable("type must be droplets or gpus."), false // [?]
	}
	tagsAt := c.now
	if f, lags := c.behaviour(TagFilterLags); lags {
		tagsAt = tagsAt.Add(-f.For)
	}
	return func(m *machine) bool {
		return (m.size.GPU != nil) == (kind == "gpus") &&
			(name == "" || strings.EqualFold(m.Name, name)) &&
			(tag == "" || m.taggedAt(tag, tagsAt))
	}, reply{}, true
}

// shift moves the start of a page from page 2 on, as when Droplets came or went since the page before.
func shift(c *call, p paging, from, to int) int {
	if p.page < 2 || from == to {
		return from
	}
	if f, skips := c.behaviour(ListSkips); skips {
		from = min(from+max(1, f.First), to)
	}
	if f, repeats := c.behaviour(ListRepeats); repeats {
		from = max(from-max(1, f.First), 0)
	}
	return from
}
