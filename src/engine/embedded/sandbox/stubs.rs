//! Mount points that a root file system lacks: made before a step, gone after it.
//!
//! A bind mount needs a file to cover. Making one in the overlay also copies the parent directories up, and all
//! of that would end in the layer. So every stub, and the state of every directory above it, is written down;
//! after the step an empty stub is removed again, times of its parents are put back, and directories that are
//! in the upper directory for no other reason leave it. BuildKit does the same for files and mounts but leaves
//! `/proc`, `/sys` and `/dev` in the layer of a base without them; here they go too.
//!
//! The command may have put anything in the upper directory, so no symbolic link is followed there.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, UTIME_OMIT, openat2, statat,
    unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::{Doing, Failure};
use super::wire::{bytes, bytes_list};

/// What was made, in the order of making, and what the directories above it looked like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stubs {
    /// Relative to the root.
    #[serde(with = "bytes_list")]
    made: Vec<PathBuf>,
    parents: Vec<Parent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Parent {
    #[serde(with = "bytes")]
    path: PathBuf,
    was_in_upper: bool,
    looks: Looks,
}

/// What makes a directory a change even if nothing in it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Looks {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl Stubs {
    /// To be called before something is made at `path`: notes the directories above it.
    pub fn note(&mut self, root: &Path, upper: &Path, path: &Path) -> Result<(), Failure> {
        for ancestor in path.ancestors().skip(1) {
            let known =
                self.parents.iter().any(|p| p.path == ancestor) || self.made.iter().any(|p| p == ancestor);
            if known {
                continue;
            }
            let merged = root.join(ancestor);
            let looks = Looks::of(&merged).doing(|| format!("look at `/{}`", ancestor.display()))?;
            let was_in_upper = std::fs::symlink_metadata(upper.join(ancestor)).is_ok();
            self.parents.push(Parent { path: ancestor.to_owned(), was_in_upper, looks });
        }
        self.made.push(path.to_owned());
        Ok(())
    }

    /// To be called before the command runs: parents look as if nothing had been made in them.
    pub fn restore_times(&self, root: &Path) -> Result<(), Failure> {
        for parent in self.direct_parents() {
            let path = root.join(&parent.path);
            set_mtime(rustix::fs::CWD, &path, parent.looks.mtime)
                .doing(|| format!("restore the time of `/{}`", parent.path.display()))?;
        }
        Ok(())
    }

    fn direct_parents(&self) -> impl Iterator<Item = &Parent> {
        let holds_stub = |p: &&Parent| self.made.iter().any(|made| made.parent() == Some(p.path.as_path()));
        self.parents.iter().filter(holds_stub)
    }

    /// To be called when every process of the step is gone: removes what is still as it was made.
    pub fn remove_from(&self, upper: &Path) -> Result<(), Failure> {
        if self.made.is_empty() {
            return Ok(());
        }
        let tidy = || -> Result<(), Errno> {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let upper = rustix::fs::open(upper, flags, Mode::empty())?;
            for path in self.made.iter().rev() {
                remove_keeping_time(&upper, path, |found| {
                    found == FileType::Directory || found == FileType::RegularFile
                })?;
            }
            let mut parents: Vec<&Parent> = self.parents.iter().filter(|p| !p.was_in_upper).collect();
            parents.sort_by_key(|parent| std::cmp::Reverse(parent.path.components().count()));
            for parent in parents.into_iter().filter(|p| !p.path.as_os_str().is_empty()) {
                if looks_in(&upper, &parent.path)?.as_ref() == Some(&parent.looks) {
                    remove_keeping_time(&upper, &parent.path, |found| found == FileType::Directory)?;
                }
            }
            Ok(())
        };
        tidy().doing(|| "remove the step's mount points".into())
    }
}

impl Looks {
    fn of(path: &Path) -> std::io::Result<Self> {
        let stat = rustix::fs::lstat(path)?;
        Ok(Self { xattrs: xattrs_of(path)?, ..Self::of_stat(&stat) })
    }

    fn of_stat(stat: &Stat) -> Self {
        Self {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: mtime_of(stat),
            xattrs: BTreeMap::new(),
        }
    }
}

#[expect(clippy::unnecessary_cast, reason = "the field's type differs between architectures")]
fn mtime_of(stat: &Stat) -> (i64, i64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64)
}

/// Extended attributes but for overlay's own, which the merged view hides.
fn xattrs_of(path: &Path) -> std::io::Result<BTreeMap<String, Vec<u8>>> {
    let mut names = vec![0u8; 64 * 1024];
    let length = match rustix::fs::llistxattr(path, &mut names) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.") {
            continue;
        }
        let mut value = vec![0u8; 64 * 1024];
        let length = rustix::fs::lgetxattr(path, name, &mut value)?;
        value.truncate(length);
        found.insert(String::from_utf8_lossy(name).into_owned(), value);
    }
    Ok(found)
}

/// How the directory looks in the upper directory; `None` if it is not there or is no directory.
fn looks_in(upper: &OwnedFd, path: &Path) -> Result<Option<Looks>, Errno> {
    let Some(directory) = open_beneath(upper, path)? else { return Ok(None) };
    let stat = rustix::fs::fstat(&directory)?;
    let by_descriptor = format!("/proc/self/fd/{}/.", std::os::fd::AsRawFd::as_raw_fd(&directory));
    let xattrs = xattrs_of(Path::new(&by_descriptor)).unwrap_or_default();
    Ok(Some(Looks { xattrs, ..Looks::of_stat(&stat) }))
}

/// Removes an empty file or directory of an accepted type, and puts its parent's time back.
fn remove_keeping_time(
    upper: &OwnedFd,
    path: &Path,
    accepted: impl Fn(FileType) -> bool,
) -> Result<(), Errno> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let Some(parent) = open_beneath(upper, parent)? else { return Ok(()) };
    let found = match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        found => found?,
    };
    let kind = FileType::from_raw_mode(found.st_mode);
    let is_directory = kind == FileType::Directory;
    if !accepted(kind) || (!is_directory && found.st_size != 0) {
        return Ok(());
    }
    let mtime = mtime_of(&rustix::fs::fstat(&parent)?);
    match unlinkat(&parent, name, if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() }) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
        removed => removed?,
    }
    set_mtime(&parent, Path::new("."), mtime)
}

/// The directory, if it is one and no symbolic link leads to it.
fn open_beneath(upper: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    if path.as_os_str().is_empty() {
        return upper.try_clone().map(Some).map_err(|_| Errno::MFILE);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(upper, path, flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn set_mtime(directory: impl AsFd, path: &Path, (seconds, nanoseconds): (i64, i64)) -> Result<(), Errno> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ },
    };
    utimensat(directory, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A root seen directly as its own upper directory is enough for everything but copying up.
    struct Scene {
        root: tempfile::TempDir,
        upper: tempfile::TempDir,
        stubs: Stubs,
    }

    impl Scene {
        /// `/etc` is in a lower layer; the stub's making copied it up.
        fn with_stub(path: &str) -> Self {
            let (root, upper) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir_all(root.path().join("etc/deep")).unwrap();
            let mut stubs = Stubs::default();
            stubs.note(root.path(), upper.path(), Path::new(path)).unwrap();
            let parent = Path::new(path).parent().unwrap();
            fs::create_dir_all(upper.path().join(parent)).unwrap();
            fs::write(upper.path().join(path), "").unwrap();
            for ancestor in parent.ancestors() {
                let mtime = mtime_of(&rustix::fs::lstat(root.path().join(ancestor)).unwrap());
                set_mtime(rustix::fs::CWD, &upper.path().join(ancestor), mtime).unwrap();
            }
            Self { root, upper, stubs }
        }

        fn upper(&self, path: &str) -> PathBuf {
            self.upper.path().join(path)
        }

        fn tidy(&self) {
            self.stubs.remove_from(self.upper.path()).unwrap();
        }
    }

    #[test]
    fn an_untouched_stub_leaves_no_trace() {
        let scene = Scene::with_stub("etc/deep/hosts");
        scene.tidy();
        assert!(fs::read_dir(scene.upper.path()).unwrap().next().is_none());
        assert!(scene.root.path().join("etc/deep").is_dir());
    }

    #[test]
    fn what_the_command_changed_stays() {
        let scene = Scene::with_stub("etc/hosts");
        fs::write(scene.upper("etc/mine"), "x").unwrap();
        let mtime = fs::metadata(scene.upper("etc")).unwrap().modified().unwrap();
        scene.tidy();
        assert!(!scene.upper("etc/hosts").exists());
        assert_eq!(fs::metadata(scene.upper("etc")).unwrap().modified().unwrap(), mtime);

        let scene = Scene::with_stub("etc/hosts");
        rustix::fs::chmod(scene.upper("etc"), Mode::from(0o700)).unwrap();
        scene.tidy();
        assert!(scene.upper("etc").exists() && !scene.upper("etc/hosts").exists());

        let scene = Scene::with_stub("etc/hosts");
        fs::write(scene.upper("etc/hosts"), "content").unwrap();
        scene.tidy();
        assert_eq!(fs::read(scene.upper("etc/hosts")).unwrap(), b"content");
    }

    #[test]
    fn links_in_the_upper_directory_are_not_followed() {
        let scene = Scene::with_stub("etc/hosts");
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("hosts"), "").unwrap();
        fs::remove_dir_all(scene.upper("etc")).unwrap();
        symlink(outside.path(), scene.upper("etc")).unwrap();
        scene.tidy();
        assert!(outside.path().join("hosts").exists());
    }
}
