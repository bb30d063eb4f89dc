package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"gitlab.com/gitlab-org/fleeting/fleeting/provider"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// mutator changes one place in the JSON of one answer.
type mutator struct {
	http.RoundTripper
	answer atomic.Int64 // which one, counted down
	place  int          // which value in it
	how    int
}

func (m *mutator) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if m.answer.Add(-1) != 0 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var tree any
	if json.Unmarshal(body, &tree) == nil {
		place := m.place % max(1, values(tree))
		if body, err = json.Marshal(m.mutate(tree, &place)); err != nil {
			return nil, err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// values counts the values in a tree.
func values(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			n += values(x)
		}
	case []any:
		for _, x := range v {
			n += values(x)
		}
	}
	return n
}

// mutate changes the value that place leads to.
func (m *mutator) mutate(v any, place *int) any {
	*place--
	if *place < 0 {
		*place = int(^uint(0) >> 1) // done
		junk := []any{nil, true, -1, 0, 1e300, 512000001, "", "x\x1b[31m\n", strings.Repeat("9", 400), []any{}, []any{v, v}, map[string]any{}, map[string]any{"id": v}}
		return junk[m.how%len(junk)]
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			v[k] = m.mutate(v[k], place)
		}
	case []any:
		for i := range v {
			v[i] = m.mutate(v[i], place)
		}
	}
	return v
}

// FuzzMutatedAnswers lives a life in which one value of one answer makes no sense.
// Nothing panics, no call exceeds its bound, and when sense has returned nothing
// is left.
func FuzzMutatedAnswers(f *testing.F) {
	for answer := range uint8(24) {
		for place := range uint16(2) {
			f.Add(answer, uint16(answer)*7+place*5, answer*2+uint8(place))
		}
	}
	f.Fuzz(func(t *testing.T, answer uint8, place uint16, how uint8) {
		ownState(t)
		synctest.Test(t, func(t *testing.T) {
			sim := dosim.New(lively)
			defer sim.Close()
			for start := range 2 { // the second sees only what makes sense
				var p *process
				var err error
				for range 3 {
					g := configured(t, sim, options{"max_instances": 20})
					m := &mutator{RoundTripper: g.transport, place: int(place), how: int(how)}
					if start == 0 && err == nil { // when Init is what failed, the next one succeeds
						m.answer.Store(int64(answer)%40 + 1)
					}
					g.transport = m
					if p, err = launch(t.Context(), g, sim, hclog.NewNullLogger()); err == nil {
						break
					}
				}
				if err != nil {
					t.Fatal(err)
				}
				if start == 0 {
					p.provisioner.Request(12)
					time.Sleep(2 * time.Minute)
				}
				for _, i := range p.provisioner.Instances() {
					if i.State() == provider.StateRunning {
						_, _ = i.ConnectInfo(t.Context())
					}
					i.Delete()
				}
				err = within(time.Hour, func() error {
					if n := len(sim.Droplets()); n > 0 && start > 0 {
						return fmt.Errorf("%d Droplets live on", n)
					}
					return nil
				})
				time.Sleep(3 * time.Minute)
				p.stop()
				if err != nil {
					t.Error(err)
				}
				for _, o := range p.offences {
					if strings.Contains(o, "took") {
						t.Error(o)
					}
				}
			}
		})
	})
}
