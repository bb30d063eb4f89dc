package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func doctorCommand(t *terminal) *cobra.Command {
	d := diagnosing{timeout: span{2 * time.Minute, "2m"}}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check configuration, host, token and account; compute costs",
		Long: `Find what would go wrong before a job does: in config.toml, on this host, and
on DigitalOcean's side. A warning will cause trouble some day; a fault does not
work, or not as it is written. The exit code is 3 with warnings, 4 with faults.

It changes nothing on the account. It finds out the token's scopes with reads,
and with writes that cannot succeed, such as the deletion of Droplet 0.

--boot makes a real Droplet in a group of its own, and deletes it even after a
failure or Ctrl-C. If it is killed, the next doctor shows what it left.`,
		Example: `  $ sudo fleeting-plugin-digitalocean doctor
  group ci, runner "digitalocean", /etc/gitlab-runner/config.toml:16
  ok       /etc/gitlab-runner/config.toml:16: plugin_config is accepted
  note     /etc/gitlab-runner/config.toml:13: max_use_count is not set: ...
           hint: max_use_count = 20
  ...
  group ci: no faults, no warnings, 2 notes`,
		Args: noArgs("a group is named with --group %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), t) },
	}
	d.flags(cmd)
	cmd.Flags().BoolVar(&d.offline, "offline", false, "ask DigitalOcean nothing")
	cmd.Flags().BoolVar(&d.boot, "boot", false, "make one Droplet, measure how long it takes until jobs can run on it, and delete it")
	cmd.Flags().Var(&d.timeout, "timeout", "ask DigitalOcean about a group no longer than that; --boot takes its own time")
	t.formatFlags(cmd, "text", asJSON)
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

// target is a group to be examined.
type target struct {
	doctor.Subject
	name, where string
}

// diagnosis is what was found about one group. Its JSON form is stable.
type diagnosis struct {
	Group    string           `json:"group"`
	Runner   string           `json:"runner,omitempty"`
	Where    string           `json:"where"`
	Worst    doctor.Level     `json:"worst"`
	Findings []doctor.Finding `json:"findings"`
	Cost     *doctor.Cost     `json:"cost,omitempty"`
	Boot     *bootReport      `json:"boot,omitempty"`

	out io.Writer // which all of it is shown on as well
}

func (d diagnosing) run(ctx context.Context, t *terminal) error {
	if d.boot && d.offline {
		return hinted{misuse("--boot makes a Droplet, which --offline forbids"), program + " doctor --help"}
	}
	targets, err := d.targets(ctx)
	if err != nil {
		return err
	}
	if d.boot && len(targets) != 1 {
		return hinted{misuse(fmt.Sprintf("--boot takes one group, and these are %d", len(targets))), "choose it with --runner NAME"}
	}
	var all []*diagnosis
	var found []doctor.Finding
	out := t.out
	if t.format == asJSON {
		out = io.Discard
	}
	for _, p := range targets {
		one := &diagnosis{Group: p.name, Runner: p.Runner.Name, Where: p.where, out: out}
		if err := d.examine(ctx, t, p, one); err != nil {
			return err
		}
		all, found = append(all, one), append(found, one.Findings...)
	}
	if t.format == asJSON {
		t.json(struct {
			Groups []*diagnosis `json:"groups"`
		}{all})
	}
	switch worst := doctor.Worst(found); {
	case ctx.Err() != nil:
		return errInterrupted
	case worst == doctor.Fault:
		return status(exitFaults)
	case worst == doctor.Warning:
		return status(exitFound)
	}
	return nil
}

// targets returns the groups that were chosen. Faults in their plugin_config are no errors here: they are to be found.
func (d diagnosing) targets(ctx context.Context) (found []target, err error) {
	byHand, err := d.withoutFile()
	switch {
	case err != nil:
		return nil, err
	case byHand && d.boot:
		return nil, hinted{misuse("--boot makes a Droplet as a config.toml configures it"), "give --config FILE"}
	case byHand:
		groups, err := d.byHand()
		shared := &doctor.Shared{} // they are on one account
		for _, g := range groups {
			p := target{name: g.Name, where: g.from, Subject: doctor.Subject{Account: g.Account, Shared: shared}}
			p.Host = doctor.Look(ctx, p.Subject)
			found = append(found, p)
		}
		return found, err
	}
	file, err := d.load()
	if err != nil {
		return nil, err
	}
	runners, err := d.runners(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range runners {
		p := read(ctx, file, r, config.ThisHost())
		names = append(names, p.name)
		if len(d.groups) > 0 && !slices.Contains(d.groups, p.name) {
			continue
		}
		p.Shared = &doctor.Shared{}
		if i := slices.IndexFunc(found, func(o target) bool { return sameAccount(o.Account, p.Account) }); i >= 0 {
			p.Shared = found[i].Shared
		}
		found = append(found, p)
	}
	if len(found) == 0 {
		return nil, hinted{misuse(fmt.Sprintf("%s has no group %s", file.Path, strings.Join(quoted(d.groups), ", "))),
			"--group is one of " + strings.Join(quoted(names), ", ")}
	}
	return found, nil
}

// read reads what a runner's section says of its group, as host has the files that it names.
func read(ctx context.Context, file *runnerconfig.File, r runnerconfig.Runner, host config.Host) target {
	p := target{where: file.At(r.Key("autoscaler.plugin_config")), Subject: doctor.Subject{File: file, Runner: r}}
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err != nil { // a number that JSON does not have, such as inf
		p.Faults = err
	} else {
		p.Config, p.Faults = config.Parse(data, host)
		p.Account, _ = config.ParseAccount(data, host) // its faults are among those
	}
	p.name = cmp.Or(p.Account.Name, writtenName(r), "without a name")
	p.Host = doctor.Look(ctx, p.Subject)
	return p
}

// examine examines a group, and shows what it finds as soon as it has. The error says that it was interrupted.
func (d diagnosing) examine(ctx context.Context, t *terminal, p target, found *diagnosis) (err error) {
	var api *digitalocean.Client
	if !d.offline && p.Account.Token.Source != "" {
		if api, err = provider.Client(p.Account.APIURL, p.Account.Token, nil); err != nil {
			return err
		}
		defer api.Close()
		t.step("group %s: asking DigitalOcean", p.name)
	}
	asking, cancel := bounded(ctx, d.timeout)
	defer cancel()
	findings, cost := doctor.Examine(asking, api, p.Subject)
	t.done()
	if ctx.Err() != nil {
		return errInterrupted // what failed of that is no finding
	}
	found.Cost = cost
	found.title(t)
	found.add(t, findings...)
	if d.boot && found.Worst == doctor.Fault {
		found.add(t, doctor.Finding{Check: "boot", Level: doctor.Note, Where: p.where, What: "no Droplet was made: fix the faults first"})
	} else if d.boot {
		found.Boot, findings = bootOne(ctx, t, api, p.Subject, cost)
		found.add(t, findings...)
	}
	found.sum()
	return nil
}

// title is the first line.
func (d *diagnosis) title(t *terminal) {
	runner := ""
	if d.Runner != "" {
		runner = fmt.Sprintf("runner %q, ", d.Runner)
	}
	fmt.Fprintln(d.out, t.colour(bold, clean(fmt.Sprintf("group %s, %s%s", d.Group, runner, d.Where))))
}

// add adds findings, and shows them.
func (d *diagnosis) add(t *terminal, findings ...doctor.Finding) {
	d.Findings = append(d.Findings, findings...)
	d.Worst = doctor.Worst(d.Findings)
	colours := map[doctor.Level]string{doctor.OK: green, doctor.Note: faint, doctor.Warning: yellow, doctor.Fault: red}
	for _, f := range findings {
		level := fmt.Sprintf("%-8s", f.Level)
		line := level + " " + clean(f.Where+": "+f.What)
		if t.live { // hints stay whole: they are to be pasted
			line = wrap(line, columns(os.Stdout), len(level)+1)
		}
		fmt.Fprintf(d.out, "%s%s\n", t.colour(colours[f.Level], level), line[len(level):])
		for line := range strings.Lines(f.Hint) {
			fmt.Fprintf(d.out, "         hint: %s\n", clean(strings.TrimSuffix(line, "\n")))
		}
	}
}

// sum is the last line.
func (d *diagnosis) sum() {
	counts := map[doctor.Level]int{}
	for _, f := range d.Findings {
		counts[f.Level]++
	}
	fmt.Fprintf(d.out, "group %s: %s, %s, %s\n", clean(d.Group),
		number(counts[doctor.Fault], "fault"), number(counts[doctor.Warning], "warning"), number(counts[doctor.Note], "note"))
}

// number is a count, with "no" for 0.
func number(n int, noun string) string {
	if n == 0 {
		return "no " + noun + "s"
	}
	return count(n, noun)
}
