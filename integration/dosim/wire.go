package dosim

import (
	"net/netip"
	"regexp"
	"time"
)

// The JSON form of Droplets.

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

// dropletJSON is the Droplet as the API shows it. It is marshalled again only when it looks different than before.
// What happened to its size, image and region since does not show. Callers hold s.mu.
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
	if look.addressed {
		j.Networks = m.networks()
	}
	return j
}

// oddities turn a field of a Droplet's JSON into one of an unexpected type.
var oddities = map[Behaviour]struct {
	field *regexp.Regexp
	odd   string
}{
	OddNetmask:  {regexp.MustCompile(`"netmask":"[^"]*"`), `"netmask":20`},
	OddPrice:    {regexp.MustCompile(`"price_hourly":([^,}]*)`), `"price_hourly":"$1"`},
	OddNetworks: {regexp.MustCompile(`"networks":\{"v4":\[[^]]*\],"v6":\[[^]]*\]\}`), `"networks":[]`},
}

// odd is the i-th Droplet of an answer with the odd fields that faults give it.
func (c *call) odd(droplet []byte, i int) []byte {
	for _, f := range c.behaviours {
		if o, ok := oddities[f.Behaviour]; ok && f.touches(i) {
			droplet = o.field.ReplaceAll(droplet, []byte(o.odd))
		}
	}
	return droplet
}

// networks has the private address first, as the specification's example does: who goes by position is caught out.
func (m *machine) networks() networksJSON {
	n := networksJSON{[]network{{m.PrivateIPv4, "255.255.240.0", nil, "private"}}, []network{}}
	if m.PublicIPv4.IsValid() {
		gateway := netip.PrefixFrom(m.PublicIPv4, 20).Masked().Addr().Next()
		n.V4 = append(n.V4, network{m.PublicIPv4, "255.255.240.0", gateway, "public"})
	}
	if m.PublicIPv6.IsValid() {
		n.V6 = append(n.V6, network{m.PublicIPv6, 64, "2001:db8::1", "public"})
	}
	return n
}
