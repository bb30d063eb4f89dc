# A golden image: what every CI Droplet would otherwise install when it boots. Jobs then start half a minute after
# their Droplet was asked for, and need no 1-Click image.
#
#   export DIGITALOCEAN_TOKEN=...
#   packer init golden.pkr.hcl && packer build golden.pkr.hcl
#
# The last step tags the snapshot. With image_tag = "ci-golden" in plugin_config new Droplets have it within 10 minutes.
#
# Checked against the builder's options; its scripts by shellcheck, and tag-snapshot.sh against a simulated
# DigitalOcean. Not run: packer, which needs an account.

packer {
  required_plugins {
    digitalocean = {
      source  = "github.com/digitalocean/digitalocean"
      version = ">= 1.4.0"
    }
  }
}

variable "regions" {
  type        = list(string)
  default     = ["fra1", "ams3"]
  description = "Where the snapshot is to be: all of plugin_config.region. The first is where it is made."
}

variable "tag" {
  type    = string
  default = "ci-golden"
}

variable "images" {
  type        = list(string)
  default     = ["alpine:latest"]
  description = "Docker images that jobs use most: pulled once, here."
}

source "digitalocean" "golden" {
  image            = "ubuntu-24-04-x64"
  region           = var.regions[0]
  size             = "s-2vcpu-4gb" # its disk is the least that Droplets of the snapshot need
  ssh_username     = "root"
  droplet_name     = "packer-ci-golden"
  tags             = ["packer"]
  snapshot_name    = "ci-golden-{{timestamp}}"
  snapshot_regions = var.regions
  snapshot_timeout = "60m"
}

build {
  sources = ["source.digitalocean.golden"]

  provisioner "shell" {
    environment_vars = ["IMAGES=${join(" ", var.images)}"]
    script           = "provision.sh"
  }

  post-processors {
    post-processor "manifest" {
      output     = "manifest.json"
      strip_path = true
    }
    post-processor "shell-local" {
      environment_vars = ["TAG=${var.tag}"]
      script           = "tag-snapshot.sh"
    }
  }
}
