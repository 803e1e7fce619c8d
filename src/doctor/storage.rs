//! The store, and the file system it lies on.

use std::path::Path;

use super::{Check, Finding, Fix, Level, Trouble};
use crate::diag::Problem;
use crate::store::free_space;

/// Below this a build of some size ends with a full disk.
const LITTLE_SPACE: u64 = 2 << 30;
/// An image of a distribution has that many files, times ten.
const FEW_INODES: u64 = 200_000;

/// Judges whether the store can be opened.
pub fn store(path: &Path, opened: Result<(), &Problem>) -> Finding {
    let place = path.display();
    match opened {
        Ok(()) => Finding::good(
            Check::Store,
            format!("`{place}`{}", if can_clone(path) { ", shares blocks" } else { "" }),
        ),
        Err(problem) => {
            let remedy =
                problem.help.clone().unwrap_or_else(|| "name another folder with `--store`".to_string());
            let trouble = Trouble::new("no build starts", problem.message.clone(), remedy);
            Finding::bad(Level::Error, Check::Store, format!("`{place}` cannot be used"), trouble)
        }
    }
}

/// What a file system has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub inodes: u64,
    /// Nothing counts inodes where there are none, as on btrfs.
    pub has_inodes: bool,
    pub is_reserve_used: bool,
}

impl Space {
    /// Of the file system of a folder, or of the nearest one above it that exists.
    pub fn of(path: &Path) -> Option<Self> {
        let folder = path.ancestors().find(|folder| folder.exists())?;
        let state = rustix::fs::statvfs(folder).ok()?;
        Some(Self {
            free: state.f_bavail.saturating_mul(state.f_frsize),
            inodes: state.f_favail,
            has_inodes: state.f_files > 0,
            is_reserve_used: free_space::shortage(folder).is_some(),
        })
    }
}

/// Judges what is left; `size` renders bytes.
pub fn disk(space: Option<Space>, store: &Path, size: fn(u64) -> String) -> Finding {
    let Some(space) = space else {
        return Finding::note(Check::Disk, "this file system does not tell what is left");
    };
    let inodes = if space.has_inodes { format!(", {} inodes", space.inodes) } else { String::new() };
    let said = format!("{} free{inodes}", size(space.free));
    let few_inodes = space.has_inodes && space.inodes < FEW_INODES;
    let level = match space {
        Space { is_reserve_used: true, .. } | Space { has_inodes: true, inodes: 0..1000, .. } => Level::Error,
        _ if space.free < LITTLE_SPACE || few_inodes => Level::Warning,
        _ => return Finding::good(Check::Disk, said),
    };
    let symptom = match level {
        Level::Error => "builds fail, with `store::full`",
        _ => "a larger build fails, with `store::full`",
    };
    let test = format!("what the file system of `{}` has left", store.display());
    let trouble = Trouble::new(symptom, test, "mab prune --unused-for 2").fixed_by(Fix::Prune);
    Finding::bad(level, Check::Disk, said, trouble)
}

/// Whether files of this folder can share their blocks, tried with two of them.
#[cfg(target_os = "linux")]
fn can_clone(folder: &Path) -> bool {
    use std::fs::File;
    use std::io::Write as _;

    let pair = || -> std::io::Result<(File, File)> {
        let (mut from, to) = (tempfile::tempfile_in(folder)?, tempfile::tempfile_in(folder)?);
        from.write_all(b"shared")?;
        Ok((from, to))
    };
    pair().is_ok_and(|(from, to)| rustix::fs::ioctl_ficlone(&to, &from).is_ok())
}

#[cfg(not(target_os = "linux"))]
fn can_clone(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_space_warns_and_none_fails() {
        let plenty = Space { free: 1 << 40, inodes: 1 << 30, has_inodes: true, is_reserve_used: false };
        for (space, level) in [
            (plenty, Level::Good),
            (Space { free: 1 << 30, ..plenty }, Level::Warning),
            (Space { inodes: 5000, ..plenty }, Level::Warning),
            (Space { inodes: 0, has_inodes: false, ..plenty }, Level::Good),
            (Space { inodes: 10, ..plenty }, Level::Error),
            (Space { is_reserve_used: true, ..plenty }, Level::Error),
        ] {
            let found = disk(Some(space), Path::new("/s"), |bytes| bytes.to_string());
            assert_eq!(found.level, level, "{space:?}");
        }
    }
}
