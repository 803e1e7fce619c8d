//! Archives that are unpacked into a directory: any tar, known by its content, plain or compressed.
//!
//! Names are taken as moby's archive package takes them after its `chroot`: `..` and a leading `/` count from
//! where it is unpacked, and none marks a removal. Nothing is unpacked here.

use std::io::Read;

use super::decompress::Decompressor;
use super::entry::Entry;
use super::error::LayerError;
use super::index::Budget;
use super::read::{Dialect, LayerReader};
use super::tar_member::read_member;

/// The most bytes that the files of an archive may have together, holes included: nobody's archive has, but
/// a header of a few bytes can say so.
pub const MAX_UNPACKED_BYTES: u64 = 1 << 40;
/// The last second that has a name in nanoseconds of 64 bits; Go takes later times for none.
const LAST_SECOND: i64 = i64::MAX / 1_000_000_000;

/// Reads one archive from its first byte.
pub struct ArchiveReader<R: Read>(LayerReader<R>);

/// Whether the content is a tar with at least one member. What cannot be read is none.
pub fn is_archive(reader: impl Read) -> bool {
    let member = Decompressor::new(reader, "").and_then(|mut tar| read_member(&mut tar));
    matches!(member, Ok(Some(_)))
}

impl<R: Read> ArchiveReader<R> {
    pub fn new(reader: R) -> Result<Self, LayerError> {
        LayerReader::of_dialect(reader, "", Dialect::Archive).map(Self)
    }

    /// All members in their order; a member's position is its place here. The archive has to be whole.
    pub fn entries(mut self) -> Result<Vec<Entry>, LayerError> {
        let mut entries = Vec::new();
        let mut budget = Budget::default();
        let mut bytes: u64 = 0;
        while let Some(entry) = self.next_entry()? {
            budget.spend(&entry)?;
            bytes = bytes.saturating_add(entry.size());
            if bytes > MAX_UNPACKED_BYTES {
                return Err(LayerError::Limit { what: "bytes of content", limit: MAX_UNPACKED_BYTES });
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Calls `visit` with the content of the members at these positions, which ascend.
    pub fn visit(
        mut self,
        positions: &[u32],
        mut visit: impl FnMut(u32, &mut dyn Read) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        let mut next = 0;
        for position in positions {
            while next <= *position {
                if self.next_entry()?.is_none() {
                    return Err(LayerError::Truncated("the archive, which was longer before"));
                }
                next += 1;
            }
            visit(*position, &mut self.0)?;
        }
        Ok(())
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, LayerError> {
        let entry = self.0.next_entry()?;
        Ok(entry.map(|entry| Entry { mtime: bounded(entry.mtime), ..entry }))
    }
}

fn bounded(mtime: i64) -> i64 {
    if (0..=LAST_SECOND).contains(&mtime) { mtime } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::layer::EntryKind;

    /// A tar of members `PATH=CONTENT`, links `PATH->TARGET` and `PATH=>TARGET` (hard), directories `PATH/`.
    fn tar(members: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for member in members {
            let (path, link, content, kind) = match (member.split_once("->"), member.split_once("=>")) {
                (Some((path, link)), _) => (path, link, "", tar::EntryType::Symlink),
                (_, Some((path, link))) => (path, link, "", tar::EntryType::Link),
                _ => match member.split_once('=') {
                    Some((path, content)) => (path, "", content, tar::EntryType::Regular),
                    None => (*member, "", "", tar::EntryType::Directory),
                },
            };
            let mut header = tar::Header::new_ustar();
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(0o640);
            header.set_uid(3);
            header.set_gid(4);
            header.set_mtime(5);
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn listing(bytes: &[u8]) -> String {
        let entries = match ArchiveReader::new(bytes).and_then(ArchiveReader::entries) {
            Ok(entries) => entries,
            Err(error) => return error.to_string(),
        };
        let describe = |entry: &Entry| {
            let path = String::from_utf8_lossy(&entry.path);
            match &entry.kind {
                EntryKind::File { size } => format!("{path}:{size}"),
                EntryKind::Symlink { target } => format!("{path}->{}", String::from_utf8_lossy(target)),
                EntryKind::HardLink { target } => format!("{path}=>{}", String::from_utf8_lossy(target)),
                EntryKind::Directory => format!("{path}/"),
                other => format!("{path} {other:?}"),
            }
        };
        entries.iter().map(describe).collect::<Vec<String>>().join(" ")
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_is_known_by_its_content() {
        let plain = tar(&["d/", "d/f=text", "l->d/f"]);
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let halves =
            |compress: fn(&[u8]) -> Vec<u8>| [compress(&plain[..700]), compress(&plain[700..])].concat();
        let forms = [
            plain.clone(),
            zstd,
            gzip(&plain),
            bzip2(&plain),
            xz(&plain),
            halves(gzip),
            halves(bzip2),
            halves(xz),
        ];
        for (number, bytes) in forms.iter().enumerate() {
            assert!(is_archive(&bytes[..]), "{number}");
            assert_eq!(listing(bytes), "d/ d/f:4 l->d/f", "{number}");
            let mut found = Vec::new();
            let mut visit = |position, content: &mut dyn Read| {
                let mut text = String::new();
                content.read_to_string(&mut text)?;
                found.push((position, text));
                Ok(())
            };
            ArchiveReader::new(&bytes[..]).unwrap().visit(&[1], &mut visit).unwrap();
            assert_eq!(found, [(1, "text".to_string())], "{number}");
        }
    }

    #[test]
    fn other_files_are_no_archives() {
        let check = |bytes: &[u8], expected| assert_eq!(is_archive(bytes), expected, "{bytes:x?}");
        let plain = tar(&["f=x"]);
        check(b"", false);
        check(b"text", false);
        check(&[0; 1024], false);
        check(b"PK\x03\x04 and what a zip has", false);
        check(&gzip(b"text"), false);
        check(&bzip2(b"text"), false);
        check(&xz(b"text"), false);
        check(b"BZh9 but nothing else", false);
        check(b"\xfd7zXZ\0 but nothing else", false);
        check(&[b"garbage", &plain[..]].concat(), false);
        check(&plain[..500], false);
        // What comes later is looked at when it is unpacked.
        check(&plain[..512], true);
        check(&[&plain[..], b"garbage"].concat(), true);
    }

    #[test]
    fn names_stay_below_the_root_and_mark_nothing() {
        let check = |members: &[&str], expected| assert_eq!(listing(&tar(members)), expected, "{members:?}");
        check(&["./", "./f=x"], "f:1");
        check(&["/etc/f=x", "../../f=x", "a/../../b=x"], "etc/f:1 f:1 b:1");
        check(&["a=x", "b=>../a", "c=>/a", "d->../../a"], "a:1 b=>a c=>a d->../../a");
        check(&["d/.wh.f=x", "d/.wh..wh..opq="], "d/.wh.f:1 d/.wh..wh..opq:0");
        check(&["b=>.."], "entry `b` links to nothing that it holds");
        check(&["b->"], "entry `b` is a symlink without a proper target");
    }

    #[test]
    fn broken_archives_say_what_is_wrong() {
        let plain = tar(&["f=text", "g=text"]);
        let check = |bytes: &[u8], expected: &str| {
            let found = listing(bytes);
            assert!(found.contains(expected), "{found} has no `{expected}`");
        };
        check(&plain[..514], "it ends in the middle of an entry");
        check(&plain[..1100], "it ends in the middle of a header");
        check(&[&plain[..1024], &[b'x'; 512]].concat(), "not a valid tar archive");
        let compressed = gzip(&plain);
        check(&compressed[..compressed.len() / 2], "cannot be read");
        let compressed = xz(&plain);
        check(&compressed[..compressed.len() / 2], "cannot be read");
        let mut header = tar::Header::new_gnu();
        header.set_path("f").unwrap();
        header.set_size(MAX_UNPACKED_BYTES + 1);
        header.set_cksum();
        check(&[header.as_bytes(), &[0; 512][..]].concat(), "more than 1099511627776 bytes of content");
    }

    #[test]
    fn times_that_no_clock_shows_are_the_epoch() {
        for (mtime, expected) in [(0, 0), (5, 5), (-1, 0), (LAST_SECOND, LAST_SECOND), (LAST_SECOND + 1, 0)] {
            assert_eq!(bounded(mtime), expected);
        }
    }

    proptest! {
        /// Whatever is in a file, looking into it ends, and what comes out has clean paths.
        #[test]
        fn any_bytes_are_read_or_refused(
            noise in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
            cut in any::<prop::sample::Index>(),
            form in 0..5,
        ) {
            let plain = tar(&["d/", "d/f=text", "l->d/f", "h=>d/f"]);
            let mut bytes = match form {
                0 => plain,
                1 => gzip(&plain),
                2 => bzip2(&plain),
                3 => xz(&plain),
                _ => zstd::encode_all(&plain[..], 1).unwrap(),
            };
            for (place, byte) in noise {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(cut.index(bytes.len()) + 1);
            let _ = is_archive(&bytes[..]);
            if let Ok(entries) = ArchiveReader::new(&bytes[..]).and_then(ArchiveReader::entries) {
                prop_assert!(entries.iter().all(|entry| crate::layer::path::is_clean(&entry.path)));
            }
        }
    }
}
