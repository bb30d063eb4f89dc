package migrate

import (
	"regexp"
	"strconv"
	"strings"
)

// tableDate is the month of what follows: what DigitalOcean had, and what was gone. doctor asks DigitalOcean.
const tableDate = "November 2026"

// dockerImage is the image with Docker, and plainImage the one on which cloud-init installs it. Both have Ubuntu.
const (
	dockerImage = "docker-20-04"
	plainImage  = "ubuntu-24-04-x64"
)

// smallest is the size whose disk of 10 GiB is too small for the image with Docker, which needs 25.
const smallest = "s-1vcpu-512mb-10gb"

// sizes are those that take the place of names that only tell the memory, in MB.
var sizes = []struct {
	memory int
	slug   string
}{
	{512, smallest}, {1 << 10, "s-1vcpu-1gb"}, {2 << 10, "s-1vcpu-2gb"}, {4 << 10, "s-2vcpu-4gb"}, {8 << 10, "s-4vcpu-8gb"},
	{16 << 10, "s-8vcpu-16gb"}, {32 << 10, "g-8vcpu-32gb"}, {64 << 10, "g-16vcpu-64gb"},
}

var (
	memorySize = regexp.MustCompile(`(?i)^(\d{1,6})(mb|gb)$`)
	highMemory = regexp.MustCompile(`^m-(16|32|64|128)gb$`)
)

// newSize returns the size of today with as much memory, for names of before 2018 and what never was one, such as 1024mb.
// Others are as they are.
func newSize(old string) string {
	if m := highMemory.FindStringSubmatch(old); m != nil {
		memory, _ := strconv.Atoi(m[1])
		return "m-" + strconv.Itoa(memory/8) + "vcpu-" + m[1] + "gb"
	}
	m := memorySize.FindStringSubmatch(old)
	if m == nil {
		return old
	}
	memory, _ := strconv.Atoi(m[1])
	if strings.EqualFold(m[2], "gb") {
		memory <<= 10
	}
	for _, s := range sizes {
		if s.memory >= memory {
			return s.slug
		}
	}
	return old
}

// closed are the regions that take no new Droplets of new customers, and their neighbours.
var closed = map[string]string{"ams1": "ams3", "ams2": "ams3", "nyc2": "nyc3", "sfo1": "sfo3"}

// imageClass is what can be done with an image.
type imageClass int

const (
	imageUseless    imageClass = iota // it is gone, no longer maintained, or without a Docker that apt could install
	imagePlain                        // cloud-init can install Docker on it
	imageWithDocker                   // DigitalOcean's 1-Click image
	imageOwn                          // a snapshot, by its id
	imageUnknown
)

var (
	imageFamily  = regexp.MustCompile(`^(ubuntu|debian|docker)(?:-(\d+).*)?$`)
	imageOldest  = map[string]int{"ubuntu": 22, "debian": 12, "docker": 20} // that is maintained, or on offer
	uselessImage = regexp.MustCompile(`^(coreos-|rancheros|freebsd-|k3os|fedora-|centos-|rockylinux-|almalinux-)`)
)

// classOf returns what can be done with an image, by its slug.
func classOf(image string) imageClass {
	if m := imageFamily.FindStringSubmatch(image); m != nil {
		release, _ := strconv.Atoi(m[2])
		switch {
		case release < imageOldest[m[1]]:
			return imageUseless
		case m[1] == "docker":
			return imageWithDocker
		}
		return imagePlain
	}
	switch {
	case strings.Trim(image, "0123456789") == "":
		return imageOwn
	case uselessImage.MatchString(image):
		return imageUseless
	}
	return imageUnknown
}
