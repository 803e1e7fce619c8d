//! What a file is, known from its bytes: ELF, Mach-O and PE programs, scripts, archives of programs.
//!
//! Bytes come in order, from a stream that nobody rewinds, and as few as will do: [`Probe`] says how far it has to
//! see. Everything here comes from outside, so whatever a file says of itself is bounded: by [`MOST_BYTES`] in memory,
//! and in `elf` and `archive` by count. Nothing here knows which file is right.

mod archive;
mod elf;
mod machine;
mod probe;
mod programs;
mod script;

pub use archive::Member;
pub use elf::{Elf, ElfKind};
pub use machine::Machine;
pub use probe::{MOST_BYTES, Probe, scan};
pub use programs::Programs;
pub use script::Script;

use serde::{Deserialize, Serialize};

/// Version of what is found in the same bytes. Bumped by hand when that changes, so that what was found before is not
/// believed any more.
pub const FORMAT: u32 = 2;

/// What is worth knowing of a file. Written down as JSON, with [`FORMAT`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    Elf(Box<Elf>),
    Script(Script),
    /// A program for macOS.
    MachO,
    /// A program for Windows or for firmware.
    Pe,
    /// The programs in a `.jar`, a `.whl` or a static library.
    Archive(Vec<Member>),
}

#[cfg(test)]
mod tests;
