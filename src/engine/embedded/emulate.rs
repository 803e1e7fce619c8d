//! How a platform's programs run on this host: natively, through an emulator the host has registered, through
//! one registered for mab alone, or not at all.
//!
//! [`HostFacts::read`] looks at the host; [`decide`] is pure. Emulators are static `qemu-user` binaries: the
//! kernel opens them at registration (flag F), so they work in any root file system.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tiny_program;
use crate::base::{Digest, Platform};

/// A folder of `qemu-ARCH[-static]` binaries to be looked at before PATH.
pub const DIRECTORY_VARIABLE: &str = "MAB_QEMU_DIR";
/// The first kernel whose user namespaces have a binfmt_misc of their own.
const PRIVATE_BINFMT_SINCE: (u32, u32) = (6, 7);
const REGISTRY: &str = "/proc/sys/fs/binfmt_misc";

/// What tells programs of an architecture apart, and what qemu calls it.
pub(super) struct Architecture {
    /// As platforms name it.
    name: &'static str,
    qemu: &'static str,
    pub is_64_bit: bool,
    pub is_big_endian: bool,
    /// `e_machine` of the ELF specification.
    machine: u16,
}

#[rustfmt::skip]
const ARCHITECTURES: &[Architecture] = &[
    Architecture { name: "amd64",    qemu: "x86_64",      is_64_bit: true,  is_big_endian: false, machine: 62 },
    Architecture { name: "arm64",    qemu: "aarch64",     is_64_bit: true,  is_big_endian: false, machine: 183 },
    Architecture { name: "arm",      qemu: "arm",         is_64_bit: false, is_big_endian: false, machine: 40 },
    Architecture { name: "386",      qemu: "i386",        is_64_bit: false, is_big_endian: false, machine: 3 },
    Architecture { name: "riscv64",  qemu: "riscv64",     is_64_bit: true,  is_big_endian: false, machine: 243 },
    Architecture { name: "s390x",    qemu: "s390x",       is_64_bit: true,  is_big_endian: true,  machine: 22 },
    Architecture { name: "ppc64le",  qemu: "ppc64le",     is_64_bit: true,  is_big_endian: false, machine: 21 },
    Architecture { name: "mips64le", qemu: "mips64el",    is_64_bit: true,  is_big_endian: false, machine: 8 },
    Architecture { name: "loong64",  qemu: "loongarch64", is_64_bit: true,  is_big_endian: false, machine: 258 },
];

const HEADER_LENGTH: usize = 20;

impl Architecture {
    pub fn named(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|architecture| architecture.name == name)
    }

    /// The first bytes of an executable, up to `e_machine`.
    pub fn header(&self) -> [u8; HEADER_LENGTH] {
        let mut header = [0; HEADER_LENGTH];
        header[..4].copy_from_slice(b"\x7fELF");
        header[4] = 1 + u8::from(self.is_64_bit);
        header[5] = 1 + u8::from(self.is_big_endian);
        header[6] = 1;
        let half = |value: u16| if self.is_big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
        header[16..18].copy_from_slice(&half(2));
        header[18..20].copy_from_slice(&half(self.machine));
        header
    }

    /// Which bits of [`Architecture::header`] count: not the ABI (byte 7), and both fixed (2) and
    /// position-independent (3) executables match.
    fn mask(&self) -> [u8; HEADER_LENGTH] {
        let mut mask = [0xff; HEADER_LENGTH];
        mask[7] = 0;
        mask[if self.is_big_endian { 17 } else { 16 }] = 0xfe;
        mask
    }
}

/// An emulator and the programs it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// As platforms name it: `arm64`.
    pub architecture: String,
    /// A static executable.
    pub interpreter: PathBuf,
    pub magic: Vec<u8>,
    pub mask: Vec<u8>,
    /// Digest of the interpreter: results it had a part in are its own.
    pub identity: String,
}

impl Emulator {
    /// F: opened at registration. P: programs see their own `argv[0]`. C and O: setuid programs work.
    pub const FLAGS: &'static str = "OPCF";

    /// The line for binfmt_misc's `register` file.
    pub fn registration(&self) -> Vec<u8> {
        let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        let (magic, mask) = (escaped(&self.magic), escaped(&self.mask));
        let mut line = format!(":mab-{}:M::{magic}:{mask}:", self.architecture).into_bytes();
        line.extend_from_slice(self.interpreter.as_os_str().as_encoded_bytes());
        line.extend_from_slice(format!(":{}", Self::FLAGS).as_bytes());
        line
    }
}

/// How programs of a platform are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Execution {
    Native,
    /// The host has an emulator registered.
    HostBinfmt {
        interpreter: PathBuf,
        flags: String,
    },
    /// To be registered with [`super::sandbox::SupervisorOptions::emulators`].
    PrivateBinfmt(Emulator),
    Unavailable {
        reason: String,
        /// The command that changes it.
        remedy: String,
    },
}

impl Execution {
    pub fn is_emulated(&self) -> bool {
        matches!(self, Self::HostBinfmt { .. } | Self::PrivateBinfmt(_))
    }

    /// What results of emulated commands depend on besides the commands.
    pub fn emulator_identity(&self) -> Option<String> {
        match self {
            Self::HostBinfmt { interpreter, flags } => Some(format!("{} {flags}", interpreter.display())),
            Self::PrivateBinfmt(emulator) => Some(emulator.identity.clone()),
            Self::Native | Self::Unavailable { .. } => None,
        }
    }
}

/// An entry of the host's binfmt_misc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    pub enabled: bool,
    pub interpreter: PathBuf,
    pub flags: String,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

/// What [`decide`] must know of the host.
#[derive(Clone, Debug)]
pub struct HostFacts {
    pub platform: Platform,
    pub kernel: (u32, u32),
    /// Whether the 32-bit sibling of the host's architecture was seen to run.
    pub runs_32_bit: bool,
    pub entries: Vec<HostEntry>,
    /// Static emulators found, at most one per architecture asked for.
    pub emulators: Vec<Emulator>,
    /// `ID` and `ID_LIKE` of os-release.
    pub distribution: Vec<String>,
}

impl HostFacts {
    /// Looks at this host, for the sake of these platforms only.
    pub fn read(platforms: &[Platform]) -> Self {
        let platform = Platform::host();
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let sibling = sibling_32_bit(&platform.architecture);
        let asked = |name: &str| platforms.iter().any(|platform| platform.architecture == name);
        let foreign =
            platforms.iter().map(|p| p.architecture.as_str()).filter(|name| *name != platform.architecture);
        let mut emulators: Vec<Emulator> = Vec::new();
        for name in foreign {
            if emulators.iter().all(|known| known.architecture != name) {
                emulators.extend(find_emulator(name, &emulator_folders()));
            }
        }
        Self {
            kernel: parse_release(&release),
            runs_32_bit: sibling.is_some_and(|sibling| asked(sibling) && tiny_program::runs(sibling)),
            entries: host_entries(Path::new(REGISTRY)),
            emulators,
            distribution: distribution(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            platform,
        }
    }
}

impl HostFacts {
    /// What the host has registered for programs of an architecture, usable or not.
    pub fn entry_for(&self, architecture: &str) -> Option<&HostEntry> {
        let architecture = Architecture::named(architecture)?;
        let usable = self.entries.iter().find(|entry| entry.is_usable_for(architecture));
        usable.or_else(|| self.entries.iter().find(|entry| entry.is_for(architecture)))
    }

    /// Whether emulators can be registered for mab alone.
    pub fn has_private_registry(&self) -> bool {
        self.kernel >= PRIVATE_BINFMT_SINCE
    }
}

/// How programs of `platform` run on the host.
pub fn decide(platform: &Platform, host: &HostFacts) -> Execution {
    let name = platform.architecture.as_str();
    let is_sibling = sibling_32_bit(&host.platform.architecture) == Some(name);
    if platform.os == host.platform.os
        && (name == host.platform.architecture || is_sibling && host.runs_32_bit)
    {
        return Execution::Native;
    }
    let unavailable =
        |reason: String| Execution::Unavailable { reason, remedy: remedy(name, &host.distribution) };
    let Some(architecture) = Architecture::named(name).filter(|_| platform.os == "linux") else {
        let remedy = "mab builder add NAME --platform PLATFORM ENDPOINT".to_string();
        return Execution::Unavailable { reason: format!("nothing emulates {platform}"), remedy };
    };
    if let Some(entry) = host.entries.iter().find(|entry| entry.is_usable_for(architecture)) {
        return Execution::HostBinfmt { interpreter: entry.interpreter.clone(), flags: entry.flags.clone() };
    }
    let emulator = host.emulators.iter().find(|emulator| emulator.architecture == name);
    match emulator {
        Some(emulator) if host.has_private_registry() => Execution::PrivateBinfmt(emulator.clone()),
        Some(_) => unavailable(format!(
            "Linux {}.{} cannot register emulators for mab alone (6.7 can), and the host has none for {platform} \
             with flag F",
            host.kernel.0, host.kernel.1
        )),
        None => {
            unavailable(format!("no emulator for {platform} is registered, and no static one is on PATH"))
        }
    }
}

fn sibling_32_bit(architecture: &str) -> Option<&'static str> {
    match architecture {
        "amd64" => Some("386"),
        "arm64" => Some("arm"),
        _ => None,
    }
}

fn remedy(architecture: &str, distribution: &[String]) -> String {
    let qemu = Architecture::named(architecture).map_or(architecture, |known| known.qemu);
    let is = |name: &str| distribution.iter().any(|id| id == name);
    if is("alpine") {
        return format!("sudo apk add qemu-{qemu}");
    }
    if is("fedora") || is("rhel") {
        return "sudo dnf install qemu-user-static".into();
    }
    if is("arch") {
        return "sudo pacman -S qemu-user-static qemu-user-static-binfmt".into();
    }
    if is("suse") || is("opensuse") {
        return "sudo zypper install qemu-linux-user".into();
    }
    "sudo apt-get install qemu-user-static".into()
}

impl HostEntry {
    /// Enabled, opened at registration, and for this architecture.
    fn is_usable_for(&self, architecture: &Architecture) -> bool {
        self.enabled && self.flags.contains('F') && self.is_for(architecture)
    }

    fn is_for(&self, architecture: &Architecture) -> bool {
        let header = architecture.header();
        let Some(seen) = header.get(self.offset..self.offset.saturating_add(self.magic.len())) else {
            return false;
        };
        let matches = seen.iter().zip(&self.magic).enumerate().all(|(index, (seen, magic))| {
            let mask = self.mask.get(index).copied().unwrap_or(0xff);
            seen & mask == magic & mask
        });
        // A shorter magic would be for any ELF file, not for this architecture.
        let tells_architecture = self.offset + self.magic.len() >= HEADER_LENGTH;
        tells_architecture && matches
    }

    /// Reads one file of binfmt_misc; `None` for an entry that goes by a file's extension.
    fn parse(text: &str) -> Option<Self> {
        let mut entry = Self::default();
        for line in text.lines() {
            match line.split_once(' ') {
                None => entry.enabled |= line == "enabled",
                Some(("interpreter", path)) => entry.interpreter = path.into(),
                Some(("flags:", flags)) => entry.flags = flags.to_string(),
                Some(("offset", offset)) => entry.offset = offset.parse().ok()?,
                Some(("magic", magic)) => entry.magic = from_hex(magic)?,
                Some(("mask", mask)) => entry.mask = from_hex(mask)?,
                Some(_) => {}
            }
        }
        (!entry.magic.is_empty()).then_some(entry)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim().as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16);
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some((value(high)? * 16 + value(low)?) as u8),
            _ => None,
        })
        .collect()
}

fn host_entries(registry: &Path) -> Vec<HostEntry> {
    let is_on = fs::read_to_string(registry.join("status")).is_ok_and(|status| status.trim() == "enabled");
    let Ok(files) = fs::read_dir(registry) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    let entries = paths.iter().filter_map(|path| HostEntry::parse(&fs::read_to_string(path).ok()?));
    if is_on { entries.collect() } else { Vec::new() }
}

fn emulator_folders() -> Vec<PathBuf> {
    let configured = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    configured.into_iter().chain(std::env::split_paths(&path)).collect()
}

fn find_emulator(name: &str, folders: &[PathBuf]) -> Option<Emulator> {
    let architecture = Architecture::named(name)?;
    let names = [format!("qemu-{}-static", architecture.qemu), format!("qemu-{}", architecture.qemu)];
    let paths = folders.iter().flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    paths.into_iter().find_map(|path| {
        let interpreter = fs::canonicalize(path).ok()?;
        let head = read_head(&interpreter).ok()?;
        if !is_static_executable(&head) {
            return None;
        }
        Some(Emulator {
            architecture: name.to_string(),
            magic: architecture.header().to_vec(),
            mask: architecture.mask().to_vec(),
            identity: identity(&interpreter, &head)?,
            interpreter,
        })
    })
}

/// As much of a program as its headers and notes take.
fn read_head(path: &Path) -> std::io::Result<Vec<u8>> {
    const HEAD: u64 = 16 << 10;
    let mut head = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(fs::File::open(path)?, HEAD), &mut head)?;
    Ok(head)
}

/// What tells one build of a program from another: the linker's build id, which covers its content, or a
/// digest where it has none. Reading megabytes of emulator in every run would cost more than the run.
fn identity(path: &Path, head: &[u8]) -> Option<String> {
    // Of the note: owner's length 4, description's length 20, type 3, owner.
    const NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let note = head.windows(NOTE.len()).position(|window| window == NOTE);
    let build_id = note.and_then(|at| head.get(at + NOTE.len()..at + NOTE.len() + 20));
    match build_id {
        Some(id) => {
            Some(format!("build id {}", id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
        }
        None => fs::read(path).ok().map(|bytes| Digest::of(bytes).to_string()),
    }
}

/// A 64-bit little-endian ELF file that asks for no dynamic loader. Hosts of other kinds do not run mab's sandbox
/// often enough to read theirs: s390x emulates by the host's registry only.
fn is_static_executable(bytes: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let field = bytes.get(at..at.checked_add(length)?)?;
        Some(field.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    };
    let headers = || -> Option<bool> {
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        let (start, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        for index in 0..count {
            let at = usize::try_from(start.checked_add(index * size)?).ok()?;
            if number(at, 4)? == u64::from(INTERPRETER) {
                return None;
            }
        }
        Some(count > 0)
    };
    headers().unwrap_or(false)
}

/// `6.18` of `6.18.44-generic`.
pub(super) fn parse_release(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn distribution(os_release: &str) -> Vec<String> {
    let values =
        os_release.lines().filter_map(|line| line.strip_prefix("ID=").or(line.strip_prefix("ID_LIKE=")));
    values.flat_map(|value| value.trim_matches('"').split_whitespace()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN_ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n\
        magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n";

    fn host(entries: &[&str], kernel: (u32, u32), emulators: &[&str]) -> HostFacts {
        let emulator = |name: &&str| Emulator {
            architecture: name.to_string(),
            interpreter: "/usr/bin/qemu".into(),
            magic: Architecture::named(name).unwrap().header().to_vec(),
            mask: Architecture::named(name).unwrap().mask().to_vec(),
            identity: "sha256:0".into(),
        };
        HostFacts {
            platform: Platform::linux("amd64"),
            kernel,
            runs_32_bit: true,
            entries: entries.iter().filter_map(|text| HostEntry::parse(text)).collect(),
            emulators: emulators.iter().map(emulator).collect(),
            distribution: vec!["debian".into()],
        }
    }

    fn check(platform: &str, host: &HostFacts, expected: &str) {
        let found = match decide(&platform.parse().unwrap(), host) {
            Execution::Native => "native".to_string(),
            Execution::HostBinfmt { flags, .. } => format!("host {flags}"),
            Execution::PrivateBinfmt(emulator) => format!("private {}", emulator.architecture),
            Execution::Unavailable { remedy, .. } => remedy,
        };
        assert_eq!(found, expected, "{platform} on {host:?}");
    }

    #[test]
    fn the_nearest_way_wins() {
        let install = "sudo apt-get install qemu-user-static";
        let without_f = DEBIAN_ARM64.replace("POF", "PO");
        let disabled = DEBIAN_ARM64.replace("enabled", "disabled");
        let bare = host(&[], (6, 7), &[]);
        check("linux/amd64/v3", &bare, "native");
        check("linux/386", &bare, "native");
        check("linux/386", &HostFacts { runs_32_bit: false, ..bare.clone() }, install);
        check("linux/arm64", &bare, install);
        check(
            "linux/arm64",
            &HostFacts { distribution: vec!["alpine".into()], ..bare },
            "sudo apk add qemu-aarch64",
        );
        check("linux/arm64", &host(&[DEBIAN_ARM64], (5, 0), &[]), "host POF");
        check("linux/arm64", &host(&[DEBIAN_ARM64], (6, 8), &["arm64"]), "host POF");
        check("linux/arm/v7", &host(&[DEBIAN_ARM64], (6, 8), &["arm64"]), install);
        check("linux/arm64", &host(&[&without_f, &disabled], (6, 8), &["arm64"]), "private arm64");
        check("linux/arm64", &host(&[&without_f], (6, 6), &["arm64"]), install);
        check(
            "windows/arm64",
            &host(&[DEBIAN_ARM64], (6, 8), &[]),
            "mab builder add NAME --platform PLATFORM ENDPOINT",
        );
    }

    #[test]
    fn magic_and_mask_are_those_of_qemus_own_script() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (name, magic, mask) in [
            ("arm64", "7f454c460201010000000000000000000200b700", "ffffffffffffff00fffffffffffffffffeffffff"),
            ("arm", "7f454c4601010100000000000000000002002800", "ffffffffffffff00fffffffffffffffffeffffff"),
            ("s390x", "7f454c4602020100000000000000000000020016", "ffffffffffffff00fffffffffffffffffffeffff"),
            (
                "loong64",
                "7f454c4602010100000000000000000002000201",
                "ffffffffffffff00fffffffffffffffffeffffff",
            ),
        ] {
            let architecture = Architecture::named(name).unwrap();
            assert_eq!(
                (hex(&architecture.header()), hex(&architecture.mask())),
                (magic.into(), mask.into()),
                "{name}"
            );
        }
    }

    #[test]
    fn registrations_escape_every_byte() {
        let line = String::from_utf8(host(&[], (6, 7), &["s390x"]).emulators[0].registration()).unwrap();
        assert!(line.starts_with(":mab-s390x:M::\\x7f\\x45\\x4c\\x46\\x02\\x02\\x01\\x00"), "{line}");
        assert!(line.ends_with("\\xff\\xff:/usr/bin/qemu:OPCF"), "{line}");
    }

    #[test]
    fn hostile_entries_are_skipped() {
        for text in [
            "",
            "enabled\nmagic 7\n",
            "enabled\nmagic zz\n",
            "enabled\noffset x\nmagic 7f\n",
            "enabled\nextension .py\n",
        ] {
            assert_eq!(HostEntry::parse(text), None, "{text}");
        }
        let far = HostEntry::parse("enabled\nflags: F\noffset 18446744073709551615\nmagic 7f45\n").unwrap();
        assert!(!far.is_usable_for(Architecture::named("arm64").unwrap()));
        let any_elf = HostEntry::parse("enabled\nflags: F\noffset 0\nmagic 7f454c46\n").unwrap();
        assert!(!any_elf.is_usable_for(Architecture::named("arm64").unwrap()));
    }

    #[test]
    fn executables_with_a_loader_are_not_static() {
        assert!(!is_static_executable(b"#!/bin/sh\n"));
        assert!(!is_static_executable(b"\x7fELF\x02\x01"));
        let mut bytes = vec![0u8; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, 1);
        assert!(is_static_executable(&bytes));
        bytes[64] = 3;
        assert!(!is_static_executable(&bytes));
        bytes[32..40].fill(0xff);
        assert!(!is_static_executable(&bytes));
    }
}
