package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	migration "gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/migrate"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func migrateCommand(t *terminal) *cobra.Command {
	var m migrating
	cmd := &cobra.Command{
		Use:   "migrate [config.toml]",
		Short: "Turn docker+machine runners into docker-autoscaler ones",
		Long: `Convert the docker+machine runners of a config.toml that use docker-machine's
digitalocean driver into docker-autoscaler runners with this plugin. The new
section replaces the old one, which stays below it as a comment, without its
secrets. The rest of the file does not change.

The default file is the runner's: $CONFIG_FILE, else
/etc/gitlab-runner/config.toml; - is standard input. The new file goes to
standard output, notes to standard error. With -o json standard output has the
notes instead, and with --diff the diff. The worst notes come first:
  error    migrate cannot go on before you fix this
  todo     the result does not work before you have done this
  lost     not converted, or without effect
  check    converted to something else: look at it
  doctor   what doctor says about the result, by the lines of the new file

The exit code is 0 if all is well or there is nothing to do, 1 after an error
(nothing was changed), 2 for wrong flags, and 3 if the result does not work
yet, or --check found something to migrate.`,
		Example: `  $ sudo fleeting-plugin-digitalocean migrate --diff
  ...
  $ sudo gitlab-runner stop
  $ sudo fleeting-plugin-digitalocean migrate --write
  ...
  wrote /etc/gitlab-runner/config.toml; the old file is ...`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && m.path != "":
				return misuse("migrate takes one file: with --config or without")
			case m.check && (m.write || m.diff):
				return misuse("--check only reports: it goes with neither --write nor --diff")
			}
			m.path = choice{config: cmp.Or(strings.Join(args, ""), m.path)}.configFile()
			if m.write && fromStdin(m.path) {
				return misuse("--write needs a file: what comes from standard input goes to standard output")
			}
			return m.run(cmd.Context(), t)
		},
	}
	f := cmd.Flags()
	f.StringVar(&m.path, "config", "", "the same as an argument: the `FILE`, - for standard input")
	f.BoolVar(&m.write, "write", false, "replace the file, and move its access tokens to files of their own; the old file stays beside it")
	f.BoolVar(&m.diff, "diff", false, "show what changes, without secrets, in place of the new file")
	f.BoolVar(&m.check, "check", false, "only report whether there is something to migrate")
	f.StringVar(&m.tokenFile, "write-token-file", "", "the `FILE` that tokens are moved to (default digitalocean-token beside config.toml)")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

// migrating is what a migration is to do.
type migrating struct {
	write, diff, check bool
	path, tokenFile    string
}

// migrated is a migration for scripts. It has no secrets.
type migrated struct {
	File       string           `json:"file"`
	ToMigrate  int              `json:"to_migrate"` // runners
	Works      bool             `json:"works"`      // the result, as it stands
	Written    bool             `json:"written"`
	Backup     string           `json:"backup,omitempty"`
	TokenFiles []string         `json:"token_files,omitempty"` // that were written, or are to be
	Notes      []migration.Note `json:"notes"`
	Doctor     []doctor.Finding `json:"doctor,omitempty"`
	Diff       string           `json:"diff,omitempty"`
}

func (m *migrating) run(ctx context.Context, t *terminal) error {
	file, err := openConfig(m.path)
	if err != nil {
		return err
	}
	tokenFile, err := filepath.Abs(cmp.Or(m.tokenFile, filepath.Join(file.dir, "digitalocean-token")))
	if err != nil {
		return err
	}
	r := migration.Migrate(m.path, file.text, migration.Options{TokenFile: tokenFile, StateDir: file.stateDir(), Host: config.ThisHost()})
	report := migrated{File: m.path, ToMigrate: len(r.Groups), Notes: append([]migration.Note{}, r.Notes...)}
	for _, s := range r.Secrets {
		report.TokenFiles = append(report.TokenFiles, s.File)
	}
	if r.Changed {
		report.Doctor = m.examine(ctx, r)
	}
	report.Works = !r.Has(migration.Error, migration.Todo) && doctor.Worst(report.Doctor) != doctor.Fault
	if m.diff && r.Changed {
		report.Diff = string(diff.Diff(m.path, []byte(r.Mask(file.text)), m.path, []byte(r.Mask(r.Text))))
	}
	if m.write && r.Changed {
		if report.Backup, err = file.replace(r.Text, r.Secrets); err != nil {
			return unopened(err, m.wayOut(err, r.Secrets))
		}
		report.Written = true
	}
	if t.format == asJSON {
		t.json(report)
	} else {
		m.print(t, r, report)
	}
	switch {
	case r.Has(migration.Error):
		return status(exitFailed)
	case !report.Works, m.check && r.Changed:
		return status(exitFound)
	}
	return nil
}

// print says what a person has to know, and writes what was asked for.
func (m *migrating) print(t *terminal, r migration.Result, report migrated) {
	last := ""
	say := func(level, text, hint string) {
		t.say(level, "%s", text)
		if hint != "" && hint != last {
			t.say("hint", "%s", hint)
		}
		last = hint
	}
	failed := r.Has(migration.Error)
	for _, n := range r.Notes {
		if n.Level == migration.Error || !failed && !m.check {
			say(string(n.Level), n.Message(m.path), n.Hint)
		}
	}
	switch {
	case failed:
		return
	case m.check:
		fmt.Fprintf(t.out, "%s: %s to migrate\n", m.path, count(len(r.Groups), "runner"))
		return
	case !r.Changed:
		t.say("note", "%s: nothing to migrate: no [[runners]] has a docker+machine executor with the digitalocean driver", m.path)
	default:
		times := map[doctor.Level]int{}
		for _, f := range report.Doctor {
			if times[f.Level]++; f.Level == doctor.Fault || f.Level == doctor.Warning {
				say("doctor", fmt.Sprintf("%s: %s: %s", f.Level, f.Where, f.What), f.Hint)
			}
		}
		t.say("doctor", "%s, %s", count(times[doctor.Fault], "fault"), count(times[doctor.Warning], "warning"))
	}
	switch {
	case m.diff:
		fmt.Fprint(t.out, report.Diff)
	case !m.write:
		fmt.Fprint(t.out, r.Text)
	}
	tokens := strings.Join(report.TokenFiles, ", ")
	if report.Written {
		fmt.Fprintf(t.out, "wrote %s; the old file is %s\n", m.path, report.Backup)
		if tokens != "" {
			fmt.Fprintf(t.out, "moved the access token to %s\n", tokens)
			t.say("note", "others may have read the token in the old file: make a new one, put it into the file, and revoke this one")
		}
		t.say("note",
			"the machines of docker-machine stay, and are billed: docker-machine ls --filter driver=digitalocean, then docker-machine rm")
		t.say("note", "doctor has not asked DigitalOcean yet")
		t.say("hint", "%s", choice{config: m.path}.command("doctor"))
	} else if tokens != "" {
		t.say("note", "--write moves the access token to %s; without it put it there, with mode 0600", tokens)
	}
}

// wayOut is what helps when --write failed. A token's file that exists may be in use: another one is named. A backup is
// never written over.
func (m *migrating) wayOut(err error, secrets []migration.Secret) string {
	cause, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok:
	case errors.Is(err, fs.ErrNotExist):
		return "mkdir -p " + doctor.Quote(filepath.Dir(cause.Path))
	case !errors.Is(err, fs.ErrExist):
	case slices.ContainsFunc(secrets, func(s migration.Secret) bool { return s.File == cause.Path }):
		return choice{config: m.path}.command("migrate", "--write", "--write-token-file", secrets[0].File+"-2")
	default:
		return "mv -n " + doctor.Quote(cause.Path) + " " + doctor.Quote(cause.Path+".old")
	}
	return ""
}

// examine has doctor look at the groups that are new in the result. It asks DigitalOcean nothing.
func (m *migrating) examine(ctx context.Context, r migration.Result) (all []doctor.Finding) {
	file, err := runnerconfig.Parse(m.path, r.Text)
	if err != nil {
		panic(err) // it was read before
	}
	host := config.ThisHost()
	host.ReadFile = func(path string, limit int64) ([]byte, error) {
		if i := slices.IndexFunc(r.Secrets, func(s migration.Secret) bool { return s.File == path }); i >= 0 {
			return []byte(r.Secrets[i].Value.Reveal()), nil // it will be there
		}
		return config.ThisHost().ReadFile(path, limit)
	}
	for _, runner := range file.Runners {
		if !runner.OurPlugin() {
			continue
		}
		if p := examined(ctx, groupOf(file, runner), host); slices.Contains(r.Groups, p.Group) {
			all = append(all, doctor.Examine(ctx, nil, p.subject)...)
		}
	}
	return all
}
