//! Programs for other processors that an image may have for good reasons.

use super::image::{Image, Program};
use super::names;
use crate::scan::{Elf, ElfKind};

/// The loaders of an architecture's programs.
const LOADERS: [(&str, &[&str]); 14] = [
    ("386", &["/lib/ld-linux.so.2", "/lib/ld-musl-i386.so.1"]),
    ("amd64", &["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"]),
    ("amd64p32", &["/libx32/ld-linux-x32.so.2"]),
    (
        "arm",
        &[
            "/lib/ld-linux-armhf.so.3",
            "/lib/ld-linux.so.3",
            "/lib/ld-musl-armhf.so.1",
            "/lib/ld-musl-arm.so.1",
        ],
    ),
    ("arm64", &["/lib/ld-linux-aarch64.so.1", "/lib/ld-musl-aarch64.so.1"]),
    ("loong64", &["/lib64/ld-linux-loongarch-lp64d.so.1"]),
    ("mips64le", &["/lib64/ld.so.1"]),
    ("mipsle", &["/lib/ld.so.1"]),
    ("ppc", &["/lib/ld.so.1"]),
    ("ppc64", &["/lib64/ld64.so.1"]),
    ("ppc64le", &["/lib64/ld64.so.2", "/lib/ld-musl-powerpc64le.so.1"]),
    ("riscv64", &["/lib/ld-linux-riscv64-lp64d.so.1", "/lib/ld-musl-riscv64.so.1"]),
    ("s390", &["/lib/ld.so.1"]),
    ("s390x", &["/lib/ld64.so.1", "/lib/ld-musl-s390x.so.1"]),
];

/// Where data is that happens to be programs: of devices, of emulated machines, of boot loaders, of debuggers.
const DATA: [&str; 16] = [
    "boot",
    "lib/firmware",
    "lib/modules",
    "usr/lib/debug",
    "usr/lib/firmware",
    "usr/lib/grub",
    "usr/lib/ipxe",
    "usr/lib/modules",
    "usr/lib/syslinux",
    "usr/lib/u-boot",
    "usr/local/share/qemu",
    "usr/share/firmware",
    "usr/share/OVMF",
    "usr/share/openbios",
    "usr/share/qemu",
    "usr/share/seabios",
];

/// What tests of tools for programs read.
const SAMPLES: [&str; 4] = ["testdata", "test-data", "test_data", "fixtures"];

/// Whether an image would load the file if it could: it may be run, or is a library by its name.
pub(super) fn is_loadable(program: &Program<'_>, elf: &Elf) -> bool {
    if matches!(elf.kind, ElfKind::Object | ElfKind::Other) || !elf.is_for_linux() {
        return false;
    }
    super::image::is_executable(program.entry) || is_library_name(program.path)
}

/// `libx.so`, `libx.so.1.2`, `x.cpython-313-x86_64-linux-gnu.so`, `addon.node`.
fn is_library_name(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    name.ends_with(b".so") || name.ends_with(b".node") || name.windows(4).any(|window| window == b".so.")
}

/// Whether a program for `architecture` is no mistake where it stands.
pub(super) fn is_legitimate(image: &Image<'_>, program: &Program<'_>, elf: &Elf, architecture: &str) -> bool {
    let path = String::from_utf8_lossy(program.path);
    is_data(&path)
        || runs_along(image, elf, architecture)
        || is_of_toolchain(image, &path, architecture)
        || has_right_sibling(image, &path, architecture)
}

fn is_data(path: &str) -> bool {
    let is_below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    DATA.iter().any(|folder| is_below(folder))
        || path.split('/').any(|component| SAMPLES.contains(&component))
}

/// Whether the image's processor runs the other one's programs, and the image has their loader.
fn runs_along(image: &Image<'_>, elf: &Elf, architecture: &str) -> bool {
    let runs = match image.platform.architecture.as_str() {
        "amd64" => matches!(architecture, "386" | "amd64p32"),
        "arm64" => architecture == "arm",
        "s390x" => architecture == "s390",
        "ppc64" => architecture == "ppc",
        "mips64le" => matches!(architecture, "mipsle" | "mips64p32le"),
        _ => false,
    };
    // Every processor for amd64 runs 386; by no means all for arm64 run arm.
    let needs_no_loader = architecture == "386" && !elf.is_dynamic;
    runs && (needs_no_loader || has_loader(image, architecture) || !image.is_whole)
}

fn has_loader(image: &Image<'_>, architecture: &str) -> bool {
    let known = LOADERS.iter().find(|(name, _)| *name == architecture);
    known.is_some_and(|(_, loaders)| loaders.iter().any(|loader| image.has(loader)))
}

/// Whether it stands below a folder of its architecture's own: `/usr/aarch64-linux-gnu`, or a rustup target's. What is
/// among the libraries of the system is so only when the system has its loader.
fn is_of_toolchain(image: &Image<'_>, path: &str, architecture: &str) -> bool {
    let mut above = "";
    for component in path.split('/') {
        if names::is_triplet(component, architecture) {
            return match above {
                "lib" | "usr/lib" | "usr/local/lib" => has_loader(image, architecture),
                _ => true,
            };
        }
        above = &path[..(component.as_ptr() as usize - path.as_ptr() as usize) + component.len()];
    }
    false
}

/// The most names of one folder that are looked through.
const MOST_SIBLINGS: usize = 4096;

/// Whether it is one of a set for several architectures, as packages bring them: a component of its path names its own
/// architecture, and beside it the same stands for the image's.
fn has_right_sibling(image: &Image<'_>, path: &str, architecture: &str) -> bool {
    let wanted = image.platform.architecture.as_str();
    let mut start = 0;
    for component in path.split('/') {
        let above = &path[..start.max(1) - 1];
        start += component.len() + 1;
        let Some(kind) = names::without_architecture(component, architecture) else { continue };
        let is_of_system = matches!(above, "lib" | "usr/lib" | "usr/local/lib");
        let Some(folder) = image.tree().get(above.as_bytes()).filter(|_| !is_of_system) else { continue };
        let mut siblings = image.tree().children(folder).take(MOST_SIBLINGS);
        let is_right =
            |name: &str| names::without_architecture(name, wanted).is_some_and(|other| other == kind);
        if siblings.any(|node| is_right(&String::from_utf8_lossy(image.tree().name(node)))) {
            return true;
        }
    }
    false
}
