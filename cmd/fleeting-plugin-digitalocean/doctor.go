package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/digitalocean"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func doctorCommand(t *terminal) *cobra.Command {
	var d diagnosing
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find what would go wrong, before a job does",
		Long: `Find what would go wrong before a job does: in config.toml, on this host, and on DigitalOcean's side.

Each line is a finding, and where it was found:
  ok       as it should be
  note     worth knowing
  warning  it will hurt some day
  fault    it does not work, or not as it is written
  hint:    what to do about the finding above; to be pasted where that is possible

Nothing is changed on the account. The scopes of the token are told by reads, and by requests with nothing in them:
a Droplet without name, size and image cannot be made, and none has the id 0 and can be destroyed. --boot really makes
a Droplet, of a group of its own, NAME-doctor. It says first how long that may take. The Droplet is destroyed whatever
happens, also after Ctrl-C; should doctor be killed, the next one finds it, and sweep.

It exits with 0 if there is nothing worse than notes, with 3 if there are warnings, with 4 if there are faults, with 1
if there is no config.toml to be read, with 2 if it was called wrongly. That DigitalOcean cannot be asked is a fault.`,
		Example: `  $ sudo fleeting-plugin-digitalocean doctor
  group ci, runner "digitalocean", /etc/gitlab-runner/config.toml:16
  ok       /etc/gitlab-runner/config.toml:16: plugin_config is accepted
  warning  /etc/gitlab-runner/config.toml:26: idle_time is not set, which is 0s: a Droplet is destroyed as soon as its job ends, and the next job waits for another
           hint: idle_time = "10m"
  ...
  group ci: no faults, 1 warning, 2 notes`,
		Args: noArgs("a group is named with --group %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context(), t) },
	}
	d.flags(cmd)
	cmd.Flags().BoolVar(&d.offline, "offline", false, "ask DigitalOcean nothing")
	cmd.Flags().BoolVar(&d.boot, "boot", false, "make one Droplet, measure how long it takes until jobs can run on it, and destroy it")
	t.formatFlags(cmd, "text", asJSON)
	return cmd
}

// exitFaults says that doctor found what does not work. exitFound is for warnings.
const exitFaults = 4

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
	worst := doctor.Good
	for _, s := range subjects {
		one, err := d.one(ctx, t, s, quiet)
		if err != nil {
			return err
		}
		all = append(all, one)
		worst = doctor.Worst([]doctor.Finding{{Mark: worst}, {Mark: one.Worst}})
	}
	if quiet {
		t.json(struct {
			Groups []diagnosis `json:"groups"`
		}{all})
	}
	switch {
	case ctx.Err() != nil:
		return errInterrupted
	case worst == doctor.Fault:
		return status(exitFaults)
	case worst == doctor.Warning:
		return status(exitFound)
	}
	return nil
}

// diagnosing is what a doctor is to do.
type diagnosing struct {
	choice
	offline, boot bool
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
	Worst    doctor.Mark      `json:"worst"`
	Findings []doctor.Finding `json:"findings"`
	Cost     *doctor.Cost     `json:"cost,omitempty"`
	Boot     *bootReport      `json:"boot,omitempty"`
}

// subjects returns the groups that were chosen. Faults in their configuration are no
// errors here: they are to be found.
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

func (d diagnosing) chosen(ctx context.Context) ([]target, error) {
	byHand, err := d.withoutFile()
	if err != nil {
		return nil, err
	}
	if byHand {
		if d.boot {
			return nil, hinted{misuse("--boot makes a Droplet as a config.toml configures it"), "give --config FILE"}
		}
		groups, err := d.byHand()
		var found []target
		for _, g := range groups {
			found = append(found, target{name: g.Name, where: g.from, Subject: doctor.Subject{
				Account: g.Account, Host: doctor.Look(ctx, nil, runnerconfig.Runner{}, config.Config{}, g.APIURL, g.Name)}})
		}
		return found, err
	}
	file, err := d.load()
	if err != nil {
		if errors.As(err, new(noConfig)) {
			return nil, err
		}
		return []target{{where: d.configFile(), unread: err}}, nil
	}
	runners, err := d.runners(file)
	if err != nil {
		return nil, err
	}
	var found []target
	var names []string
	for _, r := range runners {
		p, err := read(ctx, file, r)
		if err != nil {
			return nil, err
		}
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

// read reads what a runner says of its group.
func read(ctx context.Context, file *runnerconfig.File, r runnerconfig.Runner) (target, error) {
	data, err := json.Marshal(r.Autoscaler.PluginConfig)
	if err != nil {
		return target{}, fmt.Errorf("%s: plugin_config: %w", file.At(r.Key("autoscaler.plugin_config")), err)
	}
	p := target{where: file.At(r.Key("autoscaler.plugin_config")), Subject: doctor.Subject{File: file, Runner: r}}
	p.Config, p.Faults = config.Parse(data, config.ThisHost())
	p.Account, _ = config.ParseAccount(data, config.ThisHost()) // its faults are among those
	p.name = cmp.Or(p.Account.Name, writtenName(r))
	p.Host = doctor.Look(ctx, file, r, p.Config, p.Account.APIURL, p.Account.Name)
	return p, nil
}

// one examines a group, and shows what it finds as soon as it has, unless quiet. The
// error says that it was interrupted.
func (d diagnosing) one(ctx context.Context, t *terminal, p target, quiet bool) (diagnosis, error) {
	found := diagnosis{Group: p.name, Runner: p.Runner.Name, Where: p.where, Findings: []doctor.Finding{}}
	shown := 0
	show := func() {
		found.Worst = doctor.Worst(found.Findings)
		if !quiet {
			found.print(t, shown)
		}
		shown = len(found.Findings)
	}
	api, err := d.examine(ctx, t, p, &found)
	if api != nil {
		defer api.Close()
	}
	if err != nil {
		return found, err
	}
	show()
	switch {
	case !d.boot:
	case found.Worst == doctor.Fault:
		found.Findings = append(found.Findings, doctor.Finding{Check: "boot", Mark: doctor.Note, Where: p.where,
			What: "no Droplet was made: mend the faults first"})
		show()
	default:
		var more []doctor.Finding
		found.Boot, more = bootOne(ctx, t, api, p.Subject, found.Cost)
		found.Findings = append(found.Findings, more...)
		show()
		if !quiet {
			found.Boot.print(t)
		}
	}
	if !quiet {
		found.sum(t)
	}
	return found, nil
}

// examine is all but the boot. The client, if there is one, is the caller's to close.
func (d diagnosing) examine(ctx context.Context, t *terminal, p target, found *diagnosis) (*digitalocean.Client, error) {
	if p.unread != nil {
		all, ok := errors.AsType[runnerconfig.Misfits](p.unread)
		if !ok {
			all = runnerconfig.Misfits{p.unread}
		}
		for _, err := range all {
			found.Findings = append(found.Findings, unreadable(p.where, err))
		}
		return nil, nil
	}
	var api *digitalocean.Client
	if !d.offline && p.Account.Token.Source != "" {
		var err error
		if api, err = (group{Account: p.Account}).open(); err != nil {
			return nil, err
		}
		t.step("group %s: asking DigitalOcean", p.name)
	}
	found.Findings, found.Cost = doctor.Examine(ctx, api, p.Subject)
	t.done()
	if ctx.Err() != nil {
		return api, errInterrupted // what failed of that is no finding
	}
	return api, nil
}

var atLine = regexp.MustCompile(`^(.*:\d+): (.*)$`)

// unreadable is a config.toml that is no TOML, or not the runner's.
func unreadable(path string, err error) doctor.Finding {
	f := doctor.Finding{Check: "config", Mark: doctor.Fault, Where: path, What: strings.TrimPrefix(err.Error(), path+": "),
		Hint: "the runner cannot read it either"}
	if m := atLine.FindStringSubmatch(err.Error()); m != nil {
		f.Where, f.What = m[1], m[2]
	}
	return f
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
		fmt.Fprintln(t.out, t.colour(bold, title))
	}
	colours := map[doctor.Mark]string{doctor.Good: green, doctor.Note: faint, doctor.Warning: yellow, doctor.Fault: red}
	for _, f := range d.Findings[from:] {
		where := f.Where
		if where != "" {
			where += ": "
		}
		fmt.Fprintf(t.out, "%s %s%s\n", t.colour(colours[f.Mark], fmt.Sprintf("%-8s", f.Mark)), where, f.What)
		for line := range strings.Lines(f.Hint) {
			fmt.Fprintf(t.out, "         hint: %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

// sum is the last line.
func (d diagnosis) sum(t *terminal) {
	tally := map[doctor.Mark]int{}
	for _, f := range d.Findings {
		tally[f.Mark]++
	}
	name := "group " + d.Group
	if d.Group == "" {
		name = d.Where
	}
	fmt.Fprintf(t.out, "%s: %s, %s, %s\n", name, number(tally[doctor.Fault], "fault"), number(tally[doctor.Warning], "warning"), number(tally[doctor.Note], "note"))
}

// number counts, and says none as a person does.
func number(n int, noun string) string {
	if n == 0 {
		return "no " + noun + "s"
	}
	return count(n, noun)
}
