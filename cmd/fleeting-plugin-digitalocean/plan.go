package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

func planCommand(t *terminal) *cobra.Command {
	p := planning{journal: journal{usual: 14 * 24 * time.Hour}}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Compute a better idle_count and idle_time from the past",
		Long: `Say what the policy should be: the past is replayed through a model of the
runner's autoscaler, first with the present policy, then with hundreds of
others. It changes nothing.

Costs are USD for a month of 730 hours, at the prices of the past, by the
second, a minute or a cent at least, without backups, snapshots, traffic and the
manager.

It exits with 3 if the model does not fit: then it says why and advises nothing.`,
		Example: `  $ fleeting-plugin-digitalocean plan --example
  $ sudo fleeting-plugin-digitalocean plan --since 28d --diff`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return p.run(t) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.choice.config, "config", "", "the runner's `FILE` (default as for ls)")
	f.StringVar(&p.choice.runner, "runner", "", "this [[runners]], by its `NAME`, where several use the plugin")
	f.StringVarP(&p.group, "group", "g", "", "the [[runners]] with this group, by its `NAME`")
	f.StringVar(&p.label, "choice", "", "show the policy of this choice, by its `LETTER` (default: the best)")
	f.BoolVar(&p.diff, "diff", false, "show where the policy goes in config.toml")
	f.Func("speedup", "try another size too, on which jobs are so much faster: `SIZE=FACTOR`, or "+
		"SIZE=FACTOR@USD where the past has no hourly price of it; may be repeated", p.addSize)
	for _, other := range []string{"config", "runner", "group", "diff"} {
		cmd.MarkFlagsMutuallyExclusive("example", other)
	}
	_ = cmd.RegisterFlagCompletionFunc("group", p.choice.completeGroups)
	_ = cmd.RegisterFlagCompletionFunc("runner", cobra.NoFileCompletions)
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

type planning struct {
	journal
	choice choice
	label  string
	diff   bool
	sizes  []plan.Size // besides the present one

	group string // of the runner
	where string // the policies go
}

func (p *planning) run(t *terminal) error {
	_, setup := plan.Example()
	if !p.example {
		var err error
		if setup, err = p.setup(); err != nil {
			return err
		}
	}
	h, err := p.read(t)
	if err != nil {
		return err
	}
	past, err := plan.NewPast(h, p.group, setup)
	if err != nil {
		return hinted{err, pasted("plan", "--example") + " shows what it would say"}
	}
	if err := p.price(h, past.Size); err != nil {
		return err
	}
	r := planReport{Past: past}
	if past.Setup.Zone == time.Local {
		r.Notes = append(r.Notes, past.From.Local().Format("Hours are this machine's (MST, UTC-07:00): ")+
			"with TZ=Europe/Berlin, or with a timezone in the policy, they are another's.")
	}
	if len(past.Misfits) > 0 {
		if r.show(t); p.svg != "" {
			t.say("note", "there is no picture without advice: %s is not written", p.svg)
		}
		return status(exitFound)
	}
	t.waits("trying other policies")
	past.Search(p.sizes)
	t.done()
	for i, c := range r.Choices {
		if strings.EqualFold(c.Label, cmp.Or(p.label, r.Best)) {
			r.choice, r.Chosen, r.Policy = &r.Choices[i], c.Label, blocks(c.Setup.Policy)
		}
	}
	if r.choice == nil && p.label != "" {
		return misuse(fmt.Sprintf("--choice %q: give a letter from A to %s", p.label, r.Choices[len(r.Choices)-1].Label))
	}
	if p.diff && r.choice != nil {
		r.Policy = p.where + r.Policy
	}
	if r.show(t); p.svg == "" {
		return nil
	}
	return p.draw(r.costs(), r.week())
}

func (p *planning) setup() (s plan.Setup, err error) {
	file, err := p.choice.load("; plan --example needs none")
	if err != nil {
		return s, err
	}
	runners, err := p.choice.runners(file)
	if err != nil {
		return s, err
	}
	var groups []string
	for _, r := range runners {
		groups = append(groups, r.PluginKey("name"))
	}
	if p.group != "" {
		runners = slices.DeleteFunc(runners, func(r runnerconfig.Runner) bool { return r.PluginKey("name") != p.group })
	}
	if len(runners) != 1 {
		return s, hinted{misuse(fmt.Sprintf("%s: %s of this plugin are meant", file.Path, count(len(runners), "[[runners]] section"))),
			"choose one with --group NAME (" + strings.Join(groups, ", ") + ") or --runner NAME"}
	}
	r := runners[0]
	s = plan.Setup{Autoscaler: *r.Autoscaler, Concurrent: max(1, file.Concurrent), Limit: r.Limit, Zone: time.Local}
	p.group = r.PluginKey("name")
	p.where = fmt.Sprintf("  # %s: in place of %s from here on\n", file.At(r.Key("autoscaler.policy.0")),
		count(len(s.Policy), "policy block"))
	if s.Active, err = doctor.Active(s.Policy); err != nil {
		return s, hinted{err, p.choice.command("doctor", "--offline")}
	}
	// The base's, where there are several.
	if i := slices.IndexFunc(s.Policy, func(q runnerconfig.Policy) bool { return q.Timezone != "" }); i >= 0 {
		s.Zone, err = time.LoadLocation(s.Policy[i].Timezone)
	}
	return s, err
}

func (p *planning) addSize(given string) error {
	size, numbers, _ := strings.Cut(given, "=")
	factor, usd, priced := strings.Cut(numbers, "@")
	speedup, _ := strconv.ParseFloat(factor, 64)
	price, _ := strconv.ParseFloat(usd, 64)
	if size == "" || !(speedup >= 0.01 && speedup <= 100) || priced && !(price > 0) { // NaN is not
		return errors.New("write it as s-4vcpu-8gb=1.8, or as s-4vcpu-8gb=1.8@0.07143 with the USD it costs an hour; the factor is from 0.01 to 100")
	}
	p.sizes = append(p.sizes, plan.Size{Slug: size, Speedup: speedup, Price: price})
	return nil
}

// price gives the sizes without a price that of the past. None is the present one.
func (p *planning) price(h *history.History, present string) error {
	for i := range p.sizes {
		s := &p.sizes[i]
		if s.Slug == present {
			return misuse("--speedup " + s.Slug + ": the Droplets have that size already, and are as fast as they are: give another one")
		}
		if s.Price = cmp.Or(s.Price, h.Prices[s.Slug]); s.Price == 0 {
			return hinted{misuse("--speedup: the past has no price of the size " + s.Slug),
				fmt.Sprintf("give --speedup %s=%g@USD, with what https://www.digitalocean.com/pricing/droplets says it costs an hour",
					s.Slug, s.Speedup)}
		}
	}
	return nil
}

// blocks writes policies, to be pasted.
func blocks(policies []runnerconfig.Policy) string {
	var b strings.Builder
	for _, p := range policies {
		fmt.Fprintf(&b, `  [[runners.autoscaler.policy]]
    periods = ["%s"]
    timezone = %q
    idle_count = %d
    idle_time = %q
    scale_factor = %g
    scale_factor_limit = %d
    preemptive_mode = %t
`, strings.Join(p.Periods, `", "`), p.Timezone, p.IdleCount, strings.Replace(p.IdleTime.String(), "m0s", "m", 1),
			p.ScaleFactor, p.ScaleFactorLimit, p.Preemptive())
	}
	return b.String()
}
