//! Layers applied to real directories and overlays, hostile ones among them.

use std::fs as std_fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::*;

const LOWER: ApplyOptions = ApplyOptions { form: Form::Lower, ids: Ids::Mapped };
const MERGED: ApplyOptions = ApplyOptions { form: Form::Merged, ids: Ids::Mapped };

type Item = (Entry, Vec<u8>);

fn file(path: &str, text: &str) -> Item {
    (Entry::new(path, EntryKind::File { size: text.len() as u64 }, 0o644), text.into())
}

fn bare(path: &str, kind: EntryKind) -> Item {
    (Entry::new(path, kind, 0o755), Vec::new())
}

fn dir(path: &str) -> Item {
    bare(path, EntryKind::Directory)
}

fn link(path: &str, target: &str) -> Item {
    bare(path, EntryKind::Symlink { target: target.into() })
}

fn hard(path: &str, target: &str) -> Item {
    bare(path, EntryKind::HardLink { target: target.into() })
}

fn gone(path: &str) -> Item {
    bare(path, EntryKind::Whiteout)
}

fn opaque(path: &str) -> Item {
    bare(path, EntryKind::Opaque)
}

fn apply(root: &Path, options: ApplyOptions, items: &[Item]) -> io::Result<ApplyReport> {
    let mut applier = Applier::open(root, options)?;
    for (entry, content) in items {
        applier.append(entry, &mut content.as_slice())?;
    }
    applier.finish()
}

/// The tree as text: `a/`, `a/b=content`, `l->target`, `w!` for a whiteout, `d/ opaque`.
fn tree(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in std_fs::read_dir(root.join(&directory)).unwrap() {
            let path = directory.join(entry.unwrap().file_name());
            let full = root.join(&path);
            let kind = std_fs::symlink_metadata(&full).unwrap();
            let name = path.display();
            lines.push(if kind.is_dir() {
                let mut value = [0; 8];
                let is_opaque = fs::lgetxattr(&full, OPAQUE, &mut value[..]).is_ok();
                waiting.push(path.clone());
                format!("{name}/{}", if is_opaque { " opaque" } else { "" })
            } else if kind.is_symlink() {
                format!("{name}->{}", std_fs::read_link(&full).unwrap().display())
            } else if kind.file_type().is_char_device() {
                format!("{name}!")
            } else if kind.file_type().is_fifo() {
                format!("{name}|")
            } else {
                format!("{name}={}", std_fs::read_to_string(&full).unwrap())
            });
        }
    }
    lines.sort();
    lines.join(" ")
}

fn check(options: ApplyOptions, before: &[Item], layer: &[Item], expected: &str) {
    let root = tempfile::tempdir().unwrap();
    apply(root.path(), MERGED, before).unwrap();
    apply(root.path(), options, layer).unwrap();
    assert_eq!(tree(root.path()), expected, "{layer:?}");
}

#[test]
fn entries_replace_and_merge() {
    let before = [dir("d"), file("d/old", "1"), file("f", "2"), link("l", "d")];
    check(MERGED, &before, &[dir("d"), file("d/new", "3")], "d/ d/new=3 d/old=1 f=2 l->d");
    check(MERGED, &before, &[file("d", "3")], "d=3 f=2 l->d");
    check(MERGED, &before, &[dir("f"), link("f/x", "y")], "d/ d/old=1 f/ f/x->y l->d");
    check(MERGED, &before, &[dir("l")], "d/ d/old=1 f=2 l/");
    check(MERGED, &before, &[file("l", "3")], "d/ d/old=1 f=2 l=3");
    check(MERGED, &before, &[file("l/x", "3")], "d/ d/old=1 d/x=3 f=2 l->d");
    check(MERGED, &before, &[file("n/e/w", "3")], "d/ d/old=1 f=2 l->d n/ n/e/ n/e/w=3");
    check(MERGED, &before, &[file("f/under", "3")], "d/ d/old=1 f/ f/under=3 l->d");
    check(MERGED, &before, &[hard("f", "d/old"), hard("f", "f")], "d/ d/old=1 f=1 l->d");
    check(MERGED, &before, &[bare("f", EntryKind::Fifo)], "d/ d/old=1 f| l->d");
}

#[test]
fn marks_remove_what_lower_layers_had() {
    let before = [dir("d"), dir("d/s"), file("d/s/old", "1"), file("f", "2"), link("l", "d")];
    check(MERGED, &before, &[gone("d")], "f=2 l->d");
    check(MERGED, &before, &[gone("d"), gone("none"), gone("f/none"), gone("no/ne")], "f=2 l->d");
    check(MERGED, &before, &[gone("l/s")], "d/ f=2 l->d");
    check(MERGED, &before, &[opaque("d")], "d/ f=2 l->d");
    check(MERGED, &before, &[opaque("l")], "d/ d/s/ d/s/old=1 f=2 l->d");
    check(MERGED, &before, &[opaque("")], "");
    // What the layer itself brings stays, in either order.
    check(MERGED, &before, &[file("d/s/new", "3"), opaque("d")], "d/ d/s/ d/s/new=3 f=2 l->d");
    check(MERGED, &before, &[file("d/s/new", "3"), gone("d"), gone("f")], "d/ d/s/ d/s/new=3 l->d");
    check(MERGED, &before, &[gone("d"), file("d/s/new", "3")], "d/ d/s/ d/s/new=3 f=2 l->d");
    check(MERGED, &before, &[file("f", "3"), gone("f")], "d/ d/s/ d/s/old=1 f=3 l->d");
}

#[test]
fn lower_form_keeps_marks_for_overlayfs() {
    check(LOWER, &[], &[gone("a"), gone("a"), gone("d/b")], "a! d/ d/b!");
    check(LOWER, &[], &[dir("d"), opaque("d"), file("d/x", "1")], "d/ opaque d/x=1");
    check(LOWER, &[], &[opaque("d"), dir("d")], "d/ opaque");
    check(LOWER, &[], &[gone("d"), dir("d"), gone("f"), file("f", "1")], "d/ opaque f=1");
    check(LOWER, &[], &[dir("d"), gone("d"), file("f", "1"), gone("f")], "d/ opaque f=1");
    check(LOWER, &[], &[gone("d"), file("d/x", "1")], "d/ opaque d/x=1");
    check(LOWER, &[], &[link("l", "d"), opaque("l")], "l->d");
    check(LOWER, &[], &[bare("c", EntryKind::CharDevice { major: 0, minor: 0 })], "");
}

#[test]
fn lower_form_refuses_to_write_through_links() {
    let root = tempfile::tempdir().unwrap();
    let refused = apply(root.path(), LOWER, &[dir("d"), link("l", "d"), file("l/x", "1")]).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
    assert_eq!(refused.to_string(), "cannot unpack `l/x`: `l` leads through a symbolic link");
}

#[test]
fn report_names_what_overlayfs_cannot_be_told() {
    let root = tempfile::tempdir().unwrap();
    let layer = [file("a/b/c", "1"), dir("a/b"), opaque("")];
    let report = apply(root.path(), LOWER, &layer).unwrap();
    assert_eq!(report.implied_directories, [b"a".to_vec()]);
    assert!(report.opaque_root);
    let implied = std_fs::metadata(root.path().join("a")).unwrap();
    assert_eq!((implied.mode() & 0o7777, implied.mtime()), (0o755, 0));
}

#[test]
fn hostile_layers_stay_inside() {
    let cases: Vec<Vec<Item>> = vec![
        vec![file("../secret", "x")],
        vec![file("a/../../secret", "x")],
        vec![file("/secret", "x")],
        vec![file("a//b", "x")],
        vec![file("nul\0", "x")],
        vec![file(".", "x")],
        vec![file("", "x")],
        vec![gone("")],
        vec![gone("..")],
        vec![opaque("..")],
        vec![link("up", ".."), file("up/secret", "x")],
        vec![link("up", "../../../../.."), file("up/secret", "x"), gone("up/secret"), opaque("up")],
        vec![link("out", "OUTSIDE"), file("out/secret", "x")],
        vec![link("out", "OUTSIDE"), file("out/new", "x")],
        vec![link("out", "OUTSIDE"), gone("out/secret")],
        vec![link("out", "OUTSIDE"), opaque("out")],
        vec![link("out", "OUTSIDE"), dir("out"), file("out/secret", "x")],
        vec![link("out", "OUTSIDE/secret"), file("out", "x")],
        vec![link("out", "OUTSIDE/secret"), hard("in", "out"), file("in", "x")],
        vec![hard("in", "../secret"), file("in", "x")],
        vec![link("out", "OUTSIDE"), hard("in", "out/secret"), file("in", "x")],
        vec![link("proc", "/proc/self/root"), file("proc/tmp/x", "x")],
        vec![link("a", "b"), link("b", "a"), file("a/x", "x"), gone("a/x"), opaque("a")],
        vec![bare("p", EntryKind::Fifo), file("p", "x")],
    ];
    for case in cases {
        for options in [LOWER, MERGED] {
            let place = tempfile::tempdir().unwrap();
            let (root, outside) = (place.path().join("root"), place.path().join("outside"));
            std_fs::create_dir(&root).unwrap();
            std_fs::create_dir(&outside).unwrap();
            std_fs::write(outside.join("secret"), "kept").unwrap();
            std_fs::write(place.path().join("secret"), "kept").unwrap();
            symlink(&outside, root.join("planted")).unwrap();
            let mut case = case.clone();
            for (entry, _) in &mut case {
                if let EntryKind::Symlink { target } = &mut entry.kind {
                    let text = String::from_utf8(target.clone()).unwrap();
                    *target = text.replace("OUTSIDE", outside.to_str().unwrap()).into_bytes();
                }
            }
            case.extend([file("planted/secret", "x"), opaque("planted")]);
            // Every entry on its own, so that an early refusal does not hide a later one.
            let mut applier = Applier::open(&root, options).unwrap();
            for (entry, content) in &case {
                let _ = applier.append(entry, &mut content.as_slice());
            }
            applier.finish().unwrap();
            std_fs::remove_dir_all(&root).unwrap();
            assert_eq!(tree(place.path()), "outside/ outside/secret=kept secret=kept", "{case:?}");
        }
    }
}

#[test]
fn metadata_is_restored() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut layer = [dir("d"), file("d/f", "x"), link("d/l", "f"), bare("d/p", EntryKind::Fifo)];
    for (entry, _) in &mut layer {
        (entry.mode, entry.uid, entry.gid, entry.mtime) = (0o6751, 12, 34, 1_000_000_000);
    }
    layer[1].0.xattrs.insert(CAPABILITY.to_vec(), capability.to_vec());
    layer[1].0.xattrs.insert(b"user.overlay.redirect".to_vec(), b"/".to_vec());
    layer[1].0.xattrs.insert(b"nonsense.name".to_vec(), b"1".to_vec());
    let report = apply(root.path(), LOWER, &layer).unwrap();
    assert_eq!(report.dropped_xattrs, 2);
    for path in ["d", "d/f", "d/l", "d/p"] {
        let found = std_fs::symlink_metadata(root.path().join(path)).unwrap();
        let mode = if path == "d/l" { 0o777 } else { 0o6751 };
        assert_eq!((found.uid(), found.gid(), found.mtime()), (12, 34, 1_000_000_000), "{path}");
        assert_eq!(found.mode() & 0o7777, mode, "{path}");
    }
    let mut value = [0; 64];
    let length = fs::lgetxattr(root.path().join("d/f"), CAPABILITY, &mut value[..]).unwrap();
    assert_eq!(&value[..length], capability);
    assert!(fs::lgetxattr(root.path().join("d/f"), "user.overlay.redirect", &mut value[..]).is_err());
}

#[test]
fn zeros_become_holes_and_content_is_exact() {
    let root = tempfile::tempdir().unwrap();
    let mut content = vec![0; 4 << 20];
    content[1 << 20] = 1;
    content.extend(b"end");
    for (name, content) in [("middle", &content[..]), ("tail", &content[..4 << 20]), ("short", &content[..9])]
    {
        let entry = Entry::new(name, EntryKind::File { size: content.len() as u64 }, 0o644);
        apply(root.path(), LOWER, &[(entry, content.to_vec())]).unwrap();
        assert_eq!(std_fs::read(root.path().join(name)).unwrap(), content, "{name}");
        assert!(std_fs::metadata(root.path().join(name)).unwrap().blocks() * 512 <= 256 << 10, "{name}");
    }
    let short = (Entry::new("cut", EntryKind::File { size: 10 }, 0o644), b"123".to_vec());
    let cut = apply(root.path(), LOWER, &[short]).unwrap_err();
    assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
}

/// Runs the named test once more in a user namespace of one id; `None` where the machine has no such.
fn in_user_namespace(test: &str) -> Option<std::process::Output> {
    let unshare = |command: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--"]).arg(command);
        unshare
    };
    if !unshare("true").status().is_ok_and(|status| status.success()) {
        return None;
    }
    let mut program = unshare(std::env::current_exe().unwrap().to_str().unwrap());
    Some(program.args(["--exact", test]).env("MAB_TEST_IN_USER_NAMESPACE", "1").output().unwrap())
}

#[test]
fn single_id_map_loses_owners_and_devices_only() {
    if std::env::var_os("MAB_TEST_IN_USER_NAMESPACE").is_none() {
        let name = "layer::apply::tests::single_id_map_loses_owners_and_devices_only";
        if let Some(output) = in_user_namespace(name) {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut layer =
        vec![file("f", "1"), bare("null", EntryKind::CharDevice { major: 1, minor: 3 }), gone("w")];
    layer[0].0.uid = 5;
    let refused = apply(root.path(), LOWER, &layer).unwrap_err();
    assert_eq!(refused.to_string(), "cannot unpack `f`: its owner 5:0 is not mapped here");
    let options = ApplyOptions { ids: Ids::Single, ..LOWER };
    let report = apply(root.path(), options, &layer).unwrap();
    assert_eq!((report.ownership_lost, report.skipped_devices), (true, 1));
    assert_eq!(tree(root.path()), "f=1 w!");
}

/// As root, runs itself once more as nobody.
#[test]
fn ordinary_users_fill_closed_directories() {
    if rustix::process::geteuid().is_root() {
        let name = "layer::apply::tests::ordinary_users_fill_closed_directories";
        let mut program = Command::new(std::env::current_exe().unwrap());
        // The program may be where nobody cannot reach it.
        if let Ok(output) = program.args(["--exact", name]).uid(65534).gid(65534).output() {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut layer = [dir("a"), dir("a/b"), file("a/b/f", "1"), bare("a/p", EntryKind::Fifo)];
    layer[0].0.mode = 0o500;
    layer[1].0.mode = 0;
    let options = ApplyOptions { ids: Ids::Single, ..MERGED };
    assert!(apply(place.path(), options, &layer).unwrap().ownership_lost);
    let mode = |path: &str| std_fs::metadata(place.path().join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("a"), mode("a/b")), (0o500, 0));
    for path in ["a", "a/b"] {
        std_fs::set_permissions(place.path().join(path), PermissionsExt::from_mode(0o700)).unwrap();
    }
    assert_eq!(tree(place.path()), "a/ a/b/ a/b/f=1 a/p|");
}
