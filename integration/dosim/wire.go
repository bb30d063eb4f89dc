package dosim

import (
	"net/netip"
	"regexp"
	"time"
)

// The JSON forms of the catalog and of Droplets.

type regionJSON struct {
	Name      string   `json:"name"`
	Slug      string   `json:"slug"`
	Features  []string `json:"features"`
	Available bool     `json:"available"`
	Sizes     []string `json:"sizes"`
}

type sizeJSON struct {
	Slug         string   `json:"slug"`
	Memory       int      `json:"memory"`
	VCPUs        int      `json:"vcpus"`
	Disk         int      `json:"disk"`
	Transfer     float64  `json:"transfer"`
	PriceMonthly float64  `json:"price_monthly"`
	PriceHourly  float64  `json:"price_hourly"`
	Regions      []string `json:"regions"`
	Available    bool     `json:"available"`
	Description  string   `json:"description"`
	GPUInfo      *gpuJSON `json:"gpu_info,omitempty"`
}

type amountJSON struct {
	Amount int    `json:"amount"`
	Unit   string `json:"unit"`
}

type gpuJSON struct {
	Count int        `json:"count"`
	Model string     `json:"model"`
	VRAM  amountJSON `json:"vram"`
}

type imageJSON struct {
	ID            int      `json:"id"`
	Name          string   `json:"name"`
	Distribution  string   `json:"distribution"`
	Slug          *string  `json:"slug"`
	Public        bool     `json:"public"`
	Regions       []string `json:"regions"`
	CreatedAt     string   `json:"created_at"`
	MinDiskSize   int      `json:"min_disk_size"`
	Type          string   `json:"type"`
	SizeGigabytes float64  `json:"size_gigabytes"`
	Description   string   `json:"description"`
	Tags          []string `json:"tags"`
	Status        string   `json:"status"`
	ErrorMessage  string   `json:"error_message"`
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
	Image            imageJSON    `json:"image"`
	VolumeIDs        []string     `json:"volume_ids"`
	Size             sizeJSON     `json:"size"`
	SizeSlug         string       `json:"size_slug"`
	Networks         networksJSON `json:"networks"`
	Region           regionJSON   `json:"region"`
	Tags             []string     `json:"tags"`
	VPCUUID          string       `json:"vpc_uuid,omitempty"`
	GPUInfo          *gpuJSON     `json:"gpu_info,omitempty"`
}

type networksJSON struct {
	V4 []networkV4 `json:"v4"`
	V6 []networkV6 `json:"v6"`
}

type networkV4 struct {
	IPAddress string  `json:"ip_address"`
	Netmask   string  `json:"netmask"`
	Gateway   *string `json:"gateway"` // null for private ones
	Type      string  `json:"type"`
}

type networkV6 struct {
	IPAddress string `json:"ip_address"`
	Netmask   int    `json:"netmask"`
	Gateway   string `json:"gateway"`
	Type      string `json:"type"`
}

// noAddress is the zero Addr: none.
var noAddress netip.Addr

// notNull makes [] of a nil slice: DigitalOcean's lists are never null.
func notNull[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (s *Sim) regionJSON(r *region) regionJSON {
	sizes := []string{}
	for _, z := range s.sizes {
		for _, slug := range z.Regions {
			if slug == r.Slug && r.Available {
				sizes = append(sizes, z.Slug)
			}
		}
	}
	return regionJSON{
		Name: r.Name, Slug: r.Slug, Available: r.Available, Sizes: sizes,
		Features: []string{"backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"},
	}
}

func (z *size) json() sizeJSON {
	return sizeJSON{
		Slug: z.Slug, Memory: z.Memory, VCPUs: z.VCPUs, Disk: z.Disk, Transfer: z.Transfer, PriceMonthly: z.PriceMonthly,
		PriceHourly: z.PriceHourly, Regions: notNull(z.Regions), Available: z.Available, Description: z.Description,
		GPUInfo: z.gpu(),
	}
}

func (z *size) gpu() *gpuJSON {
	if z.GPU == "" {
		return nil
	}
	return &gpuJSON{Count: 1, Model: z.GPU, VRAM: amountJSON{80, "gib"}}
}

func (i *Image) json() imageJSON {
	j := imageJSON{
		ID: i.ID, Name: i.Name, Distribution: i.Distribution, Public: i.Public, Regions: notNull(i.Regions),
		CreatedAt: stamp(i.Created), MinDiskSize: i.MinDisk, Type: "snapshot", SizeGigabytes: i.SizeGB,
		Tags: notNull(i.Tags), Status: i.status(), ErrorMessage: i.ErrorMessage,
	}
	if i.Slug != "" {
		j.Slug = &i.Slug
		j.Type = "base"
	}
	if i.Custom {
		j.Type = "custom"
	}
	return j
}

// appearance is everything in a Droplet's JSON that changes over its life.
type appearance struct {
	name, status      string
	locked, addressed bool
	tagChanges        int
}

func (s *Sim) appearance(m *machine, now time.Time) appearance {
	return appearance{m.name, m.status(now), m.locked, m.addressed(now, s.opt.BootTime), len(m.tagLog)}
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
		ID: m.id, Name: m.name, Memory: z.Memory, VCPUs: z.VCPUs, Disk: z.Disk, Locked: look.locked,
		Status: look.status, CreatedAt: stamp(m.created), Features: notNull(m.features), BackupIDs: []int{},
		SnapshotIDs: []int{}, Image: m.image.json(), VolumeIDs: []string{}, Size: z.json(), SizeSlug: z.Slug,
		Networks: networksJSON{[]networkV4{}, []networkV6{}}, Region: s.regionJSON(m.region), Tags: notNull(m.tags),
		VPCUUID: m.vpc, GPUInfo: z.gpu(),
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
	n := networksJSON{[]networkV4{{m.private.String(), "255.255.240.0", nil, "private"}}, []networkV6{}}
	if m.public.IsValid() {
		gateway := netip.PrefixFrom(m.public, 20).Masked().Addr().Next().String()
		n.V4 = append(n.V4, networkV4{m.public.String(), "255.255.240.0", &gateway, "public"})
	}
	if m.v6.IsValid() {
		n.V6 = append(n.V6, networkV6{m.v6.String(), 64, "2001:db8::1", "public"})
	}
	return n
}
