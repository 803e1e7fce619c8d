//! What this machine offers to tests, and how a test says that it cannot run here.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says, where somebody looks, that a test did not run.
pub fn skip(what: &str) {
    eprintln!("skipped: {what}");
    if let Some(path) = std::env::var_os("MAB_TEST_SKIPS") {
        let mut file =
            OpenOptions::new().append(true).create(true).open(path).expect("the skips are writable");
        // In one write, since tests run beside each other.
        file.write_all(format!("{what}\n").as_bytes()).expect("the skips are writable");
    }
}

/// The OCI layout with busybox for two architectures that `scripts/base-image` makes.
pub fn base() -> Option<PathBuf> {
    made("MAB_TEST_BASE", "busybox", "index.json", "what builds from a base image: run scripts/base-image")
}

/// What a script makes into a folder that a variable names, or into `.base`.
fn made(variable: &str, name: &str, file: &str, what: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let made = given.unwrap_or_else(|| repository().join(".base").join(name));
    if made.join(file).is_file() {
        return Some(made);
    }
    skip(what);
    None
}

/// An OCI layout with busybox for arm64, arm/v7, ppc64le and s390x.
pub fn foreign_base() -> Option<PathBuf> {
    let what = "what builds for many processors: run scripts/base-image --output .base/foreign amd64 arm64 armhf ppc64el s390x";
    made("MAB_TEST_FOREIGN", "foreign", "index.json", what)
}

/// Root file systems of real packages: `amd64.tar` and so on.
pub fn real_roots() -> Option<PathBuf> {
    made("MAB_TEST_REAL", "real", "whole", "what looks at real packages: run scripts/real-roots")
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a command stands where a clean PATH finds it.
pub fn has(command: &str) -> bool {
    std::env::split_paths(PATH).any(|folder| folder.join(command).is_file())
}

/// Whether a command is there; if not, the test is skipped aloud.
pub fn needs(command: &str) -> bool {
    let has = has(command);
    if !has {
        skip(&format!("what needs `{command}`"));
    }
    has
}

/// Whether this user may do anything; if not, the test is skipped aloud.
pub fn needs_root() -> bool {
    if !is_root() {
        skip("what needs root");
    }
    is_root()
}

/// Whether files can be given to other users here: by root, or by somebody with subordinate ids.
pub fn has_ids() -> bool {
    let id = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = users.find(|fields| fields.get(2) == Some(&id.as_str())).map(|fields| fields[0].to_string());
    let ranges = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
    let owners: Vec<&str> = ranges.lines().filter_map(|line| line.split(':').next()).collect();
    let is_listed = owners.iter().any(|owner| Some(*owner) == name.as_deref() || *owner == id);
    is_root() || has("newuidmap") && is_listed
}

/// The base, for a test whose Dockerfile gives files to other users.
pub fn base_with_ids() -> Option<PathBuf> {
    if !has_ids() {
        skip("what gives files to other users: this user has no subordinate ids");
        return None;
    }
    base()
}

/// Where `mab` looks for programs in tests.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
