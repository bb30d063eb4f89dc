package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// flags are those that say which groups a command is about.
func (c *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&c.config, "config", "", "the runner's `FILE` (default $CONFIG_FILE, else /etc/gitlab-runner/config.toml, "+
		"or ~/.gitlab-runner/config.toml for others than root)")
	f.StringVar(&c.runner, "runner", "", "the group of this [[runners]] only, by its `NAME`; with --group, only its account")
	f.StringArrayVarP(&c.groups, "group", "g", nil, "this group only, by its `NAME`; may be repeated")
	f.StringVar(&c.tokenFile, "token-file", "", "without a config.toml: a `FILE` with the account's token, - for standard input "+
		"(default $DIGITALOCEAN_TOKEN, else $DIGITALOCEAN_ACCESS_TOKEN)")
	_ = cmd.RegisterFlagCompletionFunc("group", c.completeGroups)
	_ = cmd.RegisterFlagCompletionFunc("runner", cobra.NoFileCompletions)
	cmd.MarkFlagsMutuallyExclusive("token-file", "config")
	cmd.MarkFlagsMutuallyExclusive("token-file", "runner")
}

// completeGroups completes the names of config.toml's groups.
func (c *choice) completeGroups(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
	groups, _ := choice{config: c.config, runner: c.runner}.read()
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeDroplets completes the names of the groups' Droplets. A shell waits for them for 3 seconds.
func (r *removing) completeDroplets(cmd *cobra.Command, had []string, begun string) (names []string, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 3*time.Second)
	defer cancel()
	groups, _ := r.find()
	all, _ := r.t.look(ctx, groups, list)
	for _, f := range all {
		for _, e := range f.Found {
			if strings.HasPrefix(e.Name, begun) && !slices.Contains(had, e.Name) {
				names = append(names, e.Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// noArgs is cobra.NoArgs of a command that has none below it, whose unknown ones these would be called.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no arguments, such as %q", cmd.Name(), args[0])
}

// formats are the values of -o. A command says which of them it takes.
const (
	asTable = "table"
	asWide  = "wide" // all columns
	asJSON  = "json"
)

// formatFlags are -o, and --json for -o json.
func (t *terminal) formatFlags(cmd *cobra.Command, formats ...string) {
	cmd.Flags().FuncP("output", "o", "in this `FORMAT`: "+strings.Join(formats, ", ")+" (default "+formats[0]+")", oneOf(formats, &t.format))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolFunc("json", "the same as -o json", func(v string) error {
		t.format = asJSON
		if v != "true" {
			return errors.New("it takes no value")
		}
		return nil
	})
	_ = cmd.Flags().MarkHidden("json")
}

// oneOf takes the value of a flag, which is one of these words.
func oneOf(words []string, to *string) func(string) error {
	return func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("give %s", strings.Join(words, " or "))
		}
		*to = v
		return nil
	}
}

// span is a flag's time, as it is written: a positive duration, which may also be in days.
type span struct {
	time.Duration
	text string
}

func (*span) Type() string     { return "TIME" }
func (s *span) String() string { return s.text }

func (s *span) Set(v string) error {
	d, err := time.ParseDuration(v)
	if days, ok := strings.CutSuffix(v, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return errors.New("write it as 90s, 15m, 12h or 7d")
	}
	*s = span{d, v}
	return nil
}
