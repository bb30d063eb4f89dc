#!/bin/bash
# The shell of a doc's reader. It is started in mount and pid namespaces of its own,
# so that what commands write below /etc, /usr/local, /var/lib and the checkout, and
# what they leave running, goes when it does.
#
# Commands come on standard input, each ended by a NUL, and are evaluated in this very shell. The
# answer is what the command prints, a NUL, its exit status, and a newline.
set -eu
checkout=$PWD own=/mnt
mount -t tmpfs -o mode=755 tmpfs "$own"
mkdir "$own/home" "$own/tmp"
for dir in /etc /usr/local /var/lib "$checkout"; do
	layer=$own/layers/$dir
	mkdir -p "$layer/upper" "$layer/work"
	mount -t overlay -o "lowerdir=$dir,upperdir=$layer/upper,workdir=$layer/work" overlay "$dir"
done
cd "$checkout" # as it is now
for name in GOCACHE GOMODCACHE GOPATH; do export "$name=$(go env $name)"; done # of the other home
export HOME=$own/home TMPDIR=$own/tmp XDG_CACHE_HOME=$own/home/.cache
PATH=$checkout/integration/testdata/host/bin:/usr/local/bin:$PATH
set +eu

status=0
while IFS= read -r -d '' command; do
	(exit "$status") # what $? is to the command
	eval "$command" </dev/null 2>&1
	status=$?
	printf '\0%d\n' "$status"
done
