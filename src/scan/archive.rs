//! The programs in a `.jar`, a `.whl` or a static library, by the first bytes of each.
//!
//! Archives in archives are not opened. Of a member only as many bytes are unpacked as a header has, so that it does
//! not matter what the rest of it would become.

use std::io::Read;

use flate2::read::DeflateDecoder;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::probe::Look;
use super::{Found, elf};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub machine: Machine,
    /// As opposed to what a linker makes one of.
    pub is_library: bool,
    pub is_for_linux: bool,
}

/// Larger archives are left alone.
const LARGEST: u64 = 16 << 20;
const MOST_MEMBERS: usize = 1 << 14;
const MOST_OPENED: usize = 1 << 10;
/// Of those found.
const MOST_KEPT: usize = 64;
const LONGEST_NAME: usize = 512;
const HEADER: usize = 64;

/// Says what is in an archive, once all of it is there.
pub(super) fn look(head: &[u8], size: u64) -> Look {
    if head.starts_with(b"!<arch>\n") {
        return look_at_library(head, size);
    }
    if size > LARGEST {
        return Look::Done(None);
    }
    if (head.len() as u64) < size {
        return Look::More(size as usize);
    }
    let mut members = Vec::new();
    read_zip(head, &mut members);
    Look::Done((!members.is_empty()).then_some(Found::Archive(members)))
}

/// All members of a static library are for one processor: the first one that is a program tells.
fn look_at_library(head: &[u8], size: u64) -> Look {
    const LARGEST_TABLE: usize = 4 << 20;
    const MOST_TABLES: usize = 4;
    let mut at = 8;
    for _ in 0..=MOST_TABLES {
        let end = at + HEADER_OF_MEMBER + HEADER;
        if head.len() < end.min(usize::try_from(size).unwrap_or(end)) {
            return Look::More(end);
        }
        let Some(header) = head.get(at..at + HEADER_OF_MEMBER) else { return Look::Done(None) };
        let content = &head[at + HEADER_OF_MEMBER..];
        if content.starts_with(b"\x7fELF") {
            let found = elf::member(header[..16].trim_ascii_end(), content);
            return Look::Done(found.map(|member| Found::Archive(vec![member])));
        }
        // Tables of symbols and of names come first; anything else is no library of programs.
        let is_table = header.starts_with(b"/");
        let length = std::str::from_utf8(&header[48..58]).ok().and_then(|text| text.trim_end().parse().ok());
        match length.filter(|length: &usize| is_table && *length <= LARGEST_TABLE) {
            Some(length) => at += HEADER_OF_MEMBER + length + length % 2,
            None => return Look::Done(None),
        }
        if at as u64 >= size {
            break;
        }
    }
    Look::Done(None)
}

const HEADER_OF_MEMBER: usize = 60;

/// Follows the directory at the end of a zip file (APPNOTE.TXT, 4.3). Whatever does not fit together ends it.
fn read_zip(file: &[u8], members: &mut Vec<Member>) -> Option<()> {
    let (mut at, mut opened) = (directory(file)?, 0);
    for _ in 0..MOST_MEMBERS {
        let entry = file.get(at..at + 46).filter(|entry| entry.starts_with(b"PK\x01\x02"))?;
        let name_length = half(entry, 28);
        let name = file.get(at + 46..at + 46 + name_length)?;
        if may_be_program(name) && name_length <= LONGEST_NAME {
            let start = u32::from_le_bytes(entry[42..46].try_into().ok()?);
            let head = first_bytes(file, start as usize, half(entry, 10));
            members.extend(head.and_then(|head| elf::member(name, &head)));
            opened += 1;
            if members.len() == MOST_KEPT || opened == MOST_OPENED {
                return None;
            }
        }
        at += 46 + name_length + half(entry, 30) + half(entry, 32);
    }
    None
}

/// Where the directory begins: its end is at the end of the file, but for a comment.
fn directory(file: &[u8]) -> Option<usize> {
    let earliest = file.len().saturating_sub(22 + usize::from(u16::MAX));
    let tail = &file[earliest..];
    let end = tail.windows(22).rposition(|window| window.starts_with(b"PK\x05\x06"))?;
    Some(u32::from_le_bytes(tail[end + 16..end + 20].try_into().ok()?) as usize)
}

/// Classes, texts and pictures are most of what such archives hold.
fn may_be_program(name: &[u8]) -> bool {
    let base = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let has = |part: &[u8]| base.windows(part.len()).any(|window| window == part);
    !base.is_empty() && (has(b".so") || base.ends_with(b".node") || !base.contains(&b'.'))
}

fn first_bytes(file: &[u8], start: usize, method: usize) -> Option<Vec<u8>> {
    let header =
        file.get(start..start.checked_add(30)?).filter(|header| header.starts_with(b"PK\x03\x04"))?;
    let content = file.get(start + 30 + half(header, 26) + half(header, 28)..)?;
    let mut head = Vec::with_capacity(HEADER);
    match method {
        0 => head.extend_from_slice(&content[..content.len().min(HEADER)]),
        // A broken stream ends early.
        8 => drop(DeflateDecoder::new(content).take(HEADER as u64).read_to_end(&mut head)),
        _ => return None,
    }
    Some(head)
}

fn half(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}
