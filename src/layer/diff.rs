//! Reads what changed out of the upper directory of an overlay, as the entries of a layer.
//!
//! The overlay is mounted with `userxattr,redirect_dir=nofollow,metacopy=off,index=off`, so that the upper
//! directory holds whole files under their own names; its marks are character devices 0:0 and the
//! attribute `user.overlay.opaque` (kernel documentation, "Overlay Filesystem"). Entries come bytewise by
//! path, directories before what they hold. The root itself has no entry, as in BuildKit's layers, and
//! `security.capability` is the only extended attribute that layers keep. Sockets are left out: they
//! mean nothing without the process that listens. Knows neither tar nor how overlays are mounted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::rooted::{self, DEPTH_LIMIT, Links, Root, failed};
use super::{Entry, EntryKind, EntrySink};

mod same;

use same::Standing;

const CAPABILITY: &[u8] = b"security.capability";
const OPAQUE: &[u8] = b"user.overlay.opaque";

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffReport {
    /// Zero means that nothing changed.
    pub entries: u64,
    pub content_bytes: u64,
    pub dropped_sockets: u64,
    /// Directories that overlayfs copied up although nothing in them changed, left out.
    pub unchanged_directories: u64,
    /// Files that are the ones of a lower directory, left out.
    pub unchanged_files: u64,
}

/// Emits the changes that `upper` holds against `lowers`, which are in overlayfs's order: topmost first.
pub fn export_upper(
    upper: &Path,
    lowers: &[impl AsRef<Path>],
    sink: &mut dyn EntrySink,
) -> io::Result<DiffReport> {
    let upper = Root::open(upper, Links::Refused)?;
    let lowers: io::Result<_> = lowers.iter().map(|path| Root::open(path.as_ref(), Links::Refused)).collect();
    let lowers = Lowers(lowers?);
    let mut export = Export { lowers, sink, first_names: HashMap::new(), report: DiffReport::default() };
    let every_lower = (0..export.lowers.0.len()).collect();
    let fd = upper.directory(b"").map_err(|cause| failed("read", b"", cause))?;
    let mut levels = vec![Level::open(fd, Vec::new(), every_lower)?];
    while let Some(level) = levels.last_mut() {
        let below = match level.steps.next() {
            None => {
                levels.pop();
                continue;
            }
            Some(step) => export.take(level, step)?,
        };
        if let Some(below) = below {
            if levels.len() == DEPTH_LIMIT {
                return Err(failed("read", &below.path, Errno::NAMETOOLONG));
            }
            levels.push(below);
        }
    }
    Ok(export.report)
}

/// The lower directories, topmost first.
struct Lowers(Vec<Root>);

/// A directory of the upper tree that is being walked.
struct Level {
    fd: OwnedFd,
    path: Vec<u8>,
    /// The lower directories that show through here, topmost first.
    merged: Vec<usize>,
    steps: std::vec::IntoIter<Step>,
    /// What shows through the directories in here that are still to be walked.
    waiting: HashMap<Vec<u8>, Vec<usize>>,
}

/// One step of a walk: `key` is a name, with `/` after it for what is below the name. Sorted by key,
/// steps visit paths bytewise: `a`, `a-b`, `a/c`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    key: Vec<u8>,
}

/// What overlayfs and the kernel noted on a file or directory.
#[derive(Default, PartialEq, Eq)]
struct Marks {
    capability: Option<Vec<u8>>,
    opaque: bool,
}

/// A directory of the upper tree, held against the lower ones.
struct Survey {
    fd: OwnedFd,
    marks: Marks,
    /// The lower directories this one covers, topmost first.
    covered: Vec<usize>,
    same_as_lower: bool,
}

impl Survey {
    /// Opaque with something to hide. Overlayfs marks new directories too, as a short cut for itself.
    fn hides_lower(&self) -> bool {
        self.marks.opaque && !self.covered.is_empty()
    }

    fn changed_itself(&self) -> bool {
        self.hides_lower() || !self.same_as_lower
    }

    fn merged(&self) -> &[usize] {
        if self.marks.opaque { &[] } else { &self.covered }
    }
}

struct Export<'a> {
    lowers: Lowers,
    sink: &'a mut dyn EntrySink,
    /// The first name of every file with several, by device and inode.
    first_names: HashMap<(u64, u64), Vec<u8>>,
    report: DiffReport,
}

impl Export<'_> {
    /// Takes one step; what it returns is to be walked next.
    fn take(&mut self, level: &mut Level, step: Step) -> io::Result<Option<Level>> {
        if let Some(name) = step.key.strip_suffix(b"/") {
            let Some(merged) = level.waiting.remove(name) else { return Ok(None) };
            let path = join(&level.path, name);
            let fd = rooted::open_directory(&level.fd, name);
            let fd = fd.map_err(|cause| failed("read", &path, cause))?;
            return Level::open(fd, path, merged).map(Some);
        }
        let name = step.key;
        let path = join(&level.path, &name);
        let stat = rooted::look(&level.fd, &name);
        let stat = stat.and_then(|stat| stat.ok_or(Errno::NOENT));
        let stat = stat.map_err(|cause| failed("read", &path, cause))?;
        if rooted::file_type(&stat) == FileType::Directory {
            if let Some(merged) = self.directory(level, &name, path, &stat)? {
                level.waiting.insert(name, merged);
            }
            return Ok(None);
        }
        let upper = Standing { directory: &level.fd, name: &name, stat: &stat };
        let is_unchanged = self.lowers.show_same(&upper, &level.path, &level.merged);
        if is_unchanged.map_err(|cause| failed("read", &path, cause))? {
            self.report.unchanged_files += 1;
            return Ok(None);
        }
        self.file(&level.fd, &name, path, &stat)?;
        Ok(None)
    }

    /// Emits a directory; returns what shows through it, or `None` where it holds no change.
    fn directory(
        &mut self,
        level: &Level,
        name: &[u8],
        path: Vec<u8>,
        stat: &Stat,
    ) -> io::Result<Option<Vec<usize>>> {
        let survey = self.lowers.survey(&level.fd, name, &path, stat, &level.merged);
        let survey = survey.map_err(|cause| failed("read", &path, cause))?;
        if !survey.changed_itself() {
            let holds_change = self.lowers.holds_change(&survey, &path, 0);
            if !holds_change.map_err(|cause| failed("read", &path, cause))? {
                self.report.unchanged_directories += 1;
                return Ok(None);
            }
        }
        let hides_lower = survey.hides_lower();
        let merged = survey.merged().to_vec();
        let mut entry = described(path, EntryKind::Directory, stat);
        entry.xattrs.extend(survey.marks.capability.map(|value| (CAPABILITY.to_vec(), value)));
        self.emit(&entry, &mut io::empty())?;
        if hides_lower {
            self.emit(&Entry::new(entry.path, EntryKind::Opaque, 0), &mut io::empty())?;
        }
        Ok(Some(merged))
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8], path: Vec<u8>, stat: &Stat) -> io::Result<()> {
        // Overlayfs links its whiteouts to each other, so this comes before links.
        if rooted::is_whiteout(stat) {
            return self.emit(&Entry::new(path, EntryKind::Whiteout, 0), &mut io::empty());
        }
        let kind = rooted::file_type(stat);
        if kind == FileType::Socket {
            self.report.dropped_sockets += 1;
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.first_names.get(&(stat.st_dev, stat.st_ino)) {
                let link = described(path, EntryKind::HardLink { target: first.clone() }, stat);
                return self.emit(&link, &mut io::empty());
            }
            self.first_names.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        let (major, minor) = (fs::major(stat.st_rdev), fs::minor(stat.st_rdev));
        let kind = match kind {
            FileType::RegularFile => return self.regular(parent, name, path, stat),
            FileType::Symlink => {
                let target = fs::readlinkat(parent, name, Vec::new());
                let target = target.map_err(|cause| failed("read", &path, cause))?;
                EntryKind::Symlink { target: target.into_bytes() }
            }
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            FileType::Fifo => EntryKind::Fifo,
            _ => return Err(failed("read", &path, io::Error::other("it is of no known type"))),
        };
        self.emit(&described(path, kind, stat), &mut io::empty())
    }

    fn regular(&mut self, parent: &OwnedFd, name: &[u8], path: Vec<u8>, stat: &Stat) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = fs::openat(parent, name, flags, Mode::empty()).and_then(|fd| Ok((Marks::of(&fd)?, fd)));
        let (marks, fd) = opened.map_err(|cause| failed("read", &path, cause))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut entry = described(path, EntryKind::File { size }, stat);
        entry.xattrs.extend(marks.capability.map(|value| (CAPABILITY.to_vec(), value)));
        self.report.content_bytes += size;
        self.emit(&entry, &mut File::from(fd).take(size))
    }

    fn emit(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        self.report.entries += 1;
        self.sink.append(entry, content)
    }
}

impl Lowers {
    fn survey(
        &self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
        merged: &[usize],
    ) -> Result<Survey, Errno> {
        let fd = rooted::open_directory(parent, name)?;
        let marks = Marks::of(&fd)?;
        let mut covered = Vec::new();
        let mut same_as_lower = false;
        for &index in merged {
            let lower = match self.0[index].directory(path) {
                Ok(lower) => lower,
                Err(Errno::NOENT) => continue,
                // Something else stands here, or a whiteout; nothing below it is seen.
                Err(Errno::NOTDIR | Errno::LOOP) => break,
                Err(cause) => return Err(cause),
            };
            let lower_marks = Marks::of(&lower)?;
            if covered.is_empty() {
                same_as_lower =
                    is_same(stat, &fs::fstat(&lower)?) && marks.capability == lower_marks.capability;
            }
            covered.push(index);
            if lower_marks.opaque {
                break;
            }
        }
        Ok(Survey { fd, marks, covered, same_as_lower })
    }

    /// Whether anything below the directory is to be exported.
    fn holds_change(&self, directory: &Survey, path: &[u8], depth: usize) -> Result<bool, Errno> {
        if depth == DEPTH_LIMIT {
            return Err(Errno::NAMETOOLONG);
        }
        let (mut directories, mut files) = (Vec::new(), Vec::new());
        for (name, kind) in rooted::names(&directory.fd)? {
            match known_type(&directory.fd, &name, kind)? {
                FileType::Directory => directories.push(name),
                FileType::Socket => {}
                _ => files.push(name),
            }
        }
        for name in files {
            let stat = rooted::look(&directory.fd, &name)?.ok_or(Errno::NOENT)?;
            let upper = Standing { directory: &directory.fd, name: &name, stat: &stat };
            if !self.show_same(&upper, path, directory.merged())? {
                return Ok(true);
            }
        }
        for name in directories {
            let stat = rooted::look(&directory.fd, &name)?.ok_or(Errno::NOENT)?;
            let path = join(path, &name);
            let below = self.survey(&directory.fd, &name, &path, &stat, directory.merged())?;
            if below.changed_itself() || self.holds_change(&below, &path, depth + 1)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Level {
    fn open(fd: OwnedFd, path: Vec<u8>, merged: Vec<usize>) -> io::Result<Self> {
        let steps = steps(&fd).map_err(|cause| failed("read", &path, cause))?;
        Ok(Self { fd, path, merged, steps: steps.into_iter(), waiting: HashMap::new() })
    }
}

fn steps(directory: &OwnedFd) -> Result<Vec<Step>, Errno> {
    let mut steps = Vec::new();
    for (name, kind) in rooted::names(directory)? {
        if known_type(directory, &name, kind)? == FileType::Directory {
            steps.push(Step { key: [name.as_slice(), b"/"].concat() });
        }
        steps.push(Step { key: name });
    }
    steps.sort_unstable();
    Ok(steps)
}

/// The type of a name, where the file system does not tell it with the name.
fn known_type(directory: &OwnedFd, name: &[u8], kind: FileType) -> Result<FileType, Errno> {
    if kind != FileType::Unknown {
        return Ok(kind);
    }
    Ok(rooted::look(directory, name)?.map_or(kind, |stat| rooted::file_type(&stat)))
}

impl Marks {
    fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let mut few = [0; 512];
        let length = match fs::flistxattr(&fd, &mut few[..]) {
            Err(Errno::OPNOTSUPP) => 0,
            // The most a list can have, XATTR_LIST_MAX.
            Err(Errno::RANGE) => return Self::named(&fd, &listed(&fd, 64 << 10)?),
            result => result?,
        };
        Self::named(&fd, &few[..length])
    }

    /// From the attributes that `names` lists, each ended by a zero.
    fn named(fd: impl AsFd, names: &[u8]) -> Result<Self, Errno> {
        let mut marks = Self::default();
        for name in names.split(|byte| *byte == 0) {
            match name {
                CAPABILITY => marks.capability = Some(value(&fd, name)?),
                OPAQUE => marks.opaque = value(&fd, name)? == b"y",
                _ => {}
            }
        }
        Ok(marks)
    }
}

fn listed(fd: impl AsFd, most: usize) -> Result<Vec<u8>, Errno> {
    let mut names = vec![0; most];
    let length = fs::flistxattr(fd, &mut names[..])?;
    names.truncate(length);
    Ok(names)
}

fn value(fd: impl AsFd, name: &[u8]) -> Result<Vec<u8>, Errno> {
    let mut value = [0; 256];
    let length = fs::fgetxattr(fd, name, &mut value[..])?;
    Ok(value[..length].to_vec())
}

/// Whether two directories are one; as in BuildKit, their times alone are no change.
fn is_same(upper: &Stat, lower: &Stat) -> bool {
    (upper.st_mode, upper.st_uid, upper.st_gid) == (lower.st_mode, lower.st_uid, lower.st_gid)
}

fn described(path: Vec<u8>, kind: EntryKind, stat: &Stat) -> Entry {
    let mut entry = Entry::new(path, kind, stat.st_mode & 0o7777);
    (entry.uid, entry.gid, entry.mtime) = (stat.st_uid, stat.st_gid, stat.st_mtime);
    entry
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

#[cfg(test)]
mod tests;
