package dosim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// region is a datacenter.
type region struct {
	Slug      string   `json:"slug"`
	Name      string   `json:"name"`
	Features  []string `json:"features"`
	Available bool     `json:"available"` // whether Droplets can be created there at all
	Sizes     []string `json:"sizes"`     // slugs, those by contract included
}

// size is a plan.
type size struct {
	Slug         string   `json:"slug"`
	Description  string   `json:"description"`
	Memory       int      `json:"memory"` // MiB
	VCPUs        int      `json:"vcpus"`
	Disk         int      `json:"disk"`     // GiB
	Transfer     float64  `json:"transfer"` // TiB a month
	PriceHourly  float64  `json:"price_hourly"`
	PriceMonthly float64  `json:"price_monthly"`
	Available    bool     `json:"available"`
	Regions      []string `json:"regions"` // may be empty although Available
	GPU          *gpu     `json:"gpu_info,omitempty"`
}

type gpu struct {
	Count int    `json:"count"`
	Model string `json:"model"`
	VRAM  struct {
		Amount int    `json:"amount"`
		Unit   string `json:"unit"`
	} `json:"vram"`
}

// Image is what a Droplet boots from. In AddImage much may be zero.
type Image struct {
	ID           int      `json:"id"`   // 0: the next free one
	Slug         *string  `json:"slug"` // nil: a snapshot
	Name         string   `json:"name"`
	Distribution string   `json:"distribution"`
	Description  string   `json:"description"`
	Public       bool     `json:"public"`
	Regions      []string `json:"regions"`        // nil: every one
	MinDisk      int      `json:"min_disk_size"`  // GiB
	SizeGB       float64  `json:"size_gigabytes"` // compressed
	Tags         []string `json:"tags"`
	Status       string   `json:"status"` // NEW, available (or empty), pending, deleted or retired
	ErrorMessage string   `json:"error_message"`
	Type         string   `json:"type"`       // base, snapshot, or custom: uploaded, and without ipv6 and monitoring; may be empty
	CreatedAt    string   `json:"created_at"` // AddImage sets it
}

// ref is how the simulator names the image: by slug, else by id.
func (i *Image) ref() string {
	if i.Slug != nil {
		return *i.Slug
	}
	return strconv.Itoa(i.ID)
}

// vpc is a private network.
type vpc struct {
	ID          string `json:"id"`
	URN         string `json:"urn"`
	Name        string `json:"name"`
	Description string `json:"description"`
	Region      string `json:"region"`
	IPRange     string `json:"ip_range"`
	Default     bool   `json:"default"`
	CreatedAt   string `json:"created_at"`
}

// contracted ends the slugs of sizes that GET /v2/sizes does not list. A region's sizes have them.
const contracted = "-contracted"

// everywhere is where the ordinary sizes and images are.
var everywhere = []string{"ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "sgp1", "tor1"}

// stock fills the catalog: a few real regions, sizes and images. Prices are near DigitalOcean's list prices; only the
// arithmetic on them matters here.
func (s *Sim) stock(now time.Time) {
	h100 := &gpu{Count: 1, Model: "nvidia_h100"}
	h100.VRAM.Amount, h100.VRAM.Unit = 80, "gib"
	some := []string{"ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "tor1"}
	s.sizes = []*size{
		{"s-1vcpu-512mb-10gb", "Basic", 512, 1, 10, 0.5, 0.00595, 4, true, []string{"ams3", "fra1", "nyc1", "sfo3", "sgp1"}, nil},
		{"s-1vcpu-1gb", "Basic", 1024, 1, 25, 1, 0.00893, 6, true, everywhere, nil},
		{"s-1vcpu-2gb", "Basic", 2048, 1, 50, 2, 0.01786, 12, true, everywhere, nil},
		{"s-2vcpu-2gb", "Basic", 2048, 2, 60, 3, 0.02679, 18, true, everywhere, nil},
		{"s-2vcpu-4gb", "Basic", 4096, 2, 80, 4, 0.03571, 24, true, everywhere, nil},
		{"s-4vcpu-8gb", "Basic", 8192, 4, 160, 5, 0.07143, 48, true, everywhere, nil},
		{"c-2", "CPU-Optimized", 4096, 2, 25, 4, 0.0625, 42, true, some, nil},
		{"c-4", "CPU-Optimized", 8192, 4, 50, 5, 0.125, 84, true, some, nil},
		{"g-2vcpu-8gb", "General Purpose", 8192, 2, 25, 4, 0.09375, 63, true, []string{"fra1", "nyc1", "nyc3", "sfo3"}, nil},
		{"m-2vcpu-16gb", "Memory-Optimized", 16384, 2, 50, 4, 0.125, 84, true, []string{}, nil}, // sold out everywhere
		{"gpu-h100x1-80gb", "H100 GPU - 1X", 245760, 20, 720, 15, 3.39, 2278.08, true, []string{"nyc3", "tor1"}, h100},
		{"gpu-h100x1-80gb" + contracted, "H100 GPU - 1X", 245760, 20, 720, 15, 2.5, 1680, true, []string{"nyc3", "tor1"}, h100},
	}
	for i, name := range []string{
		"ams2 Amsterdam 2", "ams3 Amsterdam 3", "fra1 Frankfurt 1", "lon1 London 1", "nyc1 New York 1",
		"nyc3 New York 3", "sfo3 San Francisco 3", "sgp1 Singapore 1", "tor1 Toronto 1",
	} {
		slug, name, _ := strings.Cut(name, " ")
		sizes := []string{}
		for _, z := range s.sizes {
			if slices.Contains(z.Regions, slug) {
				sizes = append(sizes, z.Slug)
			}
		}
		features := []string{"backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"}
		s.regions = append(s.regions, &region{slug, name, features, len(sizes) > 0, sizes}) // one is closed
		s.addVPC(i+1, "default-"+slug, slug, now)
	}
	s.addVPC(100, "ci-fra1", "fra1", now)
	s.projects = []string{fakeUUID("9a3e", 1), fakeUUID("9a3e", 2)}

	for _, i := range []Image{
		{ID: 195932981, Slug: new("ubuntu-24-04-x64"), Name: "24.04 (LTS) x64", MinDisk: 10, SizeGB: 0.73},
		{ID: 129211873, Slug: new("ubuntu-22-04-x64"), Name: "22.04 (LTS) x64", MinDisk: 10, SizeGB: 0.68},
		{ID: 201423541, Slug: new("debian-13-x64"), Name: "13 x64", Distribution: "Debian", MinDisk: 10, SizeGB: 0.51},
		{ID: 133177853, Slug: new("debian-12-x64"), Name: "12 x64", Distribution: "Debian", MinDisk: 10, SizeGB: 0.49},
		{ID: 135118152, Slug: new("docker-20-04"), Name: "Docker on Ubuntu 22.04", MinDisk: 25, SizeGB: 1.92},
		{ID: 204117263, Name: "ci-runner-golden", Regions: []string{"fra1", "nyc3"}, MinDisk: 25, SizeGB: 3.4, Tags: []string{"ci-golden"}},
	} {
		i.Public = i.Slug != nil
		s.addImage(i, now.AddDate(0, -6, 0))
	}
}

func (s *Sim) addVPC(n int, name, region string, now time.Time) {
	id := fakeUUID("0f0c", n)
	s.vpcs = append(s.vpcs, &vpc{
		ID: id, URN: "do:vpc:" + id, Name: name, Region: region, IPRange: fmt.Sprintf("10.%d.0.0/20", 99+n),
		Default: name == "default-"+region, CreatedAt: stamp(now.AddDate(-1, 0, 0)),
	})
}

// addImage fills in what image leaves open, and returns its id.
func (s *Sim) addImage(image Image, created time.Time) int {
	if image.ID == 0 {
		image.ID = s.images[len(s.images)-1].ID + 1
	}
	if image.Regions == nil {
		image.Regions = everywhere
	}
	kind := "snapshot"
	if image.Slug != nil {
		kind = "base"
	}
	image.Type = cmp.Or(image.Type, kind)
	image.Distribution, image.Status = cmp.Or(image.Distribution, "Ubuntu"), cmp.Or(image.Status, "available")
	image.CreatedAt, image.Tags = stamp(created), notNull(image.Tags)
	for _, tag := range image.Tags {
		s.tags[tag] = true
	}
	s.images = append(s.images, &image)
	return image.ID
}

// notNull is a copy that marshals as [] if there is nothing in it: DigitalOcean's lists are never null.
func notNull(list []string) []string { return append([]string{}, list...) }

func (s *Sim) region(slug string) *region {
	return find(s.regions, func(r *region) bool { return r.Slug == slug })
}

func (s *Sim) size(slug string) *size {
	return find(s.sizes, func(z *size) bool { return z.Slug == slug })
}

// image finds an image by slug, or by id in digits.
func (s *Sim) image(ref string) *Image {
	return find(s.images, func(i *Image) bool { return i.ref() == ref || strconv.Itoa(i.ID) == ref })
}

func (s *Sim) vpc(id string) *vpc { return find(s.vpcs, func(v *vpc) bool { return v.ID == id }) }

func (s *Sim) defaultVPC(region string) *vpc {
	return find(s.vpcs, func(v *vpc) bool { return v.Region == region && v.Default })
}

// find returns the first element that matches, or nil.
func find[T any](all []*T, match func(*T) bool) *T {
	if i := slices.IndexFunc(all, match); i >= 0 {
		return all[i]
	}
	return nil
}

// fakeUUID is the n-th uuid of a kind: well-formed, unique and the same in every run.
func fakeUUID(kind string, n int) string {
	return fmt.Sprintf("%08x-%s-4000-8000-%012x", n, kind, n)
}

// listSizes is GET /v2/sizes. It has no sizes by contract.
func (s *Sim) listSizes(c *call) reply {
	byContract := func(z *size) bool { return strings.HasSuffix(z.Slug, contracted) }
	return list(c, "sizes", slices.DeleteFunc(slices.Clone(s.sizes), byContract))
}

func (s *Sim) listRegions(c *call) reply { return list(c, "regions", s.regions) }

// listImages is GET /v2/images with private and tag_name.
func (s *Sim) listImages(c *call) reply {
	private, tag := c.query.Get("private") == "true", c.query.Get("tag_name")
	return list(c, "images", slices.DeleteFunc(slices.Clone(s.images), func(i *Image) bool {
		return private && i.Public || tag != "" && !slices.Contains(i.Tags, tag)
	}))
}

func (s *Sim) getImage(c *call) reply { return found(c, "image", s.image(c.PathValue("id"))) }

func (s *Sim) listVPCs(c *call) reply { return list(c, "vpcs", s.vpcs) }

func (s *Sim) getVPC(c *call) reply { return found(c, "vpc", s.vpc(c.PathValue("id"))) }
