//! Sparse members: GNU's old form and PAX form 1.0, as GNU tar writes them with `--sparse`.
//!
//! Both come down to the same: which parts of the content are stored, in order, and how long the whole is.

use std::collections::BTreeMap;
use std::io::Read;

use super::error::LayerError;
use super::tar_header::TAR_BLOCK;
use super::tar_member::{Member, decimal, field_size, read_block};

/// The most stored parts of one sparse file.
pub const MAX_SEGMENTS: usize = 1 << 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

pub(super) fn gnu_segments(
    header: &tar::Header,
    member: &mut Member,
    source: &mut impl Read,
) -> Result<(), LayerError> {
    let gnu = header.as_gnu().ok_or_else(|| LayerError::malformed("a sparse file without GNU's header"))?;
    let mut segments = Vec::new();
    let mut add = |offset: &[u8], length: &[u8]| {
        if offset[0] != 0 || length[0] != 0 {
            segments.push(Segment { offset: field_size(offset)?, length: field_size(length)? });
        }
        if segments.len() > MAX_SEGMENTS { Err(too_many()) } else { Ok(()) }
    };
    gnu.sparse.iter().try_for_each(|part| add(&part.offset, &part.numbytes))?;
    let mut extended = gnu.isextended[0] != 0;
    while extended {
        let mut block = [0; TAR_BLOCK];
        if !read_block(source, &mut block)? {
            return Err(LayerError::Truncated("a sparse map"));
        }
        block[..504].chunks_exact(24).try_for_each(|part| add(&part[..12], &part[12..]))?;
        extended = block[504] != 0;
    }
    member.size = field_size(&gnu.realsize)?;
    member.segments = segments;
    check(member)
}

pub(super) fn pax_segments(
    records: &BTreeMap<Vec<u8>, Vec<u8>>,
    member: &mut Member,
    source: &mut impl Read,
) -> Result<(), LayerError> {
    let record = |key: &str| records.get(key.as_bytes()).map(Vec::as_slice);
    if record("major") != Some(b"1") || record("minor") != Some(b"0") || !matches!(member.type_flag, b'0' | 0)
    {
        return Err(LayerError::malformed("a sparse file of a form other than 1.0"));
    }
    let size = record("realsize").map(decimal).transpose()?.and_then(|size| u64::try_from(size).ok());
    member.size = size.ok_or_else(|| LayerError::malformed("a sparse file without its size"))?;
    if let Some(name) = record("name") {
        member.path = name.to_vec();
    }
    let mut map = MapReader { source, block: [0; TAR_BLOCK], next: TAR_BLOCK, left: member.stored };
    let count = map.number()?;
    if count > MAX_SEGMENTS as u64 {
        return Err(too_many());
    }
    let parts = (0..count).map(|_| Ok(Segment { offset: map.number()?, length: map.number()? }));
    member.segments = parts.collect::<Result<_, LayerError>>()?;
    member.stored = map.left;
    check(member)
}

/// Segments are in order, inside the file, and exactly what is stored.
fn check(member: &Member) -> Result<(), LayerError> {
    let (mut end, mut stored) = (0u64, 0u64);
    for segment in &member.segments {
        let next = segment.offset.checked_add(segment.length).filter(|next| *next <= member.size);
        let next = next.filter(|_| segment.offset >= end);
        end = next.ok_or_else(|| LayerError::malformed("a sparse map out of order"))?;
        // Cannot overflow: the segments do not overlap.
        stored += segment.length;
    }
    if stored == member.stored {
        Ok(())
    } else {
        Err(LayerError::malformed("a sparse map of another length"))
    }
}

fn too_many() -> LayerError {
    LayerError::Limit { what: "parts in a sparse file", limit: MAX_SEGMENTS as u64 }
}

/// The decimal numbers, one a line, that precede the content; whole blocks are taken from the content.
struct MapReader<'a, R> {
    source: &'a mut R,
    block: [u8; TAR_BLOCK],
    next: usize,
    left: u64,
}

impl<R: Read> MapReader<'_, R> {
    fn number(&mut self) -> Result<u64, LayerError> {
        let mut value = 0u64;
        loop {
            match self.byte()? {
                b'\n' => return Ok(value),
                digit @ b'0'..=b'9' => {
                    let shifted = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0')));
                    value = shifted.ok_or_else(|| LayerError::malformed("a number in a sparse map"))?;
                }
                _ => return Err(LayerError::malformed("a number in a sparse map")),
            }
        }
    }

    fn byte(&mut self) -> Result<u8, LayerError> {
        if self.next == TAR_BLOCK {
            self.left =
                self.left.checked_sub(TAR_BLOCK as u64).ok_or(LayerError::Truncated("a sparse map"))?;
            if !read_block(self.source, &mut self.block)? {
                return Err(LayerError::Truncated("a sparse map"));
            }
            self.next = 0;
        }
        self.next += 1;
        Ok(self.block[self.next - 1])
    }
}
