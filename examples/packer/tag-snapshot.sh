#!/bin/sh
# Tags the snapshot that packer has made, so that image_tag in plugin_config finds it: TAG=ci-golden ./tag-snapshot.sh
#
# Needs curl, jq, a manifest.json of packer's, and a token with tag:create, image:update and image:read.
set -eu
tag=${TAG:-ci-golden}
api=${DIGITALOCEAN_API_URL:-https://api.digitalocean.com}
# The builder calls what it made REGION,REGION:ID.
id=$(jq -r '.builds[-1].artifact_id | split(":")[1]' manifest.json)

# ask METHOD PATH BODY keeps the token out of the arguments, which every user of the host can read.
ask() {
	printf 'header = "Authorization: Bearer %s"\n' "$DIGITALOCEAN_TOKEN" |
		curl -fsS --retry 5 -K - -X "$1" -H 'Content-Type: application/json' "$api$2" -d "$3"
}

# The tag may be there already. If it is not, and cannot be made, the next request fails.
ask POST /v2/tags "{\"name\": \"$tag\"}" >/dev/null || true
ask POST "/v2/tags/$tag/resources" "{\"resources\": [{\"resource_id\": \"$id\", \"resource_type\": \"image\"}]}"
echo "image $id carries the tag $tag"
