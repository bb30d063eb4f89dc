package migrate

import (
	"regexp"
	"strconv"
	"strings"
)

// tableDate is the month of what follows: what DigitalOcean had, and what was gone. doctor asks DigitalOcean.
const tableDate = "November 2026"

// closed are the regions that take no new Droplets of new customers, and their neighbours.
var closed = map[string]string{"ams1": "ams3", "ams2": "ams3", "nyc2": "nyc3", "sfo1": "sfo3"}

// sizes are those that take the place of names that only tell the memory. GB is doubled for each.
var sizes = strings.Fields("s-1vcpu-1gb s-1vcpu-2gb s-2vcpu-4gb s-4vcpu-8gb s-8vcpu-16gb g-8vcpu-32gb g-16vcpu-64gb")

var memorySize = regexp.MustCompile(`(?i)^(?:m-)?(\d{1,6})(mb|gb)$`)

// newSize returns the size of today with as much memory, for names of before 2018 and what never was one, such as 1024mb.
// Others are as they are.
func newSize(old string) string {
	m := memorySize.FindStringSubmatch(old)
	if m == nil {
		return old
	}
	mb, _ := strconv.Atoi(m[1])
	if strings.EqualFold(m[2], "gb") {
		mb <<= 10
	}
	for i, slug := range sizes {
		if mb <= 1024<<i {
			return slug
		}
	}
	return old
}

// dockerImage is the image with Docker, on Ubuntu.
const dockerImage = "docker-20-04"

var (
	family   = regexp.MustCompile(`^(ubuntu|debian|docker)(?:-(\d+).*)?$`)
	oldest   = map[string]int{"ubuntu": 22, "debian": 12, "docker": 20} // that is maintained, or on offer
	noDocker = regexp.MustCompile(`^(coreos-|rancheros|freebsd-|k3os|fedora-|centos-|rockylinux-|almalinux-)`)
)

// lookUpImage reports whether an image is gone, no longer maintained or without a Docker that apt could install, or is known
// to have Docker or apt. It is neither if it is a snapshot, or nobody knows.
func lookUpImage(slug string) (gone, known bool) {
	m := family.FindStringSubmatch(slug)
	if m == nil {
		return noDocker.MatchString(slug), false
	}
	release, _ := strconv.Atoi(m[2])
	return release < oldest[m[1]], release >= oldest[m[1]]
}
