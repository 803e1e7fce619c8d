//! Reads a layer, whoever made it: decompressed, entry by entry, with the diff id at the end.
//!
//! Every entry handed out is safe to join to a root directory as far as its name goes: relative, no `..`.
//! Symlinks on the way there are the matter of whoever unpacks. Marks of removed files become
//! [`EntryKind::Whiteout`] and [`EntryKind::Opaque`]. Memory is bounded whatever the archive says.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::decompress::Decompressor;
use super::entry::{Entry, EntryKind};
use super::error::LayerError;
use super::path;
use super::tar_member::{Member, read_member, skip};
use super::tar_sparse::Segment;
use crate::base::{Digest, Hasher};

/// The most entries a layer may have. The largest images known have a few hundred thousand.
pub const MAX_ENTRIES: u64 = 1 << 22;

/// What the names in a tar mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Some mark what is gone, and one that leads out of the root is refused.
    Layer,
    /// All are files, below the root whatever they say.
    Archive,
}

/// Iterates a layer's entries. Between two calls of [`next_entry`](Self::next_entry) it reads as the content
/// of the entry, which need not be read to its end.
pub struct LayerReader<R: Read> {
    dialect: Dialect,
    stream: Stream<Decompressor<R>>,
    content: Content,
    offset: u64,
    entries: u64,
    ended: bool,
}

impl<R: Read> LayerReader<R> {
    /// What the bytes say goes before the media type, which foreign images get wrong.
    pub fn new(reader: R, media_type: &str) -> Result<Self, LayerError> {
        Self::of_dialect(reader, media_type, Dialect::Layer)
    }

    pub(super) fn of_dialect(reader: R, media_type: &str, dialect: Dialect) -> Result<Self, LayerError> {
        let inner = Decompressor::new(reader, media_type)?;
        let stream = Stream { inner, hasher: Hasher::new(), position: 0 };
        Ok(Self { dialect, stream, content: Content::default(), offset: 0, entries: 0, ended: false })
    }

    /// The next entry, or nothing at the end of the archive. Content not read yet is passed over.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        while !self.ended {
            skip(&mut self.stream, self.content.left_in_archive())?;
            self.content = Content::default();
            let Some(mut member) = read_member(&mut self.stream)? else {
                self.ended = true;
                break;
            };
            self.offset = self.stream.position;
            self.content = Content::of(&mut member);
            let Some(entry) = entry(member, self.dialect)? else { continue };
            if !matches!(entry.kind, EntryKind::File { .. }) {
                self.content.hide();
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(LayerError::Limit { what: "entries", limit: MAX_ENTRIES });
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Where the current entry's content begins in the uncompressed tar.
    pub fn content_offset(&self) -> u64 {
        self.offset
    }

    /// Calls `visit` with each entry, its content and where that begins in the uncompressed tar.
    pub fn for_each<E: From<LayerError>>(
        &mut self,
        mut visit: impl FnMut(&Entry, &mut dyn Read, u64) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(entry) = self.next_entry()? {
            let offset = self.offset;
            visit(&entry, self, offset)?;
        }
        Ok(())
    }

    /// Reads what is left and gives the diff id: the digest of the whole uncompressed stream.
    pub fn finish(mut self) -> Result<Digest, LayerError> {
        while self.next_entry()?.is_some() {}
        // Some tools pad archives to their own block size; the digest covers it.
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(self.stream.hasher.finish())
    }
}

impl<R: Read> Read for LayerReader<R> {
    /// The content of the current entry, holes filled with zeros.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.content.read(&mut self.stream, buffer)
    }
}

/// The uncompressed tar, hashed as it passes.
struct Stream<R> {
    inner: R,
    hasher: Hasher,
    position: u64,
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.position += count as u64;
        Ok(count)
    }
}

/// How far the content of the current entry is read.
#[derive(Default)]
struct Content {
    /// Still to come, backwards.
    segments: Vec<Segment>,
    read: u64,
    size: u64,
    stored_left: u64,
    padding: u64,
}

impl Content {
    /// Bytes behind what is no file, such as a whiteout, mean nothing; they are passed over like a file's.
    fn hide(&mut self) {
        self.segments.clear();
        self.size = 0;
    }

    fn of(member: &mut Member) -> Self {
        let mut segments = std::mem::take(&mut member.segments);
        segments.reverse();
        let (size, stored_left, padding) = (member.size, member.stored, member.padding as u64);
        Self { segments, read: 0, size, stored_left, padding }
    }

    fn left_in_archive(&self) -> u64 {
        self.stored_left.saturating_add(self.padding)
    }

    fn read(&mut self, stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        while self.segments.last().is_some_and(|segment| segment.offset + segment.length <= self.read) {
            self.segments.pop();
        }
        let (hole_end, segment_end) = match self.segments.last() {
            Some(segment) => (segment.offset, segment.offset + segment.length),
            None => (self.size, self.size),
        };
        let in_hole = self.read < hole_end;
        let left = if in_hole { hole_end } else { segment_end } - self.read;
        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..room];
        let count = if in_hole {
            buffer.fill(0);
            room
        } else {
            let count = stream.read(buffer)?;
            if count == 0 && room > 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, LayerError::Truncated("a file")));
            }
            self.stored_left -= count as u64;
            count
        };
        self.read += count as u64;
        Ok(count)
    }
}

/// What a member means in a layer; nothing for members without meaning.
fn entry(member: Member, dialect: Dialect) -> Result<Option<Entry>, LayerError> {
    let refuse = |reason: &str| LayerError::entry(&member.path, reason);
    let path = match dialect {
        Dialect::Layer => path::clean(&member.path).map_err(refuse)?,
        Dialect::Archive => path::contained(&member.path).map_err(refuse)?,
    };
    if dialect == Dialect::Layer
        && let Some(mark) = mark(&path).map_err(refuse)?
    {
        return Ok(mark);
    }
    let kind = kind(&member, dialect)?;
    match dialect {
        Dialect::Layer if path.is_empty() && kind != EntryKind::Directory => {
            return Err(refuse("has no name"));
        }
        // The root is where it is unpacked, and stays as it is.
        Dialect::Archive if path.is_empty() => return Ok(None),
        Dialect::Layer | Dialect::Archive => {}
    }
    let id = |id: i64| u32::try_from(id).map_err(|_| refuse("has an owner out of range"));
    Ok(Some(Entry {
        kind,
        mode: (member.mode & 0o7777) as u32,
        uid: id(member.uid)?,
        gid: id(member.gid)?,
        mtime: member.mtime,
        xattrs: kept_xattrs(&member)?,
        path,
    }))
}

/// What the name alone says: `Some(None)` is to be ignored, `None` is an ordinary entry.
fn mark(path: &[u8]) -> Result<Option<Option<Entry>>, &'static str> {
    if !path::has_reserved_name(path) {
        return Ok(None);
    }
    let (directory, name) = path::split(path);
    if path
        .split(|byte| *byte == b'/')
        .any(|part| part.starts_with(path::AUFS_PREFIX) && part != path::OPAQUE_NAME)
    {
        return Ok(Some(None));
    }
    if path::has_reserved_name(directory) {
        return Err("is inside a whiteout");
    }
    if name == path::OPAQUE_NAME {
        return Ok(Some(Some(Entry::new(directory, EntryKind::Opaque, 0))));
    }
    match name.strip_prefix(path::WHITEOUT_PREFIX) {
        None => Ok(None),
        Some(b"" | b"." | b"..") => Err("is a whiteout of nothing"),
        Some(gone) => Ok(Some(Some(Entry::new(path::join(directory, gone), EntryKind::Whiteout, 0)))),
    }
}

fn kind(member: &Member, dialect: Dialect) -> Result<EntryKind, LayerError> {
    let refuse = |reason: &str| LayerError::entry(&member.path, reason);
    let number = |number: i64| u32::try_from(number).map_err(|_| refuse("has a device number out of range"));
    Ok(match member.type_flag {
        // Archives older than POSIX know directories by the slash.
        b'0' | 0 | b'7' if member.path.ends_with(b"/") => EntryKind::Directory,
        b'0' | 0 | b'7' | b'S' => EntryKind::File { size: member.size },
        b'1' => {
            let target = match dialect {
                Dialect::Layer => path::clean(&member.link),
                Dialect::Archive => path::contained(&member.link),
            };
            let target = target.map_err(|fault| refuse(&format!("links to what {fault}")))?;
            if target.is_empty() || (dialect == Dialect::Layer && path::has_reserved_name(&target)) {
                return Err(refuse("links to nothing that it holds"));
            }
            EntryKind::HardLink { target }
        }
        b'2' => {
            let target = member.link.clone();
            if target.is_empty() || target.contains(&0) || target.len() > path::MAX_PATH_BYTES {
                return Err(refuse("is a symlink without a proper target"));
            }
            EntryKind::Symlink { target }
        }
        b'3' => EntryKind::CharDevice { major: number(member.major)?, minor: number(member.minor)? },
        b'4' => EntryKind::BlockDevice { major: number(member.major)?, minor: number(member.minor)? },
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        other => {
            return Err(refuse(&format!("is of tar type `{}`, which is not unpacked", other.escape_ascii())));
        }
    })
}

/// Overlay's own attributes would change what a directory shows, were they ever unpacked.
fn kept_xattrs(member: &Member) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, LayerError> {
    let is_overlay =
        |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
    let mut kept = BTreeMap::new();
    for (name, value) in &member.xattrs {
        if name.is_empty() || name.contains(&0) {
            return Err(LayerError::entry(&member.path, "has an attribute without a proper name"));
        }
        if !is_overlay(name) {
            kept.insert(name.clone(), value.clone());
        }
    }
    Ok(kept)
}
