package dosim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxNames    = 10
	maxName     = 255 // a tag's likewise
	maxUserData = 64 << 10
)

var (
	hostname = regexp.MustCompile(`^[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]$`)
	tagName  = regexp.MustCompile(`^[a-zA-Z0-9_\-:]+$`)
)

func badName(n string) bool { return len(n) > maxName || !hostname.MatchString(n) }
func badTag(t string) bool  { return len(t) > maxName || !tagName.MatchString(t) }

// createRequest is the body of POST /v2/droplets. What the simulator has no use for (volumes, backup_policy ...) is
// accepted and ignored.
type createRequest struct {
	Name             string            `json:"name"`
	Names            []string          `json:"names"`
	Region           string            `json:"region"`
	Size             string            `json:"size"`
	Image            json.RawMessage   `json:"image"`
	SSHKeys          []json.RawMessage `json:"ssh_keys"`
	Backups          bool              `json:"backups"`
	IPv6             bool              `json:"ipv6"`
	Monitoring       bool              `json:"monitoring"`
	Tags             []string          `json:"tags"`
	UserData         string            `json:"user_data"`
	VPCUUID          *string           `json:"vpc_uuid"`
	WithDropletAgent *bool             `json:"with_droplet_agent"`
	PublicNetworking *bool             `json:"public_networking"`
}

func (r createRequest) private() bool { return r.PublicNetworking != nil && !*r.PublicNetworking }

// createDroplets is POST /v2/droplets, all or nothing [?]: one check for the whole request, as the wording of the
// quota's message suggests.
func (s *Sim) createDroplets(c *call) reply {
	var req createRequest
	if rep, ok := c.decode(&req); !ok {
		return rep
	}
	names := req.Names
	if names == nil {
		names = []string{req.Name}
	}
	model, wrong := s.check(c.now, req, names)
	if wrong != "" {
		return c.unprocessable(wrong)
	}
	s.policeCreate(c.now, names, model)

	var droplets [][]byte
	var actions []any
	for i, name := range names {
		m := s.launch(name, model, c.now)
		if req.private() {
			m.PublicIPv4 = netip.Addr{}
		}
		s.misbehave(c, m, i)
		c.after = append(c.after, s.announce(m, c.now))
		shown := s.shape(m, s.appearance(m, c.now))
		shown.VPCUUID = "" // DigitalOcean's answer has none yet
		droplets = append(droplets, c.odd(jsonReply(0, shown).body, i))
		id := 1_600_000_001 + len(s.machines)
		actions = append(actions, map[string]any{"id": id, "rel": "create", "href": fmt.Sprintf("%s/v2/actions/%d", c.base(), id)})
	}
	answer := map[string]any{"links": map[string]any{"actions": actions}}
	if req.Names == nil {
		answer["droplet"] = json.RawMessage(droplets[0])
	} else {
		answer["droplets"] = json.RawMessage(slices.Concat([]byte("["), bytes.Join(droplets, []byte(",")), []byte("]")))
	}
	return jsonReply(http.StatusAccepted, answer)
}

// check returns the Droplet that each of the names is to become, or what DigitalOcean would find wrong. Its words are
// public but for those about the number of names, images elsewhere or too big, user data, tags and ipv6 [?].
func (s *Sim) check(now time.Time, req createRequest, names []string) (model machine, wrong string) {
	size, region, image := s.size(req.Size), s.region(req.Region), s.image(strings.Trim(string(req.Image), `"`))
	network := s.vpcOf(req)
	var keys, unknown []string
	for _, raw := range req.SSHKeys {
		ref := strings.Trim(string(raw), `"`)
		if k := s.key(ref); k == nil || now.Before(k.usable) {
			unknown = append(unknown, ref)
		} else {
			keys = append(keys, k.PublicKey)
		}
	}
	switch {
	case len(names) > maxNames:
		wrong = "You can create at most 10 Droplets at a time."
	case len(names) == 0 || slices.ContainsFunc(names, badName):
		wrong = "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"
	case size == nil:
		wrong = "You specified an invalid size for Droplet creation."
	case image == nil || image.Status != "available":
		wrong = "You specified an invalid image for Droplet creation."
	case region == nil || !region.Available:
		wrong = "Region is not available"
	case !slices.Contains(size.Regions, req.Region):
		wrong = "Size is not available in this region."
	case !slices.Contains(image.Regions, req.Region):
		wrong = "Image is not available in this region."
	case image.MinDisk > size.Disk:
		wrong = "Size is too small for the image's disk."
	case image.Type == "custom" && req.IPv6:
		wrong = "image is not compatible with ipv6"
	case image.Type == "custom" && req.Monitoring:
		wrong = "Monitoring is not supported for this configuration, please try a different region or image."
	case len(unknown) > 0:
		wrong = strings.Join(unknown, ", ") + " are invalid key identifiers for Droplet creation."
	case len(req.UserData) > maxUserData:
		wrong = "User data is too long. The maximum is 64 KiB."
	case slices.ContainsFunc(req.Tags, badTag):
		wrong = "Tags may contain letters, numbers, colons, dashes, and underscores."
	case req.IPv6 && req.private():
		wrong = "ipv6 cannot be used when public_networking is disabled."
	case network == nil || network.Region != req.Region:
		wrong = "You specified invalid VPC parameters for Droplet creation."
	default:
		wrong = s.overLimit(now, size, len(names))
	}
	if wrong != "" {
		return model, wrong
	}
	model = machine{region: region, size: size, image: image}
	model.AuthorizedKeys, model.Tags, model.UserData, model.VPC = keys, req.Tags, req.UserData, network.ID
	for _, f := range []struct {
		name string
		on   bool
	}{ // by name
		{"backups", req.Backups},
		{"droplet_agent", req.WithDropletAgent == nil || *req.WithDropletAgent},
		{"ipv6", req.IPv6},
		{"monitoring", req.Monitoring},
		{"private_networking", true},
	} {
		if f.on {
			model.Features = append(model.Features, f.name)
		}
	}
	return model, ""
}

// vpcOf is the network that a create asks for, or the region's default.
func (s *Sim) vpcOf(req createRequest) *vpc {
	if req.VPCUUID != nil {
		return s.vpc(*req.VPCUUID)
	}
	return s.defaultVPC(req.Region)
}

// overLimit says which limit n more Droplets of the size would exceed, if any.
func (s *Sim) overLimit(now time.Time, z *size, n int) string {
	var droplets, gpus int // that exist
	for _, m := range s.machines {
		if m.exists(now) {
			droplets++
			if m.size.GPU != nil {
				gpus++
			}
		}
	}
	switch {
	case z.GPU != nil && s.opt.GPULimit > 0 && gpus+n > s.opt.GPULimit:
		return "creating this/these droplet(s) will exceed your GPU limit"
	case droplets+n > s.limit:
		return "creating this/these droplet(s) will exceed your droplet limit"
	}
	return ""
}

// launch makes a Droplet after a model, which has all but what each has of its own. The caller calls what announce
// returns.
func (s *Sim) launch(name string, model machine, now time.Time) *machine {
	n := len(s.machines) + 1
	m, tags := &model, model.Tags
	m.ID, m.Name, m.Project = s.opt.FirstDropletID-1+n, name, s.projects[0]
	m.Region, m.Size, m.Image, m.PriceHourly = m.region.Slug, m.size.Slug, m.image.ref(), m.size.PriceHourly
	m.Created, m.ReadyAt, m.seen, m.listed = now, now.Add(s.opt.BootTime), now, now
	m.announced = make(chan struct{})
	m.PublicIPv4, m.PrivateIPv4 = s.opt.Address(n)
	if slices.Contains(m.Features, "ipv6") {
		m.PublicIPv6 = addressV6(n)
	}
	m.Tags = nil
	for _, tag := range tags {
		s.tag(m, tag, now)
	}
	s.machines = append(s.machines, m)
	s.byID[m.ID] = m
	return m
}

// misbehave lets the i-th Droplet of a create turn out as injected.
func (s *Sim) misbehave(c *call, m *machine, i int) {
	for _, f := range c.faults {
		if !f.touches(i) {
			continue
		}
		switch f.Behaviour {
		case NeverSeen:
			m.phantom = true
		case FailsLater:
			m.failed, m.ReadyAt = true, time.Time{}
			s.end(m, c.now.Add(cmp.Or(f.For, s.opt.BootTime/2)))
		case StuckNew:
			m.ReadyAt = m.ReadyAt.Add(f.For)
			if f.For == 0 {
				m.ReadyAt = time.Time{}
			}
		case LateInLists:
			m.listed = c.now.Add(f.For)
		case LateToRise:
			m.seen = c.now.Add(f.For)
		}
	}
}
