package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
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
		Long: `Say what the policy should be. The jobs and boots of the past are replayed
through a model of the runner's autoscaler: first with the present policy, which
shows how well the model fits what was measured, then with hundreds of others.
Where it does not fit, it says why and advises nothing. It changes nothing.

Costs are USD for a month of 730 hours, at the prices of the past: by the
second, a minute or a cent at least. Backups, snapshots, traffic and the manager
are not in them. A wait is from when the runner took a job (with --jobs: from
when GitLab could have given it) until a Droplet had room for it.

It exits with 0, with 1 if there is not enough to read, with 2 if it was called
wrongly, with 3 if the model does not fit.`,
		Example: `  $ fleeting-plugin-digitalocean plan --example
  $ sudo fleeting-plugin-digitalocean plan --since 28d --diff`,
		Args: noArgs("a journal is named with --journal %s"),
		RunE: func(cmd *cobra.Command, _ []string) error { return p.run(cmd.Context(), t) },
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&p.choice.config, "config", "", "the runner's `FILE` (default as for ls)")
	f.StringVar(&p.choice.runner, "runner", "", "this [[runners]], by its `NAME`, where several use the plugin")
	f.StringVar(&p.label, "choice", "", "show the policy of this choice, by its `LETTER` (default: the best)")
	f.BoolVar(&p.diff, "diff", false, "show where the policy goes in config.toml")
	f.StringVar(&p.svg, "svg", "", "write two pictures to `FILE`: cost against wait, and a typical week")
	f.StringArrayVar(&p.speedups, "speedup", nil, "try another size too, on which jobs are so much faster: `SIZE=FACTOR`, or "+
		"SIZE=FACTOR@USD where the past has no hourly price of it; may be repeated")
	t.formatFlags(cmd, asTable, asJSON)
	return cmd
}

// planning is what plan is to do.
type planning struct {
	journal
	choice   choice
	label    string
	diff     bool
	svg      string
	speedups []string
}

// setting is a runner as it is configured.
type setting struct {
	plan.Setup
	file   *runnerconfig.File
	runner runnerconfig.Runner
	active func(time.Time) int
	zone   string // of the policies; "" = the host's
}

func (p *planning) run(ctx context.Context, t *terminal) error {
	if p.example && p.diff {
		return misuse("--example has no config.toml: it goes without --diff")
	}
	s, err := p.setting()
	if err != nil {
		return err
	}
	loc := time.Local
	if s.zone != "" {
		if loc, err = time.LoadLocation(s.zone); err != nil {
			return err
		}
	}
	h, err := p.read(ctx, t)
	if err != nil {
		return err
	}
	s.Shifts = plan.Shifts(h.From, h.To, s.active)
	past, err := plan.NewPast(h, writtenName(s.runner), s.Setup)
	if err != nil {
		return hinted{err, program + " plan --example shows what it would say"}
	}
	sizes, err := p.sizes(h)
	if err != nil {
		return err
	}
	r := planReport{From: h.From, To: h.To, Size: past.Size, Jobs: len(past.Work.Jobs), Held: past.Held, Misfits: past.Misfits,
		Measured: fitted(&past.Measured), Model: fitted(&past.Model)}
	if len(past.Misfits) > 0 {
		r.show(t)
		return exit(exitFound)
	}
	t.waits("trying other policies")
	r.Advice, err = plan.Search(ctx, past, s.Setup, sizes, loc)
	t.done()
	if err != nil {
		return errInterrupted
	}
	if err := r.choose(p.label); err != nil {
		return err
	}
	if r.chosen != nil {
		r.Policy = blocks(r.chosen, s.zone)
		if p.diff {
			if r.Diff, err = s.diff(r.Policy); err != nil {
				return err
			}
		}
	}
	r.show(t)
	if p.svg != "" {
		return draw(p.svg, r.costs(), r.week(past, loc))
	}
	return nil
}

// exampleConfig is that of history.Example.
const exampleConfig = `
concurrent = 1000
[[runners]]
  [runners.autoscaler]
    plugin = "fleeting-plugin-digitalocean"
  [runners.autoscaler.plugin_config]
    name = "ci"
  [[runners.autoscaler.policy]]
    periods = ["* * * * *"]
    timezone = "UTC"
    idle_time = "20m"
`

// setting reads the present configuration.
func (p *planning) setting() (s setting, err error) {
	if p.example {
		s.file, err = runnerconfig.Parse("", exampleConfig)
	} else if s.file, err = p.choice.load(); errors.As(err, new(noConfig)) && errors.Is(err, fs.ErrNotExist) {
		err = hinted{err, "name the runner's file with --config FILE; plan --example needs none"}
	}
	if err != nil {
		return s, err
	}
	runners, err := p.choice.runners(s.file)
	if err != nil {
		return s, err
	}
	if len(runners) > 1 {
		return s, hinted{misuse(s.file.Path + ": several [[runners]] use this plugin"), "give --runner NAME"}
	}
	s.runner = runners[0]
	a := s.runner.Autoscaler
	s.Setup = plan.Setup{Capacity: a.CapacityPerInstance, MaxUses: a.MaxUseCount, MaxInstances: a.MaxInstances,
		MaxJobs: max(1, s.file.Concurrent), UpdateInterval: cmp.Or(a.UpdateInterval, time.Minute)}
	if s.runner.Limit > 0 {
		s.MaxJobs = min(s.MaxJobs, s.runner.Limit)
	}
	for _, q := range a.Policy {
		s.Policies = append(s.Policies, plan.Policy{IdleCount: q.IdleCount, IdleTime: q.IdleTime, ScaleFactor: q.ScaleFactor,
			ScaleFactorLimit: q.ScaleFactorLimit, Preemptive: q.Preemptive()})
		s.zone = cmp.Or(q.Timezone, s.zone)
	}
	if s.active, err = doctor.Active(a.Policy); err != nil {
		return s, hinted{err, program + " doctor --offline"}
	}
	return s, nil
}

var speedup = regexp.MustCompile(`^([\w-]+)=([\d.]+)(?:@([\d.]+))?$`)

// sizes are those of --speedup.
func (p *planning) sizes(h history.History) (sizes []plan.Size, err error) {
	for _, given := range p.speedups {
		var size plan.Size
		if m := speedup.FindStringSubmatch(given); m != nil {
			size.Slug = m[1]
			size.Speedup, _ = strconv.ParseFloat(m[2], 64)
			size.Price, _ = strconv.ParseFloat(m[3], 64)
		}
		if size.Speedup == 0 {
			return nil, misuse(fmt.Sprintf("--speedup %q: write it as s-4vcpu-8gb=1.8, or s-4vcpu-8gb=1.8@0.07143", given))
		}
		for _, d := range h.Droplets {
			if d.Size == size.Slug && size.Price == 0 {
				size.Price = d.PriceHourly
			}
		}
		if size.Price == 0 {
			return nil, hinted{fmt.Errorf("--speedup %s: no Droplet of that size is in the journal, so its price is not known", size.Slug),
				fmt.Sprintf("--speedup %s=%g@USD_AN_HOUR", size.Slug, size.Speedup)}
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

// blocks writes a choice's policies, to be pasted.
func blocks(c *plan.Choice, zone string) string {
	var b strings.Builder
	for i, block := range c.Blocks {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "  [[runners.autoscaler.policy]]\n    periods = [%q]\n", period(block))
		if zone != "" && len(c.Blocks) > 1 {
			fmt.Fprintf(&b, "    timezone = %q\n", zone)
		}
		fmt.Fprintf(&b, "    idle_count = %d\n    idle_time = %q\n", block.IdleCount, fmt.Sprintf("%.0fm", block.IdleTime.Minutes()))
		if block.ScaleFactor > 0 {
			fmt.Fprintf(&b, "    scale_factor = %g\n", block.ScaleFactor)
		}
		fmt.Fprintf(&b, "    preemptive_mode = %t\n", block.Preemptive)
	}
	return b.String()
}

// period is a block's hours as the runner reads them.
func period(b plan.Block) string {
	hours, days := "*", []string{}
	if b.From > 0 || b.To < 24 {
		hours = fmt.Sprintf("%d-%d", b.From, b.To-1)
	}
	for d, name := range strings.Fields("sun mon tue wed thu fri sat") {
		if b.Days[d] {
			days = append(days, name)
		}
	}
	short := strings.NewReplacer("sun,mon,tue,wed,thu,fri,sat", "*", "mon,tue,wed,thu,fri", "mon-fri")
	return "* " + hours + " * * " + short.Replace(strings.Join(days, ","))
}

// diff shows the policy in place of the present ones, and nothing else of the file, which has secrets.
func (s setting) diff(policy string) (string, error) {
	text, err := os.ReadFile(s.file.Path)
	if err != nil {
		return "", err
	}
	var old strings.Builder
	at, runner, inside := 0, -1, false
	for n, line := range strings.Split(string(text), "\n") {
		if header, _, _ := strings.Cut(strings.ReplaceAll(line, " ", ""), "#"); strings.HasPrefix(strings.TrimSpace(header), "[") {
			name := strings.TrimSpace(header)
			if name == "[[runners]]" {
				runner++
			}
			if inside = runner == s.runner.Index && name == "[[runners.autoscaler.policy]]"; inside && at == 0 {
				at = n + 1
			}
		}
		if inside && strings.TrimSpace(line) != "" {
			fmt.Fprintf(&old, "-%s\n", clean(strings.TrimRight(line, "\r")))
		}
	}
	where := fmt.Sprintf("line %d", at)
	if at == 0 {
		if len(s.runner.Autoscaler.Policy) > 0 {
			return "", fmt.Errorf("%s: policy is written in one line: replace it by hand", s.file.At(s.runner.Key("autoscaler.policy")))
		}
		where = "after [runners.autoscaler], " + s.file.At(s.runner.Key("autoscaler"))
	}
	added := "+" + strings.ReplaceAll(strings.TrimSuffix(policy, "\n"), "\n", "\n+") + "\n"
	return fmt.Sprintf("--- %[1]s\n+++ %[1]s\n@@ %[2]s @@\n", s.file.Path, where) + old.String() + added, nil
}
