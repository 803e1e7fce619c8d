#!/bin/sh
# Images and the nodes of a cluster. NODES is what `kubectl get nodes -o json` says; without `--nodes` kubectl is asked.
set -eu
cd "$(dirname "$0")"
: "${NAME:=ghcr.io/example/hello}" "${NODES:=nodes.json}" "${JOBS:=jobs.yaml}"

# kubectl get nodes -o custom-columns=…ARCH, then a look at each image: which node could not run what may come to it?
# Found here, it is no "exec format error" there.
mab k8s check -f manifests --nodes "$NODES"
# Every node its platform of the very same release, whatever becomes of the tag.
mab k8s pin manifests --diff
mab k8s pin manifests
# A Job for each platform, bound to its nodes: how fast is it there?
mab bench --kubernetes --rounds 3 "$NAME:1.0" -- sha256sum /bin/busybox > "$JOBS"
mab k8s check -f "$JOBS" --nodes "$NODES"
