package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
)

func migrateCommand(t *terminal) *cobra.Command {
	var m migrating
	cmd := &cobra.Command{
		Use:   "migrate [config.toml]",
		Short: "Turn docker+machine runners into docker-autoscaler ones",
		Long: `Turn the docker+machine runners of a config.toml, those with docker-machine's digitalocean driver, into
docker-autoscaler ones with this plugin. All else in the file stays byte for byte.

Without a file it is the runner's own: $CONFIG_FILE, else /etc/gitlab-runner/config.toml. The new file goes to
standard output, what became of each key to standard error, with its line in the old file.

It exits with 0 if all went well or there was nothing to do, with 1 if it failed and nothing was changed, with 2 if it
was called wrongly, with 3 if --check found something to migrate.`,
		Example: `  $ sudo fleeting-plugin-digitalocean migrate --diff
  ...
  $ sudo gitlab-runner stop
  $ sudo fleeting-plugin-digitalocean migrate --write
  ...
  wrote /etc/gitlab-runner/config.toml; the old file is /etc/gitlab-runner/config.toml.before-migrate`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 1:
				return hinted{misuse(fmt.Sprintf("migrate takes one file, not %d", len(args))), program + " migrate --help"}
			case m.check && (m.write || m.diff):
				return hinted{misuse("--check only reports: it goes with neither --write nor --diff"), program + " migrate --help"}
			}
			m.json = t.format == asJSON
			m.path = choice{config: strings.Join(args, "")}.configFile()
			code, err := m.run(cmd.Context(), t)
			return cmp.Or(err, exit(code))
		},
	}
	f := cmd.Flags()
	f.BoolVar(&m.write, "write", false, "replace the file, and move its access tokens to files of their own; the old file stays beside it")
	f.BoolVar(&m.diff, "diff", false, "show what changes, without secrets, in place of the new file")
	f.BoolVar(&m.check, "check", false, "only report whether there is something to migrate")
	f.BoolVar(&m.offline, "offline", false, "do not ask DigitalOcean which sizes, regions and images there are")
	f.StringVar(&m.tokenFile, "token-file", "", "the `FILE` that tokens are moved to (default digitalocean-token beside config.toml)")
	t.formatFlags(cmd, "text", asJSON)
	return cmd
}

// migrating is what a migration is to do.
type migrating struct {
	write, diff, check, json, offline bool
	path, tokenFile                   string
}

// migrated is a migration for scripts. It has no secrets.
type migrated struct {
	File       string           `json:"file"`
	Runners    int              `json:"runners"`
	ToMigrate  int              `json:"to_migrate"`
	Written    bool             `json:"written"`
	Backup     string           `json:"backup,omitempty"`
	TokenFiles []string         `json:"token_files,omitempty"` // that were written, or are to be
	Catalog    string           `json:"catalog"`               // what judged sizes, regions and images
	Notes      []migration.Note `json:"notes"`
	Diff       string           `json:"diff,omitempty"`
	Doctor     []diagnosis      `json:"doctor,omitempty"` // of what was written
}

func (m *migrating) run(ctx context.Context, t *terminal) (code int, err error) {
	file, err := openConfig(m.path)
	if err != nil {
		return 0, err
	}
	options := migration.Options{
		TokenFile: m.tokenFile, TokenFileChosen: m.tokenFile != "",
		StateDir: file.stateDir(), Host: config.ThisHost(),
	}
	if m.tokenFile == "" {
		options.TokenFile = file.beside("digitalocean-token")
	} else if options.TokenFile, err = filepath.Abs(m.tokenFile); err != nil {
		return 0, err
	}
	r := migration.Migrate(m.path, file.text, options)
	report := migrated{File: m.path, Catalog: "built-in table of " + migration.TableDate}
	if r.Changed && !m.check {
		options.Catalog, err = m.catalog(ctx, t, r)
		if ctx.Err() != nil {
			return 0, fmt.Errorf("%w: nothing was written", errInterrupted)
		}
		switch {
		case err != nil:
			t.say("note", "sizes, regions and images are judged by the built-in table of %s: %s", migration.TableDate, r.Redact(err.Error()))
		default:
			report.Catalog = "live"
			t.say("note", "sizes, regions and images are judged by DigitalOcean's catalog of today")
			r = migration.Migrate(m.path, file.text, options)
		}
	}
	report.Runners, report.ToMigrate, report.Notes = r.Runners, r.Migrated, r.Notes
	for _, s := range r.Secrets {
		report.TokenFiles = append(report.TokenFiles, s.File)
	}
	if !m.json {
		m.sayNotes(t, r)
	}
	if m.diff && r.Changed {
		report.Diff = r.Redact(string(diff.Diff(m.path, []byte(file.text), m.path, []byte(r.Text))))
	}
	if m.write && r.Changed {
		if report.Backup, err = file.replace(r.Text, r.Secrets); err != nil {
			return 0, err
		}
		report.Written = true
	}
	if report.Written && m.json {
		report.Doctor = m.examine(ctx, t, r)
	}
	m.print(t, r, report)
	if report.Written && !m.json {
		m.examine(ctx, t, r)
	}
	switch {
	case r.Failed():
		return exitFailed, nil
	case m.check && r.Changed:
		return exitFound, nil
	}
	return exitOK, nil
}

// sayNotes says what is to be said about the file: each hint once, and of a file that
// cannot be migrated only why.
func (m *migrating) sayNotes(t *terminal, r migration.Result) {
	hints := map[string]bool{}
	for _, n := range r.Notes {
		if r.Failed() && n.Severity != migration.Error || m.check && n.Severity != migration.Error {
			continue
		}
		if hints[n.Hint] {
			n.Hint = ""
		}
		hints[n.Hint] = true
		_, _ = io.WriteString(t.err, n.Format(m.path))
	}
	if !r.Changed || m.check {
		return
	}
	kinds := map[migration.Kind]int{}
	for _, n := range r.Notes {
		kinds[n.Kind]++
	}
	t.say("note", "%s: %d of %s: %s converted, %d approximated, %d dropped, %d to decide", m.path, r.Migrated, count(r.Runners, "runner"),
		count(kinds[migration.Converted], "key"), kinds[migration.Approximated], kinds[migration.Dropped], kinds[migration.Decision])
}

// print writes what was asked for.
func (m *migrating) print(t *terminal, r migration.Result, report migrated) {
	switch {
	case m.json:
		t.json(report)
		return
	case r.Failed():
	case m.check:
		fmt.Fprintf(t.out, "%s: %s to migrate\n", m.path, count(r.Migrated, "runner"))
	case m.diff:
		_, _ = io.WriteString(t.out, report.Diff)
	case !m.write:
		_, _ = io.WriteString(t.out, r.Text)
	}
	if report.Written {
		fmt.Fprintf(t.out, "wrote %s; the old file is %s\n", m.path, report.Backup)
		for _, file := range report.TokenFiles {
			fmt.Fprintf(t.out, "moved the access token to %s\n", file)
		}
		if len(report.TokenFiles) > 0 {
			t.say("hint", "the old file still has the access token: remove it once all is well")
		}
	}
}

// examine has the doctor look at what was written, and show it unless it goes into the
// JSON. What it finds fails nothing: the migration is done.
func (m *migrating) examine(ctx context.Context, t *terminal, r migration.Result) (all []diagnosis) {
	d := diagnosing{choice: choice{config: m.path, groups: r.Groups}, offline: m.offline}
	subjects, err := d.subjects(ctx)
	for _, s := range subjects {
		var one diagnosis
		if one, err = d.one(ctx, t, s, m.json); err != nil {
			break
		}
		all = append(all, one)
	}
	if err != nil {
		t.say("warning", "doctor could not look at all that was written: %v", err)
	}
	return all
}

// catalogBound is how long DigitalOcean has to tell what it offers.
const catalogBound = 20 * time.Second

// catalog asks DigitalOcean what it offers, with the token of the file or of the
// environment.
func (m *migrating) catalog(ctx context.Context, t *terminal, r migration.Result) (*migration.Catalog, error) {
	if m.offline {
		return nil, errors.New("--offline")
	}
	given := map[string]string{}
	if len(r.Secrets) > 0 {
		given["token"] = r.Secrets[0].Value.Reveal()
	} else if !tokenInEnvironment() {
		return nil, errors.New("there is no token to ask DigitalOcean with")
	}
	text, err := json.Marshal(given)
	if err != nil {
		return nil, err
	}
	account, err := config.ParseAccount(text, config.ThisHost())
	if err != nil {
		return nil, err
	}
	api, err := group{Account: account}.open()
	if err != nil {
		return nil, err
	}
	defer api.Close()
	ctx, cancel := context.WithTimeout(ctx, catalogBound)
	defer cancel()
	t.step("asking DigitalOcean which sizes, regions and images there are")
	defer t.done()
	c, err := readCatalog(ctx, api)
	if err != nil {
		return nil, digitalocean.Explain(err, "the file")
	}
	return c, nil
}

func readCatalog(ctx context.Context, api *digitalocean.Client) (*migration.Catalog, error) {
	c := &migration.Catalog{Sizes: map[string][]string{}}
	var errs [3]error
	var wg sync.WaitGroup // each writes what is its own
	wg.Go(func() {
		var sizes []digitalocean.Size
		sizes, errs[0] = api.Sizes(ctx)
		for _, s := range sizes {
			if s.Available {
				c.Sizes[s.Slug] = s.Regions
			}
		}
	})
	wg.Go(func() {
		var regions []digitalocean.Region
		regions, errs[1] = api.Regions(ctx)
		for _, r := range regions {
			if r.Available {
				c.Regions = append(c.Regions, r.Slug)
			}
		}
	})
	wg.Go(func() { c.Images, errs[2] = api.PublicSlugs(ctx) })
	wg.Wait()
	return c, cmp.Or(errs[:]...) // they mostly are the same
}

// configHint is what to do about a config.toml that cannot be opened.
func configHint(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0:
		return hinted{err, "sudo fleeting-plugin-digitalocean migrate ..."}
	case errors.Is(err, fs.ErrNotExist):
		return hinted{err, "name the runner's file: fleeting-plugin-digitalocean migrate FILE"}
	}
	return err
}
