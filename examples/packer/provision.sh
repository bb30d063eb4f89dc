#!/bin/sh
# Runs on the Droplet that becomes the golden image.
set -eu

# cloud-init may still hold apt's lock. It exits with 2 when it is done but had something to complain about.
cloud-init status --wait || test $? -eq 2

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get upgrade -y
apt-get install -y docker.io git
systemctl enable docker

# What jobs use most is there before they ask for it.
for image in ${IMAGES:-}; do
	docker pull "$image"
done

# Unattended upgrades would hold apt's lock, and the disk, in the first minutes of every job's Droplet.
systemctl disable apt-daily.timer apt-daily-upgrade.timer

# Every Droplet of the image is a new machine: of its own name, keys and log.
cloud-init clean --logs
rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /etc/machine-id
touch /etc/machine-id
apt-get clean
fstrim -a || true # the snapshot is billed by what is used of the disk
