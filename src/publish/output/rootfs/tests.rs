//! Root file systems as tar and as directory.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::super::tests::Folder;
use super::super::write_root_directory;
use super::*;

type Item<'a> = (&'a str, EntryKind, &'a str);

fn file<'a>(path: &'a str, text: &'a str) -> Item<'a> {
    (path, EntryKind::File { size: text.len() as u64 }, text)
}

fn dir(path: &str) -> Item<'_> {
    (path, EntryKind::Directory, "")
}

fn link<'a>(path: &'a str, target: &str) -> Item<'a> {
    (path, EntryKind::Symlink { target: target.into() }, "")
}

fn hard<'a>(path: &'a str, target: &str) -> Item<'a> {
    (path, EntryKind::HardLink { target: target.into() }, "")
}

fn gone(path: &str) -> Item<'_> {
    (path, EntryKind::Whiteout, "")
}

fn opaque(path: &str) -> Item<'_> {
    (path, EntryKind::Opaque, "")
}

fn image(folder: &Folder, platform: &str, layers: &[&[Item<'_>]]) -> Descriptor {
    let entry = |(path, kind, text): &Item<'_>| {
        let mut entry = Entry::new(*path, kind.clone(), if text.is_empty() { 0o755 } else { 0o640 });
        (entry.uid, entry.gid, entry.mtime) = (7, 8, 1_000_000_000);
        (entry, text.as_bytes().to_vec())
    };
    let layers = layers.iter().map(|items| folder.layer(&items.iter().map(entry).collect::<Vec<_>>()));
    folder.image_of(platform, layers.collect())
}

/// Names of a tar in its order, with content or link target.
fn tar_text(path: &Path) -> String {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let line = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let path = path.trim_end_matches('/').to_string();
        let target = entry.link_name().unwrap().map(|target| target.display().to_string());
        match entry.header().entry_type() {
            tar::EntryType::Directory => format!("{path}/"),
            tar::EntryType::Symlink => format!("{path}->{}", target.unwrap()),
            tar::EntryType::Link => format!("{path}=>{}", target.unwrap()),
            _ => format!("{path}={}", std::io::read_to_string(&mut entry).unwrap()),
        }
    };
    archive.entries().unwrap().map(line).collect::<Vec<_>>().join(" ")
}

fn directory_text(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = fs::symlink_metadata(&path).unwrap();
            lines.push(if kind.is_dir() {
                waiting.push(path);
                format!("{name}/")
            } else if kind.is_symlink() {
                format!("{name}->{}", fs::read_link(path).unwrap().display())
            } else {
                format!("{name}={}", fs::read_to_string(path).unwrap())
            });
        }
    }
    lines.sort();
    lines.join(" ")
}

/// Both outputs of an image made of `layers`.
fn check(layers: &[&[Item<'_>]], expected_tar: &str, expected_directory: &str) {
    let folder = Folder::new();
    let image = image(&folder, "linux/amd64", layers);
    let place = tempfile::tempdir().unwrap();
    let (tar, directory) = (place.path().join("root.tar"), place.path().join("root"));
    write_root_tar(&folder, &image, None, &Dest::Path(tar.clone())).unwrap();
    assert_eq!(tar_text(&tar), expected_tar, "{layers:?}");
    write_root_directory(&folder, &image, None, &directory).unwrap();
    assert_eq!(directory_text(&directory), expected_directory, "{layers:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
}

#[test]
fn layers_merge() {
    let base: &[Item<'_>] = &[dir("d"), file("d/old", "1"), file("f", "2"), link("l", "d")];
    check(&[base, &[file("f", "3")]], "d/ l->d d/old=1 f=3", "d/ d/old=1 f=3 l->d");
    check(&[base, &[gone("f"), opaque("d"), file("d/new", "3")]], "d/ l->d d/new=3", "d/ d/new=3 l->d");
    check(&[base, &[file("d/new", "3"), gone("d")]], "d/ l->d f=2 d/new=3", "d/ d/new=3 f=2 l->d");
    check(&[base, &[file("l/x", "3")]], "d/ l->d d/old=1 f=2 d/x=3", "d/ d/old=1 d/x=3 f=2 l->d");
    check(&[base, &[file("d", "3")]], "l->d f=2 d=3", "d=3 f=2 l->d");
    check(&[base, &[gone("d")], &[file("d/x", "3")]], "d/ l->d f=2 d/x=3", "d/ d/x=3 f=2 l->d");
    check(&[base, &[opaque("")]], "", "");
}

#[test]
fn hard_links_survive_the_loss_of_their_first_name() {
    let base: &[Item<'_>] = &[file("a", "1"), hard("b", "a"), hard("c", "a")];
    check(&[base], "a=1 b=>a c=>a", "a=1 b=1 c=1");
    check(&[base, &[gone("a")]], "b=1 c=>b", "b=1 c=1");
    check(&[base, &[file("a", "2"), hard("d", "c")]], "b=1 a=2 c=>b d=>b", "a=2 b=1 c=1 d=1");
}

#[test]
fn platforms_are_split_or_merged() {
    let folder = Folder::new();
    let index = folder.index(vec![
        image(&folder, "linux/amd64", &[&[dir("bin"), file("bin/amd", "1")]]),
        image(&folder, "linux/arm/v7", &[&[dir("bin"), file("bin/arm", "2")]]),
    ]);
    let place = tempfile::tempdir().unwrap();
    let write = |split, name: &str| {
        let directory: PathBuf = place.path().join(name);
        write_root_directory(&folder, &index, split, &directory).unwrap();
        directory_text(&directory)
    };
    let split = "linux_amd64/ linux_amd64/bin/ linux_amd64/bin/amd=1 linux_arm_v7/ linux_arm_v7/bin/ linux_arm_v7/bin/arm=2";
    assert_eq!(write(None, "split"), split);
    assert_eq!(write(Some(false), "merged"), "bin/ bin/amd=1 bin/arm=2");
    // What is there already stays.
    fs::write(place.path().join("merged/own"), "kept").unwrap();
    fs::write(place.path().join("merged/bin/amd"), "old").unwrap();
    assert_eq!(write(Some(false), "merged"), "bin/ bin/amd=1 bin/arm=2 own=kept");

    for same in [file("same", "1"), dir("same")] {
        let conflict = folder.index(vec![
            image(&folder, "linux/amd64", &[&[same]]),
            image(&folder, "linux/arm64", &[&[file("same", "1")]]),
        ]);
        let refused = write_root_tar(&folder, &conflict, Some(false), &Dest::Path("/dev/null".into()));
        let message = "`same` is in the images of both `linux/amd64` and `linux/arm64`";
        assert_eq!(refused.unwrap_err().to_string(), message);
    }
}

#[test]
fn pipes_are_written_in_place() {
    let folder = Folder::new();
    let image = image(&folder, "linux/amd64", &[&[file("f", "1")]]);
    let place = tempfile::tempdir().unwrap();
    let (pipe, copy) = (place.path().join("pipe"), place.path().join("copy"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let reader = std::thread::spawn({
        let (pipe, copy) = (pipe.clone(), copy.clone());
        move || fs::write(copy, fs::read(pipe).unwrap()).unwrap()
    });
    write_root_tar(&folder, &image, None, &Dest::Path(pipe)).unwrap();
    reader.join().unwrap();
    assert_eq!(tar_text(&copy), "f=1");
}

#[test]
fn owners_are_kept_in_a_tar_and_the_users_in_a_directory() {
    let folder = Folder::new();
    let image = image(&folder, "linux/amd64", &[&[dir("d"), file("d/f", "1")]]);
    let place = tempfile::tempdir().unwrap();
    let (tar, directory) = (place.path().join("root.tar"), place.path().join("root"));
    write_root_tar(&folder, &image, None, &Dest::Path(tar.clone())).unwrap();
    let mut archive = tar::Archive::new(fs::File::open(&tar).unwrap());
    for entry in archive.entries().unwrap() {
        let header = entry.unwrap().header().clone();
        let found = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        assert_eq!(found, (7, 8, 1_000_000_000));
    }
    write_root_directory(&folder, &image, None, &directory).unwrap();
    let found = fs::metadata(directory.join("d/f")).unwrap();
    let user = rustix::process::geteuid().as_raw();
    assert_eq!(
        (found.uid(), found.permissions().mode() & 0o7777, found.mtime()),
        (user, 0o640, 1_000_000_000)
    );
}
