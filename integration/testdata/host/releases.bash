#!/bin/bash
# What the shell of docs/install.md's reader reads first: version 0.1.0 is in a registry of the test and in a directory, and
# gitlab-runner's installer and curl get it there.
export CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false' # as make build, so that nothing is compiled twice
registry=127.0.0.1/registry.gitlab.com released=fleeting-plugin-digitalocean_linux_amd64_v1/fleeting-plugin-digitalocean
make -s build VERSION=0.1.0 PLUGIN="$TMPDIR/$released" &&
	.ci/release-oci "$TMPDIR" "$registry/fleeting-plugin-digitalocean" 0.1.0 &&
	cp "$TMPDIR/$released" "$TMPDIR/fleeting-plugin-digitalocean-linux-amd64" &&
	(cd "$TMPDIR" && sha256sum fleeting-plugin-digitalocean-linux-amd64 >checksums.txt) &&
	artifact=$(go tool -n fleeting-artifact)

sudo() { [ "$1" != -H ] || shift; "$@"; }
systemctl() { :; } # integration/runner stops and starts runners
curl() {
	command curl "${@/https:\/\/gitlab.com*%2Ffleeting-plugin-digitalocean\/packages\/generic\/fleeting-plugin-digitalocean\/0.1.0/file://$TMPDIR}"
}
gitlab-runner() {
	local plugin
	plugin=$(sed -n 's|^ *plugin = "registry.gitlab.com/fleeting-digitalocean\(.*\)"|\1|p' /etc/gitlab-runner/config.toml)
	case "$*" in
	"fleeting install" | "fleeting install --upgrade") "$artifact" install "$registry$plugin" &&
		mkdir -p ~/.config/fleeting/plugins/registry.gitlab.com &&
		ln -sfn ../127.0.0.1/registry.gitlab.com ~/.config/fleeting/plugins/registry.gitlab.com/fleeting-digitalocean ;;
	"fleeting list") "$artifact" lookpath "$registry$plugin" ;;
	*) echo "gitlab-runner $*: not a command of this test" >&2; return 1 ;;
	esac
}
