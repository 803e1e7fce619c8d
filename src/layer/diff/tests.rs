//! Changes of real overlays, exported.

use std::collections::BTreeMap;
use std::fs as std_fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::fs::XattrFlags;
use rustix::mount::{MountFlags, UnmountFlags};

use super::*;
use crate::layer::{Applier, ApplyOptions, Form, Ids};

/// OVERLAYFS_SUPER_MAGIC of the kernel's `linux/magic.h`.
const OVERLAYFS_MAGIC: fs::FsWord = 0x794c_7630;

/// Keeps entries and content.
#[derive(Default)]
struct Collected(Vec<(Entry, Vec<u8>)>);

impl EntrySink for Collected {
    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        self.0.push((entry.clone(), bytes));
        Ok(())
    }
}

impl Collected {
    fn text(&self) -> String {
        let line = |(entry, content): &(Entry, Vec<u8>)| {
            let path = String::from_utf8_lossy(&entry.path);
            match &entry.kind {
                EntryKind::Directory => format!("{path}/"),
                EntryKind::File { .. } => format!("{path}={}", String::from_utf8_lossy(content)),
                EntryKind::Symlink { target } => format!("{path}->{}", String::from_utf8_lossy(target)),
                EntryKind::HardLink { target } => format!("{path}=>{}", String::from_utf8_lossy(target)),
                EntryKind::Whiteout => format!("{path}!"),
                EntryKind::Opaque => format!("{path}/!"),
                EntryKind::Fifo => format!("{path}|"),
                other => format!("{path} {other:?}"),
            }
        };
        self.0.iter().map(line).collect::<Vec<_>>().join(" ")
    }
}

/// An overlay of two lower directories, unmounted at the end.
struct Overlay {
    place: tempfile::TempDir,
}

impl Overlay {
    /// `None` where overlays cannot be mounted: for ordinary users, and on top of an overlay.
    fn new(arrange: impl FnOnce(&Path)) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        if fs::statfs(place.path()).unwrap().f_type == OVERLAYFS_MAGIC {
            return None;
        }
        for name in ["bottom", "top", "upper", "work", "root"] {
            std_fs::create_dir(place.path().join(name)).unwrap();
        }
        arrange(place.path());
        let overlay = Self { place };
        let at = |name| overlay.at(name).display().to_string();
        let options = format!(
            "userxattr,redirect_dir=nofollow,metacopy=off,index=off,lowerdir={}:{},upperdir={},workdir={}",
            at("top"),
            at("bottom"),
            at("upper"),
            at("work")
        );
        let options = std::ffi::CString::new(options).unwrap();
        let target = overlay.at("root");
        match rustix::mount::mount("overlay", &target, "overlay", MountFlags::empty(), &*options) {
            Err(Errno::PERM) => None,
            result => result.map(|()| Some(overlay)).unwrap(),
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn lowers(&self) -> [PathBuf; 2] {
        [self.at("top"), self.at("bottom")]
    }

    fn export(&self) -> (Collected, DiffReport) {
        let mut collected = Collected::default();
        let report = export_upper(&self.at("upper"), &self.lowers(), &mut collected).unwrap();
        (collected, report)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.at("root"), UnmountFlags::DETACH);
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std_fs::create_dir_all(path.parent().unwrap()).unwrap();
    std_fs::write(path, text).unwrap();
}

fn lower_files(place: &Path) {
    write(&place.join("bottom"), "etc/passwd", "root");
    write(&place.join("bottom"), "etc/deep/er/file", "1");
    write(&place.join("bottom"), "gone", "1");
    write(&place.join("bottom"), "old/a", "1");
    write(&place.join("top"), "etc/top", "2");
    write(&place.join("top"), "tool", "2");
    write(&place.join("top"), "quiet/one/two", "2");
}

fn check(change: impl FnOnce(&Path), expected: &str) {
    let Some(overlay) = Overlay::new(lower_files) else { return };
    change(&overlay.at("root"));
    assert_eq!(overlay.export().0.text(), expected);
}

#[test]
fn changes_become_entries() {
    check(|_| {}, "");
    check(|root| write(root, "etc/new", "x"), "etc/ etc/new=x");
    check(|root| std_fs::remove_file(root.join("gone")).unwrap(), "gone!");
    check(|root| std_fs::remove_dir_all(root.join("old")).unwrap(), "old!");
    check(
        |root| {
            std_fs::remove_dir_all(root.join("old")).unwrap();
            write(root, "old/b", "x");
        },
        "old/ old/! old/b=x",
    );
    // New below a merged directory, which overlayfs marks opaque with nothing to hide.
    check(|root| write(root, "etc/fresh/b", "x"), "etc/ etc/fresh/ etc/fresh/b=x");
    check(|root| std_fs::create_dir(root.join("empty")).unwrap(), "empty/");
    check(|root| symlink("tool", root.join("link")).unwrap(), "link->tool");
    check(
        |root| {
            write(root, "n/b", "x");
            std_fs::hard_link(root.join("n/b"), root.join("n/a")).unwrap();
            std_fs::hard_link(root.join("tool"), root.join("utility")).unwrap();
        },
        "n/ n/a=x n/b=>n/a utility=2",
    );
    check(
        |root| {
            write(root, "a/b", "x");
            write(root, "a-b", "x");
            write(root, "a.d/c", "x");
        },
        "a/ a-b=x a.d/ a.d/c=x a/b=x",
    );
    check(
        |root| {
            std_fs::remove_file(root.join("tool")).unwrap();
            write(root, "tool/x", "x");
        },
        "tool/ tool/x=x",
    );
}

#[test]
fn directories_without_change_are_left_out() {
    let Some(overlay) = Overlay::new(lower_files) else { return };
    let root = overlay.at("root");
    // Copied up with all directories above it, then as it was, but for its time.
    let quiet = root.join("quiet/one");
    write(&root, "quiet/one/stub", "");
    std_fs::remove_file(quiet.join("stub")).unwrap();
    assert!(overlay.at("upper/quiet/one").is_dir());
    let (collected, report) = overlay.export();
    assert_eq!((collected.text().as_str(), report.unchanged_directories), ("", 1));

    std_fs::set_permissions(&quiet, PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(overlay.export().0.text(), "quiet/ quiet/one/");
}

/// The file is replaced by one with this text, and has the time again that it had.
fn rewrite(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    let time = std_fs::metadata(&path).unwrap().modified().unwrap();
    std_fs::write(&path, text).unwrap();
    File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
}

#[test]
fn files_without_change_are_left_out() {
    let mode = |path: PathBuf, mode| std_fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    check(|root| mode(root.join("etc/deep/er/file"), 0o644), "");
    check(
        |root| mode(root.join("etc/deep/er/file"), 0o600),
        "etc/ etc/deep/ etc/deep/er/ etc/deep/er/file=1",
    );
    check(|root| rewrite(root, "tool", "2"), "");
    check(|root| rewrite(root, "tool", "3"), "tool=3");
    check(|root| write(root, "tool", "2"), "tool=2");
    let Some(overlay) = Overlay::new(lower_files) else { return };
    rewrite(&overlay.at("root"), "quiet/one/two", "2");
    let report = overlay.export().1;
    assert_eq!((report.entries, report.unchanged_directories, report.unchanged_files), (0, 1, 0));
}

#[test]
fn sockets_and_private_attributes_are_left_out() {
    let Some(overlay) = Overlay::new(lower_files) else { return };
    let root = overlay.at("root");
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    write(&root, "able", "x");
    let set = |name: &str, value: &[u8]| {
        fs::setxattr(root.join("able"), name, value, XattrFlags::empty()).unwrap();
    };
    set("user.note", b"1");
    set("security.capability", &capability);
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let (collected, report) = overlay.export();
    assert_eq!((collected.text().as_str(), report.dropped_sockets, report.entries), ("able=x", 1, 1));
    let expected = BTreeMap::from([(CAPABILITY.to_vec(), capability.to_vec())]);
    assert_eq!(collected.0[0].0.xattrs, expected);
}

/// What is exported and unpacked again, either way, shows what the overlay shows.
#[test]
fn unpacking_an_export_gives_the_same_tree() {
    let Some(overlay) = Overlay::new(lower_files) else { return };
    let root = overlay.at("root");
    std_fs::remove_dir_all(root.join("etc/deep")).unwrap();
    write(&root, "etc/deep/new", "x");
    std_fs::remove_dir_all(root.join("old")).unwrap();
    std_fs::remove_file(root.join("tool")).unwrap();
    write(&root, "tool/x/y", "x");
    write(&root, "quiet/one/two", "changed");
    let expected = shown_tree(&root);
    let (layer, _) = overlay.export();

    let apply = |target: &Path, form| {
        std_fs::create_dir_all(target).unwrap();
        let mut applier = Applier::open(target, ApplyOptions { form, ids: Ids::Mapped }).unwrap();
        for (entry, content) in &layer.0 {
            applier.append(entry, &mut content.as_slice()).unwrap();
        }
        applier.finish().unwrap();
    };
    let lower = overlay.at("unpacked");
    apply(&lower, Form::Lower);
    let again = Overlay::new(lower_files).unwrap();
    apply(&again.at("root"), Form::Merged);
    assert_eq!(shown_tree(&again.at("root")), expected);

    let target = overlay.at("view");
    std_fs::create_dir(&target).unwrap();
    let lowers: Vec<String> = [lower, overlay.at("top"), overlay.at("bottom")]
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let options = std::ffi::CString::new(format!("userxattr,lowerdir={}", lowers.join(":"))).unwrap();
    rustix::mount::mount("overlay", &target, "overlay", MountFlags::RDONLY, &*options).unwrap();
    let found = shown_tree(&target);
    rustix::mount::unmount(&target, UnmountFlags::DETACH).unwrap();
    assert_eq!(found, expected);
}

fn shown_tree(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in std_fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(root).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
                lines.push(name + "/");
            } else {
                lines.push(name + "=" + &std_fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    lines.sort();
    lines
}
