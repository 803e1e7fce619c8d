//! File-system work that needs the namespace's ids: files of mapped users, overlay's attributes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, chmod, fstat, openat2};
use rustix::io::Errno;

use super::error::{Doing, Failure};
use super::helper::Layout;
use super::overlay::Overlay;
use super::request::{Exported, HelperTask, Probe, SeenFile, TaskOutput, UnpackTarget, Unpacked};
use super::{binfmt, devices, syscall};
use crate::layer::{
    Applier, ApplyOptions, Described, EntrySink, Form, Ids, LayerError, LayerOptions, LayerReader,
    LayerWriter, clamp_times, export_upper,
};

pub(super) fn perform(
    task: &HelperTask,
    descriptors: Vec<OwnedFd>,
    layout: &Layout,
) -> Result<TaskOutput, Failure> {
    match task {
        HelperTask::Remove { paths } => {
            for path in paths {
                remove_tree(path).doing(|| format!("remove `{}`", path.display()))?;
            }
            Ok(TaskOutput::Done)
        }
        HelperTask::Rename { from, to } => {
            std::fs::rename(from, to).doing(|| format!("rename `{}`", from.display()))?;
            Ok(TaskOutput::Done)
        }
        HelperTask::MakeDirectory { path, mode, uid, gid } => {
            make_directory(path, *mode, *uid, *gid).doing(|| format!("make `{}`", path.display()))?;
            Ok(TaskOutput::Done)
        }
        HelperTask::Measure { paths } => {
            let one = |path: &PathBuf| measure(path).doing(|| format!("measure `{}`", path.display()));
            let bytes = paths.iter().map(one).collect::<Result<_, _>>()?;
            Ok(TaskOutput::Measured { bytes })
        }
        HelperTask::Unpack { media_type, target } => {
            unpack(first(descriptors)?, media_type, target, layout).map(TaskOutput::Unpacked)
        }
        HelperTask::Export { upper, lowers, compression, clamp_mtime } => {
            let options = LayerOptions { compression: *compression, clamp_mtime: *clamp_mtime };
            export(first(descriptors)?, upper, lowers, options).map(TaskOutput::Exported)
        }
        HelperTask::Look { lowers, paths } => look(lowers, paths, layout).map(TaskOutput::Seen),
        HelperTask::Probe { store } => Ok(TaskOutput::Probed(Box::new(probe(store, layout)))),
    }
}

fn first(descriptors: Vec<OwnedFd>) -> Result<File, Failure> {
    let missing = || Failure::new("do a task", "no descriptor came with it");
    descriptors.into_iter().next().map(File::from).ok_or_else(missing)
}

fn unpack(blob: File, media_type: &str, target: &UnpackTarget, layout: &Layout) -> Result<Unpacked, Failure> {
    let action = || "unpack a layer".to_string();
    let (root, form) = match target {
        UnpackTarget::Lower { into } => (into.as_path(), Form::Lower),
        UnpackTarget::Onto { lowers, upper, work } => {
            // Gone with this process.
            syscall::unshare(libc::CLONE_NEWNS).doing(action)?;
            let empty = [layout.empty.clone()];
            let lowers = if lowers.is_empty() { &empty[..] } else { lowers };
            Overlay { lowers, changes: Some((upper, work)) }.mount_at(&layout.root)?;
            (layout.root.as_path(), Form::Merged)
        }
    };
    let ids = if maps_a_single_id() { Ids::Single } else { Ids::Mapped };
    let mut applier = Applier::open(root, ApplyOptions { form, ids }).doing(action)?;
    let said = |error: LayerError| Failure::new(action(), error.to_string());
    let mut reader = LayerReader::new(blob, media_type).map_err(said)?;
    while let Some(entry) = reader.next_entry().map_err(said)? {
        applier.append(&entry, &mut reader).doing(action)?;
    }
    let diff_id = reader.finish().map_err(said)?;
    let report = applier.finish().doing(action)?;
    Ok(Unpacked {
        diff_id,
        entries: report.entries,
        skipped_devices: report.skipped_devices,
        dropped_xattrs: report.dropped_xattrs,
        ownership_lost: report.ownership_lost,
        implied_directories: report.implied_directories,
        opaque_root: report.opaque_root,
    })
}

/// The mount is gone with this process.
fn look(lowers: &[PathBuf], paths: &[PathBuf], layout: &Layout) -> Result<Vec<Option<SeenFile>>, Failure> {
    let action = || "look at a file system".to_string();
    syscall::unshare(libc::CLONE_NEWNS).doing(action)?;
    // One that cannot be written to wants two layers.
    let lowers: Vec<PathBuf> = lowers.iter().cloned().chain([layout.empty.clone()]).collect();
    Overlay { lowers: &lowers, changes: None }.mount_at(&layout.root)?;
    let root = rustix::fs::open(&layout.root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).doing(action)?;
    let seen = |path: &PathBuf| {
        let (flags, resolve) =
            (OFlags::PATH | OFlags::CLOEXEC, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS);
        match openat2(&root, path, flags, Mode::empty(), resolve).and_then(|file| fstat(&file)) {
            Ok(found) => Ok(Some(SeenFile { mode: found.st_mode, uid: found.st_uid, gid: found.st_gid })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => Ok(None),
            Err(error) => Err(error).doing(|| format!("look at `{}`", path.display())),
        }
    };
    paths.iter().map(seen).collect()
}

fn maps_a_single_id() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
    counts.sum::<u64>() == 1
}

fn export(out: File, upper: &Path, lowers: &[PathBuf], options: LayerOptions) -> Result<Exported, Failure> {
    let action = || format!("export `{}`", upper.display());
    let mut writer = LayerWriter::create(out, options).doing(action)?;
    let mut described = Described::new(&mut writer);
    export_upper(upper, lowers, &mut described).doing(action)?;
    let described = described.finish();
    let layer = writer.finish().doing(action)?;
    // The tree is kept as the unpacked layer: what runs on it sees the times that the layer has.
    if let Some(latest) = options.clamp_mtime {
        clamp_times(upper, &described, latest).doing(action)?;
    }
    Ok(Exported {
        diff_id: layer.diff_id,
        digest: layer.digest,
        size: layer.size,
        uncompressed_size: layer.uncompressed_size,
        compression: options.compression,
        index: layer.index.to_bytes(),
    })
}

/// Deletes a tree, even where its directories forbid it: overlay's work directory has mode 0.
fn remove_tree(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => std::fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path)?;
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    }
}

fn make_directory(path: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
    std::fs::create_dir(path)?;
    std::os::unix::fs::chown(path, Some(uid), Some(gid))?;
    chmod(path, Mode::from_bits_retain(mode & 0o7777))?;
    Ok(())
}

fn measure(path: &Path) -> io::Result<u64> {
    let metadata = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        found => found?,
    };
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    match std::fs::read_dir(path) {
        // A step may be at work in a cache.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        entries => entries?.try_fold(0, |sum, entry| Ok(sum + measure(&entry?.path())?)),
    }
}

fn open_up(directory: &Path) -> io::Result<()> {
    chmod(directory, Mode::from(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Tries everything in a mount namespace that ends with this process.
fn probe(store: &Path, layout: &Layout) -> Probe {
    let own = libc::CLONE_NEWNS | libc::CLONE_NEWIPC;
    let mut probe = Probe { overlay: try_overlay(store, layout).err(), ..Probe::default() };
    if let Err(failure) = syscall::unshare(own).doing(|| "make a mount namespace".into()) {
        probe.overlay = Some(failure);
        return probe;
    }
    probe.proc_mount = devices::try_filesystem("proc").err();
    probe.devpts_mount = devices::try_filesystem("devpts").err();
    probe.mqueue_mount = devices::try_filesystem("mqueue").err();
    probe.private_binfmt = binfmt::mount().err();
    probe.network_namespace =
        syscall::unshare(libc::CLONE_NEWNET).doing(|| "make a network namespace".into()).err();
    probe.sysfs_mount = devices::try_filesystem("sysfs").err();
    probe
}

/// Mounts an overlay made of directories in `store` and writes a file through it.
fn try_overlay(store: &Path, layout: &Layout) -> Result<(), Failure> {
    let action = || format!("try an overlay in `{}`", store.display());
    let trial = tempfile::Builder::new().prefix(".probe-").tempdir_in(store).doing(action)?;
    let folder = |name: &str| trial.path().join(name);
    for name in ["lower", "upper", "work"] {
        std::fs::create_dir(folder(name)).doing(action)?;
    }
    std::fs::write(folder("lower").join("file"), "").doing(action)?;
    let lowers = [folder("lower")];
    let result = try_in_fork(|| {
        syscall::unshare(libc::CLONE_NEWNS).doing(action)?;
        let (upper, work) = (folder("upper"), folder("work"));
        Overlay { lowers: &lowers, changes: Some((&upper, &work)) }.mount_at(&layout.root)?;
        // Removing makes a whiteout, and what it replaces needs the extended attributes.
        std::fs::remove_file(layout.root.join("file")).doing(action)?;
        std::fs::create_dir(layout.root.join("file")).doing(action)
    });
    remove_tree(trial.path()).doing(action)?;
    result
}

/// Runs in a child, so that its mounts are gone when this returns.
fn try_in_fork(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let flags = OFlags::CLOEXEC;
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::from_bits_retain(flags.bits()))
        .doing(|| "make a pipe".into())?;
    match syscall::fork_into(0).doing(|| "start a process".into())? {
        syscall::Fork::Child => {
            let text = serde_json::to_vec(&work()).unwrap_or_default();
            let _ = io::Write::write_all(&mut File::from(writer), &text);
            syscall::exit_now(0)
        }
        syscall::Fork::Parent(pid) => {
            drop(writer);
            let mut text = Vec::new();
            io::Read::read_to_end(&mut File::from(reader), &mut text)
                .doing(|| "hear from a process".into())?;
            syscall::wait_for(pid).doing(|| "wait for a process".into())?;
            let failure = |_| Failure::new("try an overlay", "the process that tried died");
            serde_json::from_slice(&text).map_err(failure)?
        }
    }
}
