package dosim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// region is a datacenter.
type region struct {
	Slug, Name string
	Available  bool // whether Droplets can be created there at all
}

// size is a plan.
type size struct {
	Slug         string
	Description  string
	Memory       int // MiB
	VCPUs        int
	Disk         int     // GiB
	Transfer     float64 // TiB a month
	PriceHourly  float64 // US dollars
	PriceMonthly float64
	Available    bool
	Regions      []string // may be empty although Available
	GPU          string   // model; empty for an ordinary size
}

// Image is what a Droplet boots from.
type Image struct {
	ID           int    // 0 in AddImage: the next free one
	Slug         string // empty for snapshots
	Name         string
	Distribution string
	Public       bool
	Regions      []string
	MinDisk      int     // GiB
	SizeGB       float64 // compressed
	Tags         []string
	Created      time.Time // zero in AddImage: now
	Custom       bool      // uploaded: supports neither ipv6 nor monitoring
	Status       string    // NEW, available (or empty), pending, deleted or retired
	ErrorMessage string
}

func (i *Image) status() string { return cmp.Or(i.Status, "available") }

// contracted ends the slugs of sizes that GET /v2/sizes does not list. A region's sizes have them.
const contracted = "-contracted"

// ref is how the simulator names the image: by slug, else by id.
func (i *Image) ref() string {
	if i.Slug != "" {
		return i.Slug
	}
	return strconv.Itoa(i.ID)
}

// everywhere is where the ordinary sizes and images are.
var everywhere = []string{"ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "sgp1", "tor1"}

// stock fills the catalog: a few real regions, sizes and images. Prices are near DigitalOcean's list prices; only the
// arithmetic on them matters here.
func (s *Sim) stock(now time.Time) {
	addRegion := func(slug, name string, available bool) {
		s.regions = append(s.regions, &region{slug, name, available})
	}
	addRegion("ams2", "Amsterdam 2", false)
	addRegion("ams3", "Amsterdam 3", true)
	addRegion("fra1", "Frankfurt 1", true)
	addRegion("lon1", "London 1", true)
	addRegion("nyc1", "New York 1", true)
	addRegion("nyc3", "New York 3", true)
	addRegion("sfo3", "San Francisco 3", true)
	addRegion("sgp1", "Singapore 1", true)
	addRegion("tor1", "Toronto 1", true)

	addSize := func(slug, description string, memory, vcpus, disk int, transfer, hourly, monthly float64, gpu string, regions ...string) {
		s.sizes = append(s.sizes, &size{slug, description, memory, vcpus, disk, transfer, hourly, monthly, true, slices.Clone(regions), gpu})
	}
	addSize("s-1vcpu-512mb-10gb", "Basic", 512, 1, 10, 0.5, 0.00595, 4, "", "ams3", "fra1", "nyc1", "sfo3", "sgp1")
	addSize("s-1vcpu-1gb", "Basic", 1024, 1, 25, 1, 0.00893, 6, "", everywhere...)
	addSize("s-1vcpu-2gb", "Basic", 2048, 1, 50, 2, 0.01786, 12, "", everywhere...)
	addSize("s-2vcpu-2gb", "Basic", 2048, 2, 60, 3, 0.02679, 18, "", everywhere...)
	addSize("s-2vcpu-4gb", "Basic", 4096, 2, 80, 4, 0.03571, 24, "", everywhere...)
	addSize("s-4vcpu-8gb", "Basic", 8192, 4, 160, 5, 0.07143, 48, "", everywhere...)
	addSize("c-2", "CPU-Optimized", 4096, 2, 25, 4, 0.0625, 42, "", "ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "tor1")
	addSize("c-4", "CPU-Optimized", 8192, 4, 50, 5, 0.125, 84, "", "ams3", "fra1", "lon1", "nyc1", "nyc3", "sfo3", "tor1")
	addSize("g-2vcpu-8gb", "General Purpose", 8192, 2, 25, 4, 0.09375, 63, "", "fra1", "nyc1", "nyc3", "sfo3")
	addSize("m-2vcpu-16gb", "Memory-Optimized", 16384, 2, 50, 4, 0.125, 84, "") // available, and sold out everywhere
	addSize("gpu-h100x1-80gb", "H100 GPU - 1X", 245760, 20, 720, 15, 3.39, 2278.08, "nvidia_h100", "nyc3", "tor1")
	addSize("gpu-h100x1-80gb"+contracted, "H100 GPU - 1X", 245760, 20, 720, 15, 2.5, 1680, "nvidia_h100", "nyc3", "tor1")

	addImage := func(id int, slug, name, distribution string, minDisk int, sizeGB float64) {
		s.images = append(s.images, &Image{
			ID: id, Slug: slug, Name: name, Distribution: distribution, Public: true,
			Regions: slices.Clone(everywhere), MinDisk: minDisk, SizeGB: sizeGB, Created: now.AddDate(0, -6, 0),
		})
	}
	addImage(195932981, "ubuntu-24-04-x64", "24.04 (LTS) x64", "Ubuntu", 10, 0.73)
	addImage(129211873, "ubuntu-22-04-x64", "22.04 (LTS) x64", "Ubuntu", 10, 0.68)
	addImage(201423541, "debian-13-x64", "13 x64", "Debian", 10, 0.51)
	addImage(133177853, "debian-12-x64", "12 x64", "Debian", 10, 0.49)
	addImage(135118152, "docker-20-04", "Docker on Ubuntu 22.04", "Ubuntu", 25, 1.92)
	s.images = append(s.images, &Image{
		ID: 204117263, Name: "ci-runner-golden", Distribution: "Ubuntu", Regions: []string{"fra1", "nyc3"},
		MinDisk: 25, SizeGB: 3.4, Tags: []string{"ci-golden"}, Created: now.AddDate(0, 0, -7),
	})
	s.tags["ci-golden"] = now

	addVPC := func(n int, name, region, ipRange string, byDefault bool) {
		id := fakeUUID("0f0c", n)
		s.vpcs = append(s.vpcs, &vpc{
			ID: id, URN: "do:vpc:" + id, Name: name, Region: region, IPRange: ipRange, Default: byDefault,
			CreatedAt: stamp(now.AddDate(-1, 0, 0)),
		})
	}
	for i, r := range s.regions {
		addVPC(i+1, "default-"+r.Slug, r.Slug, fmt.Sprintf("10.%d.0.0/20", 100+i), true)
	}
	addVPC(100, "ci-fra1", "fra1", "10.200.0.0/20", false)
	s.projects = []string{fakeUUID("9a3e", 1), fakeUUID("9a3e", 2)}

}

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
