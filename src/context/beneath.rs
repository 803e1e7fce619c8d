//! Opening what is beneath a directory, never following a link and never leaving it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

/// Opens `path`, clean and relative, beneath `root`. An empty path is the root itself.
pub(super) fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let path = if path.is_empty() { &b"."[..] } else { path };
    match resolve::beneath(root.as_fd(), path, flags) {
        Some(opened) => opened,
        None => open_stepwise(root, path, flags),
    }
}

/// Opens the file at `path` to be read, with `root` for the root of all that links and `..` lead to.
pub fn read_in_root(root: &Path, path: &Path) -> io::Result<File> {
    let directory = File::open(root)?;
    // A pipe would block here.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    if let Some(opened) = resolve::in_root(directory.as_fd(), path, flags) {
        return Ok(opened?.into());
    }
    let path = path.as_os_str().as_encoded_bytes();
    let relative = path.iter().position(|byte| *byte != b'/').map_or(&b""[..], |start| &path[start..]);
    Ok(open_stepwise(directory, relative, flags | OFlags::NOFOLLOW)?.into())
}

/// Whole paths at once, where the kernel does that.
#[cfg(target_os = "linux")]
mod resolve {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;
    use rustix::path::Arg;

    pub fn beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Option<io::Result<OwnedFd>> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        open(root, path, flags, resolve)
    }

    pub fn in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Option<io::Result<OwnedFd>> {
        open(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn open(
        root: BorrowedFd<'_>,
        path: impl Arg + Copy,
        flags: OFlags,
        resolve: ResolveFlags,
    ) -> Option<io::Result<OwnedFd>> {
        // The kernel gives up with AGAIN when something was renamed meanwhile and it cannot be sure.
        for _ in 0..16 {
            match openat2(root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                // Kernels before 5.6, and sandboxes that know no such call.
                Err(Errno::NOSYS | Errno::PERM) => return None,
                opened => return Some(opened.map_err(io::Error::from)),
            }
        }
        None
    }
}

#[cfg(not(target_os = "linux"))]
mod resolve {
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::path::Path;

    use rustix::fs::OFlags;

    pub fn beneath(_: BorrowedFd<'_>, _: &[u8], _: OFlags) -> Option<io::Result<OwnedFd>> {
        None
    }

    pub fn in_root(_: BorrowedFd<'_>, _: &Path, _: OFlags) -> Option<io::Result<OwnedFd>> {
        None
    }
}

/// What opens a folder only to go on from there.
#[cfg(target_os = "linux")]
pub(super) const PASSING: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
pub(super) const PASSING: OFlags = OFlags::RDONLY;

fn open_stepwise(root: impl AsFd, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let mut components: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    let last = components.pop().unwrap_or(b".");
    if components.iter().chain([&last]).any(|component| *component == b"..") {
        return Err(Errno::XDEV.into());
    }
    let step = PASSING | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = openat(&root, ".", step, Mode::empty())?;
    for component in components {
        directory = openat(&directory, component, step, Mode::empty())?;
    }
    Ok(openat(&directory, last, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_in_their_root() {
        let root = tempfile::TempDir::new().unwrap();
        fs::write(root.path().join("passwd"), "inside").unwrap();
        symlink("/passwd", root.path().join("absolute")).unwrap();
        symlink("../../passwd", root.path().join("above")).unwrap();
        symlink("/etc/hostname", root.path().join("outside")).unwrap();
        for (path, expected) in [
            ("passwd", Some("inside")),
            ("/passwd", Some("inside")),
            ("../passwd", Some("inside")),
            ("absolute", Some("inside")),
            ("above", Some("inside")),
            ("outside", None),
        ] {
            let text = read_in_root(root.path(), Path::new(path)).and_then(io::read_to_string);
            assert_eq!(text.ok().as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn nothing_leads_out() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(folder.path().join("outside"), "x").unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink("/etc/passwd", root.join("passwd")).unwrap();
        let directory = File::open(&root).unwrap();
        for (path, expected) in [
            ("a/b/file", true),
            ("", true),
            ("a/b", true),
            ("link/b/file", false),
            ("passwd", false),
            ("../outside", false),
            ("a/../../outside", false),
            ("/etc/passwd", false),
        ] {
            let opened = open_beneath(&directory, path.as_bytes(), OFlags::RDONLY);
            assert_eq!(opened.is_ok(), expected, "{path}");
            if !path.starts_with('/') {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                let path = if path.is_empty() { "." } else { path };
                assert_eq!(open_stepwise(&directory, path.as_bytes(), flags).is_ok(), expected, "{path}");
            }
        }
    }
}
