#!/bin/sh
# An image tried on every platform before anybody relies on it. Nothing is registered on the machine for it, and no daemon
# pulls anything: what is not native runs in qemu, which the user needs no root for.
set -eu
cd "$(dirname "$0")"
: "${NAME:=ghcr.io/example/hello}"

# docker run --platform linux/arm64 IMAGE; without --platform it is this machine's own
mab run --platform linux/arm64 "$NAME:1.0"
# docker run --platform linux/arm64 IMAGE uname -m
mab run --platform linux/arm64 "$NAME:1.0" -- uname -m
# for arch in …; do docker run --platform $arch IMAGE ./verify-platform.sh; done
mab run --all-platforms -v "$PWD/verify-platform.sh:/verify-platform.sh:ro" "$NAME:1.0" -- sh /verify-platform.sh
# Is every program in it for the platform that the image says? Emulation hides that; this runs nothing.
mab verify "$NAME:1.0"
# What a command takes on each platform; emulated ones are marked.
mab bench --rounds 3 "$NAME:1.0" -- sha256sum /bin/busybox
