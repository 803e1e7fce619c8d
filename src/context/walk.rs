//! One look at every file of a directory tree, ignore rules applied on the way.
//!
//! Directories are read in parallel, each opened anew beneath the root, so neither depth nor breadth takes
//! descriptors. Ignored directories are not entered unless an exception may bring back something in them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::vec;

use rustix::fs::{AtFlags, FileType, OFlags, Stat, lgetxattr, readlinkat, statat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::entry::{CAPABILITY, ContextEntry};
use super::error::{ContextError, joined};
use crate::layer::EntryKind;
use crate::pattern::{Ignore, Matched};
use crate::store::Stamp;

/// About four gigabytes of entries.
const MOST_ENTRIES: usize = 10_000_000;

/// So many entries are looked at before other threads are asked to help: waking them costs more than a small tree.
const ALONE: usize = 2_000;

/// The bytes of a directory that are read at a time.
const LISTING: usize = 32 * 1024;

/// All entries beneath `root` that are not ignored, by path in byte order. The root itself is not among them.
pub(super) fn walk(
    root: &Path,
    directory: BorrowedFd<'_>,
    ignore: &Ignore,
) -> Result<Vec<ContextEntry>, ContextError> {
    let walk = Walk { root, directory, ignore, found: Mutex::default(), count: AtomicUsize::new(0) };
    let (mut folders, mut buffer) = (vec![Folder::default()], Vec::with_capacity(LISTING));
    while walk.count.load(Ordering::Relaxed) < ALONE
        && let Some(folder) = folders.pop()
    {
        folders.extend(walk.enter(&folder, &mut buffer));
    }
    if !folders.is_empty() {
        rayon::scope(|scope| walk.enter_all(scope, folders));
    }
    let found = walk.found.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = found.error {
        return Err(error);
    }
    let mut entries = in_order(found.blocks);
    drop_empty(&mut entries, &found.ignored_folders);
    Ok(entries)
}

struct Walk<'w> {
    root: &'w Path,
    directory: BorrowedFd<'w>,
    ignore: &'w Ignore,
    found: Mutex<Found>,
    count: AtomicUsize,
}

#[derive(Default)]
struct Found {
    blocks: Vec<Block>,
    /// Entered for the sake of exceptions; part of the context only where there are some.
    ignored_folders: HashSet<Vec<u8>>,
    error: Option<ContextError>,
}

/// What is in one folder, by name in byte order.
struct Block {
    folder: Vec<u8>,
    entries: Vec<ContextEntry>,
}

#[derive(Default)]
struct Folder {
    path: Vec<u8>,
    matched: Matched,
    is_ignored: bool,
}

impl<'w> Walk<'w> {
    fn enter_all<'s>(&'s self, scope: &rayon::Scope<'s>, folders: Vec<Folder>)
    where
        'w: 's,
    {
        for folder in folders {
            scope.spawn(move |scope| {
                let found = self.enter(&folder, &mut Vec::with_capacity(LISTING));
                self.enter_all(scope, found);
            });
        }
    }

    /// Looks at everything in a folder; the folders in it.
    fn enter(&self, folder: &Folder, buffer: &mut Vec<u8>) -> Vec<Folder> {
        let mut entries = Vec::new();
        let mut folders = Vec::new();
        let result = self.read(folder, buffer, &mut entries, &mut folders);
        let ignored: Vec<Vec<u8>> =
            folders.iter().filter(|folder| folder.is_ignored).map(|folder| folder.path.clone()).collect();
        let total = self.count.fetch_add(entries.len(), Ordering::Relaxed) + entries.len();
        let result = match total > MOST_ENTRIES {
            true => Err(ContextError::TooManyFiles { root: self.root.to_path_buf(), limit: MOST_ENTRIES }),
            false => result,
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.error.is_some() {
            return Vec::new();
        }
        found.blocks.push(Block { folder: folder.path.clone(), entries });
        found.ignored_folders.extend(ignored);
        found.error = result.err();
        folders
    }

    fn read(
        &self,
        folder: &Folder,
        buffer: &mut Vec<u8>,
        entries: &mut Vec<ContextEntry>,
        folders: &mut Vec<Folder>,
    ) -> Result<(), ContextError> {
        let failed = |errno: std::io::Error| ContextError::unreadable(self.root, &folder.path, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = match open_beneath(self.directory, &folder.path, flags) {
            Ok(directory) => directory,
            Err(error) if is_tolerable(&error, folder) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Names::default();
        list(&directory, buffer, &mut names).map_err(|errno| failed(errno.into()))?;
        entries.reserve_exact(names.places.len());
        for (name, file_type) in names.in_order() {
            self.look_at(folder, &directory, name, file_type, entries, folders)?;
        }
        Ok(())
    }

    fn look_at(
        &self,
        folder: &Folder,
        directory: &OwnedFd,
        name: &CStr,
        announced: FileType,
        entries: &mut Vec<ContextEntry>,
        folders: &mut Vec<Folder>,
    ) -> Result<(), ContextError> {
        let mut path = Vec::with_capacity(folder.path.len() + 1 + name.count_bytes());
        path.extend_from_slice(&folder.path);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        let (is_ignored, matched) = match self.ignore.is_empty() {
            true => (false, Matched::default()),
            false => self.ignore.check(&path, &folder.matched),
        };
        let may_be_folder = matches!(announced, FileType::Directory | FileType::Unknown);
        if is_ignored && !(may_be_folder && self.ignore.may_return_below(&path)) {
            return Ok(());
        }
        let entry = match self.stat(directory, name, &mut path) {
            Ok(entry) => entry,
            // It went away since the directory was read, or it is the user's wish not to look.
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ACCESS) if is_ignored => return Ok(()),
            Err(errno) => return Err(ContextError::unreadable(self.root, &path, errno)),
        };
        if entry.is_directory() {
            folders.push(Folder { path: entry.path.clone(), matched, is_ignored });
        } else if is_ignored {
            return Ok(());
        }
        entries.push(entry);
        Ok(())
    }

    /// The path becomes the entry's if there is one: most are too many to be copied.
    fn stat(&self, directory: &OwnedFd, name: &CStr, path: &mut Vec<u8>) -> Result<ContextEntry, Errno> {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let stamp = stamp(&stat);
        let file_type = FileType::from_raw_mode(stat.st_mode);
        let device = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let kind = match file_type {
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => {
                EntryKind::Symlink { target: readlinkat(directory, name, Vec::new())?.into_bytes() }
            }
            FileType::CharacterDevice => EntryKind::CharDevice { major: device.0, minor: device.1 },
            FileType::BlockDevice => EntryKind::BlockDevice { major: device.0, minor: device.1 },
            FileType::Fifo => EntryKind::Fifo,
            // BuildKit sends sockets as empty files.
            FileType::Socket => EntryKind::File { size: 0 },
            FileType::RegularFile | FileType::Unknown => EntryKind::File { size: stamp.size },
        };
        let capability = match (file_type, stat.st_mode & 0o111) {
            (FileType::RegularFile, 1..) => capability(&joined(self.root, path))?,
            _ => None,
        };
        Ok(ContextEntry {
            path: std::mem::take(path),
            kind,
            mode: mode(&stat) & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: stat.st_mtime,
            stamp,
            has_more_names: stat.st_nlink > 1 && file_type != FileType::Directory,
            is_socket: file_type == FileType::Socket,
            capability,
        })
    }
}

/// The names in one folder: a few bytes each to put in order, where entries are large.
#[derive(Default)]
struct Names {
    /// One after the other, each with its end.
    text: Vec<u8>,
    places: Vec<(Range<usize>, FileType)>,
}

impl Names {
    fn add(&mut self, name: &CStr, file_type: FileType) {
        if matches!(name.to_bytes(), b"." | b"..") {
            return;
        }
        let start = self.text.len();
        self.text.extend_from_slice(name.to_bytes_with_nul());
        self.places.push((start..self.text.len(), file_type));
    }

    fn in_order(&mut self) -> impl Iterator<Item = (&CStr, FileType)> {
        let text = &self.text;
        self.places.sort_unstable_by(|(a, _), (b, _)| text[a.clone()].cmp(&text[b.clone()]));
        self.places.iter().map(|(place, file_type)| {
            let name = CStr::from_bytes_with_nul(&text[place.clone()]);
            (name.expect("it was one when it was pushed"), *file_type)
        })
    }
}

/// All entries by path in byte order: what is in a folder comes after it, and after the names that go on with a byte
/// below `/` where the folder's ends, such as `a-b` for the folder `a`.
fn in_order(blocks: Vec<Block>) -> Vec<ContextEntry> {
    /// A folder whose entries are being taken, and the folders among these that are still to come, by path with `/`.
    struct Open {
        entries: vec::IntoIter<ContextEntry>,
        waiting: VecDeque<(Vec<u8>, Vec<ContextEntry>)>,
    }
    let open = |entries: Vec<ContextEntry>| Open { entries: entries.into_iter(), waiting: VecDeque::new() };
    let mut ordered = Vec::with_capacity(blocks.iter().map(|block| block.entries.len()).sum());
    let mut blocks: HashMap<Vec<u8>, Vec<ContextEntry>> =
        blocks.into_iter().map(|block| (block.folder, block.entries)).collect();
    let mut opened = vec![open(blocks.remove(&b""[..]).unwrap_or_default())];
    while let Some(top) = opened.last_mut() {
        // Looked at where it lies: an entry is large.
        let next = top.entries.as_slice().first();
        let is_due = |(folder, _): &mut (Vec<u8>, _)| next.is_none_or(|entry| *folder < entry.path);
        if let Some((_, entries)) = top.waiting.pop_front_if(is_due) {
            opened.push(open(entries));
        } else if let Some(entry) = top.entries.next() {
            if entry.is_directory()
                && let Some(entries) = blocks.remove(&entry.path)
            {
                let folder = [&entry.path, &b"/"[..]].concat();
                let place = top.waiting.partition_point(|(other, _)| *other < folder);
                top.waiting.insert(place, (folder, entries));
            }
            ordered.push(entry);
        } else {
            opened.pop();
        }
    }
    ordered
}

/// What the user wants ignored need not be readable, and a directory may go away during the walk.
fn is_tolerable(error: &std::io::Error, folder: &Folder) -> bool {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => folder.is_ignored,
        Some(Errno::NOENT) => !folder.path.is_empty(),
        _ => false,
    }
}

#[cfg(target_os = "linux")]
fn mode(stat: &Stat) -> u32 {
    stat.st_mode
}

#[cfg(not(target_os = "linux"))]
fn mode(stat: &Stat) -> u32 {
    stat.st_mode.into()
}

#[cfg(target_os = "linux")]
fn device(stat: &Stat) -> u64 {
    stat.st_dev
}

#[cfg(not(target_os = "linux"))]
fn device(stat: &Stat) -> u64 {
    stat.st_dev.unsigned_abs().into()
}

#[cfg(target_os = "linux")]
fn list(directory: &OwnedFd, buffer: &mut Vec<u8>, names: &mut Names) -> Result<(), Errno> {
    let mut reader = rustix::fs::RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(item) = reader.next() {
        let item = item?;
        names.add(item.file_name(), item.file_type());
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn list(directory: &OwnedFd, _: &mut Vec<u8>, names: &mut Names) -> Result<(), Errno> {
    for item in rustix::fs::Dir::read_from(directory)? {
        let item = item?;
        names.add(item.file_name(), item.file_type());
    }
    Ok(())
}

pub(super) fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        device: device(stat),
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        mode: u16::try_from(stat.st_mode & 0xffff).unwrap_or(0),
    }
}

/// Times after the year 2262 all look the same, and such files are never settled.
fn nanoseconds(seconds: i64, nanoseconds: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.try_into().unwrap_or(0))
}

/// The path may lead elsewhere if somebody swaps directories for links at this moment; what is read then is
/// another file's capabilities, which the stamp shows when the file is opened.
fn capability(path: &Path) -> Result<Option<Vec<u8>>, Errno> {
    // The kernel's largest, version 3, has 24 bytes.
    let mut value = [0; 64];
    match lgetxattr(path, CAPABILITY, &mut value[..]) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Ignored folders stay only where something in them is part of the context.
fn drop_empty(entries: &mut Vec<ContextEntry>, ignored_folders: &HashSet<Vec<u8>>) {
    if ignored_folders.is_empty() {
        return;
    }
    let mut needed: HashSet<Vec<u8>> = HashSet::new();
    for entry in entries.iter().filter(|entry| !ignored_folders.contains(&entry.path)) {
        let mut path = entry.path.as_slice();
        while let Some(end) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..end];
            if !needed.insert(path.to_vec()) {
                break;
            }
        }
    }
    entries.retain(|entry| !ignored_folders.contains(&entry.path) || needed.contains(&entry.path));
}
