package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

// tutorial is the docker+machine configuration of the tutorial of 2018, with numbers
// that a test has the time for.
func tutorial(t *testing.T) string {
	t.Helper()
	a, err := txtar.ParseFile("../../provider/migrate/testdata/tutorial-2018.txtar")
	if err != nil {
		t.Fatal(err)
	}
	text := string(a.Files[0].Data)
	for old, new := range map[string]string{"limit = 10": "limit = 6", "IdleCount = 1": "IdleCount = 2", "IdleTime = 600": "IdleTime = 5"} {
		if strings.Count(text, old) != 1 {
			t.Fatalf("the tutorial has no %q", old)
		}
		text = strings.Replace(text, old, new, 1)
	}
	return text
}

// What migrate makes of a docker+machine runner runs: the real plugin, the runner's
// own autoscaler, Droplets that boot. It keeps IdleCount of them, and those beyond it
// for IdleTime seconds.
func TestAMigratedConfigRuns(t *testing.T) {
	t.Parallel()
	r := migrate.Migrate("config.toml", tutorial(t), migrate.Options{
		TokenFile: "/etc/gitlab-runner/digitalocean-token",
		StateDir:  "/var/lib/gitlab-runner",
		Host:      config.Host{Getenv: func(string) string { return "" }, ReadFile: config.ThisHost().ReadFile},
	})
	if r.Failed() || !r.Changed {
		t.Fatalf("%+v", r.Notes)
	}
	// Shortened, as in the demo's config: what takes half a minute otherwise.
	text := strings.NewReplacer(`update_interval = "30s"`, `update_interval = "1s"`,
		`update_interval_when_expecting = "2s"`, `update_interval_when_expecting = "1s"`).Replace(r.Text)
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	const idleCount, idleTime, limit = 2, 5 * time.Second, 6
	// More jobs at once than idle_count, more than once: the runner takes a job only when
	// a Droplet is idle, as docker+machine did, and so grows a step at a time.
	plan := quick
	plan.Bursts = []Burst{{Pause: time.Second, Jobs: 8, MinWork: 2 * time.Second, MaxWork: 3 * time.Second}}
	report := run(t, Options{Config: c, Plan: plan})
	allWell(t, report)
	kept(t, report, idleCount)
	if most := report.MostDroplets(); most <= idleCount || most > limit {
		t.Errorf("at most %d Droplets at once, want more than idle_count %d and no more than limit %d", most, idleCount, limit)
	}

	// Those beyond idle_count stay for IdleTime after their last job.
	var lastJob, surplusGone time.Duration
	for _, j := range report.Jobs {
		lastJob = max(lastJob, j.Finished)
	}
	for _, s := range report.Samples {
		if s.Droplets() > idleCount && s.At < lastJob+quick.Tail {
			surplusGone = s.At
		}
	}
	// The last of them had its job up to 3 s before the last job. Removal is looked at every
	// second, and takes the account another; and what else runs on this machine takes its time.
	t.Logf("%d Droplets at most; the surplus stayed for %s after the last job, at %s", report.MostDroplets(), surplusGone-lastJob, lastJob)
	if kept := surplusGone - lastJob; kept < idleTime-3*time.Second || kept > idleTime+12*time.Second {
		t.Errorf("the surplus of Droplets stayed for %s after the last job, IdleTime is %s", kept.Round(100*time.Millisecond), idleTime)
	}
}
