#!/bin/sh
# What people do by hand with a builder, tags per architecture and a manifest: here with mab, step by step.
# REGISTRY and BASE say where images go and what they stand on.
set -eu
cd "$(dirname "$0")/../pipelines"
: "${REGISTRY:=ghcr.io/example}" "${BASE:=docker-image://busybox:1.37}"
mab() { command mab "$@" --var registry="$REGISTRY" --var base="$BASE"; }

# The base pinned by digest, for all platforms, in place of `FROM image@sha256:…` by hand.
mab lock

# Both platforms under one tag. No builder is made before: each platform has a node of its own anyway.
mab bake hello --push

# One architecture under a tag of its own, then the other.
mab bake hello --platform linux/amd64 --set "hello.tags=$REGISTRY/hello:1.0-amd64" --push
mab bake hello --platform linux/arm64 --set "hello.tags=$REGISTRY/hello:1.0-arm64" --push

# Two machines, one per architecture, and a third that combines what they made: parts in place of a manifest by hand.
mab bake hello --platform linux/amd64 --push --part "$PARTS/"
mab bake hello --platform linux/arm64 --push --part "$PARTS/"
mab merge hello "$PARTS/" --push --set "hello.tags=$REGISTRY/hello:1.0"

# What git and CI would tag it with, without building.
mab tags release --fact tag=v1.2.3
