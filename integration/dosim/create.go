package dosim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
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

// launch is a create that was found to be in order.
type launch struct {
	region   *region
	size     *size
	image    *Image
	keys     []string // OpenSSH
	tags     []string
	userData string
	vpc      string
	features []string
	public   bool
	ipv6     bool
}

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
	spec, rep, ok := s.check(c, req, names)
	if !ok {
		return rep
	}
	s.policeCreate(c.now, names, spec)

	droplets, actions := make([][]byte, 0, len(names)), make([]actionLink, 0, len(names))
	for i, name := range names {
		m := s.launch(name, spec, c.now)
		s.misbehave(c, m, i)
		c.after = append(c.after, s.welcome(m, c.now))
		shown := s.shape(m, s.appearance(m, c.now))
		shown.VPCUUID = "" // DigitalOcean's answer has none yet
		droplets = append(droplets, c.odd(jsonReply(0, shown).body, i))
		actions = append(actions, actionLink{s.createAction(m), "create", fmt.Sprintf("%s/v2/actions/%d", c.base(), s.createAction(m))})
	}
	links := map[string]any{"actions": actions}
	if single {
		return jsonReply(http.StatusAccepted, map[string]any{"droplet": json.RawMessage(droplets[0]), "links": links})
	}
	all := slices.Concat([]byte("["), bytes.Join(droplets, []byte(",")), []byte("]"))
	return jsonReply(http.StatusAccepted, map[string]any{"droplets": json.RawMessage(all), "links": links})
}

// check finds what DigitalOcean would find wrong.
func (s *Sim) check(c *call, req createRequest, names []string) (spec launch, rep reply, ok bool) {
	no := func(message string) (launch, reply, bool) { return launch{}, c.unprocessable(message), false }
	if len(names) > maxNames {
		return no(MessageTooManyNames)
	}
	if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return len(n) > maxName || !hostname.MatchString(n) }) {
		return no(MessageHostname)
	}
	spec.size = s.size(req.Size)
	if spec.size == nil || !spec.size.Available {
		return no(MessageInvalidSize)
	}
	imageRef := strings.Trim(string(req.Image), `"`)
	if spec.image = s.image(imageRef); spec.image == nil || spec.image.status() != "available" {
		return no(MessageInvalidImage)
	}
	switch spec.region = s.region(req.Region); {
	case spec.region == nil || !spec.region.Available:
		return no(MessageRegion)
	case !slices.Contains(spec.size.Regions, req.Region):
		return no(MessageSizeNotHere)
	case !slices.Contains(spec.image.Regions, req.Region):
		return no(MessageImageNotHere)
	case spec.image.MinDisk > spec.size.Disk:
		return no(MessageImageTooBig)
	case spec.image.Custom && req.IPv6:
		return no(MessageCustomIPv6)
	case spec.image.Custom && req.Monitoring:
		return no(MessageNoMonitoring)
	}
	var unknown []string
	if spec.keys, unknown = s.resolveKeys(req.SSHKeys, c.now); unknown != nil {
		return no(strings.Join(unknown, ", ") + " " + MessageInvalidKeys)
	}
	if len(req.UserData) > maxUserData {
		return no(MessageUserData)
	}
	if slices.ContainsFunc(req.Tags, func(t string) bool { return len(t) > maxTag || !tagName.MatchString(t) }) {
		return no(MessageInvalidTag)
	}
	spec.tags, spec.userData = req.Tags, req.UserData
	spec.public, spec.ipv6 = req.PublicNetworking == nil || *req.PublicNetworking, req.IPv6
	if spec.ipv6 && !spec.public {
		return no(MessageNoAddress)
	}
	switch {
	case req.VPCUUID == nil:
		spec.vpc = s.defaultVPC(req.Region)
	case *req.VPCUUID == "":
		return launch{}, errorReply(500, c.id, defaultErrors[500]), false
	default:
		v := s.vpc(*req.VPCUUID)
		if v == nil || v.Region != req.Region {
			return no(MessageInvalidVPC)
		}
		spec.vpc = v.ID
	}
	if message := s.overLimit(c.now, spec.size, len(names)); message != "" {
		return no(message)
	}
	spec.features = features(req)
	return spec, reply{}, true
}

// overLimit says which limit n more Droplets of the size would exceed; it is empty if there is room.
func (s *Sim) overLimit(now time.Time, z *size, n int) string {
	var droplets, gpus int // that exist
	for _, m := range s.machines {
		if m.exists(now) {
			droplets++
			if m.size.GPU != "" {
				gpus++
			}
		}
	}
	switch {
	case z.GPU != "" && s.opt.GPULimit > 0 && gpus+n > s.opt.GPULimit:
		return MessageGPULimit
	case droplets+n > s.limit:
		return MessageDropletLimit
	}
	return ""
}

func features(req createRequest) []string {
	on := []string{"private_networking"}
	for feature, wanted := range map[string]bool{
		"backups":       req.Backups,
		"droplet_agent": req.WithDropletAgent == nil || *req.WithDropletAgent,
		"ipv6":          req.IPv6,
		"monitoring":    req.Monitoring,
	} {
		if wanted {
			on = append(on, feature)
		}
	}
	slices.Sort(on)
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

// launch makes a Droplet. Callers hold s.mu, and see to the hook.
func (s *Sim) launch(name string, spec launch, now time.Time) *machine {
	n := len(s.machines) + 1
	m := &machine{
		id: s.opt.FirstDropletID - 1 + n, name: name, region: spec.region, size: spec.size, image: spec.image,
		vpc: spec.vpc, project: s.projects[0], keys: spec.keys, userData: spec.userData, features: spec.features,
		created: now, ready: now.Add(s.opt.BootTime), seen: now, listed: now,
	}
	m.public, m.private = s.opt.Address(n)
	if !spec.public {
		m.public = noAddress
	}
	if spec.ipv6 {
		m.v6 = addressV6(n)
	}
	for _, tag := range spec.tags {
		s.makeTag(tag, now)
		m.tag(tag, now)
	}
	s.machines = append(s.machines, m)
	s.byID[m.id] = m
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
			after := f.For
			if after == 0 {
				after = s.opt.BootTime / 2
			}
			m.failed, m.ready, m.gone = true, time.Time{}, c.now.Add(after)
		case StuckNew:
			m.ready = m.ready.Add(f.For)
			if f.For == 0 {
				m.ready = time.Time{}
			}
		case LateInLists:
			m.listed = c.now.Add(f.For)
		case LateToRise:
			m.seen = c.now.Add(f.For)
		}
	}
}

// idOf parses the {id} of a path; 0 is nobody's.
func idOf(c *call) int {
	id, err := strconv.Atoi(c.PathValue("id"))
	if err != nil {
		return 0
	}
	return id
}
