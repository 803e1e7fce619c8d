//! Unpacks a layer: as a lower directory for overlayfs, or onto a tree that is in use.
//!
//! Layers are hostile. Names resolve inside the root only, a file is always made new and never opened
//! where something stood before, links are never followed at the end of a path. Replacement follows
//! containerd's apply: a directory over a directory merges, everything else replaces, whole trees
//! included. Whiteouts speak of lower layers only, in whatever order a layer has them (image-spec,
//! "Whiteouts"). Runs in a single-threaded helper: plain system calls, a fixed buffer. Knows neither
//! tar nor which layers lie below.
//!
//! Left out and counted in the report: device nodes where the kernel refuses them (user namespaces),
//! extended attributes the file system does not know or an ordinary user may not set
//! (`security.capability` excepted, whose loss would change what the image does).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::rooted::{self, DEPTH_LIMIT, Links, Root, failed, shown};
use super::{Entry, EntryKind, EntrySink};

const CAPABILITY: &[u8] = b"security.capability";
const OPAQUE: &str = "user.overlay.opaque";
/// What overlayfs keeps its own marks under: from a layer they would forge its view.
const OVERLAY_PRIVATE: [&[u8]; 2] = [b"user.overlay.", b"trusted.overlay."];
/// What is found to be all zero in this unit becomes a hole.
const HOLE: usize = 64 << 10;
const BUFFER: usize = 256 << 10;
static ZEROS: [u8; HOLE] = [0; HOLE];

/// What the layer becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A lower directory of an overlay mounted with `userxattr`. Parents must be real directories of this
    /// layer: a layer that writes through a symbolic link of its own is refused with `NotADirectory`.
    Lower,
    /// Changes to a tree that shows the lower layers. Links on the way to a name are followed inside the root.
    Merged,
}

/// What becomes of owners the kernel does not let us set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// Every owner must be mapped; one that is not fails the layer.
    Mapped,
    /// A single id is mapped: other owners are lost, and the report says so.
    Single,
}

#[derive(Clone, Copy, Debug)]
pub struct ApplyOptions {
    pub form: Form,
    pub ids: Ids,
}

/// What was done, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReport {
    pub entries: u64,
    pub skipped_devices: u64,
    pub dropped_xattrs: u64,
    /// At least one owner was left out under [`Ids::Single`].
    pub ownership_lost: bool,
    /// Directories the layer uses but does not describe, made as `0755`, `0:0`, time 0. In a lower
    /// directory they hide the mode and owner that a layer below may have.
    pub implied_directories: Vec<Vec<u8>>,
    /// The root is opaque. Overlayfs has no mark for it: the caller drops the layers below.
    pub opaque_root: bool,
}

/// Unpacks entries one after the other; [`Applier::finish`] completes directories.
pub struct Applier {
    root: Root,
    options: ApplyOptions,
    buffer: Vec<u8>,
    /// Every path this layer put here and the directories they are in.
    added: HashSet<Vec<u8>>,
    directories: BTreeMap<Vec<u8>, Finishing>,
    implied: BTreeSet<Vec<u8>>,
    recent_parent: Option<(Vec<u8>, Arc<OwnedFd>)>,
    report: ApplyReport,
}

/// A name and the open directory it is in.
struct Slot {
    parent: Arc<OwnedFd>,
    name: Vec<u8>,
}

/// What a directory gets when everything is in it.
struct Finishing {
    mtime: i64,
    /// Not what it has already, because its owner could not write into it.
    mode: Option<Mode>,
}

/// What stands in a slot after it was made ready for an entry.
#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    Directory,
    /// There was a mark of this layer that lower layers have nothing to show here.
    Whiteout,
}

impl Applier {
    pub fn new(root: OwnedFd, options: ApplyOptions) -> Self {
        let links = match options.form {
            Form::Lower => Links::Refused,
            Form::Merged => Links::Followed,
        };
        Self {
            root: Root::new(root, links),
            options,
            buffer: vec![0; BUFFER],
            added: HashSet::new(),
            directories: BTreeMap::new(),
            implied: BTreeSet::new(),
            recent_parent: None,
            report: ApplyReport::default(),
        }
    }

    pub fn open(root: &Path, options: ApplyOptions) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::open(root, flags, Mode::empty());
        let fd = fd.map_err(|cause| failed("open", root.as_os_str().as_encoded_bytes(), cause))?;
        Ok(Self::new(fd, options))
    }

    /// Gives directories their times, which writing into them changed, and modes that forbid writing.
    pub fn finish(mut self) -> io::Result<ApplyReport> {
        // Backwards by path is deepest first.
        for (path, directory) in self.directories.iter().rev() {
            let finished = match self.root.directory(path) {
                Ok(fd) => directory.finish(&fd),
                // A later entry of the layer replaced it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
                Err(cause) => Err(cause),
            };
            finished.map_err(|cause| failed("unpack", path, cause))?;
        }
        self.report.implied_directories = self.implied.into_iter().collect();
        Ok(self.report)
    }

    fn apply(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        check_path(&entry.path)?;
        match &entry.kind {
            EntryKind::Directory => self.directory(entry),
            EntryKind::Opaque => self.opaque(&entry.path),
            _ if entry.path.is_empty() => Err(invalid("a layer cannot replace the root")),
            EntryKind::Whiteout => self.whiteout(&entry.path),
            EntryKind::File { size } => self.file(entry, *size, content),
            EntryKind::Symlink { target } => self.symlink(entry, target),
            EntryKind::HardLink { target } => self.hard_link(entry, target),
            EntryKind::Fifo => self.special(entry, FileType::Fifo, 0),
            EntryKind::CharDevice { major, minor } => {
                self.device(entry, FileType::CharacterDevice, *major, *minor)
            }
            EntryKind::BlockDevice { major, minor } => {
                self.device(entry, FileType::BlockDevice, *major, *minor)
            }
        }
    }

    fn directory(&mut self, entry: &Entry) -> io::Result<()> {
        let fd = if entry.path.is_empty() {
            self.root.directory(b"")?
        } else {
            let slot = self.slot(&entry.path)?;
            self.directory_in(&slot)?
        };
        self.implied.remove(&entry.path);
        self.describe_directory(&fd, entry)
    }

    /// A directory in the slot, new unless one is there already.
    fn directory_in(&mut self, slot: &Slot) -> io::Result<OwnedFd> {
        let found = self.make_way(slot, FileType::Directory)?;
        if found != Found::Directory {
            fs::mkdirat(&slot.parent, &slot.name, Mode::from_raw_mode(0o700))?;
        }
        let fd = rooted::open_directory(&slot.parent, &slot.name)?;
        if found == Found::Whiteout {
            set_opaque(&fd)?;
        }
        Ok(fd)
    }

    fn describe_directory(&mut self, fd: &OwnedFd, entry: &Entry) -> io::Result<()> {
        self.owned(entry, |uid, gid| fs::fchown(fd, uid, gid))?;
        fs::fchmod(fd, mode(entry) | Mode::RWXU)?;
        self.attributed(entry, |name, value| fs::fsetxattr(fd, name, value, XattrFlags::empty()))?;
        let mode = (!mode(entry).contains(Mode::RWXU)).then(|| mode(entry));
        self.directories.insert(entry.path.clone(), Finishing { mtime: entry.mtime, mode });
        Ok(())
    }

    fn file(&mut self, entry: &Entry, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let slot = self.slot(&entry.path)?;
        self.make_way(&slot, FileType::RegularFile)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&slot.parent, &slot.name, flags, Mode::from_raw_mode(0o600))?);
        write_sparse(&mut file, size, content, &mut self.buffer)?;
        // Writing and changing owners drop setuid bits and capabilities, so these come afterwards.
        self.owned(entry, |uid, gid| fs::fchown(&file, uid, gid))?;
        fs::fchmod(&file, mode(entry))?;
        self.attributed(entry, |name, value| fs::fsetxattr(&file, name, value, XattrFlags::empty()))?;
        Ok(fs::futimens(&file, &times(entry.mtime))?)
    }

    fn symlink(&mut self, entry: &Entry, target: &[u8]) -> io::Result<()> {
        let slot = self.slot(&entry.path)?;
        self.make_way(&slot, FileType::Symlink)?;
        fs::symlinkat(target, &slot.parent, &slot.name)?;
        self.describe_name(&slot, entry)
    }

    fn hard_link(&mut self, entry: &Entry, target: &[u8]) -> io::Result<()> {
        check_path(target)?;
        if target == entry.path {
            return Ok(());
        }
        let missing = |cause: Errno| failed("link to", target, cause);
        let (target_parent, target_name) = split(target);
        let target_parent = self.root.parent(target_parent).map_err(missing)?;
        let slot = self.slot(&entry.path)?;
        self.make_way(&slot, FileType::RegularFile)?;
        let flags = AtFlags::empty();
        fs::linkat(&target_parent, target_name, &slot.parent, &slot.name, flags).map_err(missing)
    }

    /// A device the kernel does not let us make is left out. So is 0:0, which overlayfs would take for its
    /// own whiteout.
    fn device(&mut self, entry: &Entry, kind: FileType, major: u32, minor: u32) -> io::Result<()> {
        if (kind, major, minor) == (FileType::CharacterDevice, 0, 0) {
            self.report.skipped_devices += 1;
            return Ok(());
        }
        self.special(entry, kind, fs::makedev(major, minor))
    }

    fn special(&mut self, entry: &Entry, kind: FileType, device: u64) -> io::Result<()> {
        let slot = self.slot(&entry.path)?;
        self.make_way(&slot, kind)?;
        match fs::mknodat(&slot.parent, &slot.name, kind, Mode::from_raw_mode(0o600), device) {
            Err(Errno::PERM) if kind != FileType::Fifo => {
                self.report.skipped_devices += 1;
                return Ok(());
            }
            result => result?,
        }
        self.describe_name(&slot, entry)
    }

    /// Owner, mode, attributes and time of what has no file descriptor to set them through.
    fn describe_name(&mut self, slot: &Slot, entry: &Entry) -> io::Result<()> {
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        self.owned(entry, |uid, gid| fs::chownat(&slot.parent, &slot.name, uid, gid, nofollow))?;
        if !matches!(entry.kind, EntryKind::Symlink { .. }) {
            fs::chmodat(&slot.parent, &slot.name, mode(entry), AtFlags::empty())?;
        }
        self.attributed(entry, |name, value| {
            // There is no setxattrat before Linux 6.13.
            let mut path = format!("/proc/self/fd/{}/", slot.parent.as_raw_fd()).into_bytes();
            path.extend_from_slice(&slot.name);
            fs::lsetxattr(path, name, value, XattrFlags::empty())
        })?;
        Ok(fs::utimensat(&slot.parent, &slot.name, &times(entry.mtime), nofollow)?)
    }

    fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        match self.options.form {
            Form::Lower => self.whiteout_in_lower(path),
            Form::Merged => self.remove_lower(path),
        }
    }

    fn whiteout_in_lower(&mut self, path: &[u8]) -> io::Result<()> {
        let own = self.added.contains(path);
        let slot = self.slot(path)?;
        if own {
            // What the layer has itself stays; of a directory, lower layers no longer show through.
            return match rooted::open_directory(&slot.parent, &slot.name) {
                Ok(fd) => Ok(set_opaque(&fd)?),
                Err(_) => Ok(()),
            };
        }
        self.make_way(&slot, FileType::CharacterDevice)?;
        self.added.remove(path);
        Ok(fs::mknodat(&slot.parent, &slot.name, FileType::CharacterDevice, Mode::empty(), 0)?)
    }

    fn remove_lower(&mut self, path: &[u8]) -> io::Result<()> {
        if self.added.contains(path) {
            return self.clear_lower(path);
        }
        let (parent, name) = split(path);
        self.recent_parent = None;
        match self.root.parent(parent).and_then(|parent| rooted::remove_tree(parent, name)) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    fn opaque(&mut self, path: &[u8]) -> io::Result<()> {
        match self.options.form {
            Form::Merged => self.clear_lower(path),
            Form::Lower if path.is_empty() => {
                self.report.opaque_root = true;
                Ok(())
            }
            Form::Lower => {
                if !self.added.contains(path) {
                    self.imply(path)?;
                }
                match self.root.directory(path) {
                    Ok(fd) => Ok(set_opaque(&fd)?),
                    Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
                    Err(cause) => Err(cause.into()),
                }
            }
        }
    }

    /// Removes what the directory at `path` held before this layer. What is no directory holds nothing.
    fn clear_lower(&mut self, path: &[u8]) -> io::Result<()> {
        self.recent_parent = None;
        match self.root.directory(path) {
            Ok(fd) => Ok(self.clear(&fd, &mut path.to_vec(), 0)?),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }

    fn clear(&self, directory: &OwnedFd, path: &mut Vec<u8>, depth: usize) -> Result<(), Errno> {
        if depth == DEPTH_LIMIT {
            return Err(Errno::NAMETOOLONG);
        }
        let length = path.len();
        for (name, kind) in rooted::names(directory)? {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            if !self.added.contains(path) {
                rooted::remove_tree(directory, &name)?;
            } else if kind == FileType::Directory {
                self.clear(&rooted::open_directory(directory, &name)?, path, depth + 1)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// The slot of `path`, its directories made where they are missing; `path` counts as added from here on.
    fn slot(&mut self, path: &[u8]) -> io::Result<Slot> {
        let (parent, name) = split(path);
        let parent = self.parent(parent)?;
        let mut rest = path;
        while !rest.is_empty() && self.added.insert(rest.to_vec()) {
            rest = split(rest).0;
        }
        Ok(Slot { parent, name: name.to_vec() })
    }

    fn parent(&mut self, path: &[u8]) -> io::Result<Arc<OwnedFd>> {
        if let Some((recent, fd)) = &self.recent_parent
            && recent == path
        {
            return Ok(Arc::clone(fd));
        }
        let fd = match self.root.parent(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                self.imply(path)?;
                self.root.parent(path)
            }
            result => result,
        };
        let fd = fd.map_err(|cause| match cause {
            Errno::LOOP => io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("`{}` leads through a symbolic link", shown(path)),
            ),
            cause => failed("open directory", path, cause),
        })?;
        let fd = Arc::new(fd);
        self.recent_parent = Some((path.to_vec(), Arc::clone(&fd)));
        Ok(fd)
    }

    /// Makes the directories that lead to `path`, and `path`, where there are none.
    fn imply(&mut self, path: &[u8]) -> io::Result<()> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            let prefix = &path[..end];
            match self.root.parent(prefix) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                _ => continue,
            }
            let slot = self.slot(prefix)?;
            let fd = self.directory_in(&slot)?;
            self.describe_directory(&fd, &Entry::new(prefix, EntryKind::Directory, 0o755))?;
            self.implied.insert(prefix.to_vec());
        }
        Ok(())
    }

    /// Removes what an entry of this type replaces.
    fn make_way(&mut self, slot: &Slot, kind: FileType) -> io::Result<Found> {
        let Some(stat) = rooted::look(&slot.parent, &slot.name)? else { return Ok(Found::Nothing) };
        let existing = rooted::file_type(&stat);
        if existing == FileType::Directory && kind == FileType::Directory {
            return Ok(Found::Directory);
        }
        if matches!(existing, FileType::Directory | FileType::Symlink) {
            self.recent_parent = None;
        }
        rooted::remove_tree(&slot.parent, &slot.name)?;
        let was_whiteout = self.options.form == Form::Lower && rooted::is_whiteout(&stat);
        Ok(if was_whiteout { Found::Whiteout } else { Found::Nothing })
    }

    fn owned(
        &mut self,
        entry: &Entry,
        set: impl FnOnce(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
    ) -> io::Result<()> {
        let unmapped = || {
            let text = format!("its owner {}:{} is not mapped here", entry.uid, entry.gid);
            io::Error::new(io::ErrorKind::InvalidInput, text)
        };
        if entry.uid == u32::MAX || entry.gid == u32::MAX {
            return Err(unmapped());
        }
        match set(Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))) {
            Err(Errno::INVAL | Errno::PERM) if self.options.ids == Ids::Single => {
                self.report.ownership_lost = true;
                Ok(())
            }
            Err(Errno::INVAL) => Err(unmapped()),
            result => Ok(result?),
        }
    }

    fn attributed(
        &mut self,
        entry: &Entry,
        set: impl Fn(&[u8], &[u8]) -> Result<(), Errno>,
    ) -> io::Result<()> {
        for (name, value) in &entry.xattrs {
            if OVERLAY_PRIVATE.iter().any(|private| name.starts_with(private)) {
                self.report.dropped_xattrs += 1;
                continue;
            }
            match set(name, value) {
                Err(Errno::OPNOTSUPP) => self.report.dropped_xattrs += 1,
                Err(Errno::PERM) if name != CAPABILITY => self.report.dropped_xattrs += 1,
                Err(cause) => {
                    let text = format!("attribute `{}`: {}", shown(name), io::Error::from(cause));
                    return Err(io::Error::new(io::Error::from(cause).kind(), text));
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

impl Finishing {
    fn finish(&self, directory: &OwnedFd) -> Result<(), Errno> {
        fs::futimens(directory, &times(self.mtime))?;
        self.mode.map_or(Ok(()), |mode| fs::fchmod(directory, mode))
    }
}

impl EntrySink for Applier {
    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        self.report.entries += 1;
        self.apply(entry, content).map_err(|cause| failed("unpack", &entry.path, cause))
    }
}

/// Refuses what is not a clean relative path, whoever made the entry.
fn check_path(path: &[u8]) -> io::Result<()> {
    let clean = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    if path.is_empty() || path.split(|byte| *byte == b'/').all(clean) {
        return Ok(());
    }
    Err(invalid(&format!("`{}` is not a clean relative path", shown(path))))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The path of the directory and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn mode(entry: &Entry) -> Mode {
    Mode::from_raw_mode(entry.mode & 0o7777)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

fn set_opaque(directory: impl AsFd) -> Result<(), Errno> {
    fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
}

/// Writes exactly `size` bytes; units of zeros stay holes.
fn write_sparse(file: &mut File, size: u64, content: &mut dyn Read, buffer: &mut [u8]) -> io::Result<()> {
    let mut left = size;
    let mut ends_in_hole = false;
    while left > 0 {
        let length = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        content.read_exact(&mut buffer[..length])?;
        for unit in buffer[..length].chunks(HOLE) {
            ends_in_hole = *unit == ZEROS;
            if ends_in_hole {
                file.seek(SeekFrom::Current(HOLE as i64))?;
            } else {
                file.write_all(unit)?;
            }
        }
        left -= length as u64;
    }
    if ends_in_hole { file.set_len(size) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
