//! Contexts on a real disk.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, OFlags, XattrFlags, lsetxattr, mkfifoat};
use tempfile::TempDir;

use super::*;
use crate::layer::EntryKind;

fn tree(files: &[&str]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
    folder
}

fn rules(text: &str) -> IgnoreFile {
    IgnoreFile { path: ".dockerignore".into(), text: text.into() }
}

fn walked(root: &Path, ignore: &str) -> Context {
    Context::walk(root, Some(&rules(ignore)), None).unwrap()
}

fn paths(context: &Context) -> Vec<&str> {
    context.entries().iter().map(|entry| std::str::from_utf8(&entry.path).unwrap()).collect()
}

/// The time of change cannot be set, so the file stays unsettled.
fn set_back(path: &Path) {
    let time = SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn what_is_ignored_is_not_there() {
    let folder = tree(&["a", "a-b/c", "a.d/e", "node_modules/x/y", "keep/z", "keep/no/q"]);
    for (ignore, expected) in [
        (
            "",
            "a a-b a-b/c a.d a.d/e keep keep/no keep/no/q keep/z node_modules node_modules/x node_modules/x/y",
        ),
        ("node_modules\nkeep", "a a-b a-b/c a.d a.d/e"),
        ("*\n!keep/z", "keep keep/z"),
        ("*\n!keep\nkeep/no", "keep keep/z"),
        ("*\n!**/y\n", "node_modules node_modules/x node_modules/x/y"),
        ("*\n!nothing/here", ""),
        ("**", ""),
    ] {
        assert_eq!(paths(&walked(folder.path(), ignore)).join(" "), expected, "{ignore:?}");
    }
}

#[test]
fn every_kind_of_file_is_seen_as_it_is() {
    let folder = tree(&["file", "dir/x"]);
    let root = folder.path();
    fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(root.join("file"), root.join("second")).unwrap();
    symlink("/etc/passwd", root.join("link")).unwrap();
    symlink("dir", root.join("dirlink")).unwrap();
    mkfifoat(CWD, root.join("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let context = walked(root, "");
    assert_eq!(paths(&context), ["dir", "dir/x", "dirlink", "fifo", "file", "link", "second", "socket"]);
    let entry = |path: &str| &context.entries()[context.find(path.as_bytes()).unwrap()];
    assert_eq!(entry("file").kind, EntryKind::File { size: 4 });
    assert_eq!(entry("file").mode, 0o4751);
    assert!(entry("file").hard_link().is_some());
    assert_eq!(entry("file").hard_link(), entry("second").hard_link());
    assert_eq!((entry("dir/x").hard_link(), entry("dir").hard_link()), (None, None));
    assert_eq!(entry("link").kind, EntryKind::Symlink { target: b"/etc/passwd".to_vec() });
    assert_eq!(entry("dirlink").kind, EntryKind::Symlink { target: b"dir".to_vec() });
    assert_eq!(entry("fifo").kind, EntryKind::Fifo);
    assert_eq!(entry("socket").kind, EntryKind::File { size: 0 });
    let socket = context.find(b"socket").unwrap();
    assert_eq!(context.digests(&[socket]).unwrap(), [Digest::of("")]);
    assert!(matches!(context.open(context.find(b"fifo").unwrap()), Err(ContextError::NotAFile { .. })));
}

#[test]
fn a_context_is_a_tree_of_one_layer() {
    let folder = tree(&["a-b/c", "a/file", "z"]);
    fs::hard_link(folder.path().join("z"), folder.path().join("a/second")).unwrap();
    symlink("a", folder.path().join("link")).unwrap();
    let context = walked(folder.path(), "");
    let tree = context.tree().unwrap();
    let names: Vec<_> = tree.walk(tree.root()).map(|node| tree.path(node)).collect();
    assert_eq!(names, [&b""[..], b"a", b"a/file", b"a/second", b"a-b", b"a-b/c", b"link", b"z"]);
    let [second, z] = [&b"a/second"[..], b"z"].map(|path| tree.get(path).unwrap());
    assert!(tree.link_group(z).is_some());
    assert_eq!(tree.link_group(z), tree.link_group(second));
    let file = tree.resolve(b"link/file", true).unwrap().unwrap();
    let position = tree.origin(file).unwrap().position as usize;
    assert_eq!(std::io::read_to_string(context.open(position).unwrap()).unwrap(), "a/file");
    assert_eq!(
        std::io::read_to_string(context.open(tree.origin(z).unwrap().position as usize).unwrap()).unwrap(),
        "z"
    );
}

#[test]
fn capabilities_are_kept() {
    let folder = tree(&["server", "plain"]);
    let server = folder.path().join("server");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
    // cap_net_bind_service, permitted and effective, in the kernel's version 2.
    let value = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    if lsetxattr(&server, CAPABILITY, &value, XattrFlags::empty()).is_err() {
        eprintln!("skipped: capabilities cannot be set on files here");
        return;
    }
    let context = walked(folder.path(), "");
    let entry = context.entries()[context.find(b"server").unwrap()].to_layer_entry();
    assert_eq!(entry.xattrs.get(CAPABILITY.as_bytes()).map(Vec::as_slice), Some(&value[..]));
    assert_eq!(context.entries()[context.find(b"plain").unwrap()].capability, None);
}

#[test]
fn the_root_may_be_a_link_and_must_be_a_directory() {
    let folder = tree(&["real/a"]);
    symlink("real", folder.path().join("link")).unwrap();
    let context = walked(&folder.path().join("link"), "");
    assert_eq!(paths(&context), ["a"]);
    assert!(context.root().ends_with("real"));
    for wrong in ["real/a", "missing"] {
        let error = Context::walk(&folder.path().join(wrong), None, None).err().unwrap();
        assert!(matches!(error, ContextError::Root { .. }), "{error}");
    }
}

#[test]
fn a_file_that_changed_since_the_walk_is_not_read() {
    let folder = tree(&["same", "size", "content", "link", "gone", "dir/x"]);
    let root = folder.path();
    let context = walked(root, "");
    fs::write(root.join("size"), "longer").unwrap();
    fs::write(root.join("content"), "CONTENT").unwrap();
    File::options()
        .write(true)
        .open(root.join("content"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    fs::remove_file(root.join("link")).unwrap();
    symlink("same", root.join("link")).unwrap();
    fs::remove_file(root.join("gone")).unwrap();
    fs::rename(root.join("dir"), root.join("moved")).unwrap();
    symlink("moved", root.join("dir")).unwrap();
    for (path, expected) in [
        ("same", true),
        ("size", false),
        ("content", false),
        ("link", false),
        ("gone", false),
        ("dir/x", false),
    ] {
        let position = context.find(path.as_bytes()).unwrap();
        assert_eq!(context.open(position).is_ok(), expected, "{path}");
        assert_eq!(context.digests(&[position]).is_ok(), expected, "{path}");
    }
}

#[test]
fn a_directory_that_cannot_be_read_is_named_unless_it_is_ignored() {
    let folder = tree(&["deep/er/x"]);
    let name = "n".repeat(250);
    let long: PathBuf = std::iter::repeat_n(name.as_str(), 20).collect();
    // Nobody, root included, can open a path this long in one go.
    let mut directory = File::open(folder.path()).unwrap();
    for component in long.iter() {
        rustix::fs::mkdirat(&directory, component, rustix::fs::Mode::RWXU).unwrap();
        let flags = OFlags::RDONLY;
        directory =
            rustix::fs::openat(&directory, component, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let error = Context::walk(folder.path(), None, None).err().unwrap();
    assert!(matches!(&error, ContextError::Unreadable { path, .. } if path.ends_with(&name)), "{error}");
    assert_eq!(paths(&walked(folder.path(), "nnn*")), ["deep", "deep/er", "deep/er/x"]);
    // The removal of such a depth is beyond what `TempDir` does by path.
    let status = std::process::Command::new("rm").arg("-rf").arg(folder.path()).status().unwrap();
    assert!(status.success());
}

#[test]
fn digests_come_from_the_store_when_files_are_settled() {
    let folder = tree(&["a", "b", "dir/c"]);
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path()).unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    let run = || {
        let contexts = Contexts::new(Some(store.clone()));
        let context = contexts.walk(&root, None).unwrap();
        let files: Vec<usize> =
            (0..context.entries().len()).filter(|at| context.entries()[*at].is_file()).collect();
        let digests = context.digests(&files).unwrap();
        let learnt = context.known.as_ref().unwrap().learnt().hashed.len();
        let found = context.known.as_ref().unwrap().learnt().used.len();
        contexts.save().unwrap();
        (digests, learnt, found)
    };
    let expected = ["a", "b", "dir/c"].map(Digest::of).to_vec();
    assert_eq!(run(), (expected.clone(), 0, 0), "files this young are not remembered");

    // As if the files had been hashed long after they were written; times of change cannot be set.
    let context = walked(&root, "");
    let stamped: Vec<StampedDigest> = context
        .entries()
        .iter()
        .filter(|entry| entry.is_file())
        .map(|entry| StampedDigest { stamp: entry.stamp, digest: Digest::of("remembered") })
        .collect();
    let metadata = fs::metadata(&root).unwrap();
    let numbers = [metadata.dev().to_le_bytes(), metadata.ino().to_le_bytes()].concat();
    let name = [&numbers, root.as_os_str().as_bytes()].concat();
    store.stat_caches().save(&name, &stamped, &[]).unwrap();
    assert_eq!(run(), (vec![Digest::of("remembered"); 3], 0, 3));
    fs::write(root.join("b"), "B").unwrap();
    set_back(&root.join("b"));
    let expected = vec![Digest::of("remembered"), Digest::of("B"), Digest::of("remembered")];
    assert_eq!(run(), (expected, 0, 2));
}

/// A walk that takes all files for settled.
fn settled(root: &Path, store: &Store, ignore: Option<&IgnoreFile>) -> Context {
    let mut context = Context::walk(root, ignore, Some(store.clone())).unwrap();
    let later = SystemTime::now() + Duration::from_secs(10);
    let signature = Signature::of(context.entries(), later);
    context.known.as_mut().unwrap().signature = signature;
    context
}

#[test]
fn an_answer_is_known_as_long_as_the_context_looks_the_same() {
    let folder = tree(&["a", "b", "dir/c", "dir/d"]);
    let root = folder.path();
    ["a", "b"].iter().for_each(|path| set_back(&root.join(path)));
    symlink("a", root.join("link")).unwrap();
    let home = TempDir::new().unwrap();
    let store = Store::open(home.path()).unwrap();
    let (question, answer) = (Digest::of("question"), Digest::of("answer"));
    let ask = |ignore: Option<&IgnoreFile>| {
        Context::walk(root, ignore, Some(store.clone())).unwrap().derived(&question).unwrap()
    };
    let tell = |context: Context| {
        context.derive(&question, answer);
        context.save().unwrap();
    };
    tell(Context::walk(root, None, Some(store.clone())).unwrap());
    assert_eq!(ask(None), None, "files this young may change once more and look the same");

    let time = fs::metadata(root.join("a")).unwrap().modified().unwrap();
    let file = |path: &str| File::options().write(true).open(root.join(path)).unwrap();
    let swap = || {
        fs::rename(root.join("a"), root.join("x")).unwrap();
        fs::rename(root.join("b"), root.join("a")).unwrap();
        fs::rename(root.join("x"), root.join("b")).unwrap();
        ["a", "b"].iter().for_each(|path| file(path).set_modified(time).unwrap());
    };
    let edit = || {
        fs::write(root.join("a"), "A").unwrap();
        file("a").set_modified(time).unwrap();
    };
    let replace = || {
        fs::write(root.join("new"), "N").unwrap();
        file("new").set_modified(time).unwrap();
        fs::rename(root.join("new"), root.join("a")).unwrap();
    };
    let relink = || {
        fs::remove_file(root.join("link")).unwrap();
        symlink("b", root.join("link")).unwrap();
    };
    let mode = |path: &str, mode| {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    };
    let changes: [(&str, &dyn Fn()); 9] = [
        ("two files changed places", &swap),
        ("other bytes with the old time", &edit),
        ("another file of that name, size and time", &replace),
        ("a link leads elsewhere", &relink),
        ("a mode", &|| mode("a", 0o640)),
        ("a folder's mode", &|| mode("dir", 0o700)),
        ("a folder without anything in it", &|| fs::create_dir(root.join("dir/e")).unwrap()),
        ("a file went", &|| fs::remove_file(root.join("dir/c")).unwrap()),
        ("a second name", &|| fs::hard_link(root.join("a"), root.join("dir/c")).unwrap()),
    ];
    for (what, change) in changes {
        tell(settled(root, &store, None));
        assert_eq!(ask(None), Some(answer), "before: {what}");
        change();
        assert_eq!(ask(None), None, "{what}");
    }

    tell(settled(root, &store, None));
    let ignore = rules("passing");
    assert_eq!(ask(Some(&ignore)), None);
    tell(settled(root, &store, Some(&ignore)));
    fs::write(root.join("passing"), "").unwrap();
    fs::remove_file(root.join("passing")).unwrap();
    assert_eq!(
        (ask(None), ask(Some(&ignore))),
        (Some(answer), Some(answer)),
        "the folder's time means nothing"
    );
}

#[test]
fn entries_are_in_the_order_of_their_paths() {
    let files =
        ["a/z", "a-b/c", "a.d/e", "a/b/c", "a/b-c", "a/b!/x", "a0", "b", "A/x", "a/b.d/q/r", "a/b0/q"];
    let folder = tree(&files);
    let context = walked(folder.path(), "");
    let found = paths(&context);
    let mut sorted = found.clone();
    sorted.sort_unstable();
    assert_eq!(found, sorted);
    assert!(files.iter().all(|file| found.contains(file)));
}

#[test]
fn large_trees_are_walked_as_small_ones() {
    let files: Vec<String> =
        (0..3_000).map(|number| format!("d{}/e{}/{number}", number % 7, number % 50)).collect();
    let folder = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let context = walked(folder.path(), "*/e9\n");
    let found = paths(&context);
    assert!(found.is_sorted());
    let kept = files.iter().filter(|file| !file.contains("/e9/"));
    assert_eq!(kept.clone().filter(|file| found.contains(&file.as_str())).count(), kept.count());
    assert!(!found.iter().any(|path| path.contains("/e9/")));
}

#[test]
fn a_root_is_walked_once_for_each_set_of_rules() {
    let folder = tree(&["a", "b"]);
    let contexts = Contexts::new(None);
    let ignore = IgnoreFile { path: "x".into(), text: b"a".to_vec() };
    let all = contexts.walk(folder.path(), None).unwrap();
    let some = contexts.walk(folder.path(), Some(&ignore)).unwrap();
    assert_eq!((paths(&all), paths(&some)), (vec!["a", "b"], vec!["b"]));
    assert!(std::sync::Arc::ptr_eq(&all, &contexts.walk(folder.path(), None).unwrap()));
    let wrong = IgnoreFile { path: "the/.dockerignore".into(), text: b"ok\n\n!\n".to_vec() };
    let problem = contexts.walk(folder.path(), Some(&wrong)).err().unwrap().problem();
    assert_eq!(problem.labels[0].place.to_string(), "the/.dockerignore:3");
}

#[test]
fn the_dockerfiles_own_ignore_file_comes_first() {
    let folder = tree(&[".dockerignore", "docker/api.Dockerfile.dockerignore", "docker/api.Dockerfile"]);
    let find = |dockerfile: Option<&str>| {
        let dockerfile = dockerfile.map(|path| folder.path().join(path));
        let found = IgnoreFile::find(folder.path(), dockerfile.as_deref()).unwrap();
        found.map(|file| String::from_utf8(file.text).unwrap())
    };
    assert_eq!(find(Some("docker/api.Dockerfile")).as_deref(), Some("docker/api.Dockerfile.dockerignore"));
    assert_eq!(find(Some("docker/web.Dockerfile")).as_deref(), Some(".dockerignore"));
    assert_eq!(find(None).as_deref(), Some(".dockerignore"));
    let empty = TempDir::new().unwrap();
    assert_eq!(IgnoreFile::find(empty.path(), None).unwrap(), None);
    fs::create_dir(empty.path().join(".dockerignore")).unwrap();
    assert!(IgnoreFile::find(empty.path(), None).is_err());
}
