//! A directory that paths of unknown origin are resolved in, and operations on single names below it.
//!
//! The kernel keeps paths inside (`openat2` with `RESOLVE_IN_ROOT`): `..` stops at the root and
//! symbolic links start over there. What is done to a name, once its directory is open, never follows
//! a link. Knows neither layers nor overlays.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat};
use rustix::io::Errno;

/// How deep a tree may nest: every level holds a file descriptor, of which there are commonly 1024.
pub(super) const DEPTH_LIMIT: usize = 500;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What becomes of symbolic links on the way to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Followed, inside the root.
    Followed,
    /// Refused with `ELOOP`.
    Refused,
}

/// The top of a tree and the rule for links in it.
pub(super) struct Root {
    fd: OwnedFd,
    resolve: ResolveFlags,
}

impl Root {
    pub(super) fn new(fd: OwnedFd, links: Links) -> Self {
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let resolve = match links {
            Links::Followed => within,
            Links::Refused => within | ResolveFlags::NO_SYMLINKS,
        };
        Self { fd, resolve }
    }

    pub(super) fn open(path: &Path, links: Links) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(path, flags, Mode::empty()).map_err(|cause| {
            let cause = io::Error::from(cause);
            io::Error::new(cause.kind(), format!("cannot open `{}`: {cause}", path.display()))
        })?;
        Ok(Self::new(fd, links))
    }

    /// The directory at `path` to act on names in; links as the root's rule says, the last one too.
    pub(super) fn parent(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    /// The directory at `path` to read and change; not when `path` itself is a link.
    pub(super) fn directory(&self, path: &[u8]) -> Result<OwnedFd, Errno> {
        self.open_at(path, DIRECTORY)
    }

    fn open_at(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        // The kernel gives EAGAIN when a rename anywhere on the machine might have moved a `..`.
        let mut attempts = 0;
        loop {
            match fs::openat2(&self.fd, path, flags, Mode::empty(), self.resolve) {
                Err(Errno::AGAIN | Errno::INTR) if attempts < 128 => attempts += 1,
                result => return result,
            }
        }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What stands at `name`, if anything does.
pub(super) fn look(parent: impl AsFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether this is overlayfs's mark that a name is gone: a character device 0:0.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    file_type(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn open_directory(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    fs::openat(parent, name, DIRECTORY, Mode::empty())
}

/// The names in a directory and what the directory says they are, in no order.
pub(super) fn names(directory: impl AsFd) -> Result<Vec<(Vec<u8>, FileType)>, Errno> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push((name.to_vec(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Removes whatever stands at `name`, with everything below it.
pub(super) fn remove_tree(parent: impl AsFd, name: &[u8]) -> Result<(), Errno> {
    if unlink(&parent, name)? == Unlinked::Yes {
        return Ok(());
    }
    let mut levels = vec![Level::open(&parent, name.to_vec())?];
    while let Some(level) = levels.last_mut() {
        let Some((name, _)) = level.names.pop() else {
            let done = levels.pop().expect("the loop has just seen it");
            let above = levels.last().map_or(parent.as_fd(), |level| level.fd.as_fd());
            fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR)?;
            continue;
        };
        if unlink(&level.fd, &name)? == Unlinked::IsDirectory {
            let below = Level::open(&level.fd, name)?;
            if levels.len() == DEPTH_LIMIT {
                return Err(Errno::NAMETOOLONG);
            }
            levels.push(below);
        }
    }
    Ok(())
}

/// A directory under removal.
struct Level {
    fd: OwnedFd,
    name: Vec<u8>,
    names: Vec<(Vec<u8>, FileType)>,
}

impl Level {
    fn open(parent: impl AsFd, name: Vec<u8>) -> Result<Self, Errno> {
        let fd = open_directory(parent, &name)?;
        let names = names(&fd)?;
        Ok(Self { fd, name, names })
    }
}

#[derive(PartialEq, Eq)]
enum Unlinked {
    Yes,
    IsDirectory,
}

fn unlink(parent: impl AsFd, name: &[u8]) -> Result<Unlinked, Errno> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(Unlinked::Yes),
        Err(Errno::ISDIR) => Ok(Unlinked::IsDirectory),
        Err(cause) => Err(cause),
    }
}

/// A path for people: what a terminal would act on is escaped.
pub(super) fn shown(path: &[u8]) -> String {
    if path.is_empty() { "/".to_string() } else { String::from_utf8_lossy(path).escape_debug().to_string() }
}

/// `cause` with what was being done to which path.
pub(super) fn failed(doing: &str, path: &[u8], cause: impl Into<io::Error>) -> io::Error {
    let cause = cause.into();
    io::Error::new(cause.kind(), format!("cannot {doing} `{}`: {cause}", shown(path)))
}
