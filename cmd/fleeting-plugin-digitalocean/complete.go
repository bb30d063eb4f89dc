package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gitlab.com/fleeting-digitalocean/fleeting-plugin-digitalocean/provider/runnerconfig"
)

// completeBound is how long a shell waits for the names of Droplets.
const completeBound = 3 * time.Second

// complete completes what of says of each of the plugin's [[runners]] in config.toml.
func (c *choice) complete(of func(runnerconfig.Runner) string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
		if file, err := c.load(); err == nil {
			runners, _ := choice{}.runners(file)
			for _, r := range runners {
				names = append(names, of(r))
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeDroplets completes the names of the groups' Droplets.
func (d *destroying) completeDroplets(cmd *cobra.Command, had []string, begun string) (names []string, _ cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeBound)
	defer cancel()
	groups, _ := d.find()
	for _, f := range d.t.look(ctx, groups) {
		for _, x := range f.Owned {
			if strings.HasPrefix(x.Name, begun) && !slices.Contains(had, x.Name) {
				names = append(names, fmt.Sprintf("%s\t%s, %s old", x.Name, x.Status, age(x.Age(f.Now))))
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
