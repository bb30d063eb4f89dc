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

// listDroplets is GET /v2/droplets, by ascending id [?]. GPU Droplets are in no list unless it is type=gpus.
func (s *Sim) listDroplets(c *call) reply {
	tag, name, kind := c.query.Get("tag_name"), c.query.Get("name"), c.query.Get("type")
	switch {
	case tag != "" && (name != "" || kind != ""):
		return c.unprocessable(MessageFilters)
	case kind != "" && kind != "droplets" && kind != "gpus":
		return c.unprocessable("type must be droplets or gpus.") // [?]
	}
	p, rep, ok := c.paging()
	if !ok {
		return rep
	}
	lag, tagsAt := s.opt.ListLag, c.now
	if f, lags := c.behaviour(ListLags); lags {
		lag += f.For
	}
	if f, lags := c.behaviour(TagFilterLags); lags {
		tagsAt = tagsAt.Add(-f.For)
	}
	_, empty := c.behaviour(ListEmpty)
	var all []*machine
	for _, m := range s.machines {
		if !empty && m.inList(c.now, lag) && (m.size.GPU != nil) == (kind == "gpus") &&
			(name == "" || strings.EqualFold(m.Name, name)) && (tag == "" || m.taggedAt(tag, tagsAt)) {
			all = append(all, m)
		}
	}
	from, to := p.bounds(len(all))
	from = shift(c, p, from, to)
	items := make([][]byte, 0, to-from)
	for i, m := range all[from:to] {
		items = append(items, c.odd(s.dropletJSON(m, c.now), i))
	}
	return c.page("droplets", items, len(all), p)
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
