#!/bin/sh
# One platform's image into the Docker Engine that `docker` speaks to, to be run there.
set -eu
cd "$(dirname "$0")/../pipelines"
: "${REGISTRY:=ghcr.io/example}" "${BASE:=docker-image://busybox:1.37}"

# buildx build --platform linux/amd64 --load. Without --platform it is the Engine's own one of the target's platforms.
mab bake hello --platform linux/amd64 --load --var registry="$REGISTRY" --var base="$BASE"
# docker inspect | jq '.[].Architecture'
mab inspect "engine://$REGISTRY/hello:edge" --format '{{ platforms | join(" ") }}'
