# Sourced by scripts that fetch packages of other architectures: apt with lists and a cache of its own, which writes
# nothing of the system's. The caller has a function `fail`.

# Debian's name of an architecture to OCI's, with the variant after a slash.
oci_architecture() {
    case $1 in
    amd64 | arm64 | riscv64 | s390x | loong64) echo "$1" ;;
    i386) echo 386 ;;
    armhf) echo arm/v7 ;;
    armel) echo arm/v5 ;;
    ppc64el) echo ppc64le ;;
    mips64el) echo mips64le ;;
    *) fail "architecture \`$1\` is not known here" ;;
    esac
}

# write_apt_configuration FOLDER ARCHITECTURE...: FOLDER/apt.conf, for the first architecture and the further ones, on
# a system where nothing is installed. FOLDER is absolute.
write_apt_configuration() {
    local folder=$1
    shift
    mkdir -p "$folder"/{lists,cache/archives}/partial
    : >"$folder/status"
    cat >"$folder/apt.conf" <<CONFIGURATION
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "$1";
APT::Architectures { $(printf '"%s"; ' "$@") };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Debug::NoLocking "1";
Dir::State "$folder";
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
CONFIGURATION
}

# write_sources FOLDER ARCHITECTURE...: on Ubuntu the architectures live on two mirrors, and the system's sources name
# only its own: the other is named by MAB_FOREIGN_MIRROR.
write_sources() {
    local folder=$1 architecture mirror id codename native
    shift
    # shellcheck disable=SC1091
    id=$(. /etc/os-release && echo "$ID") codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
    [[ $id == ubuntu ]] || return 0
    native=$(dpkg --print-architecture)
    mkdir -p "$folder/sources.list.d"
    for architecture in "$@"; do
        case $architecture in
        "$native") continue ;;
        *) mirror=${MAB_FOREIGN_MIRROR:?on Ubuntu, name the mirror that has $architecture, as in a "deb" line} ;;
        esac
        echo "deb [arch=$architecture signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg]" \
            "$mirror $codename main" >>"$folder/sources.list"
    done
    [[ -f $folder/sources.list ]] || return 0
    echo "Dir::Etc::sourcelist \"$folder/sources.list\";" >>"$folder/apt.conf"
    echo "Dir::Etc::sourceparts \"$folder/sources.list.d\";" >>"$folder/apt.conf"
}
