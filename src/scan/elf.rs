//! ELF headers: for which processor a file is, which loader starts it, which libraries it needs.
//!
//! Only what a loader reads is read: program headers, the dynamic section, its strings. Sections may say anything.
//! Names are the specification's (System V ABI, "gABI").

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::probe::Look;
use super::{Found, archive};

/// As much of an ELF file as matters to whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Elf {
    pub machine: Machine,
    pub kind: ElfKind,
    /// `EI_OSABI`; what is for Linux says 0 or 3.
    pub os_abi: u8,
    /// `e_flags`
    pub flags: u32,
    /// The loader: `/lib64/ld-linux-x86-64.so.2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interpreter: Option<String>,
    /// There is a dynamic section: it is a library, or a program that needs some.
    pub is_dynamic: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed: Vec<String>,
    /// Where it wants its libraries looked for, before all else: `$ORIGIN/../lib:/opt/lib`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ElfKind {
    /// `.o`, `.ko`: nothing loads it.
    Object,
    Executable,
    /// A library, or a program that may be loaded anywhere.
    Shared,
    Other,
}

const MOST_PROGRAM_HEADERS: usize = 256;
const MOST_DYNAMIC_ENTRIES: u64 = 4096;
const MOST_NEEDED: usize = 256;
/// One of each kind.
const MOST_SEARCH_PATHS: usize = 2;
/// Linux knows no longer path, and file systems no longer name.
const LONGEST_PATH: u64 = 4096;
const LONGEST_NAME: usize = 255;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

const EF_MIPS_ABI2: u32 = 0x20;
const EF_ARM_SOFT: u32 = 0x200;
const EF_ARM_HARD: u32 = 0x400;
const EF_ARM_EABI: u32 = 0xff00_0000;

impl Elf {
    /// 32-bit arm: floating-point numbers go to functions in registers of their own, or in common ones. Nothing for
    /// files that do not say or do not care.
    pub fn is_hard_float(&self) -> Option<bool> {
        if !self.machine.is_arm() || self.flags & EF_ARM_EABI == 0 {
            return None;
        }
        match (self.flags & EF_ARM_HARD != 0, self.flags & EF_ARM_SOFT != 0) {
            (true, false) => Some(true),
            (false, true) => Some(false),
            _ => self.interpreter.as_deref().and_then(|loader| match loader {
                "/lib/ld-linux-armhf.so.3" | "/lib/ld-musl-armhf.so.1" => Some(true),
                "/lib/ld-linux.so.3" | "/lib/ld-musl-arm.so.1" => Some(false),
                _ => None,
            }),
        }
    }

    /// Made for Linux, or for whoever runs it.
    pub fn is_for_linux(&self) -> bool {
        const ARM_OLD: u8 = 97;
        matches!(self.os_abi, 0 | 3 | ARM_OLD)
    }
}

/// The processor and the kind of file, from the header alone.
pub(super) fn header(head: &[u8]) -> Option<Elf> {
    let file = File::open(head)?;
    let kind = match file.half(16)? {
        1 => ElfKind::Object,
        2 => ElfKind::Executable,
        3 => ElfKind::Shared,
        _ => ElfKind::Other,
    };
    let flags = file.word(if file.is_64_bit { 48 } else { 36 })?;
    let mut machine = Machine {
        number: file.half(18)?,
        is_64_bit: file.is_64_bit,
        is_big_endian: file.is_big_endian,
        is_wide: false,
    };
    machine.is_wide = machine.is_mips() && !file.is_64_bit && flags & EF_MIPS_ABI2 != 0;
    Some(Elf {
        machine,
        kind,
        os_abi: head[7],
        flags,
        interpreter: None,
        is_dynamic: false,
        needed: Vec::new(),
        search: Vec::new(),
    })
}

pub(super) fn look(head: &[u8]) -> Look {
    let Some(mut elf) = header(head) else { return Look::Done(None) };
    match read(head, &[], &mut elf) {
        Some(wanted) if wanted > head.len() as u64 => {
            Look::More(usize::try_from(wanted).unwrap_or(usize::MAX))
        }
        _ => Look::Done(Some(Found::Elf(Box::new(elf)))),
    }
}

/// What can be said of a file of which little is in sight: its beginning, and its dynamic section, if anybody has that.
pub(super) fn settle(head: &[u8], dynamic: &[u8]) -> Option<Found> {
    let mut elf = header(head)?;
    read(head, dynamic, &mut elf);
    Some(Found::Elf(Box::new(elf)))
}

/// Where the dynamic section is, which large files have near their end.
pub(super) fn far(head: &[u8]) -> Option<(u64, usize)> {
    let file = File::open(head)?;
    let segment = file.program_headers()?.segments(&file).find(|segment| segment.kind == PT_DYNAMIC)?;
    let length = segment.size.min(MOST_DYNAMIC_ENTRIES * file.dynamic_size());
    Some((segment.offset, usize::try_from(length).ok()?))
}

/// Fills in what the program headers lead to (the dynamic section may be given by itself), and says up to where the file
/// has to be seen for that.
fn read(head: &[u8], far: &[u8], elf: &mut Elf) -> Option<u64> {
    if matches!(elf.kind, ElfKind::Object | ElfKind::Other) {
        return None;
    }
    let file = File::open(head)?;
    let table = file.program_headers()?;
    let mut wanted = table.end;
    let mut dynamic = None;
    for segment in table.segments(&file) {
        match segment.kind {
            PT_INTERP => {
                let length = segment.size.min(LONGEST_PATH);
                wanted = wanted.max(segment.offset.saturating_add(length));
                elf.interpreter =
                    file.slice(segment.offset, length).and_then(|bytes| text(bytes, LONGEST_PATH));
            }
            PT_DYNAMIC => {
                elf.is_dynamic = true;
                let length = segment.size.min(MOST_DYNAMIC_ENTRIES * file.dynamic_size());
                wanted = wanted.max(segment.offset.saturating_add(length));
                dynamic = file.slice(segment.offset, length).or((!far.is_empty()).then_some(far));
            }
            _ => {}
        }
    }
    if let Some(dynamic) = dynamic {
        wanted = wanted.max(needed(&file, &table, dynamic, elf)?);
    }
    Some(wanted)
}

/// Fills in the names of libraries and where they are looked for, and says up to where the file has to be seen for that.
fn needed(file: &File<'_>, table: &Table, dynamic: &[u8], elf: &mut Elf) -> Option<u64> {
    let (mut names, mut paths, mut strings) = (Vec::new(), Vec::new(), None);
    let half = usize::try_from(file.dynamic_size() / 2).ok()?;
    for entry in dynamic.chunks_exact(2 * half) {
        let (tag, value) = (file.number(&entry[..half]), file.number(&entry[half..]));
        match tag {
            0 => break,
            DT_NEEDED if names.len() < MOST_NEEDED => names.push(value),
            DT_RPATH | DT_RUNPATH if paths.len() < MOST_SEARCH_PATHS => paths.push(value),
            DT_STRTAB => strings = Some(value),
            _ => {}
        }
    }
    let last = |offsets: &[u64], longest: u64| Some(offsets.iter().max()?.saturating_add(longest + 1));
    let last = last(&names, LONGEST_NAME as u64).max(last(&paths, LONGEST_PATH))?;
    let start = table.offset_of(file, strings?)?;
    let end = start.checked_add(last)?;
    let string = |offset: &u64, longest: u64| {
        let at = usize::try_from(start.checked_add(*offset)?).ok()?;
        text(file.bytes.get(at..)?, longest)
    };
    let found: Vec<String> = names.iter().filter_map(|offset| string(offset, LONGEST_NAME as u64)).collect();
    let is_whole = found.len() == names.len() && file.bytes.len() as u64 >= end;
    elf.needed = found;
    elf.search = paths.iter().filter_map(|offset| string(offset, LONGEST_PATH)).collect();
    // The file may end with the last name.
    Some(if is_whole { 0 } else { end })
}

/// The bytes up to a zero, as text without anything that would change a terminal.
fn text(bytes: &[u8], most: u64) -> Option<String> {
    let bytes = &bytes[..bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX))];
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    (end > 0).then(|| bytes[..end].escape_ascii().to_string())
}

/// Numbers in the order of the file.
struct File<'a> {
    bytes: &'a [u8],
    is_64_bit: bool,
    is_big_endian: bool,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let is_64_bit = match bytes.get(4)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        let is_big_endian = match bytes.get(5)? {
            1 => false,
            2 => true,
            _ => return None,
        };
        bytes.starts_with(b"\x7fELF").then_some(Self { bytes, is_64_bit, is_big_endian })
    }

    fn slice(&self, offset: u64, length: u64) -> Option<&'a [u8]> {
        let (offset, length) = (usize::try_from(offset).ok()?, usize::try_from(length).ok()?);
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.is_big_endian {
            true => bytes.iter().fold(0, join),
            false => bytes.iter().rev().fold(0, join),
        }
    }

    fn half(&self, offset: u64) -> Option<u16> {
        self.slice(offset, 2).map(|bytes| self.number(bytes) as u16)
    }

    fn word(&self, offset: u64) -> Option<u32> {
        self.slice(offset, 4).map(|bytes| self.number(bytes) as u32)
    }

    /// A number of the size of addresses.
    fn address(&self, offset: u64) -> Option<u64> {
        self.slice(offset, if self.is_64_bit { 8 } else { 4 }).map(|bytes| self.number(bytes))
    }

    fn dynamic_size(&self) -> u64 {
        if self.is_64_bit { 16 } else { 8 }
    }

    fn program_headers(&self) -> Option<Table> {
        let (start, sizes) = match self.is_64_bit {
            true => (self.address(32)?, 54),
            false => (self.address(28)?, 42),
        };
        let size = u64::from(self.half(sizes)?);
        let least = if self.is_64_bit { 56 } else { 32 };
        let count = match size < least {
            true => 0,
            false => usize::from(self.half(sizes + 2)?).min(MOST_PROGRAM_HEADERS),
        };
        let end = start.checked_add(size * count as u64)?;
        Some(Table { start, size, count, end })
    }

    fn segment(&self, at: u64) -> Option<Segment> {
        let kind = self.word(at)?;
        Some(match self.is_64_bit {
            true => Segment {
                kind,
                offset: self.address(at + 8)?,
                address: self.address(at + 16)?,
                size: self.address(at + 32)?,
            },
            false => Segment {
                kind,
                offset: self.address(at + 4)?,
                address: self.address(at + 8)?,
                size: self.address(at + 16)?,
            },
        })
    }
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

/// Where the program headers are.
struct Table {
    start: u64,
    size: u64,
    count: usize,
    end: u64,
}

impl Table {
    fn segments<'f>(&self, file: &'f File<'_>) -> impl Iterator<Item = Segment> + use<'f> {
        let (start, size) = (self.start, self.size);
        (0..self.count as u64).map_while(move |place| file.segment(start.checked_add(place * size)?))
    }

    /// Where in the file an address is.
    fn offset_of(&self, file: &File<'_>, address: u64) -> Option<u64> {
        let holds = |segment: &Segment| {
            segment.kind == PT_LOAD
                && address.checked_sub(segment.address).is_some_and(|within| within < segment.size)
        };
        let segment = self.segments(file).find(holds)?;
        segment.offset.checked_add(address - segment.address)
    }
}

/// The processor of a member of an archive, from its first bytes.
pub(super) fn member(name: &[u8], head: &[u8]) -> Option<archive::Member> {
    let elf = header(head)?;
    Some(archive::Member {
        name: name.escape_ascii().to_string(),
        machine: elf.machine,
        is_library: elf.kind != ElfKind::Object,
        is_for_linux: elf.is_for_linux(),
    })
}
