package provider

import "gitlab.com/gitlab-org/fleeting/fleeting/plugin"

// Set by the linker (see the Makefile).
var version, revision, reference, builtAt string

// Version is what this build is.
var Version = plugin.VersionInfo{
	Name:      "fleeting-plugin-digitalocean",
	Version:   orDev(version),
	Revision:  revision,
	Reference: reference,
	BuiltAt:   builtAt,
}

func orDev(v string) string {
	if v == "" {
		return "dev"
	}
	return v
}
