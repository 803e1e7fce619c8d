# Runs in the image: it was built for the machine that it finds itself on.
set -eu
case "$(uname -m)" in
    x86_64) built_for=amd64 ;;
    aarch64) built_for=arm64 ;;
    *) echo "nothing is known of $(uname -m)" >&2; exit 1 ;;
esac
grep -q "built for $built_for " /hello
echo "right: $built_for"
