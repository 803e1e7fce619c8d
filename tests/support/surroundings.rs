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
    let given = std::env::var_os("MAB_TEST_BASE").map(PathBuf::from);
    let base = given.unwrap_or_else(|| repository().join(".base/busybox"));
    if base.join("index.json").is_file() {
        return Some(base);
    }
    skip("what builds from a base image: run scripts/base-image");
    None
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
