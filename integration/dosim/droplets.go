package dosim

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
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
	tag, kind := c.query.Get("tag_name"), c.query.Get("type")
	switch {
	case tag != "" && kind != "":
		return c.unprocessable("tag_name cannot be combined with type.") // [?]
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
		if !empty && m.inList(c.now, lag) && (m.size.GPU != nil) == (kind == "gpus") && (tag == "" || m.taggedAt(tag, tagsAt)) {
			all = append(all, m)
		}
	}
	from, to := p.bounds(len(all))
	if p.page > 1 && from < to { // as when Droplets came or went since the page before
		if f, skips := c.behaviour(ListSkips); skips {
			from = min(from+max(1, f.First), to)
		}
		if f, repeats := c.behaviour(ListRepeats); repeats {
			from = max(from-max(1, f.First), 0)
		}
	}
	items := make([][]byte, 0, to-from)
	for i, m := range all[from:to] {
		items = append(items, c.odd(s.dropletJSON(m, c.now), i))
	}
	return c.page("droplets", items, len(all), p)
}

// deleteDroplet is DELETE /v2/droplets/{id}. While a Droplet that was deleted is still on its way out, another DELETE
// finds a pending event [?].
func (s *Sim) deleteDroplet(c *call) reply {
	m := s.visible(c.PathValue("id"), c.now)
	if m == nil {
		return c.notFound()
	}
	s.policeDelete(c.now, m)
	switch {
	case m.Locked:
		return c.unprocessable("Droplet is locked.") // [?]
	case m.leaving():
		return c.unprocessable(MessagePendingEvent)
	}
	s.delete(c, m, 0)
	return noContent()
}

// deleteByTag is DELETE /v2/droplets?tag_name=: all that carry the tag, whatever lists say, and are not locked [?].
func (s *Sim) deleteByTag(c *call) reply {
	tag := c.query.Get("tag_name")
	if !s.tags[tag] {
		return c.notFound()
	}
	s.policeDeleteByTag(c.now, tag)
	i := 0
	for _, m := range s.machines {
		if m.exists(c.now) && m.tagged(tag) && !m.leaving() && !m.Locked {
			s.delete(c, m, i)
			i++
		}
	}
	return noContent()
}

// delete carries a DELETE of its i-th Droplet out, unless a fault keeps that alive.
func (s *Sim) delete(c *call, m *machine, i int) {
	for _, f := range c.faults {
		if f.touches(i) && (f.Behaviour == DeleteIgnored || f.Behaviour == DeleteNewIgnored && m.status(c.now) == "new") {
			return
		}
	}
	s.end(m, c.now.Add(s.opt.DeleteTime))
}

type dropletJSON struct {
	ID               int          `json:"id"`
	Name             string       `json:"name"`
	Memory           int          `json:"memory"`
	VCPUs            int          `json:"vcpus"`
	Disk             int          `json:"disk"`
	Locked           bool         `json:"locked"`
	Status           string       `json:"status"`
	Kernel           *struct{}    `json:"kernel"`
	CreatedAt        string       `json:"created_at"`
	Features         []string     `json:"features"`
	BackupIDs        []int        `json:"backup_ids"`
	NextBackupWindow *struct{}    `json:"next_backup_window"`
	SnapshotIDs      []int        `json:"snapshot_ids"`
	Image            *Image       `json:"image"`
	VolumeIDs        []string     `json:"volume_ids"`
	Size             *size        `json:"size"`
	SizeSlug         string       `json:"size_slug"`
	Networks         networksJSON `json:"networks"`
	Region           *region      `json:"region"`
	Tags             []string     `json:"tags"`
	VPCUUID          string       `json:"vpc_uuid,omitempty"`
	GPUInfo          *gpu         `json:"gpu_info,omitempty"`
}

type networksJSON struct {
	V4 []network `json:"v4"`
	V6 []network `json:"v6"`
}

type network struct {
	IPAddress netip.Addr `json:"ip_address"`
	Netmask   any        `json:"netmask"` // 255.255.240.0, or of IPv6 the length of the prefix
	Gateway   any        `json:"gateway"` // null for private ones
	Type      string     `json:"type"`
}

// appearance is everything in a Droplet's JSON that changes over its life.
type appearance struct {
	name, status      string
	locked, addressed bool
	tagChanges        int
}

func (s *Sim) appearance(m *machine, now time.Time) appearance {
	addressed := !now.Before(m.Created.Add(s.opt.BootTime / 3)) // as far into the boot, addresses are known
	return appearance{m.Name, m.status(now), m.Locked, addressed, len(m.tagLog)}
}

// dropletJSON is the Droplet as the API shows it. It is marshalled again only when it looks different than before: a
// benchmark lists thousands of them thousands of times. What happened to its size, image and region since does not show.
func (s *Sim) dropletJSON(m *machine, now time.Time) []byte {
	if look := s.appearance(m, now); m.wire == nil || look != m.wireOf {
		m.wire, m.wireOf = jsonReply(0, s.shape(m, look)).body, look
	}
	return m.wire
}

func (s *Sim) shape(m *machine, look appearance) dropletJSON {
	z := m.size
	j := dropletJSON{
		ID: m.ID, Name: m.Name, Memory: z.Memory, VCPUs: z.VCPUs, Disk: z.Disk, Locked: look.locked,
		Status: look.status, CreatedAt: stamp(m.Created), Features: notNull(m.Features), BackupIDs: []int{},
		SnapshotIDs: []int{}, Image: m.image, VolumeIDs: []string{}, Size: z, SizeSlug: z.Slug,
		Networks: networksJSON{[]network{}, []network{}}, Region: m.region, Tags: notNull(m.Tags),
		VPCUUID: m.VPC, GPUInfo: z.GPU,
	}
	if !look.addressed {
		return j
	}
	// The private address first, as in the specification's example: who goes by position is caught out.
	j.Networks.V4 = append(j.Networks.V4, network{m.PrivateIPv4, "255.255.240.0", nil, "private"})
	if m.PublicIPv4.IsValid() {
		gateway := netip.PrefixFrom(m.PublicIPv4, 20).Masked().Addr().Next()
		j.Networks.V4 = append(j.Networks.V4, network{m.PublicIPv4, "255.255.240.0", gateway, "public"})
	}
	if m.PublicIPv6.IsValid() {
		j.Networks.V6 = append(j.Networks.V6, network{m.PublicIPv6, 64, "2001:db8::1", "public"})
	}
	return j
}

// oddities turn a field of a Droplet's JSON into one of an unexpected type.
var oddities = map[Behaviour]struct {
	field *regexp.Regexp
	odd   string
}{
	OddNetmask:  {regexp.MustCompile(`"netmask":"[^"]*"`), `"netmask":20`},
	OddPrice:    {regexp.MustCompile(`"price_hourly":([0-9.e-]+)`), `"price_hourly":"$1"`},
	OddNetworks: {regexp.MustCompile(`"networks":\{"v4":\[[^]]*\],"v6":\[[^]]*\]\}`), `"networks":[]`},
}

// odd is the i-th Droplet of an answer with the odd fields that faults give it.
func (c *call) odd(droplet []byte, i int) []byte {
	for _, f := range c.faults {
		if o, ok := oddities[f.Behaviour]; ok && f.touches(i) {
			droplet = o.field.ReplaceAll(droplet, []byte(o.odd))
		}
	}
	return droplet
}
