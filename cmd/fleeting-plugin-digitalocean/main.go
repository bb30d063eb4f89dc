// Command fleeting-plugin-digitalocean lets GitLab Runner scale DigitalOcean
// Droplets. The runner starts it; its help says what a person can do with it.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider"
	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/config"
)

// program is also what config.toml has as the plugin.
const program = "fleeting-plugin-digitalocean"

func main() {
	if startedByRunner() && (len(os.Args) == 1 || len(os.Args) == 2 && os.Args[1] == "serve") {
		serve()
		return
	}
	t := newTerminal()
	os.Exit(t.end(newRoot(t).ExecuteC()))
}

// forPackages are commands that only the build has that makes packages.
var forPackages = func(*cobra.Command) []*cobra.Command { return nil }

func newRoot(t *terminal) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "Scale GitLab CI on DigitalOcean Droplets",
		Long: `fleeting-plugin-digitalocean lets GitLab Runner scale CI on DigitalOcean
Droplets.

GitLab Runner starts it by itself, from the line plugin = "..." in
config.toml. The commands are for a person on the runner's host, and for
scripts. Documentation:
https://gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean`,
		PersistentPreRunE: t.begin,
		Version:           provider.Version.Version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true, // of man pages
	}
	root.SetOut(t.out)
	root.SetErr(t.err)
	root.SetUsageTemplate(strings.NewReplacer(".FlagUsages", ".FlagUsagesWrapped 80", // which 80 columns show
		" for more information about a command", "").Replace(root.UsageTemplate()))
	root.SetVersionTemplate(provider.Version.Full())
	root.PersistentFlags().BoolFunc("no-color", "no colours, as with NO_COLOR set", func(v string) error {
		no, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("give true or false")
		}
		t.colours, t.errColours = t.colours && !no, t.errColours && !no
		return nil
	})

	serve := &cobra.Command{
		Use:   "serve",
		Short: "Serve the runner that started it",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			return hinted{misuse("serve is for GitLab Runner, which starts it: nobody would be served"),
				pasted("doctor") + " checks the runner's config.toml"}
		},
	}
	version := &cobra.Command{
		Use:   "version",
		Short: "Print version, revision and platform",
		Args:  noArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			v := provider.Version
			if t.format != asJSON {
				cmd.Print(v.Full())
				return
			}
			t.json(map[string]string{"name": v.Name, "release": v.Version, "revision": v.Revision, "built_at": v.BuiltAt,
				"go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		},
	}
	t.formatFlags(version, asTable, asJSON)
	bootstrap := &cobra.Command{
		Use:   "bootstrap REPOSITORY",
		Short: "Copy itself to where a runner in another container finds it",
		Long: `Copy the directory of this program, in a container of the plugin, which has
nothing else in it, to where a runner in another container finds it: below
$FLEETING_PLUGIN_PATH, which is /plugins where it is not set. REPOSITORY is what
the runner's plugin = "..." has.`,
		Args: cobra.ExactArgs(1),
		Run: func(_ *cobra.Command, args []string) {
			os.Args = []string{os.Args[0], "bootstrap", args[0]}
			plugin.Main(&provider.InstanceGroup{}, provider.Version) // ends the process if it fails
		},
	}
	configs := &cobra.Command{Use: "config", Short: "Help with config.toml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	configs.AddCommand(&cobra.Command{
		Use:   "schema",
		Short: "Print a JSON schema of plugin_config, for TOML editors",
		Example: `  $ fleeting-plugin-digitalocean config schema > digitalocean.schema.json
  $ head -1 config.toml
  #:schema ./digitalocean.schema.json`,
		Args: noArgs,
		Run:  func(cmd *cobra.Command, _ []string) { cmd.Print(string(config.Schema())) },
	})
	root.AddCommand(doctorCommand(t), lsCommand(t), rmCommand(t), migrateCommand(t), usageCommand(t), planCommand(t),
		configs, serve, version, bootstrap)
	root.AddCommand(forPackages(root)...)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	completion, _, _ := root.Find([]string{"completion"}) // cobra's own: it would answer an unknown shell with success
	completion.RunE = configs.RunE
	help, _, _ := root.Find([]string{"help"}) // likewise
	help.Args = func(_ *cobra.Command, args []string) error {
		_, _, err := root.Find(args)
		return err
	}
	return root
}

// unheard lets a command that destroys go on when nobody reads what it says. (TestScripts, hangup)
func unheard() { signal.Ignore(syscall.SIGPIPE) }

// finishing is for what is not to be left half done. A signal, which else ends a command at once, ends the context, and the
// command finishes what it began. (TestScripts, interrupted, hangup)
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	unheard()
	endings := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // under nohup; else the terminal is gone
		endings = append(endings, syscall.SIGHUP)
	}
	return signal.NotifyContext(ctx, endings...)
}
