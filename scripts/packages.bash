# Sourced by the other scripts: finds commands, and installs the distribution's packages where that is possible.
#
# Installing needs apt and root. Elsewhere what is missing is named, with the command that brings it, and the
# caller decides whether it can go on.

# Everything asked for and not had, one line each.
missing_packages=()

# Is the command on the path, or in the folders an ordinary user's path leaves out?
have() {
    command -v "$1" >/dev/null 2>&1 || [[ -x /usr/sbin/$1 || -x /sbin/$1 ]]
}

can_install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1
}

# want COMMAND=PACKAGE...: installs the packages whose commands are missing.
want() {
    local pair packages=()
    for pair in "$@"; do
        have "${pair%%=*}" || packages+=("${pair#*=}")
    done
    [[ ${#packages[@]} == 0 ]] && return 0
    if can_install; then
        echo "installing ${packages[*]}" >&2
        apt_install "${packages[@]}" || true
    fi
    for pair in "$@"; do
        have "${pair%%=*}" || missing_packages+=("${pair%%=*} (package ${pair#*=}: sudo apt-get install ${pair#*=})")
    done
}

# All in one go, then with fresh lists, then one by one, for a distribution that lacks one of them.
apt_install() {
    apt_quietly "$@" && return 0
    apt-get update -qq >&2 || echo "apt-get update complained; going on with the lists there are" >&2
    apt_quietly "$@" && return 0
    local package failed=0
    for package in "$@"; do
        apt_quietly "$package" || { echo "could not install $package" >&2; failed=1; }
    done
    return "$failed"
}

# Nothing asks a question, and where invoke-rc.d decides, runlevel 1 keeps packages from starting their services.
apt_quietly() {
    local log
    log=$(mktemp)
    if RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
        return 0
    fi
    grep -E '^E:' "$log" >&2 || tail -n 3 "$log" >&2
    rm -f "$log"
    return 1
}

say_what_is_missing() {
    local line
    for line in ${missing_packages[@]+"${missing_packages[@]}"}; do
        echo "missing: $line" >&2
    done
}
