package dosim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

type tagJSON struct {
	Name      string         `json:"name"`
	Resources map[string]any `json:"resources"`
}

// listTags is GET /v2/tags, by name.
func (s *Sim) listTags(c *call) reply {
	var all []tagJSON
	for _, name := range slices.Sorted(maps.Keys(s.tags)) {
		all = append(all, s.tagJSON(c, name))
	}
	return list(c, "tags", all)
}

// createTag is POST /v2/tags. A tag that is there already is no error [?]. A bad name is answered in a form that no
// other operation uses, as specified.
func (s *Sim) createTag(c *call) reply {
	var req struct {
		Name string `json:"name"`
	}
	if _, ok := c.decode(&req); !ok || badTag(req.Name) {
		cause := fmt.Sprintf("Error validating resource tag: %q contains invalid characters", req.Name)
		return jsonReply(http.StatusBadRequest, map[string]any{
			"error": cause, "messages": nil, "root_causes": []string{"rpc error: code = InvalidArgument desc = " + cause},
		})
	}
	s.tags[req.Name] = true
	return jsonReply(http.StatusCreated, map[string]tagJSON{"tag": s.tagJSON(c, req.Name)})
}

// getTag is GET /v2/tags/{tag}.
func (s *Sim) getTag(c *call, tag string) reply {
	return jsonReply(http.StatusOK, map[string]tagJSON{"tag": s.tagJSON(c, tag)})
}

// deleteTag is DELETE /v2/tags/{tag}.
func (s *Sim) deleteTag(c *call, tag string) reply {
	s.dropTag(tag, c.now)
	return noContent()
}

// dropTag forgets a tag: whatever carried it no longer does.
func (s *Sim) dropTag(tag string, now time.Time) {
	for _, m := range s.machines {
		m.untag(tag, now)
	}
	for _, i := range s.images {
		i.Tags = slices.DeleteFunc(i.Tags, func(t string) bool { return t == tag })
	}
	delete(s.tags, tag)
}

// tagResources is POST /v2/tags/{tag}/resources, of Droplets and private images. Ids that lead nowhere are passed over
// [?]: a Droplet that is gone does not keep the others from being tagged.
func (s *Sim) tagResources(c *call, tag string) reply {
	var req struct {
		Resources []struct {
			ID   string `json:"resource_id"`
			Type string `json:"resource_type"`
		} `json:"resources"`
	}
	if rep, ok := c.decode(&req); !ok {
		return rep
	}
	for _, r := range req.Resources {
		if m := s.visible(r.ID, c.now); r.Type == "droplet" && m != nil {
			s.tag(m, tag, c.now)
		}
		if i := s.image(r.ID); r.Type == "image" && i != nil && !i.Public && !slices.Contains(i.Tags, tag) {
			i.Tags = append(i.Tags, tag)
		}
	}
	return noContent()
}

// ofTag answers 404 unless the {tag} of the path is there.
func (s *Sim) ofTag(h func(c *call, tag string) reply) handler {
	return func(c *call) reply {
		tag := c.PathValue("tag")
		if !s.tags[tag] {
			return c.notFound()
		}
		return h(c, tag)
	}
}

func (s *Sim) tagJSON(c *call, name string) tagJSON {
	counts, last := map[string]int{"droplets": 0, "images": 0, "volumes": 0, "volume_snapshots": 0, "databases": 0}, 0
	for _, m := range s.machines {
		if m.visible(c.now) && m.tagged(name) {
			counts["droplets"]++
			last = m.ID
		}
	}
	for _, i := range s.images {
		if slices.Contains(i.Tags, name) {
			counts["images"]++
		}
	}
	resources := map[string]any{"count": counts["droplets"] + counts["images"]}
	for kind, n := range counts {
		resources[kind] = map[string]int{"count": n}
	}
	if last > 0 {
		resources["last_tagged_uri"] = c.base() + "/v2/droplets/" + strconv.Itoa(last)
	}
	return tagJSON{name, resources}
}
