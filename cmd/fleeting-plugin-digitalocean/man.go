//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// The manual pages are made by a build of their own (.ci/share): what writes them would be 260 KB of every plugin.
func init() {
	forPackages = func(root *cobra.Command) []*cobra.Command {
		return []*cobra.Command{{
			Use:    "man DIRECTORY",
			Hidden: true,
			Args:   cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				return doc.GenManTree(root, &doc.GenManHeader{Section: "1"}, args[0])
			},
		}}
	}
}
