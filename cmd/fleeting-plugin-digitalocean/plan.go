package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/chart"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/doctor"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/history"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/plan"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// policiesTried is how many policies plan replays the past through.
const policiesTried = 500

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
	file   *runnerconfig.File // nil = --example
	runner runnerconfig.Runner
	group  string
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
	h, err := p.read(ctx, t)
	if err != nil {
		return err
	}
	s.Shifts = plan.Shifts(h.From, h.To, s.active)
	past, err := plan.NewPast(h, s.group, s.Setup)
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
	loc := time.Local
	if s.zone != "" {
		if loc, err = time.LoadLocation(s.zone); err != nil {
			return err
		}
	}
	t.waits("trying %d policies", policiesTried)
	advice, err := plan.Search(ctx, past, s.Setup, sizes, loc, policiesTried)
	t.done()
	if err != nil {
		return errInterrupted
	}
	chosen, err := r.advise(advice, p.label)
	if err != nil {
		return err
	}
	if chosen != nil {
		r.Policy = blocks(chosen, s.zone)
		r.Size = chosen.Size
	}
	if p.diff && chosen != nil {
		if r.Diff, err = s.diff(r.Policy); err != nil {
			return err
		}
	}
	r.show(t)
	if p.svg != "" {
		return draw(p.svg, pictures(past, advice, chosen, loc))
	}
	return nil
}

// draw writes charts to a file.
func draw(path string, charts []chart.Chart) error {
	var b bytes.Buffer
	if err := chart.Write(&b, charts...); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// setting reads the present configuration.
func (p *planning) setting() (setting, error) {
	s := setting{Setup: plan.Setup{Capacity: 1, UpdateInterval: time.Minute}, zone: "UTC"}
	var policies []runnerconfig.Policy
	if p.example { // history.Example's
		policies = []runnerconfig.Policy{{IdleTime: 20 * time.Minute}}
	} else {
		file, err := p.choice.load()
		if errors.As(err, new(noConfig)) && errors.Is(err, fs.ErrNotExist) {
			err = hinted{err, "name the runner's file with --config FILE; plan --example needs none"}
		}
		if err != nil {
			return s, err
		}
		runners, err := p.choice.runners(file)
		if err != nil {
			return s, err
		}
		if len(runners) > 1 {
			return s, hinted{misuse(file.Path + ": several [[runners]] use this plugin"), "give --runner NAME"}
		}
		s.file, s.runner, s.group, s.zone = file, runners[0], writtenName(runners[0]), ""
		a := s.runner.Autoscaler
		policies = a.Policy
		s.Capacity, s.MaxUses, s.MaxInstances = max(1, a.CapacityPerInstance), a.MaxUseCount, a.MaxInstances
		if a.UpdateInterval > 0 {
			s.UpdateInterval = a.UpdateInterval
		}
		s.MaxJobs = max(1, file.Concurrent)
		if s.runner.Limit > 0 {
			s.MaxJobs = min(s.MaxJobs, s.runner.Limit)
		}
	}
	for _, q := range policies {
		s.Policies = append(s.Policies, plan.Policy{IdleCount: q.IdleCount, IdleTime: q.IdleTime, ScaleFactor: q.ScaleFactor,
			ScaleFactorLimit: q.ScaleFactorLimit, Preemptive: q.Preemptive()})
		if q.Timezone != "" {
			s.zone = q.Timezone
		}
	}
	var err error
	if s.active, err = doctor.Active(policies); err != nil {
		return s, hinted{err, program + " doctor --offline"}
	}
	return s, nil
}

// sizes are those of --speedup.
func (p *planning) sizes(h history.History) (sizes []plan.Size, err error) {
	for _, given := range p.speedups {
		slug, text, ok := strings.Cut(given, "=")
		text, usd, priced := strings.Cut(text, "@")
		factor, err := strconv.ParseFloat(text, 64)
		if !ok || slug == "" || err != nil || !(factor > 0 && factor < 1000) {
			return nil, misuse(fmt.Sprintf("--speedup %q: write it as s-4vcpu-8gb=1.8", given))
		}
		size := plan.Size{Slug: slug, Speedup: factor}
		for _, d := range h.Droplets {
			if d.Size == slug && d.PriceHourly > 0 {
				size.Price = d.PriceHourly
			}
		}
		if priced {
			if size.Price, err = strconv.ParseFloat(usd, 64); err != nil || !(size.Price > 0) {
				return nil, misuse(fmt.Sprintf("--speedup %q: %q is no price in USD an hour", given, usd))
			}
		}
		if size.Price == 0 {
			return nil, hinted{fmt.Errorf("--speedup %s: no Droplet of that size is in the journal, so its price is not known", slug),
				fmt.Sprintf("--speedup %s=%g@USD_AN_HOUR", slug, factor)}
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
	switch text := strings.Join(days, ","); text {
	case "sun,mon,tue,wed,thu,fri,sat":
		return "* " + hours + " * * *"
	case "mon,tue,wed,thu,fri":
		return "* " + hours + " * * mon-fri"
	default:
		return "* " + hours + " * * " + text
	}
}

// secret matches what a diff does not show.
var secret = regexp.MustCompile(`(?mi)^(\s*[\w.-]*(?:token|password|secret|key)[\w.-]*\s*=\s*).*`)

// masked is a configuration without its secrets, and without what a terminal would obey.
func masked(text string) []byte {
	text = secret.ReplaceAllString(text, `${1}"..."`)
	return []byte(strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text))
}

// diff shows the policy in its place. Only policies that are tables of their own are replaced.
func (s setting) diff(policy string) (string, error) {
	text, err := os.ReadFile(s.file.Path)
	if err != nil {
		return "", err
	}
	changed, err := withPolicy(string(text), s.runner.Index, policy)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.file.At(s.runner.Key("autoscaler.policy")), err)
	}
	return string(diff.Diff(s.file.Path, masked(string(text)), s.file.Path, masked(changed))), nil
}

// withPolicy replaces the [[runners.autoscaler.policy]] tables of the nth [[runners]].
func withPolicy(text string, runner int, policy string) (string, error) {
	var out []string
	last, replaced, dropping := -1, -1, false
	end := 0 // of the runner's [runners.autoscaler]
	inside := false
	for _, line := range strings.SplitAfter(text, "\n") {
		header := strings.TrimSpace(line)
		if strings.HasPrefix(header, "[") {
			name := strings.Join(strings.Fields(strings.Trim(strings.TrimSpace(strings.SplitN(header, "#", 2)[0]), "[] ")), "")
			if name == "runners" {
				last++
			}
			mine := last == runner
			dropping = mine && name == "runners.autoscaler.policy"
			if dropping && replaced < 0 {
				replaced = len(out)
			}
			inside = mine && name == "runners.autoscaler"
		} else if inside && strings.HasPrefix(strings.ReplaceAll(header, " ", ""), "policy=") {
			return "", errors.New("policy is written in one line: replace it by hand")
		}
		if !dropping {
			out = append(out, line)
			if last == runner && inside && header != "" {
				end = len(out)
			}
		}
	}
	at := replaced
	if at < 0 {
		at = end
		policy = "\n" + policy
	} else if at < len(out) {
		policy += "\n"
	}
	return strings.Join(slices.Insert(out, at, policy), ""), nil
}
