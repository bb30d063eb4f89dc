package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
)

func doctorCommand(t *terminal) *cobra.Command {
	d := diagnosing{timeout: span{2 * time.Minute, "2m"}}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, host, token and account; compute costs",
		Long: `Find what would go wrong before a job does: in config.toml, on this host, and
on DigitalOcean's side. A warning will cause trouble some day; a fault does not
work, or not as it is written.

It changes nothing on the account. It finds out the token's scopes with reads,
and with writes that cannot succeed, such as the deletion of Droplet 0.

--boot makes a real Droplet in a group of its own, and deletes it even after a
failure or Ctrl-C. If it is killed, the next doctor shows what it left.

It exits with 0 if there is nothing worse than notes, with 3 if there are
warnings, with 4 if there are faults, also if DigitalOcean cannot be reached,
with 1 if config.toml cannot be read or --boot was interrupted, with 2 if it was
called wrongly.`,
		Example: `  $ sudo fleeting-plugin-digitalocean doctor
  group ci, runner "digitalocean", /etc/gitlab-runner/config.toml:16
  ok       /etc/gitlab-runner/config.toml:16: plugin_config is accepted
  note     /etc/gitlab-runner/config.toml:13: max_use_count is not set: ...
           hint: max_use_count = 20
  ...
  group ci: 0 faults, 0 warnings, 2 notes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), t) },
	}
	d.flags(cmd)
	cmd.Flags().BoolVar(&d.offline, "offline", false, "ask DigitalOcean nothing")
	cmd.Flags().BoolVar(&d.boot, "boot", false, "make one Droplet, measure the time until jobs can run on it, and delete it")
	cmd.Flags().Var(&d.timeout, "timeout", "ask DigitalOcean about a group no longer than that; --boot takes its own time")
	cmd.MarkFlagsMutuallyExclusive("boot", "offline")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

// exitFaults is for what does not work. exitFound is for warnings.
const exitFaults = 4

// diagnosing is what a doctor is to do.
type diagnosing struct {
	choice
	offline, boot bool
	timeout       span
}

// diagnosis is what was found about one group. Its JSON form is stable.
type diagnosis struct {
	Group    string           `json:"group"`
	Runner   string           `json:"runner,omitempty"`
	Where    string           `json:"where"`
	Worst    doctor.Level     `json:"worst"`
	Findings []doctor.Finding `json:"findings"`

	subject doctor.Subject
}

func (d diagnosing) run(ctx context.Context, t *terminal) error {
	all, err := d.chosen(ctx)
	if err != nil {
		return err
	}
	if d.boot && (len(all) != 1 || all[0].subject.File == nil) {
		return hinted{misuse("--boot takes one group, as a config.toml configures it"), "choose it with --group NAME or --runner NAME"}
	}
	var found []doctor.Finding
	for i, one := range all {
		one.subject.Shared = &doctor.Shared{}
		for _, other := range all[:i] {
			if sameAccount(other.subject.Account, one.subject.Account) {
				one.subject.Shared = other.subject.Shared
			}
		}
		if err := d.examine(ctx, t, one); err != nil {
			return err
		}
		found = append(found, one.Findings...)
	}
	if t.format == asJSON {
		t.json(map[string]any{"groups": all})
	}
	switch doctor.Worst(found) {
	case doctor.Fault:
		return status(exitFaults)
	case doctor.Warning:
		return status(exitFound)
	}
	return nil
}

// chosen returns the groups to be examined. Faults in their plugin_config are no errors here: they are to be found.
func (d diagnosing) chosen(ctx context.Context) (all []*diagnosis, err error) {
	groups, err := d.sections()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range groups {
		one := examined(ctx, g, config.ThisHost())
		names = append(names, one.Group)
		about := choice{config: d.config, runner: cmp.Or(d.runner, g.runner.Name), tokenFile: d.tokenFile}
		one.subject.Rm = about.command("rm", "--orphans")
		if len(d.groups) == 0 || slices.Contains(d.groups, one.Group) {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		return nil, hinted{misuse(fmt.Sprintf("%s has no group %s", groups[0].file.Path, strings.Join(d.groups, ", "))),
			"--group is one of " + strings.Join(names, ", ")}
	}
	if file := all[0].subject.File; file != nil {
		all[0].subject.Host.Exposed = provider.Exposed(file.Path) // told once
	}
	return all, nil
}

// examined is what is to be examined of a group, as host has the files that its section names.
func examined(ctx context.Context, g group, host config.Host) *diagnosis {
	s := doctor.Subject{Account: g.Account, File: g.file, Runner: g.runner}
	one := &diagnosis{Group: g.Name, Runner: g.runner.Name, Where: g.from}
	if g.file != nil {
		data, err := json.Marshal(g.runner.Autoscaler.PluginConfig)
		s.Config, s.Faults = config.Parse(data, host)
		s.Account, _ = config.ParseAccount(data, host) // its faults are among those
		s.Faults = cmp.Or(err, s.Faults)               // a number that JSON does not have, such as inf
		one.Group = cmp.Or(s.Account.Name, g.Name, "without a name")
		one.Where = g.file.At(g.runner.Key("autoscaler.plugin_config"))
	}
	s.Host = doctor.Look(ctx, s)
	one.subject = s
	return one
}

// examine examines a group, and shows what it finds as soon as it has. The error says that it was ended before.
func (d diagnosing) examine(ctx context.Context, t *terminal, one *diagnosis) (err error) {
	var api *digitalocean.Client
	if account := one.subject.Account; !d.offline && account.Token.Source != "" {
		if api, err = provider.Client(account.APIURL, account.Token, nil); err != nil {
			return err
		}
		defer api.Close()
		t.waits("group %s: asking DigitalOcean", one.Group)
	}
	asking, cancel := bounded(ctx, d.timeout)
	defer cancel()
	found := doctor.Examine(asking, api, one.subject)
	t.done()
	for i, f := range found {
		if timedOut := context.Cause(asking); timedOut != nil && strings.HasSuffix(f.What, timedOut.Error()) {
			found[i].Hint = d.command("doctor", "--timeout", (2 * d.timeout.Duration).String())
		}
	}
	title := fmt.Sprintf("group %s, runner %q, %s", one.Group, one.Runner, one.Where)
	title = clean(strings.Replace(title, `runner "", `, "", 1))
	if width := columns(os.Stdout); width > 0 {
		title = wrap(title, width, 2)
	}
	t.print("%s\n", colour(t.colours, bold, title))
	one.add(t, found...)
	if d.boot && one.Worst == doctor.Fault {
		one.add(t, doctor.Finding{Check: "boot", Level: doctor.Note, Where: one.Where, What: "no Droplet is made: fix the faults"})
	} else if d.boot {
		err = boot(ctx, t, api, one)
	}
	levels := map[doctor.Level]int{}
	for _, f := range one.Findings {
		levels[f.Level]++
	}
	t.print("group %s: %s, %s, %s\n", clean(one.Group),
		count(levels[doctor.Fault], "fault"), count(levels[doctor.Warning], "warning"), count(levels[doctor.Note], "note"))
	return err
}

// print writes text for a person.
func (t *terminal) print(format string, args ...any) {
	if t.format != asJSON {
		fmt.Fprintf(t.out, format, args...)
	}
}

// add adds findings, and shows them.
func (d *diagnosis) add(t *terminal, findings ...doctor.Finding) {
	d.Findings = append(d.Findings, findings...)
	d.Worst = doctor.Worst(d.Findings)
	colours := map[doctor.Level]string{doctor.OK: green, doctor.Note: faint, doctor.Warning: yellow, doctor.Fault: red}
	for _, f := range findings {
		level := fmt.Sprintf("%-8s", f.Level)
		t.print("%s%s\n", colour(t.colours, colours[f.Level], level), hang(level, f.Where+": "+f.What, columns(os.Stdout)))
		for line := range strings.Lines(f.Hint) { // which stay whole: they are to be pasted
			t.print("         hint: %s\n", clean(strings.TrimSuffix(line, "\n")))
		}
	}
}
