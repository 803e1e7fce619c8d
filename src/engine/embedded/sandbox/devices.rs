//! `/dev`, `/proc` and `/sys` of a step: what Docker gives a container, and nothing of the host beyond it.

use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use super::error::{Doing, Failure};
use super::mounts::{
    Kind, NO_DEVICES, NO_EXECUTION, NO_SETUID, READ_ONLY, Root, copy_at, copy_of, new_filesystem,
};

/// The only devices. They are bound from the host, since an ordinary user may not make nodes.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// The size runc gives `/dev`.
const DEV_SIZE: &str = "65536k";
const PLAIN: u64 = NO_DEVICES | NO_SETUID | NO_EXECUTION;

/// Docker's masked paths: they tell about the host, or slow it down.
const MASKED_IN_PROC: [&str; 10] = [
    "acpi",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
    "asound",
];
const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];
/// Docker's read-only paths.
const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// `/dev` with `pts`, `shm` and `mqueue`; gives its root.
pub(super) fn furnish_dev(root: &mut Root<'_>, shm_size: u64, privileged: bool) -> Result<OwnedFd, Failure> {
    let options = [("mode", "755".to_string()), ("size", DEV_SIZE.to_string())];
    let attributes = NO_SETUID | if privileged { 0 } else { NO_DEVICES };
    let dev = new_filesystem("tmpfs", &options, attributes).doing(|| "mount /dev".into())?;
    root.mount(&dev, Path::new("/dev"), Kind::Directory)?;
    for name in DEVICES {
        let bound = copy_of(&Path::new("/dev").join(name), false, NO_SETUID | NO_EXECUTION);
        bound
            .and_then(|device| cover_new(&dev, name, &device, Kind::File))
            .doing(|| format!("add /dev/{name}"))?;
    }
    if privileged {
        add_host_devices(&dev, Path::new("/dev"))?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).doing(|| format!("add /dev/{name}"))?;
    }
    cover_new(&dev, "pts", &terminals().doing(|| "mount /dev/pts".into())?, Kind::Directory)
        .doing(|| "mount /dev/pts".into())?;
    let options = [("mode", "1777".to_string()), ("size", shm_size.to_string())];
    new_filesystem("tmpfs", &options, PLAIN)
        .and_then(|shm| cover_new(&dev, "shm", &shm, Kind::Directory))
        .doing(|| "mount /dev/shm".into())?;
    new_filesystem("mqueue", &[], PLAIN)
        .and_then(|queue| cover_new(&dev, "mqueue", &queue, Kind::Directory))
        .doing(|| "mount /dev/mqueue".into())?;
    Ok(dev)
}

/// What is bound on `/dev/console`, as Docker does for a command with a terminal.
pub(super) fn furnish_console(dev: &OwnedFd, terminal: &str) -> Result<(), Failure> {
    copy_at(dev, Path::new(terminal), false, NO_SETUID | NO_EXECUTION)
        .and_then(|console| cover_new(dev, "console", &console, Kind::File))
        .doing(|| "add /dev/console".into())
}

/// The host's other devices, as BuildKit gives them to an insecure step; what may be done with them is for
/// their modes to say.
fn add_host_devices(dev: &OwnedFd, host: &Path) -> Result<(), Failure> {
    let action = || "add the host's devices".to_string();
    for entry in std::fs::read_dir(host).doing(action)? {
        let entry = entry.doing(action)?;
        let name = entry.file_name();
        let is_there = |name: &&str| DEVICES.contains(name) || LINKS.iter().any(|(link, _)| link == name);
        let Some(name) = name.to_str().filter(|name| !is_there(name)) else { continue };
        let kind = entry.file_type().doing(action)?;
        if kind.is_char_device() || kind.is_block_device() {
            copy_of(&entry.path(), false, NO_SETUID | NO_EXECUTION)
                .and_then(|device| cover_new(dev, name, &device, Kind::File))
                .doing(|| format!("add /dev/{name}"))?;
        }
    }
    Ok(())
}

/// A devpts of its own. Terminals belong to group `tty`, 5 everywhere, unless that id does not exist here.
pub(super) fn terminals() -> Result<OwnedFd, Errno> {
    let mut options = vec![("ptmxmode", "0666".to_string()), ("mode", "0620".to_string())];
    options.push(("gid", "5".to_string()));
    let attributes = NO_SETUID | NO_EXECUTION;
    match new_filesystem("devpts", &options, attributes) {
        Err(Errno::INVAL) => new_filesystem("devpts", &options[..2], attributes),
        other => other,
    }
}

/// `/proc` of the step's own pid namespace, masked unless the step is privileged.
pub(super) fn furnish_proc(root: &mut Root<'_>, empty: &Path, privileged: bool) -> Result<(), Failure> {
    let proc = match new_filesystem("proc", &[], PLAIN) {
        // Inside a container whose own /proc is masked the kernel gives no fresh one; the outer /proc is less
        // private (it lists the outer processes) but works. `Probe` tells.
        Err(Errno::PERM) => copy_of(Path::new("/proc"), true, PLAIN),
        proc => proc,
    }
    .doing(|| "mount /proc".into())?;
    root.mount(&proc, Path::new("/proc"), Kind::Directory)?;
    if privileged {
        return Ok(());
    }
    mask(&proc, &MASKED_IN_PROC, empty)?;
    for name in READ_ONLY_IN_PROC {
        if kind_in(&proc, name).is_none() {
            continue;
        }
        copy_at(&proc, Path::new(name), true, PLAIN | READ_ONLY)
            .and_then(|copy| cover(&proc, name, &copy))
            .doing(|| format!("make /proc/{name} read-only"))?;
    }
    Ok(())
}

/// `/sys`, read-only. Its own where the network namespace is the step's, else the host's.
pub(super) fn furnish_sys(root: &mut Root<'_>, empty: &Path, privileged: bool) -> Result<(), Failure> {
    let attributes = PLAIN | if privileged { 0 } else { READ_ONLY };
    let (sys, fresh) = match new_filesystem("sysfs", &[], attributes) {
        Err(Errno::PERM) => (copy_of(Path::new("/sys"), true, attributes), false),
        sys => (sys, true),
    };
    let sys = sys.doing(|| "mount /sys".into())?;
    root.mount(&sys, Path::new("/sys"), Kind::Directory)?;
    if fresh {
        // Only where version 2 is all there is; programs that find no limits here assume none.
        if let Ok(groups) = new_filesystem("cgroup2", &[], attributes) {
            let _ = cover(&sys, "fs/cgroup", &groups);
        }
    }
    if privileged { Ok(()) } else { mask(&sys, &MASKED_IN_SYS, empty) }
}

fn mask(directory: &OwnedFd, names: &[&str], empty: &Path) -> Result<(), Failure> {
    for name in names {
        let Some(kind) = kind_in(directory, name) else { continue };
        let nothing = match kind {
            Kind::File => copy_of(Path::new("/dev/null"), false, NO_SETUID | NO_EXECUTION),
            Kind::Directory => copy_of(empty, false, PLAIN | READ_ONLY),
        };
        nothing.and_then(|nothing| cover(directory, name, &nothing)).doing(|| format!("mask {name}"))?;
    }
    Ok(())
}

fn kind_in(directory: &OwnedFd, name: &str) -> Option<Kind> {
    let mode = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => None,
        _ => Some(Kind::File),
    }
}

/// Mounts over something inside a mount of ours, whose layout nobody else decides.
fn cover(directory: &OwnedFd, name: &str, mount: &OwnedFd) -> Result<(), Errno> {
    move_mount(mount, "", directory, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn cover_new(directory: &OwnedFd, name: &str, mount: &OwnedFd, kind: Kind) -> Result<(), Errno> {
    match kind {
        Kind::Directory => mkdirat(directory, name, Mode::from(0o755))?,
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            drop(openat(directory, name, flags, Mode::from(0o644))?);
        }
    }
    cover(directory, name, mount)
}

/// Whether a fresh instance of this file system can be had here.
pub(super) fn try_filesystem(kind: &str) -> Result<(), Failure> {
    let mount = if kind == "devpts" { terminals() } else { new_filesystem(kind, &[], PLAIN) };
    mount.map(drop).doing(|| format!("mount {kind}"))
}

/// `/dev/null` for a command without an input.
pub(super) fn null_device() -> Result<OwnedFd, Failure> {
    openat(CWD, "/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .doing(|| "open /dev/null".into())
}
