package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
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
on DigitalOcean's side.

Each line is a finding, and where it was found:
  ok       as it should be
  note     worth knowing
  warning  it will cause trouble some day
  fault    it does not work, or not as it is written
  hint:    what to do about the finding above, to be pasted where possible

It changes nothing on the account. It finds out the token's scopes with reads,
and with writes that cannot succeed, such as the deletion of Droplet 0.

--boot makes a real Droplet in a group of its own, and deletes it even after a
failure or Ctrl-C. If it is killed, the next doctor shows what it left, for
sweep.

The exit code is 0 if there is nothing worse than notes, 3 with warnings, 4
with faults, 1 if there is no config.toml to read, 2 if it was called wrongly.
A DigitalOcean that cannot be asked is a fault.`,
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

// target is a group to be examined, or a config.toml that cannot be read.
type target struct {
	doctor.Subject
	name, where string
	unread      error
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
}

func (d diagnosing) run(ctx context.Context, t *terminal) error {
	quiet := t.format == asJSON
	if d.boot && d.offline {
		return hinted{misuse("--boot makes a Droplet, which --offline forbids"), program + " doctor --help"}
	}
	subjects, err := d.subjects(ctx)
	if err != nil {
		return err
	}
	if d.boot && len(subjects) != 1 {
		return hinted{misuse(fmt.Sprintf("--boot takes one group, and these are %d", len(subjects))), "choose it with --runner NAME"}
	}
	var all []diagnosis
	var found []doctor.Finding
	for _, s := range subjects {
		one, err := d.one(ctx, t, s, quiet)
		if err != nil {
			return err
		}
		all, found = append(all, one), append(found, one.Findings...)
	}
	if quiet {
		t.json(struct {
			Groups []diagnosis `json:"groups"`
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

// subjects returns the groups that were chosen. Faults in their configuration are no errors here: they are to be found.
func (d diagnosing) subjects(ctx context.Context) ([]target, error) {
	found, err := d.chosen(ctx)
	for i := range found {
		found[i].Shared = &doctor.Shared{}
		for _, before := range found[:i] {
			if sameAccount(before.Account, found[i].Account) {
				found[i].Shared = before.Shared
			}
		}
	}
	return found, err
}

func (d diagnosing) chosen(ctx context.Context) (found []target, err error) {
	switch byHand, err := d.withoutFile(); {
	case err != nil:
		return nil, err
	case byHand && d.boot:
		return nil, hinted{misuse("--boot makes a Droplet as a config.toml configures it"), "give --config FILE"}
	case byHand:
		groups, err := d.byHand()
		for _, g := range groups {
			host := doctor.Look(ctx, nil, runnerconfig.Runner{}, config.Config{}, g.APIURL, g.Name)
			found = append(found, target{name: g.Name, where: g.from, Subject: doctor.Subject{Account: g.Account, Host: host}})
		}
		return found, err
	}
	file, err := d.load()
	if errors.As(err, new(noConfig)) {
		return nil, err
	}
	if err != nil {
		return []target{{where: d.configFile(), unread: err}}, nil
	}
	runners, err := d.runners(file)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range runners {
		p := read(ctx, file, r, config.ThisHost())
		names = append(names, p.name)
		if len(d.groups) == 0 || slices.Contains(d.groups, p.name) {
			found = append(found, p)
		}
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
	p.name = cmp.Or(p.Account.Name, writtenName(r))
	p.Host = doctor.Look(ctx, file, r, p.Config, p.Account.APIURL, p.Account.Name)
	return p
}

// one examines a group, and shows what it finds as soon as it has, unless quiet. The error says that it was interrupted.
func (d diagnosing) one(ctx context.Context, t *terminal, p target, quiet bool) (diagnosis, error) {
	found := diagnosis{Group: p.name, Runner: p.Runner.Name, Where: p.where, Findings: []doctor.Finding{}}
	add := func(more ...doctor.Finding) {
		shown := len(found.Findings)
		found.Findings = append(found.Findings, more...)
		found.Worst = doctor.Worst(found.Findings)
		if !quiet {
			found.print(t, shown)
		}
	}
	var api *digitalocean.Client
	var first []doctor.Finding
	if p.unread != nil {
		first = unreadable(p.where, p.unread)
	} else {
		if !d.offline && p.Account.Token.Source != "" {
			var err error
			if api, err = provider.Client(p.Account.APIURL, p.Account.Token, nil); err != nil {
				return found, err
			}
			defer api.Close()
			t.step("group %s: asking DigitalOcean", p.name)
		}
		asking, cancel := bounded(ctx, d.timeout)
		first, found.Cost = doctor.Examine(asking, api, p.Subject)
		cancel()
		t.done()
	}
	if ctx.Err() != nil {
		return found, errInterrupted // what failed of that is no finding
	}
	add(first...)
	switch {
	case !d.boot:
	case found.Worst == doctor.Fault:
		add(doctor.Finding{Check: "boot", Level: doctor.Note, Where: p.where, What: "no Droplet was made: fix the faults first"})
	default:
		var more []doctor.Finding
		found.Boot, more = bootOne(ctx, t, api, p.Subject, found.Cost)
		add(more...)
		if !quiet {
			found.Boot.print(t)
		}
	}
	if !quiet {
		found.sum(t)
	}
	return found, nil
}

var atLine = regexp.MustCompile(`^(.*:\d+): (.*)$`)

// unreadable is a config.toml that is no TOML, or not the runner's.
func unreadable(path string, err error) []doctor.Finding {
	f := doctor.Finding{Check: "config", Level: doctor.Fault, Where: path, What: strings.TrimPrefix(err.Error(), path+": "),
		Hint: "the runner cannot read it either"}
	if m := atLine.FindStringSubmatch(err.Error()); m != nil {
		f.Where, f.What = m[1], m[2]
	}
	return []doctor.Finding{f}
}

// print shows the findings from one on, the first time below a title.
func (d diagnosis) print(t *terminal, from int) {
	if from == 0 {
		title := d.Where
		if d.Runner != "" {
			title = fmt.Sprintf("runner %q, %s", d.Runner, title)
		}
		if d.Group != "" {
			title = fmt.Sprintf("group %s, %s", d.Group, title)
		}
		fmt.Fprintln(t.out, t.colour(bold, clean(title)))
	}
	colours := map[doctor.Level]string{doctor.OK: green, doctor.Note: faint, doctor.Warning: yellow, doctor.Fault: red}
	for _, f := range d.Findings[from:] {
		where := f.Where
		if where != "" {
			where += ": "
		}
		level := fmt.Sprintf("%-8s", f.Level)
		line := level + " " + clean(where+f.What)
		if t.live { // hints stay whole: they are to be pasted
			line = wrap(line, columns(os.Stdout), len(level)+1)
		}
		fmt.Fprintln(t.out, t.colour(colours[f.Level], level)+line[len(level):])
		for line := range strings.Lines(f.Hint) {
			fmt.Fprintf(t.out, "         hint: %s\n", clean(strings.TrimSuffix(line, "\n")))
		}
	}
}

// sum is the last line.
func (d diagnosis) sum(t *terminal) {
	counts := map[doctor.Level]int{}
	for _, f := range d.Findings {
		counts[f.Level]++
	}
	name := "group " + d.Group
	if d.Group == "" {
		name = d.Where
	}
	fmt.Fprintf(t.out, "%s: %s, %s, %s\n", clean(name),
		number(counts[doctor.Fault], "fault"), number(counts[doctor.Warning], "warning"), number(counts[doctor.Note], "note"))
}

// number is a count, with "no" for 0.
func number(n int, noun string) string {
	if n == 0 {
		return "no " + noun + "s"
	}
	return count(n, noun)
}
