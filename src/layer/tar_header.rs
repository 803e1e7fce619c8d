//! The bytes before an entry's content in a tar: a ustar header, with PAX records where ustar does not reach.
//!
//! The form is the one of Go's archive/tar as BuildKit uses it: no user names, no access times, whole seconds,
//! names that are not ASCII in PAX records. Equal entries give equal bytes. Order is the caller's matter.
//! Formats: POSIX.1-2017 `pax`, "pax Interchange Format"; whiteouts: OCI image specification, layer.md.

use std::collections::BTreeMap;
use std::io;

use super::entry::{Entry, EntryKind};
use super::path;
use super::tar_member::MAX_EXTENSION_BYTES;

pub(super) const TAR_BLOCK: usize = 512;
/// Two zero blocks end an archive.
pub(super) const TAR_END: [u8; 2 * TAR_BLOCK] = [0; 2 * TAR_BLOCK];

const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// The zero bytes that follow `size` bytes of content.
pub(super) fn padding(size: u64) -> usize {
    // Less than a block, so it fits.
    (TAR_BLOCK as u64 - 1 - (size + TAR_BLOCK as u64 - 1) % TAR_BLOCK as u64) as usize
}

/// Appends what precedes the content of `entry` to `out`.
pub(super) fn encode(entry: &Entry, out: &mut Vec<u8>) -> io::Result<()> {
    let refuse = |reason: &str| Err(refused(&entry.path, reason));
    if !path::is_clean(&entry.path) {
        return refuse("has a path that is not clean");
    }
    if path::has_reserved_name(&entry.path) {
        return refuse("has a name starting with `.wh.`, which layers reserve for removed files");
    }
    if entry.path.is_empty() && !matches!(entry.kind, EntryKind::Opaque | EntryKind::Directory) {
        return refuse("is the root, which is a directory");
    }
    let mut header = UstarHeader::new(type_flag(&entry.kind));
    header.name(tar_name(entry));
    if !matches!(entry.kind, EntryKind::Whiteout | EntryKind::Opaque) {
        header.octal(100..108, u64::from(entry.mode & 0o7777));
        header.id("uid", 108..116, entry.uid);
        header.id("gid", 116..124, entry.gid);
        header.time(entry.mtime);
        header.size(entry.size());
        header.xattrs(entry)?;
    }
    match &entry.kind {
        EntryKind::Symlink { target } => header.link(target, &entry.path)?,
        EntryKind::HardLink { target } if path::is_clean(target) && !target.is_empty() => {
            header.link(target, &entry.path)?;
        }
        EntryKind::HardLink { .. } => return refuse("is a hard link to a path that is not clean"),
        EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor } => {
            header.device(*major, *minor, &entry.path)?;
        }
        EntryKind::File { .. }
        | EntryKind::Directory
        | EntryKind::Fifo
        | EntryKind::Whiteout
        | EntryKind::Opaque => {}
    }
    header.finish(out, &entry.path)
}

pub(super) fn refused(path: &[u8], reason: &str) -> io::Error {
    let message = format!("layer entry `{}` {reason}", String::from_utf8_lossy(path));
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn type_flag(kind: &EntryKind) -> u8 {
    match kind {
        EntryKind::File { .. } | EntryKind::Whiteout | EntryKind::Opaque => b'0',
        EntryKind::HardLink { .. } => b'1',
        EntryKind::Symlink { .. } => b'2',
        EntryKind::CharDevice { .. } => b'3',
        EntryKind::BlockDevice { .. } => b'4',
        EntryKind::Directory => b'5',
        EntryKind::Fifo => b'6',
    }
}

/// What the entry is called in a tar.
pub(super) fn tar_name(entry: &Entry) -> Vec<u8> {
    match entry.kind {
        EntryKind::Directory if entry.path.is_empty() => b"./".to_vec(),
        EntryKind::Directory => [&entry.path, &b"/"[..]].concat(),
        EntryKind::Whiteout => {
            let (directory, name) = path::split(&entry.path);
            path::join(directory, &[path::WHITEOUT_PREFIX, name].concat())
        }
        EntryKind::Opaque => path::join(&entry.path, path::OPAQUE_NAME),
        _ => entry.path.clone(),
    }
}

/// A header being filled, and the records that did not fit it.
struct UstarHeader {
    block: [u8; TAR_BLOCK],
    /// Sorted, so that the order never depends on how the entry was made.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl UstarHeader {
    fn new(type_flag: u8) -> Self {
        let mut header = Self { block: [0; TAR_BLOCK], records: BTreeMap::new() };
        for (field, value) in [(100..108, 0), (108..116, 0), (116..124, 0), (124..136, 0), (136..148, 0)] {
            header.octal(field, value);
        }
        header.octal(329..337, 0);
        header.octal(337..345, 0);
        header.block[156] = type_flag;
        header.block[257..265].copy_from_slice(b"ustar\x0000");
        header
    }

    /// Fills all of a field but its last byte, which stays NUL.
    fn octal(&mut self, field: std::ops::Range<usize>, value: u64) {
        let end = field.end - 1;
        put_octal(&mut self.block[field.start..end], value);
    }

    fn record(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.records.insert(key.as_bytes().to_vec(), value.into());
    }

    fn name(&mut self, name: Vec<u8>) {
        if name.is_ascii() && name.len() <= NAME_BYTES {
            self.block[..name.len()].copy_from_slice(&name);
        } else if let Some(slash) = prefix_end(&name) {
            self.block[345..345 + slash].copy_from_slice(&name[..slash]);
            self.block[..name.len() - slash - 1].copy_from_slice(&name[slash + 1..]);
        } else {
            self.short(0..NAME_BYTES, &name);
            self.record("path", name);
        }
    }

    fn link(&mut self, target: &[u8], path: &[u8]) -> io::Result<()> {
        if target.is_empty() || target.contains(&0) || target.len() > path::MAX_PATH_BYTES {
            return Err(refused(path, "is a link to nothing that can be named"));
        }
        if target.is_ascii() && target.len() <= NAME_BYTES {
            self.block[157..157 + target.len()].copy_from_slice(target);
        } else {
            self.short(157..257, target);
            self.record("linkpath", target);
        }
        Ok(())
    }

    /// A stand-in for readers without PAX; others never see it.
    fn short(&mut self, field: std::ops::Range<usize>, name: &[u8]) {
        for (to, from) in self.block[field].iter_mut().zip(name) {
            *to = if from.is_ascii() { *from } else { b'_' };
        }
    }

    fn id(&mut self, key: &str, field: std::ops::Range<usize>, id: u32) {
        if u64::from(id) <= MAX_OCTAL_7 {
            self.octal(field, u64::from(id));
        } else {
            self.record(key, id.to_string());
        }
    }

    fn time(&mut self, mtime: i64) {
        match u64::try_from(mtime) {
            Ok(seconds) if seconds <= MAX_OCTAL_11 => self.octal(136..148, seconds),
            _ => self.record("mtime", mtime.to_string()),
        }
    }

    fn size(&mut self, size: u64) {
        if size <= MAX_OCTAL_11 {
            self.octal(124..136, size);
        } else {
            self.record("size", size.to_string());
        }
    }

    fn xattrs(&mut self, entry: &Entry) -> io::Result<()> {
        for (name, value) in &entry.xattrs {
            if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
                let name = String::from_utf8_lossy(name);
                return Err(refused(
                    &entry.path,
                    &format!("has the attribute `{name}`, which tar cannot hold"),
                ));
            }
            self.records.insert([&b"SCHILY.xattr."[..], name].concat(), value.clone());
        }
        Ok(())
    }

    fn device(&mut self, major: u32, minor: u32, path: &[u8]) -> io::Result<()> {
        for (field, number) in [(329..337, u64::from(major)), (337..345, u64::from(minor))] {
            if number > MAX_OCTAL_7 {
                return Err(refused(path, "has a device number that tar cannot hold"));
            }
            self.octal(field, number);
        }
        Ok(())
    }

    fn finish(mut self, out: &mut Vec<u8>, path: &[u8]) -> io::Result<()> {
        if !self.records.is_empty() {
            let records: Vec<u8> = self.records.iter().flat_map(|(key, value)| record(key, value)).collect();
            if records.len() as u64 > MAX_EXTENSION_BYTES {
                return Err(refused(path, "has more attributes than readers of layers take"));
            }
            let mut extended = Self::new(b'x');
            extended.block[..16].copy_from_slice(b"PaxHeaders.0/mab");
            extended.octal(124..136, records.len() as u64);
            extended.seal();
            out.extend_from_slice(&extended.block);
            out.extend_from_slice(&records);
            out.resize(out.len() + padding(records.len() as u64), 0);
        }
        self.seal();
        out.extend_from_slice(&self.block);
        Ok(())
    }

    fn seal(&mut self) {
        self.block[148..156].fill(b' ');
        let sum: u64 = self.block.iter().map(|byte| u64::from(*byte)).sum();
        put_octal(&mut self.block[148..154], sum);
        self.block[154] = 0;
    }
}

/// Fills `field` with the digits of a value that fits it.
fn put_octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Where a long ASCII name can be cut so that both sides fit: the slash between prefix and name.
fn prefix_end(name: &[u8]) -> Option<usize> {
    if !name.is_ascii() || name.len() > PREFIX_BYTES + 1 + NAME_BYTES {
        return None;
    }
    // A directory's trailing slash stays with the name.
    let last = name.len().min(PREFIX_BYTES + 1).min(name.len() - 1);
    let slash = name[..last].iter().rposition(|byte| *byte == b'/')?;
    let rest = name.len() - slash - 1;
    (slash > 0 && rest > 0 && rest <= NAME_BYTES).then_some(slash)
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() != rest.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
