//! The smallest programs there are, one per architecture: whole ELF files made here, byte by byte, that end with a code
//! of their own. Whoever sees that code has seen the architecture run.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::emulate::Architecture;

/// What the programs end with: a number that neither a crash nor a refusal gives.
pub const EXIT_CODE: i32 = 42;

/// Where they are loaded: the lowest address that every kernel gives to programs, on pages of up to 64 KiB.
const BASE: u32 = 0x10000;

/// `exit(42)` by the system call, and the flags of the ELF header that the architecture's loaders ask for.
fn code(name: &str) -> Option<(&'static [u8], u32)> {
    #[rustfmt::skip]
    let (code, flags): (&[u8], u32) = match name {
        // mov edi, 42; mov eax, 60; syscall
        "amd64" => (&[0xbf, 42, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05], 0),
        // mov ebx, 42; mov eax, 1; int 0x80
        "386" => (&[0xbb, 42, 0, 0, 0, 0xb8, 1, 0, 0, 0, 0xcd, 0x80], 0),
        // mov x0, #42; mov x8, #93; svc #0
        "arm64" => (&[0x40, 0x05, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4], 0),
        // mov r0, #42; mov r7, #1; svc #0; the flags are those of the ABI's version 5
        "arm" => (&[42, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef], 0x0500_0000),
        // li a0, 42; li a7, 93; ecall
        "riscv64" => (&[0x13, 0x05, 0xa0, 0x02, 0x93, 0x08, 0xd0, 0x05, 0x73, 0, 0, 0], 0),
        // lghi %r2, 42; svc 1
        "s390x" => (&[0xa7, 0x29, 0, 42, 0x0a, 0x01], 0),
        // li r3, 42; li r0, 1; sc; the flags are those of ABI version 2
        "ppc64le" => (&[42, 0, 0x60, 0x38, 1, 0, 0, 0x38, 0x02, 0, 0, 0x44], 2),
        // li $a0, 42; li $v0, 5058; syscall; the flags are 64-bit release 2, position-independent
        "mips64le" => (&[42, 0, 0x04, 0x24, 0xc2, 0x13, 0x02, 0x24, 0x0c, 0, 0, 0], 0x8000_0007),
        // li.w $a0, 42; li.w $a7, 93; syscall 0; the flags are those of LP64D, version 1
        "loong64" => (&[0x04, 0xa8, 0x80, 0x02, 0x0b, 0x74, 0x81, 0x02, 0, 0, 0x2b, 0], 0x43),
        _ => return None,
    };
    Some((code, flags))
}

/// The program of an architecture, by the name that platforms give it.
pub fn program(name: &str) -> Option<Vec<u8>> {
    let architecture = Architecture::named(name)?;
    let (code, flags) = code(name)?;
    let mut file = File { bytes: architecture.header().to_vec(), architecture };
    let (header, segment) = if architecture.is_64_bit { (64, 56) } else { (52, 32) };
    let size = header + segment + code.len() as u32;
    file.word(1);
    // e_entry, e_phoff, e_shoff
    [BASE + header + segment, header, 0].into_iter().for_each(|value| file.address(value));
    file.word(flags);
    // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    [header as u16, segment as u16, 1, 0, 0, 0].into_iter().for_each(|value| file.half(value));
    // One segment, loaded to be read and executed; where the flags stand depends on the class.
    file.word(1);
    if architecture.is_64_bit {
        file.word(5);
    }
    // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz
    [0, BASE, BASE, size, size].into_iter().for_each(|value| file.address(value));
    if !architecture.is_64_bit {
        file.word(5);
    }
    file.address(0x10000);
    file.bytes.extend_from_slice(code);
    Some(file.bytes)
}

/// An ELF file that grows.
struct File {
    bytes: Vec<u8>,
    architecture: &'static Architecture,
}

impl File {
    fn half(&mut self, value: u16) {
        let is_big = self.architecture.is_big_endian;
        self.bytes.extend_from_slice(&if is_big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn word(&mut self, value: u32) {
        let is_big = self.architecture.is_big_endian;
        self.bytes.extend_from_slice(&if is_big { value.to_be_bytes() } else { value.to_le_bytes() });
    }

    fn address(&mut self, value: u32) {
        match (self.architecture.is_64_bit, self.architecture.is_big_endian) {
            (false, _) => self.word(value),
            (true, true) => self.bytes.extend_from_slice(&u64::from(value).to_be_bytes()),
            (true, false) => self.bytes.extend_from_slice(&u64::from(value).to_le_bytes()),
        }
    }
}

/// Writes the program of an architecture, to be executed.
pub fn write(name: &str, path: &Path) -> io::Result<()> {
    let unknown = || io::Error::new(io::ErrorKind::Unsupported, format!("there is no program for {name}"));
    let bytes = program(name).ok_or_else(unknown)?;
    fs::File::create(path)?.write_all(&bytes)?;
    executable(path)
}

/// Whether this machine executes programs of the architecture, without a sandbox.
pub fn runs(name: &str) -> bool {
    let Ok(folder) = tempfile::tempdir() else { return false };
    let path = folder.path().join("program");
    let quiet =
        || Command::new(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    write(name, &path).is_ok() && quiet().is_ok_and(|status| status.code() == Some(EXIT_CODE))
}

#[cfg(unix)]
fn executable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    #[test]
    fn the_programs_of_this_machine_are_well_formed() {
        for name in ["amd64", "386"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("program");
            write(name, &path).unwrap();
            // Kernels without IA32 emulation exist; what must not happen is a crash, which is neither answer.
            match Command::new(&path).status() {
                Ok(status) => assert_eq!(status.code(), Some(EXIT_CODE), "{name}"),
                Err(error) => assert_eq!((name, error.raw_os_error()), ("386", Some(8)), "{error}"),
            }
        }
    }

    #[test]
    fn every_architecture_that_can_be_emulated_has_a_program() {
        for name in ["amd64", "386", "arm64", "arm", "riscv64", "s390x", "ppc64le", "mips64le", "loong64"] {
            let program = program(name).unwrap();
            assert!(program.starts_with(b"\x7fELF") && program.len() < 140, "{name}");
        }
        assert_eq!(program("sparc"), None);
    }
}
