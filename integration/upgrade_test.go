//go:build unix

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gitlab.com/gitlab-org/fleeting/fleeting"
	"golang.org/x/crypto/ssh"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/integration/dosim"
)

// A manager is upgraded, or taken back, in mid-life: the one version's Droplets are
// the other's, whether the first has stopped in good order or was killed.
//
// The old binary is the oldest release's where the tag v0.1.0 is in the repository.
// Without it (before that release, and in a clone without tags) it is today's source
// under another version number: that proves the take-over and nothing of the past;
// TestAccountOfOldVersion is what then holds us to it.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	versions := map[string]string{"old": oldBinary(t), "new": filepath.Join(distOf(t, "0.2.0"), hostPlatform, "plugin")}
	for _, c := range []struct {
		name, first, second string
		killed              bool
	}{
		{"upgrade", "old", "new", false},
		{"upgrade-killed", "old", "new", true},
		{"downgrade", "new", "old", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick)
			config := w.config(map[string]any{"name": c.name})
			first, err := initRunnerOf(t.Context(), versions[c.first], config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(first.Kill)
			pid := pidOf(t, c.name)
			first.provisioner.Request(3)
			eventually(t, 20*time.Second, func() error { return first.running(3) })
			if c.killed {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			} else {
				first.provisioner.Shutdown(t.Context())
			}
			first.Kill()
			eventually(t, 10*time.Second, func() error { return gone(pid) })

			second, err := initRunnerOf(t.Context(), versions[c.second], config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(second.Kill)
			drain(t, w, second, 3)
			if c.killed {
				sweep(t, w, config)
			}
			w.assertNothingLeft(t)
		})
	}
}

// drain has a manager take over what another has left, and destroy it.
func drain(t *testing.T, w *world, r *runner, n int) {
	t.Helper()
	if err := r.running(n); err != nil {
		t.Errorf("taken over: %v", err)
	}
	for _, i := range r.provisioner.Instances() {
		if i.Cause() != fleeting.CausePreexisted {
			t.Errorf("%s is %s", i.ID(), i.Cause())
		}
		i.Delete()
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
	if bills := w.sim.Ledger(); len(bills) != n {
		t.Errorf("%d Droplets were made, want %d", len(bills), n)
	}
}

// sweep is the next start, which takes away the key of a run that was killed, now
// that no Droplet of it is left.
func sweep(t *testing.T, w *world, config map[string]any) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		if n := len(w.sim.Droplets()); n > 0 {
			return fmt.Errorf("%d Droplets are left", n)
		}
		return nil
	})
	r, err := initRunner(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	r.provisioner.Shutdown(t.Context())
	r.Kill()
}

// oldBinary builds the oldest release.
func oldBinary(t *testing.T) string {
	t.Helper()
	const tag = "v0.1.0"
	if out, err := inModule(t.Context(), nil, "git", "rev-parse", "--verify", "--quiet", tag+"^{commit}"); err != nil {
		t.Logf("the old binary is today's source as 0.1.0: there is no tag %s here %s", tag, out)
		return filepath.Join(distOf(t, "0.1.0"), hostPlatform, "plugin")
	}
	dir := t.TempDir()
	if out, err := inModule(t.Context(), nil, "sh", "-c", "git archive "+tag+" | tar -x -C "+dir+" && make -s -C "+dir+" dist VERSION=0.1.0 PLATFORMS="+hostPlatform); err != nil {
		t.Fatalf("building %s: %v\n%s", tag, err, out)
	}
	return filepath.Join(dir, "dist", hostPlatform, "plugin")
}

// remains is what a manager that was killed leaves on an account. testdata/upgrade
// has one for each minor version; that of a version which is released never changes.
type remains struct {
	Droplets []struct {
		Name string
		Tags []string
	}
	Keys []struct{ Name string }
	Tags []string
}

const remainsOf01 = "testdata/upgrade/0.1.json"

func TestAccountOfOldVersion(t *testing.T) {
	t.Parallel()
	// One after the other: they are of one group, and so of one lock.
	t.Run("is taken over", accountIsTakenOver)
	t.Run("is recorded truly", accountIsRecordedTruly)
}

// What 0.1 leaves is taken over by today's plugin, to the last key and tag.
func accountIsTakenOver(t *testing.T) {
	var old remains
	if err := json.Unmarshal([]byte(readDoc(t, remainsOf01)), &old); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, quick)
	for _, d := range old.Droplets {
		w.sim.AddDroplet(dosim.Droplet{Name: d.Name, Tags: d.Tags, Region: "fra1", Created: time.Now().Add(-time.Hour)})
	}
	for _, k := range old.Keys {
		uploadKey(t, w, k.Name)
	}
	if before := ownTags(w); !slices.Equal(before, old.Tags) {
		t.Errorf("tags: %v, want %v", before, old.Tags)
	}
	config := w.config(map[string]any{"name": "ci01"})
	r, err := initRunner(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	drain(t, w, r, len(old.Droplets))
	sweep(t, w, config)
	w.assertNothingLeft(t)
}

// ownTags are the plugin's tags on the account.
func ownTags(w *world) []string {
	tags := slices.DeleteFunc(w.sim.Tags(), func(tag string) bool { return !strings.HasPrefix(tag, "fleeting") })
	slices.Sort(tags)
	return tags
}

// Until 0.1 is released, what is recorded of it has to be what today's plugin leaves.
// From then on a difference is a reason to think: add testdata/upgrade for the next
// version, and keep both.
func accountIsRecordedTruly(t *testing.T) {
	w := newWorld(t, quick)
	config := w.config(map[string]any{"name": "ci01"})
	r, err := initRunner(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	plugin := pidOf(t, "ci01")
	r.provisioner.Request(2)
	eventually(t, 20*time.Second, func() error { return r.running(2) })
	if err := syscall.Kill(plugin, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	eventually(t, 10*time.Second, func() error { return gone(plugin) })
	var now remains
	for _, d := range w.sim.Droplets() {
		now.Droplets = append(now.Droplets, struct {
			Name string
			Tags []string
		}{d.Name, d.Tags})
	}
	for _, k := range w.sim.Keys() {
		now.Keys = append(now.Keys, struct{ Name string }{k.Name})
	}
	now.Tags = ownTags(w)
	// Two names and one run are random, and so all eight of their characters.
	shape := func(s string) string {
		s = regexp.MustCompile(`\s+`).ReplaceAllString(s, "")
		return regexp.MustCompile(`(ci01-|fleeting-run:)[0-9a-z]{8}`).ReplaceAllString(s, "$1********")
	}
	if diff := cmp.Diff(shape(readDoc(t, remainsOf01)), shape(string(mustJSON(t, now)))); diff != "" {
		t.Errorf("recorded (-) and today (+); today it is\n%s\n%s", mustJSON(t, now), diff)
	}
	if r, err = initRunner(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	drain(t, w, r, 2)
	sweep(t, w, config)
}

// uploadKey puts a key on the account as the plugin does: what Sim.AddKey puts there
// is a person's.
func uploadKey(t *testing.T, w *world, name string) {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(newPrivateKey(t))
	if err != nil {
		t.Fatal(err)
	}
	body := mustJSON(t, map[string]string{"name": name, "public_key": string(ssh.MarshalAuthorizedKey(signer.PublicKey()))})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v2/account/keys", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+dosim.DefaultToken)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
}
