//! `multiarch.lock` on disk: read with bounds, written as a whole or not at all.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Failure;
use super::session::SessionOptions;
use crate::config::{Disk, Files as _};
use crate::diag::{Kind, Problem, Source};
use crate::facts::Facts;
use crate::lock::{FILE_NAME, Lock, Pins, Rule};

/// The lock in `folder`, if there is one.
pub(super) fn read(folder: &Path, facts: &Facts) -> Result<Option<Lock>, Failure> {
    let path = folder.join(FILE_NAME);
    match Disk.read(&path) {
        Ok(text) => Lock::parse(&Source::new(shown(&path, facts), text)).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("cannot read `{}`: {error}", shown(&path, facts));
            Err(vec![Problem::input("lock::unreadable", message)])
        }
    }
}

/// What a run that builds takes from the lock in `folder`.
pub(super) fn pins(folder: &Path, options: &SessionOptions, facts: &Facts) -> Result<Pins, Failure> {
    let rule = if options.is_locked { Rule::Strict } else { Rule::Open };
    match read(folder, facts)? {
        Some(lock) => Ok(Pins::new(lock, rule)),
        None if options.is_locked => {
            let message = format!("there is no `{}`", shown(&folder.join(FILE_NAME), facts));
            Err(vec![Problem::input("lock::none", message).help("`mab lock` writes it")])
        }
        None => Ok(Pins::default()),
    }
}

/// Puts the lock in its place, unless it is there already; whether it was written.
pub(super) fn write(folder: &Path, lock: &Lock, facts: &Facts) -> Result<bool, Failure> {
    let (path, text) = (folder.join(FILE_NAME), lock.to_string());
    if Disk.read(&path).is_ok_and(|known| known == text) {
        return Ok(false);
    }
    // As other files of a project: whoever may read the folder may read it.
    let mut builder = tempfile::Builder::new();
    let file =
        builder.prefix(".multiarch.lock.").permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
    let written = file.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)
    });
    written.map(|_| true).map_err(|error| {
        let message = format!("cannot write `{}`: {error}", shown(&path, facts));
        vec![Problem::new(Kind::Host, "lock::unwritable", message)]
    })
}

fn shown(path: &Path, facts: &Facts) -> String {
    path.strip_prefix(&facts.directories.current).unwrap_or(path).display().to_string()
}
