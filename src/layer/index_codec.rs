//! The bytes of an index on disk. Damaged or hostile bytes give an error, never a panic or unbounded memory.
//!
//! Numbers are LEB128, signed ones zigzag first. A path is written as what differs from the one before.
//! Offsets are written as distances.

use std::collections::BTreeMap;

use super::entry::{Entry, EntryKind};
use super::error::LayerError;
use super::index::{Block, Budget, Index, IndexedEntry};
use super::path;
use crate::base::{Digest, HashState};
use crate::scan::Programs;

/// The last byte is the version of the format.
const MAGIC: &[u8; 7] = b"mabidx\x03";

impl Index {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put_number(&mut out, self.entries.len() as u64);
        let mut before: (&[u8], u64) = (b"", 0);
        for indexed in &self.entries {
            put_entry(&mut out, indexed, before);
            before = (&indexed.entry.path, indexed.offset);
        }
        put_number(&mut out, self.blocks.len() as u64);
        let mut before = Block { uncompressed: 0, compressed: 0 };
        for block in &self.blocks {
            put_number(&mut out, block.uncompressed.wrapping_sub(before.uncompressed));
            put_number(&mut out, block.compressed.wrapping_sub(before.compressed));
            before = *block;
        }
        put_number(&mut out, self.states.len() as u64);
        out.extend(self.states.iter().flat_map(HashState::as_bytes));
        put_bytes(&mut out, &self.programs.as_ref().map(Programs::to_bytes).unwrap_or_default());
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LayerError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(LayerError::Index("it is of another kind or version"))?;
        let mut input = Input(rest);
        let mut budget = Budget::default();
        let mut entries: Vec<IndexedEntry> = Vec::new();
        for _ in 0..input.number()? {
            let before = entries.last().map_or((&b""[..], 0), |e| (&e.entry.path[..], e.offset));
            let indexed = input.entry(before)?;
            budget.spend(&indexed.entry)?;
            entries.push(indexed);
        }
        let blocks = input.blocks()?;
        let states = input.states(blocks.len())?;
        let programs = Programs::from_bytes(input.bytes()?);
        if !input.0.is_empty() {
            return Err(LayerError::Index("it has bytes after its end"));
        }
        Ok(Self { entries, blocks, states, programs })
    }
}

fn put_number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_entry(out: &mut Vec<u8>, indexed: &IndexedEntry, (path_before, offset_before): (&[u8], u64)) {
    let entry = &indexed.entry;
    let shared = entry.path.iter().zip(path_before).take_while(|(a, b)| a == b).count();
    put_number(out, shared as u64);
    put_bytes(out, &entry.path[shared..]);
    put_metadata(out, entry);
    put_number(out, indexed.offset.wrapping_sub(offset_before));
    match &indexed.content {
        Some(digest) => {
            out.push(1);
            out.extend_from_slice(digest.as_bytes());
        }
        None => out.push(0),
    }
}

/// Everything of an entry but its path.
pub(super) fn put_metadata(out: &mut Vec<u8>, entry: &Entry) {
    put_kind(out, &entry.kind);
    put_number(out, entry.mode.into());
    put_number(out, entry.uid.into());
    put_number(out, entry.gid.into());
    put_number(out, ((entry.mtime << 1) ^ (entry.mtime >> 63)) as u64);
    put_number(out, entry.xattrs.len() as u64);
    for (name, value) in &entry.xattrs {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_kind(out: &mut Vec<u8>, kind: &EntryKind) {
    match kind {
        EntryKind::File { size } => {
            out.push(0);
            put_number(out, *size);
        }
        EntryKind::Directory => out.push(1),
        EntryKind::Symlink { target } => {
            out.push(2);
            put_bytes(out, target);
        }
        EntryKind::HardLink { target } => {
            out.push(3);
            put_bytes(out, target);
        }
        EntryKind::CharDevice { major, minor } => {
            out.push(4);
            put_number(out, (*major).into());
            put_number(out, (*minor).into());
        }
        EntryKind::BlockDevice { major, minor } => {
            out.push(5);
            put_number(out, (*major).into());
            put_number(out, (*minor).into());
        }
        EntryKind::Fifo => out.push(6),
        EntryKind::Whiteout => out.push(7),
        EntryKind::Opaque => out.push(8),
    }
}

/// What is left to decode.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], LayerError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(LayerError::Index("it is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, LayerError> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, LayerError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(LayerError::Index("a number is too large"))
    }

    fn small(&mut self) -> Result<u32, LayerError> {
        u32::try_from(self.number()?).map_err(|_| LayerError::Index("a number is too large"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], LayerError> {
        let count = usize::try_from(self.number()?).map_err(|_| LayerError::Index("it is cut short"))?;
        self.take(count)
    }

    fn entry(&mut self, (path_before, offset_before): (&[u8], u64)) -> Result<IndexedEntry, LayerError> {
        let path = self.path(path_before)?;
        let kind = self.kind()?;
        if path.is_empty() && !matches!(kind, EntryKind::Directory | EntryKind::Opaque) {
            return Err(LayerError::Index("the root is not a directory"));
        }
        let mode = self.small()?;
        if mode > 0o7777 {
            return Err(LayerError::Index("a mode is out of range"));
        }
        let (uid, gid) = (self.small()?, self.small()?);
        let zigzag = self.number()?;
        let mtime = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let xattrs = self.xattrs()?;
        let offset = self.further(offset_before)?;
        let content = match self.byte()? {
            0 => None,
            1 => Some(self.digest()?),
            _ => return Err(LayerError::Index("a flag is neither 0 nor 1")),
        };
        Ok(IndexedEntry { entry: Entry { path, kind, mode, uid, gid, mtime, xattrs }, offset, content })
    }

    fn path(&mut self, before: &[u8]) -> Result<Vec<u8>, LayerError> {
        let shared = usize::try_from(self.number()?).ok().and_then(|count| before.get(..count));
        let shared = shared.ok_or(LayerError::Index("a path repeats more than there is"))?;
        let path = [shared, self.bytes()?].concat();
        if path::is_clean(&path) { Ok(path) } else { Err(LayerError::Index("a path is not clean")) }
    }

    fn kind(&mut self) -> Result<EntryKind, LayerError> {
        Ok(match self.byte()? {
            0 => EntryKind::File { size: self.number()? },
            1 => EntryKind::Directory,
            2 => EntryKind::Symlink { target: self.symlink_target()? },
            3 => EntryKind::HardLink { target: self.hard_link_target()? },
            4 => EntryKind::CharDevice { major: self.small()?, minor: self.small()? },
            5 => EntryKind::BlockDevice { major: self.small()?, minor: self.small()? },
            6 => EntryKind::Fifo,
            7 => EntryKind::Whiteout,
            8 => EntryKind::Opaque,
            _ => return Err(LayerError::Index("an entry is of no known kind")),
        })
    }

    fn symlink_target(&mut self) -> Result<Vec<u8>, LayerError> {
        let target = self.bytes()?;
        if target.is_empty() || target.len() > path::MAX_PATH_BYTES || target.contains(&0) {
            return Err(LayerError::Index("a symlink has no proper target"));
        }
        Ok(target.to_vec())
    }

    fn hard_link_target(&mut self) -> Result<Vec<u8>, LayerError> {
        let target = self.bytes()?;
        if target.is_empty() || !path::is_clean(target) {
            return Err(LayerError::Index("a hard link has no proper target"));
        }
        Ok(target.to_vec())
    }

    fn xattrs(&mut self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, LayerError> {
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.number()? {
            let (name, value) = (self.bytes()?, self.bytes()?);
            if xattrs.insert(name.to_vec(), value.to_vec()).is_some() {
                return Err(LayerError::Index("an attribute is there twice"));
            }
        }
        Ok(xattrs)
    }

    fn digest(&mut self) -> Result<Digest, LayerError> {
        let bytes = self.take(32)?.try_into().map_err(|_| LayerError::Index("it is cut short"))?;
        Ok(Digest::from_bytes(bytes))
    }

    /// A number written as the distance from `before`.
    fn further(&mut self, before: u64) -> Result<u64, LayerError> {
        before.checked_add(self.number()?).ok_or(LayerError::Index("an offset is too large"))
    }

    fn blocks(&mut self) -> Result<Vec<Block>, LayerError> {
        let mut blocks = Vec::new();
        let mut before = Block { uncompressed: 0, compressed: 0 };
        for number in 0..self.number()? {
            let block = Block {
                uncompressed: self.further(before.uncompressed)?,
                compressed: self.further(before.compressed)?,
            };
            let grows = block.uncompressed > before.uncompressed && block.compressed > before.compressed;
            if (number == 0 && block != before) || (number > 0 && !grows) {
                return Err(LayerError::Index("its blocks are out of order"));
            }
            blocks.push(block);
            before = block;
        }
        Ok(blocks)
    }

    /// None at all, or one for each block.
    fn states(&mut self, blocks: usize) -> Result<Vec<HashState>, LayerError> {
        let count = self.number()?;
        if count != 0 && count != blocks as u64 {
            return Err(LayerError::Index("its states do not belong to its blocks"));
        }
        (0..count).map(|_| self.digest().map(|bytes| HashState::from_bytes(*bytes.as_bytes()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = EntryKind> {
        prop_oneof![
            any::<u64>().prop_map(|size| EntryKind::File { size }),
            Just(EntryKind::Directory),
            Just(EntryKind::Symlink { target: b"../x".to_vec() }),
            Just(EntryKind::HardLink { target: b"a/b".to_vec() }),
            any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
            any::<(u32, u32)>().prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
            Just(EntryKind::Fifo),
            Just(EntryKind::Whiteout),
            Just(EntryKind::Opaque),
        ]
    }

    fn xattrs() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
        prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..9),
            prop::collection::vec(any::<u8>(), 0..9),
            0..3,
        )
    }

    prop_compose! {
        fn indexed()(
            names in prop::collection::vec(0u8..200, 1..4), kind in kinds(), mode in 0u32..0o10000,
            ids in any::<(u32, u32)>(), mtime in any::<i64>(), xattrs in xattrs(), distance in 0u64..1 << 40,
            content in any::<Option<[u8; 32]>>(),
        ) -> (Entry, u64, Option<Digest>) {
            let path = names.iter().map(|n| format!("d{n}")).collect::<Vec<_>>().join("/").into_bytes();
            let entry = Entry { path, kind, mode, uid: ids.0, gid: ids.1, mtime, xattrs };
            (entry, distance, content.map(Digest::from_bytes))
        }
    }

    prop_compose! {
        fn indexes()(
            raw in prop::collection::vec(indexed(), 0..20), steps in prop::collection::vec((1u64..1 << 30, 1u64..1 << 30), 0..9),
            state in any::<Option<[u8; 32]>>(),
        ) -> Index {
            let mut index = Index::default();
            let mut offset = 0;
            for (entry, distance, content) in raw {
                offset += distance;
                index.entries.push(IndexedEntry { entry, offset, content });
            }
            let mut block = Block { uncompressed: 0, compressed: 0 };
            for (uncompressed, compressed) in steps {
                index.blocks.push(block);
                block = Block { uncompressed: block.uncompressed + uncompressed, compressed: block.compressed + compressed };
                index.states.extend(state.map(HashState::from_bytes));
            }
            index
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(index in indexes()) {
            prop_assert_eq!(Index::from_bytes(&index.to_bytes()).unwrap(), index);
        }

        #[test]
        fn garbage_is_an_error_or_an_index(index in indexes(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
            let mut bytes = index.to_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(index) = Index::from_bytes(&bytes) {
                prop_assert!(index.entries.iter().all(|e| path::is_clean(&e.entry.path)));
            }
            let cut = cut.index(bytes.len());
            let _ = Index::from_bytes(&bytes[..cut]);
        }

        #[test]
        fn cutting_is_noticed(index in indexes(), cut in any::<prop::sample::Index>()) {
            let bytes = index.to_bytes();
            prop_assert!(Index::from_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        }
    }
}
