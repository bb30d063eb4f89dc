package provider

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/instancegroup"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// What the plugin logs is JSON on its way to the runner. An operator must be
// able to paste an id from it.
func TestLogValuesAreReadable(t *testing.T) {
	var out bytes.Buffer
	log := lines{hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true})}
	log.Info("Droplet is active", "id", 512000001, "after", 31*time.Second, "usd_per_hour", 0.00893,
		"image", instancegroup.Image{Slug: "docker-20-04"}, "place", instancegroup.Placement{Size: "c-2", Region: "fra1"},
		"created", time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), "err", errors.New("no"), "names", []string{"a", "b"})
	for _, want := range []string{`"id":"512000001"`, `"after":"31s"`, `"usd_per_hour":"0.00893"`, `"image":"docker-20-04"`,
		`"place":"c-2 in fra1"`, `"created":"2026-11-01T12:00:00Z"`, `"err":"no"`, `"names":"[a b]"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the line lacks %s:\n%s", want, &out)
		}
	}
	onAccount(t, dosim.Options{}, func(t *testing.T, sim *dosim.Sim) {
		var book logBook
		g := configured(t, sim, nil)
		_, err := g.Init(t.Context(), hclog.New(&hclog.LoggerOptions{Output: &book, JSONFormat: true}), provider.Settings{})
		if err != nil || len(book.lines(`"max_instances":"100"`)) != 1 {
			t.Errorf("Init: %v\n%s", err, &book)
		}
		_ = g.Shutdown(t.Context())
	})
}
