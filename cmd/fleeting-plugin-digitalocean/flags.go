package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// flags are those that say which groups a command is about.
func (c *choice) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Func("config", "the runner's `FILE` (default $CONFIG_FILE, else /etc/gitlab-runner/config.toml, "+
		"or ~/.gitlab-runner/config.toml for others than root)", given(&c.config))
	f.Func("runner", "the group of this [[runners]] only, by its `NAME`", given(&c.runner))
	f.StringArrayVarP(&c.groups, "group", "g", nil, "this group only, by its `NAME`; may be repeated")
	f.Func("token-file", "without a config.toml: a `FILE` with the account's token, - for standard input "+
		"(default $DIGITALOCEAN_TOKEN, else $DIGITALOCEAN_ACCESS_TOKEN)", given(&c.tokenFile))
	_ = cmd.RegisterFlagCompletionFunc("group", c.complete(writtenName))
	_ = cmd.RegisterFlagCompletionFunc("runner", c.complete(func(r runnerconfig.Runner) string { return r.Name }))
}

// given is a flag that has a value if it is there: a shell's empty variable would be another account.
func given(to *string) func(string) error {
	return func(v string) error {
		if *to = v; v == "" {
			return errors.New("must not be empty")
		}
		return nil
	}
}

// formats are the values of -o. A command says which of them it takes.
const (
	asTable = "table"
	asWide  = "wide" // all columns
	asJSON  = "json"
)

// formatFlags are -o, and --json for -o json.
func (t *terminal) formatFlags(cmd *cobra.Command, formats ...string) {
	cmd.Flags().FuncP("output", "o", "in this `FORMAT`: "+strings.Join(formats, ", ")+" (default "+formats[0]+")", func(v string) error {
		if !slices.Contains(formats, v) {
			return fmt.Errorf("give %s", strings.Join(formats, " or "))
		}
		t.format = v
		return nil
	})
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().BoolFunc("json", "the same as -o json", func(v string) error {
		on, err := strconv.ParseBool(v)
		if on {
			t.format = asJSON
		}
		return err
	})
	_ = cmd.Flags().MarkHidden("json")
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

// wrong is a command line that cmd does not take.
func wrong(cmd *cobra.Command, format string, args ...any) error {
	return hinted{misuse(fmt.Sprintf(format, args...)), cmd.CommandPath() + " --help"}
}

// flagError says which flag is wrong, and what it takes.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() { // what it was given before the flag is to be a command
		if unknown := knownCommand(cmd, cmd.Flags().Args()); unknown != nil {
			return unknown
		}
	}
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return wrong(cmd, "%v", err)
	}
	why := "it is true or false"
	if !errors.As(err, new(*strconv.NumError)) {
		why = invalid.Unwrap().Error()
	}
	return wrong(cmd, "--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), why)
}

// noArgs refuses arguments. instead says how to name what may have been meant.
func noArgs(instead string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := cmd.Name() + " takes no arguments"
		if instead != "" {
			text += "; " + fmt.Sprintf(instead, args[0])
		}
		return wrong(cmd, "%s", text)
	}
}
