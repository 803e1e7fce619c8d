#!/bin/sh
# What people do when a build for another platform fails: look at emulators and builders, build again with all that is said,
# keep the log.
set -eu
cd "$(dirname "$0")/../pipelines"
: "${REGISTRY:=ghcr.io/example}" "${BASE:=docker-image://busybox:1.37}" "${LOG:=build.log}"

# docker run --privileged qemu-user-static --reset, ls /proc/sys/fs/binfmt_misc: a program is run for each platform, and what
# is missing is told with the command that helps. `mab doctor` alone tries everything else, too.
mab doctor binfmt platform --platform linux/arm64
# buildx ls, buildx inspect --bootstrap. Nothing has to be created: this machine is one.
mab builder ls
# Mistakes that show on the other platform only, with their lines, before anything is built.
mab check --var base="$BASE"
# buildx build --platform linux/arm64 --progress=plain --no-cache . 2>&1 | tee build.log
mab bake hello --platform linux/arm64 --no-cache --progress plain --var registry="$REGISTRY" --var base="$BASE" 2> "$LOG"
# Why would something be built again?
mab plan hello --explain --var registry="$REGISTRY" --var base="$BASE"
