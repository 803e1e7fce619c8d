# Runs in each platform's image: it has the settings of the machine that it runs on.
set -eu
case "$(uname -m)" in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
esac
grep -q "\"architecture\": \"$architecture\"" /etc/site.json
