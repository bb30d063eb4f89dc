package provider

import (
	"cmp"

	"gitlab.com/gitlab-org/fleeting/fleeting/plugin"
)

// Set by the linker (see the Makefile).
var version, revision, reference, builtAt string

// Version is what this build is.
var Version = plugin.VersionInfo{
	Name:      "fleeting-plugin-digitalocean",
	Version:   cmp.Or(version, "dev"),
	Revision:  revision,
	Reference: reference,
	BuiltAt:   builtAt,
}
