//! What is told of files, in which order, and with which modes and times.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::{Duration, SystemTime};

use super::*;

fn context(folder: &Path) -> Context {
    Context::walk(folder, None, None).unwrap()
}

fn paths(context: &Context, reach: &[&str]) -> Vec<String> {
    let reach: Vec<String> = reach.iter().map(ToString::to_string).collect();
    let (stats, _) = list(context, &Reach::new(&reach)).ok().unwrap();
    stats.into_iter().map(|stat| stat.path).collect()
}

#[test]
fn parents_come_first_and_only_what_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for path in ["a/x", "a/y/z", "a-b/x", "a.txt", "b/x"] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), path).unwrap();
    }
    symlink("a", root.join("link")).unwrap();
    let context = context(root);
    let all = ["a", "a/x", "a/y", "a/y/z", "a-b", "a-b/x", "a.txt", "b", "b/x", "link"];
    for (reach, expected) in [
        (&[][..], &all[..]),
        (&["."], &all),
        (&["/"], &all),
        (&["a/y"], &["a", "a/y", "a/y/z"]),
        (&["a/y/", "./b"], &["a", "a/y", "a/y/z", "b", "b/x"]),
        (&["a/*"], &["a", "a/x", "a/y", "a/y/z"]),
        (&["*.txt"], &all),
        (&["link/x"], &all),
        (&["../a"], &all),
        (&["nowhere"], &[]),
    ] {
        assert_eq!(paths(&context, reach), expected, "{reach:?}");
    }
}

#[test]
fn what_looks_equal_is_equal() {
    let folder = tempfile::tempdir().unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let stat_of = |text: &str| {
        let path = folder.path().join("file");
        fs::write(&path, text).unwrap();
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
        list(&context(folder.path()), &Reach::new(&[])).ok().unwrap().0.remove(0)
    };
    let (one, other, again) = (stat_of("one"), stat_of("two"), stat_of("one"));
    assert_eq!(one.size, other.size);
    assert_ne!(one.mod_time, other.mod_time);
    assert_eq!(one, again);
    for stat in [one, other] {
        assert_eq!(stat.mod_time / 1_000_000_000, 1_000_000_000, "layers keep the user's own time");
    }
}

#[test]
fn kinds_and_modes_are_gos() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("f"), "text").unwrap();
    fs::hard_link(root.join("f"), root.join("g")).unwrap();
    symlink("f", root.join("s")).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o1755)).unwrap();
    fs::set_permissions(root.join("f"), fs::Permissions::from_mode(0o4711)).unwrap();
    let (stats, _) = list(&context(root), &Reach::new(&[])).ok().unwrap();
    let told: Vec<(&str, u32, i64, &str, u32)> = stats
        .iter()
        .map(|stat| (stat.path.as_str(), stat.mode, stat.size, stat.linkname.as_str(), stat.uid + stat.gid))
        .collect();
    let expected = [
        ("d", 1 << 31 | 1 << 20 | 0o755, 0, "", 0),
        ("f", 1 << 23 | 0o711, 4, "", 0),
        ("g", 1 << 23 | 0o711, 0, "f", 0),
        ("s", 1 << 27 | 0o777, 1, "f", 0),
    ];
    assert_eq!(told, expected);
}
