//! The processors that ELF files are for, by the names that images have for them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an ELF header says of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Machine {
    /// `e_machine`
    pub number: u16,
    pub is_64_bit: bool,
    pub is_big_endian: bool,
    /// MIPS: the 64-bit registers under 32-bit addresses, which is how n32 differs from o32.
    pub is_wide: bool,
}

const EM_386: u16 = 3;
const EM_MIPS: u16 = 8;
const EM_PPC: u16 = 20;
const EM_PPC64: u16 = 21;
const EM_S390: u16 = 22;
const EM_ARM: u16 = 40;
const EM_SPARCV9: u16 = 43;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const EM_LOONGARCH: u16 = 258;

impl Machine {
    /// The architecture as platforms have it. Nothing for what no image is for: BPF, graphics cards, microcontrollers.
    pub fn architecture(self) -> Option<&'static str> {
        Some(match (self.number, self.is_64_bit, self.is_big_endian) {
            (EM_386, false, false) => "386",
            (EM_X86_64, true, false) => "amd64",
            (EM_X86_64, false, false) => "amd64p32",
            (EM_ARM, false, false) => "arm",
            (EM_ARM, false, true) => "armbe",
            (EM_AARCH64, true, false) => "arm64",
            (EM_AARCH64, true, true) => "arm64be",
            (EM_AARCH64, false, false) => "arm64p32",
            (EM_PPC, false, true) => "ppc",
            (EM_PPC64, true, true) => "ppc64",
            (EM_PPC64, true, false) => "ppc64le",
            (EM_S390, true, true) => "s390x",
            (EM_S390, false, true) => "s390",
            (EM_RISCV, true, false) => "riscv64",
            (EM_RISCV, false, false) => "riscv",
            (EM_LOONGARCH, true, false) => "loong64",
            (EM_SPARCV9, true, true) => "sparc64",
            (EM_MIPS, true, true) => "mips64",
            (EM_MIPS, true, false) => "mips64le",
            (EM_MIPS, false, true) if self.is_wide => "mips64p32",
            (EM_MIPS, false, false) if self.is_wide => "mips64p32le",
            (EM_MIPS, false, true) => "mips",
            (EM_MIPS, false, false) => "mipsle",
            _ => return None,
        })
    }

    pub fn is_arm(self) -> bool {
        self.number == EM_ARM
    }

    pub fn is_mips(self) -> bool {
        self.number == EM_MIPS
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.architecture() {
            Some(architecture) => f.write_str(architecture),
            None => write!(f, "machine {}", self.number),
        }
    }
}
