//! Mounting inside a root that nobody may be trusted to have laid out well.
//!
//! Targets are found component by component from the root's descriptor, symbolic links included, so that no link
//! of an image leads out of it; what is missing is made and noted as a stub. Everything is mounted `nodev`.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, openat2,
    readlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::error::{Doing, Failure};
use super::helper::Layout;
use super::overlay::Overlay;
use super::request::{Changes, Mount};
use super::stubs::Stubs;
use super::syscall;

/// The bits of `mount_setattr`, equal to those of `fsmount`.
pub(super) const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;
pub(super) const NO_SETUID: u64 = MountAttrFlags::MOUNT_ATTR_NOSUID.bits() as u64;
pub(super) const NO_DEVICES: u64 = MountAttrFlags::MOUNT_ATTR_NODEV.bits() as u64;
pub(super) const NO_EXECUTION: u64 = MountAttrFlags::MOUNT_ATTR_NOEXEC.bits() as u64;

/// More symbolic links than this in one path are a loop; the kernel says 40.
const MAX_LINKS: usize = 40;
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Puts a detached mount at a path of this mount namespace.
pub(super) fn attach(mount: impl AsFd, target: &Path) -> Result<(), Errno> {
    move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A new, detached instance of a file system.
pub(super) fn new_filesystem(
    kind: &str,
    options: &[(&str, String)],
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", kind)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, value.as_str())?;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::from_bits_retain(attributes as u32))
}

/// A detached copy of what is mounted at a path, with attributes added.
pub(super) fn copy_of(path: &Path, recursive: bool, attributes: u64) -> Result<OwnedFd, Errno> {
    copy_at(CWD, path, recursive, attributes)
}

pub(super) fn copy_at(
    directory: impl AsFd,
    path: &Path,
    recursive: bool,
    attributes: u64,
) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let whole = flags | OpenTreeFlags::AT_RECURSIVE;
    let (copy, recursive) = match open_tree(&directory, path, if recursive { whole } else { flags }) {
        // Mounts that came from a more privileged namespace cannot be parted from what is mounted on them.
        Err(Errno::INVAL) if !recursive => (open_tree(&directory, path, whole)?, true),
        copy => (copy?, recursive),
    };
    if attributes != 0 {
        let set = syscall::set_mount_attributes(&copy, attributes, recursive);
        set.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    }
    Ok(copy)
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
}

/// A root file system being furnished.
pub(super) struct Root<'a> {
    /// Where it is mounted in this mount namespace.
    pub path: &'a Path,
    pub upper: &'a Path,
    /// Where inline files are kept.
    pub files: &'a Path,
    /// An empty directory.
    empty: &'a Path,
    descriptor: OwnedFd,
    pub stubs: Stubs,
    files_mounted: usize,
}

impl<'a> Root<'a> {
    pub fn open(layout: &'a Layout, upper: &'a Path) -> Result<Self, Failure> {
        let Layout { root: path, files, empty, .. } = layout;
        let descriptor = openat(CWD, path, DIRECTORY, Mode::empty()).doing(|| "open the root".into())?;
        Ok(Self { path, upper, files, empty, descriptor, stubs: Stubs::default(), files_mounted: 0 })
    }

    /// Mounts something detached at a path inside, which is made if it is missing.
    pub fn mount(&mut self, mount: impl AsFd, target: &Path, kind: Kind) -> Result<(), Failure> {
        let place = self.locate(target, kind)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, "", &place, "", flags).doing(|| format!("mount `{}`", target.display()))
    }

    /// Makes a directory that is missing.
    pub fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        self.locate(path, Kind::Directory).map(drop)
    }

    /// From here on nothing outside of mounts can be changed.
    pub fn freeze(&self) -> Result<(), Failure> {
        syscall::set_mount_attributes(&self.descriptor, READ_ONLY, false)
            .doing(|| "make the root read-only".into())
    }

    /// Makes one of the mounts a step asked for.
    pub fn add(&mut self, mount: &Mount) -> Result<(), Failure> {
        match mount {
            Mount::Bind { source, target, readonly, recursive } => {
                let attributes = NO_DEVICES | if *readonly { READ_ONLY } else { 0 };
                self.bind(source, target, *recursive, attributes)
            }
            Mount::Tmpfs { target, size, mode } => {
                let mut options = vec![("mode", format!("{mode:o}"))];
                options.extend(size.map(|size| ("size", size.to_string())));
                let tmpfs = new_filesystem("tmpfs", &options, NO_DEVICES | NO_SETUID)
                    .doing(|| format!("mount a tmpfs at `{}`", target.display()))?;
                self.mount(tmpfs, target, Kind::Directory)
            }
            Mount::File { content, target, mode, uid, gid } => {
                self.inline_file(content, target, *mode, Some((*uid, *gid)))
            }
            Mount::Script { content, target } => {
                let path = self.inline(content, target, 0o755, None)?;
                self.bind(&path, target, false, NO_DEVICES | NO_SETUID | READ_ONLY)
            }
            Mount::Tree { lowers, source, target, changes } => {
                let tree = self.tree(lowers, source, changes.as_ref());
                let tree = tree.doing(|| format!("mount `{}`", target.display()))?;
                let kind = kind_of(&tree).doing(|| format!("mount `{}`", target.display()))?;
                self.mount(tree, target, kind)
            }
            Mount::Socket { source, target, mode, uid, gid } => {
                let action = || format!("hand over the socket for `{}`", target.display());
                std::os::unix::fs::chown(source, Some(*uid), Some(*gid)).doing(action)?;
                rustix::fs::chmod(source, Mode::from_bits_retain(mode & 0o7777)).doing(action)?;
                self.bind(source, target, false, NO_DEVICES | NO_SETUID | NO_EXECUTION)
            }
        }
    }

    /// A part of what layers show, detached.
    fn tree(&self, lowers: &[PathBuf], source: &Path, changes: Option<&Changes>) -> io::Result<OwnedFd> {
        // An overlay that cannot be written to wants two layers.
        let lowers: Vec<PathBuf> = lowers.iter().cloned().chain([self.empty.to_path_buf()]).collect();
        let attributes = NO_DEVICES | if changes.is_some() { 0 } else { READ_ONLY };
        if lowers.len() == 1 && changes.is_none() {
            return Ok(copy_of(self.empty, false, attributes)?);
        }
        let changes = changes.map(|changes| (changes.upper.as_path(), changes.work.as_path()));
        // Made where everybody can, then moved, because the old mount call knows only paths.
        let overlay = Overlay { lowers: &lowers, changes };
        overlay.mount_at(self.files).map_err(|failure| io::Error::other(failure.to_string()))?;
        let part = part_of(self.files, source, attributes);
        rustix::mount::unmount(self.files, rustix::mount::UnmountFlags::DETACH)?;
        Ok(part?)
    }

    pub fn bind(
        &mut self,
        source: &Path,
        target: &Path,
        recursive: bool,
        attributes: u64,
    ) -> Result<(), Failure> {
        let action = || format!("mount `{}` at `{}`", source.display(), target.display());
        let copy = copy_of(source, recursive, attributes).doing(action)?;
        let kind = kind_of(&copy).doing(action)?;
        self.mount(copy, target, kind)
    }

    /// A read-only file with these bytes, kept in memory.
    pub fn inline_file(
        &mut self,
        content: &[u8],
        target: &Path,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<(), Failure> {
        let path = self.inline(content, target, mode, owner)?;
        self.bind(&path, target, false, NO_DEVICES | NO_SETUID | NO_EXECUTION | READ_ONLY)
    }

    /// Where such a file is before it is mounted.
    fn inline(
        &mut self,
        content: &[u8],
        target: &Path,
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> Result<PathBuf, Failure> {
        let action = || format!("write `{}`", target.display());
        if self.files_mounted == 0 {
            let options = [("mode", "700".to_string())];
            let tmpfs = new_filesystem("tmpfs", &options, NO_DEVICES | NO_SETUID).doing(action)?;
            attach(&tmpfs, self.files).doing(action)?;
        }
        self.files_mounted += 1;
        let path = self.files.join(self.files_mounted.to_string());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(CWD, &path, flags, Mode::from(0o600)).doing(action)?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).doing(action)?;
        }
        fchmod(&file, Mode::from_bits_retain(mode & 0o7777)).doing(action)?;
        io::Write::write_all(&mut std::fs::File::from(file), content).doing(action)?;
        Ok(path)
    }

    /// The descriptor of a path inside the root, which is made if it is missing.
    fn locate(&mut self, target: &Path, kind: Kind) -> Result<OwnedFd, Failure> {
        let shown = || format!("prepare the mount point `{}`", target.display());
        let mut place = self.start().doing(shown)?;
        let mut pending: VecDeque<OsString> = components(target);
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                place.pop();
                continue;
            }
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let found = match openat(place.directory(), &name, flags, Mode::empty()) {
                Err(Errno::NOENT) => {
                    let kind = if pending.is_empty() { kind } else { Kind::Directory };
                    self.make(&place, &name, kind)?
                }
                found => found.doing(shown)?,
            };
            match FileType::from_raw_mode(fstat(&found).doing(shown)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP).doing(shown);
                    }
                    let text = readlinkat(&found, "", Vec::new()).doing(shown)?;
                    let link = PathBuf::from(OsString::from_vec(text.into_bytes()));
                    if link.is_absolute() {
                        place = self.start().doing(shown)?;
                    }
                    for component in components(&link).into_iter().rev() {
                        pending.push_front(component);
                    }
                }
                FileType::Directory => place.push(found, &name),
                _ if pending.is_empty() => return Ok(found),
                _ => return Err(Errno::NOTDIR).doing(shown),
            }
        }
        Ok(place.into_directory())
    }

    fn start(&self) -> io::Result<Place> {
        Ok(Place { stack: vec![(self.descriptor.try_clone()?, PathBuf::new())] })
    }

    fn make(&mut self, place: &Place, name: &OsStr, kind: Kind) -> Result<OwnedFd, Failure> {
        let path = place.path().join(name);
        let shown = || format!("make the mount point `/{}`", path.display());
        self.stubs.note(self.path, self.upper, &path)?;
        if kind == Kind::Directory {
            mkdirat(place.directory(), name, Mode::from(0o755)).doing(shown)?;
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            openat(place.directory(), name, flags, Mode::from(0o644)).doing(shown)?;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(place.directory(), name, flags, Mode::empty()).doing(shown)
    }
}

/// Where a walk has come to: a directory and those above it, down from the root.
struct Place {
    stack: Vec<(OwnedFd, PathBuf)>,
}

impl Place {
    fn top(&self) -> &(OwnedFd, PathBuf) {
        self.stack.last().expect("the root is never popped")
    }

    fn directory(&self) -> &OwnedFd {
        &self.top().0
    }

    fn path(&self) -> &Path {
        &self.top().1
    }

    fn push(&mut self, directory: OwnedFd, name: &OsStr) {
        let path = self.path().join(name);
        self.stack.push((directory, path));
    }

    fn pop(&mut self) {
        if self.stack.len() > 1 {
            self.stack.pop();
        }
    }

    fn into_directory(mut self) -> OwnedFd {
        self.stack.pop().expect("the root is never popped").0
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// A detached copy of what a path leads to for a process that has `root` as its root.
fn part_of(root: &Path, source: &Path, attributes: u64) -> Result<OwnedFd, Errno> {
    let root = openat(CWD, root, DIRECTORY, Mode::empty())?;
    let source = source.strip_prefix("/").unwrap_or(source);
    if source.as_os_str().is_empty() {
        return copy_at(&root, Path::new(""), false, attributes);
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let part = openat2(&root, source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    copy_at(&part, Path::new(""), false, attributes)
}

fn kind_of(mount: &OwnedFd) -> Result<Kind, Errno> {
    let mode = fstat(mount)?.st_mode;
    Ok(if FileType::from_raw_mode(mode) == FileType::Directory { Kind::Directory } else { Kind::File })
}

/// Makes `path` the root of this mount namespace and lets go of the old one.
pub(super) fn pivot(path: &Path) -> Result<(), Failure> {
    let action = || "enter the root".to_string();
    rustix::process::chdir(path).doing(action)?;
    // The old root ends up mounted over the new one, where "." reaches it; see pivot_root(2).
    rustix::process::pivot_root(".", ".").doing(action)?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).doing(action)?;
    rustix::process::chdir("/").doing(action)
}
