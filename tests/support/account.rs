//! An ordinary user that this machine need not know: an id, with or without subordinate ids.
//!
//! `/etc/passwd`, `/etc/subuid` and `/etc/subgid` are ours only in the mount namespace the program runs in.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::surroundings::{base, needs, needs_root};

/// In no distribution's range for anybody.
const ID: u32 = 54_321;

pub struct Account {
    /// The program and what else must be readable for everybody.
    shared: TempDir,
}

impl Account {
    /// A user who can own files as root only.
    pub fn plain() -> Option<Self> {
        (needs_root() && needs("setpriv") && needs("unshare")).then(|| Self::new(false))
    }

    /// A user with 65536 subordinate ids.
    pub fn with_subordinate_ids() -> Option<Self> {
        (needs_root() && needs("setpriv") && needs("unshare") && needs("newuidmap")).then(|| Self::new(true))
    }

    fn new(subordinate: bool) -> Self {
        let shared =
            tempfile::Builder::new().prefix("mab-test-").tempdir().expect("there is a place for files");
        let path = |name: &str| shared.path().join(name);
        fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        fs::copy(env!("CARGO_BIN_EXE_mab"), path("mab")).expect("the program is readable");
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = format!("{passwd}\nmab-account:x:{ID}:{ID}::/:/bin/sh\n");
        fs::write(path("passwd"), user).expect("it is ours");
        let range = if subordinate { "mab-account:700000:65536\n" } else { "" };
        fs::write(path("subids"), range).expect("it is ours");
        Self { shared }
    }

    pub fn program(&self) -> PathBuf {
        self.shared.path().join("mab")
    }

    /// The base image where this user can read it.
    pub fn base(&self) -> Option<PathBuf> {
        let copy = self.shared.path().join("base");
        super::project::copy_tree(&base()?, &copy);
        Some(copy)
    }

    pub fn wrappers(&self) -> Vec<Vec<OsString>> {
        let script = "mount --bind \"$0/passwd\" /etc/passwd || exit 99; for f in /etc/subuid /etc/subgid; do \
                      [ -e $f ] || continue; mount --bind \"$0/subids\" $f || exit 99; done; exec \"$@\"";
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let shared = self.shared.path().display().to_string();
        vec![words(&["unshare", "--mount", "sh", "-c", script, &shared]), switch().to_vec()]
    }
}

/// What starts a command as the account.
pub fn switch() -> [OsString; 4] {
    let (user, group) = (format!("--reuid={ID}"), format!("--regid={ID}"));
    ["setpriv", &user, &group, "--clear-groups"].map(OsString::from)
}

/// Makes everything below a folder the account's own.
pub fn give(folder: &Path) {
    let own = |path: &Path| lchown(path, Some(ID), Some(ID)).expect("root may give files away");
    own(folder);
    for entry in fs::read_dir(folder).expect("it is a folder").flatten() {
        let path = entry.path();
        own(&path);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            give(&path);
        }
    }
}
