#!/bin/sh
# What people ask `docker buildx imagetools inspect`, `docker manifest inspect`, manifest-tool and crane about an image,
# and how they put an index together of what is there. Nothing is pulled for any of it.
set -eu
: "${NAME:=ghcr.io/example/hello}"

# Digest, platforms, sizes.          imagetools inspect, manifest-tool inspect
mab inspect "$NAME:1.0"
# The platforms alone.               docker manifest inspect | jq '.manifests[].platform'
mab inspect "$NAME:1.0" --format '{{ platforms | join(" ") }}'
# The index, byte for byte.          crane manifest
mab inspect "$NAME:1.0" --raw; echo
# One platform's manifest.           crane manifest --platform
mab inspect "$NAME:1.0" --platform linux/arm64 --raw; echo
# Its config.                        crane config --platform
mab inspect "$NAME:1.0" --platform linux/arm64 --config; echo
# The digest.                        crane digest
mab digest "$NAME:1.0"
# All tags.                          crane ls
mab ls "$NAME"

# One index of two tags.             docker manifest create and push, crane index append
mab index create "$NAME:both" "$NAME:1.0-amd64" "$NAME:1.0-arm64"
