package migrate

import (
	"regexp"
	"slices"
	"strings"
)

// TableDate is the month of what follows: what is known to be gone. DigitalOcean's
// catalog, where it is at hand, comes before it.
const TableDate = "November 2026"

// dockerImage is the image with Docker, and plainImage the one on which cloud-init
// installs it. Both have Ubuntu.
const (
	dockerImage = "docker-20-04"
	plainImage  = "ubuntu-24-04-x64"
)

// sizes are the slugs of before 2018, and those of today with as much memory.
var sizes = map[string]string{
	"512mb":  smallest,
	"1gb":    "s-1vcpu-1gb",
	"2gb":    "s-1vcpu-2gb",
	"4gb":    "s-2vcpu-4gb",
	"8gb":    "s-4vcpu-8gb",
	"16gb":   "s-8vcpu-16gb",
	"32gb":   "g-8vcpu-32gb",
	"48gb":   "g-16vcpu-64gb",
	"64gb":   "g-16vcpu-64gb",
	"m-16gb": "m-2vcpu-16gb",
	"m-32gb": "m-4vcpu-32gb",
	"m-64gb": "m-8vcpu-64gb",
}

// smallest is the size whose disk of 10 GiB is too small for the image with Docker,
// which needs 25.
const smallest = "s-1vcpu-512mb-10gb"

// regions are those that take no new Droplets of new customers, and their neighbours.
var regions = map[string]string{
	"ams1": "ams3",
	"ams2": "ams3",
	"nyc2": "nyc3",
	"sfo1": "sfo3",
}

// imageClass is what can be done with an image.
type imageClass int

const (
	imageGone       imageClass = iota // it cannot be had, or is no longer maintained
	imagePlain                        // cloud-init can install Docker on it
	imageForeign                      // it has no Docker, and cloud-init would not know how to install it
	imageWithDocker                   // DigitalOcean's 1-Click image
	imageOwn                          // a snapshot, by its id
	imageUnknown
)

var (
	imageVersion = regexp.MustCompile(`^(ubuntu|debian|docker)-\d+`)
	dockerSlug   = regexp.MustCompile(`^docker-\d\d-\d\d$`)
	ubuntuSlug   = regexp.MustCompile(`^ubuntu-\d[02468]-04-x64$`) // of long maintenance

	// alive are the releases that are maintained and on offer.
	alive = map[string][]string{
		"ubuntu": {"ubuntu-22-04-x64", "ubuntu-24-04-x64", "ubuntu-26-04-x64"},
		"debian": {"debian-12-x64", "debian-13-x64"},
		"docker": {"docker-20-04", "docker-22-04"},
	}
	gone    = []string{"coreos-", "rancheros", "centos-5", "centos-6", "centos-7", "centos-8", "centos-stream-8", "freebsd-", "k3os"}
	foreign = []string{"fedora-", "centos-", "rockylinux-", "almalinux-"}
)

// classOf judges an image by its slug alone.
func classOf(image string) imageClass {
	family := ""
	if m := imageVersion.FindStringSubmatch(image); m != nil {
		family = m[1]
	}
	begins := func(prefix string) bool { return strings.HasPrefix(image, prefix) }
	switch {
	case strings.Trim(image, "0123456789") == "":
		return imageOwn
	case image == "docker" || family == "docker":
		if slices.Contains(alive["docker"], image) {
			return imageWithDocker
		}
		return imageGone
	case family != "":
		if slices.Contains(alive[family], image) {
			return imagePlain
		}
		return imageGone
	case slices.ContainsFunc(gone, begins):
		return imageGone
	case slices.ContainsFunc(foreign, begins):
		return imageForeign
	}
	return imageUnknown
}

// class judges an image by the catalog, and by its slug where there is none.
func (o Options) class(image string) imageClass {
	class := classOf(image)
	if o.Catalog == nil || class == imageOwn || class == imageUnknown {
		return class
	}
	switch offered := slices.Contains(o.Catalog.Images, image); {
	case !offered:
		return imageGone
	case class != imageGone:
		return class
	case strings.HasPrefix(image, "ubuntu-") || strings.HasPrefix(image, "debian-"):
		return imagePlain
	case strings.HasPrefix(image, "docker"):
		return imageWithDocker
	}
	return imageForeign
}

// replacement returns the image of today: with Docker, or plain.
func (o Options) replacement(plain bool) string {
	want, like := dockerImage, dockerSlug
	if plain {
		want, like = plainImage, ubuntuSlug
	}
	if o.Catalog == nil || slices.Contains(o.Catalog.Images, want) {
		return want
	}
	newest := ""
	for _, slug := range o.Catalog.Images {
		if like.MatchString(slug) && slug > newest {
			newest = slug
		}
	}
	if newest == "" {
		return want
	}
	return newest
}

// source is what judged a slug, for messages.
func (o Options) source() string {
	if o.Catalog != nil {
		return "by DigitalOcean's catalog"
	}
	return "by the built-in table of " + TableDate
}
