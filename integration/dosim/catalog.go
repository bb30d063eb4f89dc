package dosim

import (
	"cmp"
	"encoding/json"
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
	VRAM  amount `json:"vram"`
}

type amount struct {
	Amount int    `json:"amount"`
	Unit   string `json:"unit"`
}

// Image is what a Droplet boots from.
type Image struct {
	ID           int       `json:"id"` // 0 in AddImage: the next free one
	Slug         string    `json:"-"`  // empty for snapshots
	Name         string    `json:"name"`
	Distribution string    `json:"distribution"`
	Description  string    `json:"description"`
	Public       bool      `json:"public"`
	Regions      []string  `json:"regions"`
	MinDisk      int       `json:"min_disk_size"`  // GiB
	SizeGB       float64   `json:"size_gigabytes"` // compressed
	Tags         []string  `json:"tags"`
	Created      time.Time `json:"-"`      // zero in AddImage: now
	Custom       bool      `json:"-"`      // uploaded: supports neither ipv6 nor monitoring
	Status       string    `json:"status"` // NEW, available (or empty in AddImage), pending, deleted or retired
	ErrorMessage string    `json:"error_message"`
}

// MarshalJSON adds what the API words otherwise.
func (i *Image) MarshalJSON() ([]byte, error) {
	type plain Image
	wire := struct {
		*plain
		Slug      *string `json:"slug"`
		Type      string  `json:"type"`
		CreatedAt string  `json:"created_at"`
	}{(*plain)(i), nil, "snapshot", stamp(i.Created)}
	if i.Slug != "" {
		wire.Slug, wire.Type = &i.Slug, "base"
	}
	if i.Custom {
		wire.Type = "custom"
	}
	return json.Marshal(wire)
}

// ref is how the simulator names the image: by slug, else by id.
func (i *Image) ref() string { return cmp.Or(i.Slug, strconv.Itoa(i.ID)) }

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
	addSize := func(slug, description string, memory, vcpus, disk int, transfer, hourly, monthly float64, regions ...string) {
		s.sizes = append(s.sizes, &size{slug, description, memory, vcpus, disk, transfer, hourly, monthly, true, notNull(regions), nil})
		if strings.HasPrefix(slug, "gpu-") {
			s.sizes[len(s.sizes)-1].GPU = &gpu{1, "nvidia_h100", amount{80, "gib"}}
		}
	}
	addSize("s-1vcpu-512mb-10gb", "Basic", 512, 1, 10, 0.5, 0.00595, 4, "ams3", "fra1", "nyc1", "sfo3", "sgp1")
	addSize("s-1vcpu-1gb", "Basic", 1024, 1, 25, 1, 0.00893, 6, everywhere...)
	addSize("s-1vcpu-2gb", "Basic", 2048, 1, 50, 2, 0.01786, 12, everywhere...)
	addSize("s-2vcpu-2gb", "Basic", 2048, 2, 60, 3, 0.02679, 18, everywhere...)
	addSize("s-2vcpu-4gb", "Basic", 4096, 2, 80, 4, 0.03571, 24, everywhere...)
	addSize("s-4vcpu-8gb", "Basic", 8192, 4, 160, 5, 0.07143, 48, everywhere...)
	addSize("c-2", "CPU-Optimized", 4096, 2, 25, 4, 0.0625, 42, "ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "tor1")
	addSize("c-4", "CPU-Optimized", 8192, 4, 50, 5, 0.125, 84, "ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "tor1")
	addSize("g-2vcpu-8gb", "General Purpose", 8192, 2, 25, 4, 0.09375, 63, "fra1", "nyc1", "nyc3", "sfo3")
	addSize("m-2vcpu-16gb", "Memory-Optimized", 16384, 2, 50, 4, 0.125, 84) // available, and sold out everywhere
	addSize("gpu-h100x1-80gb", "H100 GPU - 1X", 245760, 20, 720, 15, 3.39, 2278.08, "nyc3", "tor1")
	addSize("gpu-h100x1-80gb"+contracted, "H100 GPU - 1X", 245760, 20, 720, 15, 2.5, 1680, "nyc3", "tor1")

	for i, r := range [][2]string{
		{"ams2", "Amsterdam 2"}, {"ams3", "Amsterdam 3"}, {"fra1", "Frankfurt 1"}, {"lon1", "London 1"}, {"nyc1", "New York 1"},
		{"nyc3", "New York 3"}, {"sfo3", "San Francisco 3"}, {"sgp1", "Singapore 1"}, {"tor1", "Toronto 1"},
	} {
		sizes := []string{}
		for _, z := range s.sizes {
			if slices.Contains(z.Regions, r[0]) {
				sizes = append(sizes, z.Slug)
			}
		}
		features := []string{"backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"}
		s.regions = append(s.regions, &region{r[0], r[1], features, len(sizes) > 0, sizes}) // one is closed
		s.addVPC(i+1, "default-"+r[0], r[0], fmt.Sprintf("10.%d.0.0/20", 100+i), now)
	}
	s.addVPC(100, "ci-fra1", "fra1", "10.200.0.0/20", now)
	s.projects = []string{fakeUUID("9a3e", 1), fakeUUID("9a3e", 2)}

	addImage := func(id int, slug, name, distribution string, minDisk int, sizeGB float64) {
		s.addImage(Image{
			ID: id, Slug: slug, Name: name, Distribution: distribution, Public: true,
			MinDisk: minDisk, SizeGB: sizeGB, Created: now.AddDate(0, -6, 0),
		}, now)
	}
	addImage(195932981, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu", 10, 0.73)
	addImage(129211873, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu", 10, 0.68)
	addImage(201423541, "debian-13-x64", "13 x64", "Debian", 10, 0.51)
	addImage(133177853, "debian-12-x64", "12 x64", "Debian", 10, 0.49)
	addImage(135118152, "docker-20-04", "Docker on Ubuntu 22.04", "Ubuntu", 25, 1.92)
	s.addImage(Image{
		ID: 204117263, Name: "ci-runner-golden", Regions: []string{"fra1", "nyc3"},
		MinDisk: 25, SizeGB: 3.4, Tags: []string{"ci-golden"}, Created: now.AddDate(0, 0, -7),
	}, now)
}

func (s *Sim) addVPC(n int, name, region, ipRange string, now time.Time) {
	id := fakeUUID("0f0c", n)
	s.vpcs = append(s.vpcs, &vpc{
		ID: id, URN: "do:vpc:" + id, Name: name, Region: region, IPRange: ipRange,
		Default: name == "default-"+region, CreatedAt: stamp(now.AddDate(-1, 0, 0)),
	})
}

// addImage fills in what image leaves open, and returns its id.
func (s *Sim) addImage(image Image, now time.Time) int {
	if image.ID == 0 {
		image.ID = s.images[len(s.images)-1].ID + 1
	}
	if image.Regions == nil {
		image.Regions = everywhere
	}
	if image.Created.IsZero() {
		image.Created = now
	}
	image.Distribution = cmp.Or(image.Distribution, "Ubuntu")
	image.Status = cmp.Or(image.Status, "available")
	image.Tags = notNull(image.Tags)
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
	return find(s.images, func(i *Image) bool { return i.Slug == ref && ref != "" || strconv.Itoa(i.ID) == ref })
}

func (s *Sim) vpc(id string) *vpc {
	return find(s.vpcs, func(v *vpc) bool { return v.ID == id })
}

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

// listRegions is GET /v2/regions.
func (s *Sim) listRegions(c *call) reply { return list(c, "regions", s.regions) }

// listImages is GET /v2/images with private and tag_name.
func (s *Sim) listImages(c *call) reply {
	private, tag := c.query.Get("private") == "true", c.query.Get("tag_name")
	return list(c, "images", slices.DeleteFunc(slices.Clone(s.images), func(i *Image) bool {
		return private && i.Public || tag != "" && !slices.Contains(i.Tags, tag)
	}))
}

// getImage is GET /v2/images/{id or slug}.
func (s *Sim) getImage(c *call) reply { return found(c, "image", s.image(c.PathValue("id"))) }

// listVPCs is GET /v2/vpcs.
func (s *Sim) listVPCs(c *call) reply { return list(c, "vpcs", s.vpcs) }

// getVPC is GET /v2/vpcs/{id}.
func (s *Sim) getVPC(c *call) reply { return found(c, "vpc", s.vpc(c.PathValue("id"))) }
