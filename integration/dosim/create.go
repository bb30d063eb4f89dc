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
	maxName     = 255
	maxUserData = 64 << 10 // bytes
	maxTag      = 255
)

var (
	hostname = regexp.MustCompile(`^[a-zA-Z0-9]?[a-z0-9A-Z.\-]*[a-z0-9A-Z]$`)
	tagName  = regexp.MustCompile(`^[a-zA-Z0-9_\-:]+$`)
)

// createRequest is the body of POST /v2/droplets. What the simulator has no use for (volumes, backup_policy,
// private_networking ...) is accepted and ignored.
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

type actionLink struct {
	ID   int    `json:"id"`
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

// firstActionID is where action ids begin: of the creations of Droplets, one each.
const firstActionID = 1_600_000_001

// createDroplets is POST /v2/droplets, all or nothing [?]: one check for the whole request, as the wording of the
// quota's message suggests.
func (s *Sim) createDroplets(c *call) reply {
	var req createRequest
	if rep, ok := c.decode(&req); !ok {
		return rep
	}
	names, single := req.Names, false
	if req.Names == nil {
		names, single = []string{req.Name}, true
	}
	model, wrong := s.check(c.now, req, names)
	if wrong != "" {
		return c.unprocessable(wrong)
	}
	s.policeCreate(c.now, names, model)

	droplets, actions := make([][]byte, 0, len(names)), make([]actionLink, 0, len(names))
	for i, name := range names {
		m := s.launch(name, model, c.now)
		if req.PublicNetworking != nil && !*req.PublicNetworking {
			m.PublicIPv4 = netip.Addr{}
		}
		s.misbehave(c, m, i)
		c.after = append(c.after, s.announce(m, c.now))
		shown := s.shape(m, s.appearance(m, c.now))
		shown.VPCUUID = "" // DigitalOcean's answer has none yet
		droplets = append(droplets, c.odd(jsonReply(0, shown).body, i))
		action := firstActionID + m.ID - s.opt.FirstDropletID
		actions = append(actions, actionLink{action, "create", fmt.Sprintf("%s/v2/actions/%d", c.base(), action)})
	}
	links := map[string]any{"actions": actions}
	if single {
		return jsonReply(http.StatusAccepted, map[string]any{"droplet": json.RawMessage(droplets[0]), "links": links})
	}
	all := slices.Concat([]byte("["), bytes.Join(droplets, []byte(",")), []byte("]"))
	return jsonReply(http.StatusAccepted, map[string]any{"droplets": json.RawMessage(all), "links": links})
}

// check returns the Droplet that each of the names is to become, or what DigitalOcean would find wrong.
func (s *Sim) check(now time.Time, req createRequest, names []string) (model machine, wrong string) {
	size, region, image := s.size(req.Size), s.region(req.Region), s.image(strings.Trim(string(req.Image), `"`))
	keys, unknown := s.resolveKeys(req.SSHKeys, now)
	network := s.defaultVPC(req.Region)
	if req.VPCUUID != nil {
		network = s.vpc(*req.VPCUUID)
	}
	badName := func(n string) bool { return len(n) > maxName || !hostname.MatchString(n) }
	badTag := func(t string) bool { return len(t) > maxTag || !tagName.MatchString(t) }
	switch {
	case len(names) > maxNames:
		return model, MessageTooManyNames
	case len(names) == 0 || slices.ContainsFunc(names, badName):
		return model, MessageHostname
	case size == nil:
		return model, MessageInvalidSize
	case image == nil || image.Status != "available":
		return model, MessageInvalidImage
	case region == nil || !region.Available:
		return model, MessageRegion
	case !slices.Contains(size.Regions, req.Region):
		return model, MessageSizeNotHere
	case !slices.Contains(image.Regions, req.Region):
		return model, MessageImageNotHere
	case image.MinDisk > size.Disk:
		return model, MessageImageTooBig
	case image.Custom && req.IPv6:
		return model, MessageCustomIPv6
	case image.Custom && req.Monitoring:
		return model, MessageNoMonitoring
	case len(unknown) > 0:
		return model, strings.Join(unknown, ", ") + " " + MessageInvalidKeys
	case len(req.UserData) > maxUserData:
		return model, MessageUserData
	case slices.ContainsFunc(req.Tags, badTag):
		return model, MessageInvalidTag
	case req.IPv6 && req.PublicNetworking != nil && !*req.PublicNetworking:
		return model, MessageNoAddress
	case network == nil || network.Region != req.Region:
		return model, MessageInvalidVPC
	}
	model = machine{region: region, size: size, image: image}
	model.AuthorizedKeys, model.Tags, model.UserData, model.VPC, model.Features = keys, req.Tags, req.UserData, network.ID, features(req)
	return model, s.overLimit(now, size, len(names))
}

// overLimit says which limit n more Droplets of the size would exceed; it is empty if there is room.
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
		return MessageGPULimit
	case droplets+n > s.limit:
		return MessageDropletLimit
	}
	return ""
}

// features are in the order of the alphabet.
func features(req createRequest) []string {
	var on []string
	for _, f := range []struct {
		name   string
		wanted bool
	}{
		{"backups", req.Backups},
		{"droplet_agent", req.WithDropletAgent == nil || *req.WithDropletAgent},
		{"ipv6", req.IPv6},
		{"monitoring", req.Monitoring},
		{"private_networking", true},
	} {
		if f.wanted {
			on = append(on, f.name)
		}
	}
	return on
}

// resolveKeys finds the public keys behind ids and fingerprints. What it cannot find, or what may not be used yet, is
// named in unknown.
func (s *Sim) resolveKeys(refs []json.RawMessage, now time.Time) (keys, unknown []string) {
	for _, raw := range refs {
		ref := strings.Trim(string(raw), `"`)
		if k := s.key(ref); k == nil || now.Before(k.usable) {
			unknown = append(unknown, ref)
		} else {
			keys = append(keys, k.PublicKey)
		}
	}
	return keys, unknown
}

// launch makes a Droplet after a model, which has all but what each has of its own. Callers hold s.mu, and call what
// announce returns.
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
		s.tags[tag] = true
		m.tag(tag, now)
	}
	s.machines = append(s.machines, m)
	s.byID[m.ID] = m
	return m
}

// misbehave lets the i-th Droplet of a create turn out as injected.
func (s *Sim) misbehave(c *call, m *machine, i int) {
	for _, f := range c.behaviours {
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
