//! Layers written, read back and fetched from, here and by other tools.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::write::LayerWriter;
use super::*;
use crate::base::Digest;
use crate::oci::media_type::{OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};

const EMPTY_LAYER: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
const ALL: [Compression; 3] = [Compression::None, Compression::GZIP, Compression::ZSTD];

type Files = Vec<(Entry, Vec<u8>)>;

fn file(path: &str, content: &[u8]) -> (Entry, Vec<u8>) {
    let entry = Entry::new(path, EntryKind::File { size: content.len() as u64 }, 0o644);
    (Entry { mtime: 1_700_000_000, ..entry }, content.to_vec())
}

fn other(path: &str, kind: EntryKind, mode: u32) -> (Entry, Vec<u8>) {
    (Entry::new(path, kind, mode), Vec::new())
}

/// Bytes that compress a little, different for every seed.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"etaoinshrdlucmfwypvbgkjqxz \n0123"[(state >> 40) as usize % 32]
    };
    (0..size).map(next).collect()
}

/// One of every kind, and every field that does not fit a plain header.
fn every_kind() -> Files {
    let mut files = vec![
        other("bin", EntryKind::Directory, 0o755),
        file("bin/sh", b"#!"),
        other("bin/bash", EntryKind::HardLink { target: b"bin/sh".to_vec() }, 0o644),
        other("bin/ash", EntryKind::Symlink { target: b"../bin/sh".to_vec() }, 0o777),
        other("dev/null", EntryKind::CharDevice { major: 1, minor: 3 }, 0o666),
        other("dev/sda", EntryKind::BlockDevice { major: 8, minor: 0 }, 0o660),
        other("dev/pipe", EntryKind::Fifo, 0o600),
        other("etc/gone", EntryKind::Whiteout, 0),
        other("gone", EntryKind::Whiteout, 0),
        other("opt", EntryKind::Opaque, 0),
        file("grüße", b"hello"),
        file(&format!("{}/{}", "p".repeat(150), "n".repeat(100)), b"prefix"),
        file("long/".repeat(60).trim_end_matches('/'), b"long"),
        other(&"d".repeat(100), EntryKind::Directory, 0o1777),
        other("far", EntryKind::Symlink { target: vec![b't'; 300] }, 0o777),
    ];
    let mut odd = file("odd", b"odd");
    odd.0.path = b"odd\xff\n".to_vec();
    odd.0.mode = 0o6755;
    odd.0.mtime = -5;
    (odd.0.uid, odd.0.gid) = (3_000_000, 4_000_000_000);
    odd.0.xattrs.insert(b"security.capability".to_vec(), b"\x01\n\0=\n".to_vec());
    odd.0.xattrs.insert(b"user.empty".to_vec(), Vec::new());
    files.push(odd);
    files
}

/// Small files, files about as long as a block, and longer ones.
static MIXED: LazyLock<Files> = LazyLock::new(|| {
    const BLOCK: usize = compress::BLOCK_BYTES;
    let sizes = [
        [10, 70_000, BLOCK, BLOCK - 512, 2_200_000, 0, 512],
        [150_000, 150_000, 1, 150_000, 1_100_000, 4 * BLOCK, BLOCK - 1024],
    ];
    let file =
        |(number, size): (usize, &usize)| file(&format!("d/f{number:03}"), &noise(number as u64, *size));
    sizes.as_flattened().iter().enumerate().map(file).collect()
});

fn write_with(files: &[(Entry, Vec<u8>)], compression: Compression, workers: usize) -> (FinishedLayer, File) {
    let blob = tempfile::tempfile().unwrap();
    let options = LayerOptions { compression, clamp_mtime: None };
    let mut writer = LayerWriter::with_workers(blob.try_clone().unwrap(), options, workers).unwrap();
    for (entry, content) in files {
        writer.append(entry, &mut &content[..]).unwrap();
    }
    let finished = writer.finish().unwrap();
    (finished, blob)
}

fn bytes_of(mut blob: &File) -> Vec<u8> {
    blob.rewind().unwrap();
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).unwrap();
    bytes
}

fn read_back(bytes: &[u8]) -> Result<Files, LayerError> {
    let mut layer = LayerReader::new(bytes, OCI_LAYER)?;
    let mut files = Vec::new();
    layer.for_each(|entry, content, _| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        files.push((entry.clone(), bytes));
        Ok::<_, LayerError>(())
    })?;
    layer.finish()?;
    Ok(files)
}

#[test]
fn the_empty_layer_is_the_known_one() {
    for compression in ALL {
        let (finished, _) = write_with(&[], compression, 2);
        assert_eq!(finished.diff_id.to_string(), EMPTY_LAYER);
        assert_eq!(finished.uncompressed_size, 1024);
    }
}

#[test]
fn what_was_written_is_read() {
    for compression in ALL {
        for files in [every_kind(), MIXED.clone()] {
            let (finished, blob) = write_with(&files, compression, 2);
            let bytes = bytes_of(&blob);
            assert_eq!(Digest::of(&bytes), finished.digest);
            assert_eq!(bytes.len() as u64, finished.size);
            assert!(read_back(&bytes).unwrap() == files, "{compression:?}");
            let (index, diff_id) = Index::scan(&bytes[..], finished.media_type).unwrap();
            assert_eq!(diff_id, finished.diff_id);
            assert_eq!(index.entries, finished.index.entries);
        }
    }
}

/// A change here changes every layer's digest, and with them every cache: [`FORMAT`] is to be bumped.
#[test]
fn bytes_stay_what_they_are() {
    let files: Files = every_kind().into_iter().chain(MIXED.clone()).collect();
    let digests = ["none", "gzip:1", "gzip:9", "zstd:1", "zstd:19"].map(|compression| {
        let (finished, _) = write_with(&files, compression.parse().unwrap(), 2);
        format!("{compression} {} {}", finished.diff_id.short(), finished.digest.short())
    });
    let expected = [
        "none 567179a7d11c 567179a7d11c",
        "gzip:1 567179a7d11c 676df3743498",
        "gzip:9 567179a7d11c 48a30e2a8d04",
        "zstd:1 567179a7d11c 918ddd889315",
        "zstd:19 567179a7d11c 816911923e14",
    ];
    assert_eq!(digests, expected);
}

#[test]
fn workers_do_not_change_the_bytes() {
    for compression in ALL {
        let alone = write_with(&MIXED, compression, 1).0;
        for workers in [2, 5] {
            assert_eq!(write_with(&MIXED, compression, workers).0, alone);
        }
    }
}

/// Everything of a layer but its blob's name.
fn named(finished: &FinishedLayer) -> (Digest, Digest, &Index) {
    (finished.diff_id, finished.digest, &finished.index)
}

fn write_after(files: &[(Entry, Vec<u8>)], earlier: Option<(File, &Index)>) -> (FinishedLayer, File) {
    let blob = tempfile::tempfile().unwrap();
    let mut writer = LayerWriter::create(blob.try_clone().unwrap(), LayerOptions::default()).unwrap();
    if let Some((blob, index)) = earlier {
        writer = writer.reusing(Earlier::new(Extents::whole(blob).unwrap(), index));
    }
    for (entry, content) in files {
        writer.append_with_digest(entry, &mut &content[..], Digest::of(content)).unwrap();
    }
    (writer.finish().unwrap(), blob)
}

#[test]
fn blocks_of_an_earlier_layer_serve_again() {
    let many = || (0..3000).map(|n| file(&format!("many/{n:04}"), &noise(n, 3000 + n as usize % 700)));
    let files: Files = many().chain(MIXED.clone()).collect();
    let (before, blob) = write_after(&files, None);
    let blocks = before.index.blocks.len();
    // The first byte of the blob, changed, shows which blocks were taken over.
    for (changed, content, most_new) in [
        (1500, noise(9, 3100), 4),
        (1500, noise(9, 9000), 8),
        (0, Vec::new(), 8),
        (3004, noise(9, 2_200_000), 11),
        (3011, noise(9, 77), 2),
    ] {
        let mut files = files.clone();
        files[changed] = file(&String::from_utf8_lossy(&files[changed].0.path), &content);
        let (expected, fresh) = write_after(&files, None);
        let (after, reused) = write_after(&files, Some((blob.try_clone().unwrap(), &before.index)));
        assert_eq!(named(&after), named(&expected), "{changed}");
        assert!(bytes_of(&reused) == bytes_of(&fresh));
        let earlier = Earlier::new(Extents::whole(blob.try_clone().unwrap()).unwrap(), &before.index);
        let new = blocks_not_in(&earlier, &after.index);
        assert!(new <= most_new, "{new} of {blocks} blocks are new after a change at {changed}");
    }
}

fn blocks_not_in(earlier: &Earlier, index: &Index) -> usize {
    let mut first = 0;
    let ends = index.blocks.iter().skip(1).map(|block| block.uncompressed).chain([u64::MAX]);
    let ranges = index.blocks.iter().map(|block| block.uncompressed).zip(ends);
    let keys = ranges.map(|(start, end)| reuse::block_key(&index.entries, &mut first, start..end));
    keys.filter(|key| key.and_then(|key| earlier.find(&key)).is_none()).count()
}

/// A layer written by [`LaterWriter`].
struct Later {
    finished: FinishedLayer,
    blob: File,
    /// Of an earlier blob and of `blob`, when it is not `blob` alone.
    pieces: Option<Vec<Piece>>,
    /// The numbers of the files that were read.
    asked: Vec<usize>,
}

impl Later {
    /// All of it, in one file.
    fn whole(&self, earlier: &File) -> File {
        let mut whole = tempfile::tempfile().unwrap();
        let (earlier, mut new) = (bytes_of(earlier), &bytes_of(&self.blob)[..]);
        for piece in self.pieces.as_ref().unwrap_or(&vec![Piece::New(new.len() as u64)]) {
            match piece {
                Piece::Earlier(range) => {
                    whole.write_all(&earlier[range.start as usize..range.end as usize]).unwrap();
                }
                Piece::New(length) => {
                    let (piece, rest) = new.split_at(*length as usize);
                    whole.write_all(piece).unwrap();
                    new = rest;
                }
            }
        }
        assert!(new.is_empty());
        whole
    }
}

fn write_later(files: &[(Entry, Vec<u8>)], earlier: Earlier) -> Later {
    let blob = tempfile::tempfile().unwrap();
    let options = LayerOptions { compression: Compression::None, clamp_mtime: None };
    let writer = LayerWriter::create(blob.try_clone().unwrap(), options).unwrap();
    let mut asked = Vec::new();
    let mut read = |number: usize, append: &mut dyn FnMut(&mut dyn Read) -> io::Result<()>| {
        asked.push(number);
        append(&mut &files[number].1[..])
    };
    let mut writer = LaterWriter::new(writer, earlier, &mut read);
    for (number, (entry, content)) in files.iter().enumerate() {
        writer.append(entry, (entry.size() > 0).then(|| (Digest::of(content), number))).unwrap();
    }
    let (finished, pieces) = match writer.finish().unwrap() {
        LaterLayer::Whole(finished) => (finished, None),
        LaterLayer::Composed(finished, pieces) => (finished, Some(pieces)),
    };
    Later { finished, blob, pieces, asked }
}

#[test]
fn what_an_earlier_layer_has_is_not_read() {
    let many = (0..3000).map(|n| file(&format!("many/{n:04}"), &noise(n, 3000 + n as usize % 700)));
    let files: Files = every_kind().into_iter().chain(many).chain(MIXED.clone()).collect();
    let (plain, _) = write_with(&files, Compression::None, 2);
    let nothing = || Earlier::new(Extents::new(Vec::new()).unwrap(), &Index::default());
    let first = write_later(&files, nothing());
    assert_eq!(first.pieces, None);
    let Later { finished: before, blob, asked, .. } = first;
    assert_eq!((before.digest, &before.index.blocks), (plain.digest, &plain.index.blocks));
    assert!(plain.index.blocks.len() > 20, "{}", plain.index.blocks.len());
    assert_eq!(asked.len(), files.iter().filter(|(entry, _)| entry.size() > 0).count());
    for (changed, content) in [(1500, noise(9, 9000)), (17, noise(9, 3100)), (3020, noise(9, 70_000))] {
        let mut files = files.clone();
        files[changed] = file(&String::from_utf8_lossy(&files[changed].0.path), &content);
        let (expected, bytes) = write_with(&files, Compression::None, 2);
        let earlier = Earlier::new(Extents::whole(blob.try_clone().unwrap()).unwrap(), &before.index);
        let later = write_later(&files, earlier);
        let after = &later.finished;
        assert_eq!((after.digest, after.diff_id), (expected.digest, expected.diff_id), "{changed}");
        assert_eq!(after.size, expected.size);
        assert!(bytes_of(&later.whole(&blob)) == bytes_of(&bytes));
        let asked = &later.asked;
        assert!(asked.contains(&changed) && asked.len() < 800, "{} were read", asked.len());
        assert_eq!(after.index, write_later(&files, nothing()).finished.index);
    }
}

#[test]
fn a_layer_of_which_little_changed_is_composed() {
    let many = |count: usize| (0..count).map(|n| file(&format!("many/{n:04}"), &noise(n as u64, 30_000)));
    let long = || file("many/0200-long", &noise(7, 5 << 20));
    let files: Files = many(400).chain([long()]).chain(MIXED.clone()).collect();
    let before = write_later(&files, Earlier::new(Extents::new(Vec::new()).unwrap(), &Index::default()));
    let earlier =
        |blob: &File, index: &Index| Earlier::new(Extents::whole(blob.try_clone().unwrap()).unwrap(), index);
    for changed in [0, 210, 399, 400, files.len() - 1] {
        let mut files = files.clone();
        files[changed].1[0] ^= 1;
        let later = write_later(&files, earlier(&before.blob, &before.finished.index));
        let (expected, bytes) = write_with(&files, Compression::None, 2);
        assert_eq!(later.finished.digest, expected.digest);
        assert!(bytes_of(&later.whole(&before.blob)) == bytes_of(&bytes), "{changed}");
        let new = later.blob.metadata().unwrap().len();
        let long = if changed == 400 { 5 << 20 } else { 0 };
        assert!(later.pieces.is_some() && new < long + (4 << 20), "{new} bytes are new");
        assert_eq!(later.asked.contains(&400), changed == 400, "a long file is read when it changed");
    }
    // Without the states everything is hashed, with the same outcome.
    let stateless = Index { states: Vec::new(), ..before.finished.index.clone() };
    let later = write_later(&files, earlier(&before.blob, &stateless));
    assert_eq!(later.finished, before.finished);
    // What has little in common with the one before is written as a whole, and so is what is small.
    let other: Files = many(20).collect();
    let later = write_later(&other, earlier(&before.blob, &before.finished.index));
    assert_eq!(
        (later.pieces.is_none(), later.finished.size),
        (true, write_with(&other, Compression::None, 1).0.size)
    );
}

#[test]
fn only_known_contents_are_reused() {
    let files = [file("a", b"one")];
    let (before, blob) = write_with(&files, Compression::GZIP, 1);
    let earlier = || Earlier::new(Extents::whole(blob.try_clone().unwrap()).unwrap(), &before.index);
    assert_eq!(blocks_not_in(&earlier(), &before.index), 1, "nobody told the digest of the content");
    let (known, _) = write_after(&files, None);
    assert_eq!(blocks_not_in(&earlier(), &known.index), 1);
}

#[test]
fn compressions_have_names() {
    for compression in [Compression::None, Compression::GZIP, Compression::Zstd { level: -3 }] {
        assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
    }
    for text in ["", "gzip", "gzip:x", "lz4:1", "none:1"] {
        assert!(text.parse::<Compression>().is_err(), "{text}");
    }
}

#[test]
fn long_files_share_no_block() {
    let (finished, _) = write_with(&MIXED, Compression::GZIP, 2);
    let blocks: Vec<u64> = finished.index.blocks.iter().map(|block| block.uncompressed).collect();
    assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] <= compress::BLOCK_BYTES as u64));
    for indexed in finished.index.entries.iter().filter(|indexed| indexed.entry.size() > 1 << 20) {
        assert!(blocks.contains(&(indexed.offset - 512)), "{:?}", indexed.entry);
        assert!(blocks.contains(&(indexed.offset + indexed.entry.size().next_multiple_of(512))));
    }
}

#[test]
fn other_tars_read_it() {
    let (_, blob) = write_with(&every_kind(), Compression::None, 1);
    let bytes = bytes_of(&blob);
    let mut archive = tar::Archive::new(&bytes[..]);
    let paths: Vec<Vec<u8>> =
        archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned()).collect();
    assert_eq!(paths.len(), every_kind().len());
    assert_eq!(paths[0], b"bin/");
    assert_eq!(paths[7], b"etc/.wh.gone");
    assert_eq!(paths[8], b".wh.gone");
    assert_eq!(paths[9], b"opt/.wh..wh..opq");

    let folder = tempfile::tempdir().unwrap();
    let (_, blob) = write_with(&every_kind(), Compression::GZIP, 1);
    let path = folder.path().join("layer.tar.gz");
    std::fs::write(&path, bytes_of(&blob)).unwrap();
    assert!(Command::new("gzip").arg("-t").arg(&path).status().unwrap().success());
    let listing = run(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&path).env("TZ", "UTC"));
    let lines: Vec<&str> = listing.lines().collect();
    assert_eq!(lines[0], "drwxr-xr-x 0/0               0 1970-01-01 00:00 bin/");
    assert_eq!(lines[1], "-rw-r--r-- 0/0               2 2023-11-14 22:13 bin/sh");
    assert_eq!(lines[2], "hrw-r--r-- 0/0               0 1970-01-01 00:00 bin/bash link to bin/sh");
    assert_eq!(lines[4], "crw-rw-rw- 0/0             1,3 1970-01-01 00:00 dev/null");
    assert!(lines[15].starts_with("-rwsr-sr-x 3000000/4000000000 3 1969-12-31 23:59 odd"), "{}", lines[15]);
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_gnu_tar_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let deep = "deep".repeat(40);
    std::fs::create_dir_all(root.join(&deep)).unwrap();
    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"begin").unwrap();
    sparse.seek(io::SeekFrom::Start(3 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    sparse.set_len(5 << 20).unwrap();
    drop(sparse);
    std::fs::write(root.join(&deep).join("x"), b"x").unwrap();
    std::os::unix::fs::symlink("t".repeat(150), root.join("link")).unwrap();
    let expected = std::fs::read(root.join("sparse")).unwrap();
    for format in ["--format=gnu", "--format=posix"] {
        let bytes = gnu_tar(&root, &[format, "--sparse", "--sort=name", "-cf", "-", "."]);
        assert!(bytes.len() < 1 << 20, "{format} is sparse");
        let files = read_back(&bytes).unwrap();
        let named = |path: &str| files.iter().find(|(entry, _)| entry.path == path.as_bytes()).unwrap();
        assert!(named("sparse").1 == expected, "{format}");
        assert_eq!(named("sparse").0.size(), 5 << 20);
        assert_eq!(named(&format!("{deep}/x")).1, b"x");
        assert_eq!(named("link").0.kind, EntryKind::Symlink { target: vec![b't'; 150] });
        assert!(named("").0.is_directory(), "the root has its entry");
        assert_eq!(Index::scan(&bytes[..], OCI_LAYER).unwrap().1, Digest::of(&bytes));
    }
}

fn gnu_tar(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").arg("-C").arg(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn single_files_are_fetched() {
    let files = &*MIXED;
    for compression in ALL {
        let (finished, blob) = write_with(files, compression, 2);
        let (scanned, _) = Index::scan(&bytes_of(&blob)[..], finished.media_type).unwrap();
        for index in [&finished.index, &scanned] {
            for positions in [vec![], vec![0], vec![4, 5, 6], vec![1, 4, 7, 9, 11], (0..12).collect()] {
                let reader = ContentReader::open(blob.try_clone().unwrap(), finished.media_type, index);
                let mut seen = Vec::new();
                reader
                    .visit(&positions, |position, indexed, content| {
                        let mut bytes = Vec::new();
                        // Some are left half read.
                        let half = indexed.entry.size() / 2;
                        let wanted = if position == 7 { half } else { u64::MAX };
                        content.take(wanted).read_to_end(&mut bytes)?;
                        let expected = &files[position as usize].1;
                        assert!(bytes[..] == expected[..expected.len().min(wanted as usize)]);
                        seen.push(position);
                        Ok::<_, LayerError>(())
                    })
                    .unwrap();
                assert_eq!(seen, positions);
            }
        }
    }
}

#[test]
fn positions_ascend() {
    let (finished, blob) = write_with(&every_kind(), Compression::GZIP, 1);
    let reader = ContentReader::open(blob, OCI_LAYER_GZIP, &finished.index);
    for positions in [[1, 1], [1, 0]] {
        let result = reader.visit(&positions, |_, _, _| Ok::<_, LayerError>(()));
        assert!(matches!(result, Err(LayerError::Unordered)), "{result:?}");
    }
    assert!(reader.visit(&[99], |_, _, _| Ok::<_, LayerError>(())).is_err());
}

#[test]
fn an_index_of_another_layer_is_noticed() {
    let (_, blob) = write_with(&every_kind(), Compression::GZIP, 1);
    let (finished, _) = write_with(&MIXED, Compression::GZIP, 1);
    let index = Index { blocks: Vec::new(), ..finished.index };
    let reader = ContentReader::open(blob, OCI_LAYER_GZIP, &index);
    let result = reader.visit(&[3], |_, _, _| Ok::<_, LayerError>(()));
    assert!(matches!(result, Err(LayerError::ForeignIndex(_))), "{result:?}");
}

#[test]
fn wrong_entries_are_refused() {
    let check = |entry: Entry, content: &[u8], expected: &str| {
        let mut writer = LayerWriter::create(tempfile::tempfile().unwrap(), LayerOptions::default()).unwrap();
        let error = writer.append(&entry, &mut &content[..]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let of_size = |path: &str, size| Entry::new(path, EntryKind::File { size }, 0o644);
    check(of_size("a", 3), b"ab", "layer entry `a` has 2 bytes of content instead of 3");
    check(of_size("a", 1), b"ab", "layer entry `a` has more than the expected 1 bytes of content");
    check(of_size("a/../b", 0), b"", "layer entry `a/../b` has a path that is not clean");
    check(of_size("/a", 0), b"", "layer entry `/a` has a path that is not clean");
    check(of_size("", 0), b"", "layer entry `` is the root, which is a directory");
    let reserved =
        "layer entry `a/.wh.b` has a name starting with `.wh.`, which layers reserve for removed files";
    check(of_size("a/.wh.b", 0), b"", reserved);
    let link = EntryKind::HardLink { target: b"../a".to_vec() };
    check(Entry::new("b", link, 0), b"", "layer entry `b` is a hard link to a path that is not clean");
    let mut attributed = of_size("a", 0);
    attributed.xattrs.insert(b"user.a=b".to_vec(), Vec::new());
    check(attributed, b"", "layer entry `a` has the attribute `user.a=b`, which tar cannot hold");
    let mut attributed = of_size("a", 0);
    attributed.xattrs.insert(b"user.a".to_vec(), vec![0; 1 << 20]);
    check(attributed, b"", "layer entry `a` has more attributes than readers of layers take");
}

#[test]
fn a_writer_that_failed_stays_failed() {
    let mut writer = LayerWriter::create(tempfile::tempfile().unwrap(), LayerOptions::default()).unwrap();
    let entry = Entry::new("a", EntryKind::File { size: 3 }, 0o644);
    writer.append(&entry, &mut &b"ab"[..]).unwrap_err();
    writer.append(&entry, &mut &b"abc"[..]).unwrap_err();
    writer.finish().unwrap_err();
}

#[test]
fn a_full_disk_is_an_error() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut writer = LayerWriter::create(full, LayerOptions::default()).unwrap();
    let appended = MIXED.iter().try_for_each(|(entry, content)| writer.append(entry, &mut &content[..]));
    let error = appended.and_then(|()| writer.finish().map(drop)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn times_are_clamped_and_digests_kept() {
    let options = LayerOptions { clamp_mtime: Some(1000), compression: Compression::None };
    let mut writer = LayerWriter::create(tempfile::tempfile().unwrap(), options).unwrap();
    let (entry, content) = file("a", b"new");
    writer.append_with_digest(&entry, &mut &content[..], Digest::of("new")).unwrap();
    writer.append(&Entry { mtime: -7, ..entry }, &mut &content[..]).unwrap();
    let entries = writer.finish().unwrap().index.entries;
    assert_eq!(entries.iter().map(|indexed| indexed.entry.mtime).collect::<Vec<_>>(), [1000, -7]);
    assert_eq!(entries[0].content, Some(Digest::of("new")));
}

#[test]
fn unknown_levels_are_refused() {
    for compression in [Compression::Gzip { level: 13 }, Compression::Zstd { level: 23 }] {
        let options = LayerOptions { compression, clamp_mtime: None };
        assert!(LayerWriter::create(tempfile::tempfile().unwrap(), options).is_err());
    }
}

#[test]
fn cut_layers_are_errors() {
    for (compression, media_type) in
        [(Compression::GZIP, OCI_LAYER_GZIP), (Compression::ZSTD, OCI_LAYER_ZSTD)]
    {
        let bytes = bytes_of(&write_with(&every_kind(), compression, 1).1);
        for end in (1..bytes.len()).step_by(7) {
            assert!(Index::scan(&bytes[..end], media_type).is_err(), "{compression:?} {end}");
        }
    }
    // Where one member ends and the next has not begun, a bare tar may end, as it may for Go.
    let (finished, blob) = write_with(&MIXED[..2], Compression::None, 1);
    let bytes = bytes_of(&blob);
    let member_ends = |end: usize| {
        let after = |indexed: &IndexedEntry| {
            indexed.offset as usize + (indexed.entry.size() as usize).next_multiple_of(512)
        };
        end == 0
            || end > bytes.len() - 1024 && end.is_multiple_of(512)
            || finished.index.entries.iter().any(|e| after(e) == end)
    };
    for end in (0..bytes.len()).filter(|end| end % 97 == 0 || end % 512 == 0) {
        assert_eq!(Index::scan(&bytes[..end], OCI_LAYER).is_ok(), member_ends(end), "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_archives_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = bytes_of(&write_with(&every_kind(), Compression::None, 1).1);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(files) = read_back(&bytes) {
            for (entry, content) in files {
                prop_assert!(path::is_clean(&entry.path));
                prop_assert_eq!(entry.size(), content.len() as u64);
            }
        }
    }
}
