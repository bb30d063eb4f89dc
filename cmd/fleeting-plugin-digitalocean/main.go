// Command fleeting-plugin-digitalocean lets GitLab Runner scale DigitalOcean
// Droplets. The runner starts it; its help says what a person can do with it.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// program is how a hint begins that is to be pasted.
const program = "fleeting-plugin-digitalocean"

func main() {
	if startedByRunner() && (len(os.Args) == 1 || len(os.Args) == 2 && os.Args[1] == "serve") {
		serve()
		return
	}
	t := newTerminal()
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	cmd, err := newRoot(t).ExecuteContextC(ctx)
	stop()
	os.Exit(t.end(cmd, err))
}

func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Scale GitLab CI on DigitalOcean Droplets",
		Long: `fleeting-plugin-digitalocean lets GitLab Runner scale CI on DigitalOcean
Droplets.

GitLab Runner starts it by itself, from the line plugin = "..." in
config.toml. The commands are for a person on the runner's host, and for
scripts.`,
		Example: `  $ sudo fleeting-plugin-digitalocean ls
  NAME           STATE   SIZE         REGION  ADDRESS      AGE  USD/H
  ci-w4n27k2m9q  active  s-2vcpu-4gb  fra1    203.0.113.7  12m  0.03571
  1 Droplet: 0.03571 USD an hour, 0.01 USD so far`,
		PersistentPreRunE: t.begin,
		Version:           provider.Version.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true, // of man pages
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetUsageTemplate(usageTemplate)
	root.SetVersionTemplate(provider.Version.Full())
	root.PersistentFlags().BoolFunc("no-color", "no colours, as with NO_COLOR set", func(string) error {
		t.colours, t.errColours = false, false
		return nil
	})
	root.AddCommand(doctorCommand(t), lsCommand(t), rmCommand(t), sweepCommand(t), migrateCommand(t), usageCommand(t),
		planCommand(t), configCommand(), serveCommand(), versionCommand(t), bootstrapCommand(), manCommand())
	return root
}

// usageTemplate is cobra's, with flags that fit 80 columns, and the example last.
const usageTemplate = `Usage:{{if not .HasAvailableSubCommands}}
  {{.UseLine}}{{else}}
  {{.CommandPath}} [command]

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasAvailableFlags}}

Flags:
{{.Flags.FlagUsagesWrapped 80 | trimTrailingWhitespaces}}{{end}}{{if .HasExample}}

A session:
{{.Example}}{{end}}{{if not .HasParent}}

Each command has --help. Documentation:
https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean{{end}}
`

func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Serve the runner that started it",
		Long: `Serve the runner that started it. GitLab Runner does that by itself, from the
line plugin = "..." in config.toml.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return hinted{misuse("serve is for GitLab Runner, which starts it: nobody would be served"),
				program + " doctor checks the runner's config.toml"}
		},
	}
}

func versionCommand(t *terminal) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, revision and platform",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			v := provider.Version
			if t.format != asJSON {
				cmd.Print(v.Full())
				return
			}
			t.json(struct {
				Name     string `json:"name"`
				Release  string `json:"release"`
				Revision string `json:"revision,omitempty"`
				BuiltAt  string `json:"built_at,omitempty"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{v.Name, v.Version, v.Revision, v.BuiltAt, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
		},
	}
	t.formatFlags(cmd, "text", asJSON)
	return cmd
}

func bootstrapCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "bootstrap REPOSITORY",
		Short: "Copy itself to where a runner in another container finds it",
		Long: `Copy itself, in a container of the plugin, to where a runner in another
container finds it: below $FLEETING_PLUGIN_PATH, which is /plugins where it is
not set. REPOSITORY is what the runner's plugin = "..." has.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			os.Args = []string{os.Args[0], "bootstrap", args[0]}
			plugin.Main(&provider.InstanceGroup{}, provider.Version) // ends the process if it fails
			return nil
		},
	}
}

func configCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Help with config.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	cmd.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print a JSON schema of plugin_config, for TOML editors",
		Example: `  $ fleeting-plugin-digitalocean config schema > digitalocean.schema.json
  $ head -1 config.toml
  #:schema ./digitalocean.schema.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	})
	return cmd
}

// manCommand is for whoever makes packages.
func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIRECTORY",
		Short:  "Write man pages",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return doc.GenManTree(cmd.Root(), &doc.GenManHeader{Section: "1"}, args[0])
		},
	}
}

// endings are the signals that end a command in good order, as Ctrl-C does: also the
// SIGHUP of a terminal that is gone, unless nohup has it ignored.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// unheard lets a command that destroys go on when nobody reads what it says: a pipe that
// is closed must not end it halfway. (TestScripts, hangup)
func unheard() { signal.Ignore(syscall.SIGPIPE) }
