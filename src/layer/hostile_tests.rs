//! Archives that nobody's tool writes: what is wrong with them is said, and nothing leaves its root.

use super::*;
use crate::oci::media_type::OCI_LAYER;

/// A tar put together header by header.
#[derive(Default)]
struct Archive(Vec<u8>);

impl Archive {
    fn member(self, type_flag: u8, name: &str, link: &str, content: &[u8]) -> Self {
        self.member_with(type_flag, name, link, content, |_| {})
    }

    fn member_with(
        mut self,
        type_flag: u8,
        name: &str,
        link: &str,
        content: &[u8],
        change: impl FnOnce(&mut tar::Header),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(type_flag));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.raw(content)
    }

    /// PAX records `KEY=VALUE` for the next member.
    fn pax(self, records: &[&[u8]]) -> Self {
        let record = |text: &&[u8]| {
            let length =
                (1..).find(|length: &usize| *length == length.to_string().len() + text.len() + 2).unwrap();
            [length.to_string().as_bytes(), b" ", text, b"\n"].concat()
        };
        let records: Vec<u8> = records.iter().flat_map(record).collect();
        self.member(b'x', "pax", "", &records)
    }

    fn file(self, name: &str) -> Self {
        self.member(b'0', name, "", b"")
    }

    fn raw(mut self, content: &[u8]) -> Self {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// The entries as `PATH` with a mark of what they are, or the error.
fn check(archive: Archive, expected: &str) {
    let found = match Index::scan(&archive.end()[..], OCI_LAYER) {
        Ok((index, _)) => {
            index.entries.iter().map(|indexed| describe(&indexed.entry)).collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(found, expected);
}

fn describe(entry: &Entry) -> String {
    let path = String::from_utf8_lossy(&entry.path);
    match &entry.kind {
        EntryKind::Directory => format!("{path}/"),
        EntryKind::Whiteout => format!("-{path}"),
        EntryKind::Opaque => format!("!{path}"),
        EntryKind::HardLink { target } => format!("{path}={}", String::from_utf8_lossy(target)),
        _ => path.into_owned(),
    }
}

fn archive() -> Archive {
    Archive::default()
}

#[test]
fn names_stay_inside_the_root() {
    check(archive().file("/etc/passwd"), "etc/passwd");
    check(archive().file("./a//b"), "a/b");
    check(archive().file("../a"), "entry `../a` leaves the root with `..`");
    check(archive().file("a/../../b"), "entry `a/../../b` leaves the root with `..`");
    check(archive().pax(&[b"path=a/../b"]).file("x"), "entry `a/../b` leaves the root with `..`");
    check(archive().pax(&[b"path=a\0b"]).file("x"), "entry `a\0b` has a NUL byte in its name");
    check(
        archive().member(b'L', "long", "", b"../up\0").file("x"),
        "entry `../up` leaves the root with `..`",
    );
    check(archive().member(b'5', "./", "", b""), "/");
    check(archive().file("./"), "/");
    check(archive().member(b'2', ".", "x", b""), "entry `.` has no name");
    check(archive().member(b'1', "a", "/b/", b""), "a=b");
    check(archive().member(b'1', "a", "../b", b""), "entry `a` links to what leaves the root with `..`");
    check(archive().member(b'1', "a", "/", b""), "entry `a` links to nothing that it holds");
    check(archive().member(b'1', "a", ".wh.b", b""), "entry `a` links to nothing that it holds");
    check(archive().member(b'2', "a", "", b""), "entry `a` is a symlink without a proper target");
    let long = ["path=", &"x".repeat(4097)].concat();
    let error = format!("entry `{}` has a name longer than 4096 bytes", "x".repeat(4097));
    check(archive().pax(&[long.as_bytes()]).file("x"), &error);
}

#[test]
fn whiteouts_name_what_is_gone() {
    check(archive().file("a/.wh.b").file(".wh.c"), "-a/b -c");
    check(archive().file("a/.wh..wh..opq").file(".wh..wh..opq"), "!a !");
    check(archive().file("a/.wh..wh.plnk").file(".wh..wh.aufs/x").file("b"), "b");
    check(archive().member(b'5', "a/.wh.b/", "", b""), "-a/b");
    check(archive().file("a/.wh."), "entry `a/.wh.` is a whiteout of nothing");
    check(archive().file("a/.wh.."), "entry `a/.wh..` is a whiteout of nothing");
    check(archive().file("a/.wh..."), "entry `a/.wh...` is a whiteout of nothing");
    check(archive().file(".wh.a/b"), "entry `.wh.a/b` is inside a whiteout");
    check(archive().file("a/.wh..wh..opq/b"), "entry `a/.wh..wh..opq/b` is inside a whiteout");
    check(archive().file("a/.wh..whatever"), "-a/.whatever");
}

#[test]
fn broken_archives_say_what_is_broken() {
    let malformed = |what: &str| format!("not a valid tar archive: {what}");
    check(archive().raw(b"not a tar"), &malformed("a header's checksum is wrong"));
    check(archive().raw(&[b'9'; 512]), &malformed("a number in a header"));
    check(archive().raw(&[b' '; 512]), &malformed("a header's checksum is wrong"));
    check(archive().file("a").raw(&[0; 512]).file("b"), &malformed("a lone zero block between members"));
    check(archive().pax(&[b"path=a"]), &malformed("an extended header has no member"));
    check(
        archive().pax(&[b"path=a"]).pax(&[b"path=b"]).file("x"),
        &malformed("two PAX headers for one member"),
    );
    check(archive().member(b'x', "pax", "", b"99 path=a\n").file("x"), &malformed("a PAX record"));
    check(archive().pax(&[b"size=-1"]).file("x"), &malformed("a size is negative"));
    check(archive().pax(&[b"size=many"]).file("x"), &malformed("a number in a PAX record"));
    let negative = |header: &mut tar::Header| header.as_old_mut().size = [0xff; 12];
    check(archive().member_with(b'0', "a", "", b"", negative), &malformed("a size is negative"));
    check(archive().member(b'S', "a", "", b""), &malformed("a sparse file without GNU's header"));
    check(archive().member(b'V', "a", "", b""), "entry `a` is of tar type `V`, which is not unpacked");
    check(archive().pax(&[b"uid=5000000000"]).file("x"), "entry `x` has an owner out of range");
    check(archive().pax(&[b"size=512"]).file("x").raw(&[1; 512]), "x");
    check(archive().pax(&[b"size=99999999999999"]).file("x"), "it ends in the middle of an entry");
    check(archive().pax(&[b"size=9223372036854775807"]).file("x"), "it ends in the middle of an entry");
}

#[test]
fn memory_is_bounded() {
    let huge = |header: &mut tar::Header| header.set_size(8 << 30);
    let limit = "more than 1048576 bytes in one extended header";
    check(archive().member_with(b'x', "pax", "", b"", huge), limit);
    check(archive().member_with(b'L', "long", "", b"", huge), limit);
    check(archive().member_with(b'K', "long", "", b"", huge), limit);
}

#[test]
fn sparse_maps_are_checked() {
    let sparse = |realsize: &str, map: &str, size: usize| {
        let records = [
            format!("GNU.sparse.realsize={realsize}"),
            "GNU.sparse.major=1".into(),
            "GNU.sparse.minor=0".into(),
        ];
        let records: Vec<&[u8]> = records.iter().map(|record| record.as_bytes()).collect();
        let mut content = map.as_bytes().to_vec();
        content.resize(512 + size, 0);
        archive().pax(&records).member(b'0', "s", "", &content)
    };
    let malformed = |what: &str| format!("not a valid tar archive: {what}");
    check(sparse("20", "1\n5\n3\n", 3), "s");
    check(sparse("20", "1\n5\n3\n", 4), &malformed("a sparse map of another length"));
    check(sparse("7", "1\n5\n3\n", 3), &malformed("a sparse map out of order"));
    check(sparse("20", "2\n5\n3\n4\n1\n", 4), &malformed("a sparse map out of order"));
    check(sparse("20", "1\n18446744073709551615\n3\n", 3), &malformed("a sparse map out of order"));
    check(sparse("20", "1\nx\n", 3), &malformed("a number in a sparse map"));
    check(sparse("20", "999999\n", 3), "more than 131072 parts in a sparse file");
    check(sparse("-1", "0\n", 0), &malformed("a sparse file without its size"));
}

#[test]
fn attributes_of_overlays_are_dropped() {
    let bytes = archive()
        .pax(&[
            b"SCHILY.xattr.trusted.overlay.opaque=y",
            b"SCHILY.xattr.user.overlay.redirect=/x",
            b"SCHILY.xattr.user.kept=a\nb",
            b"uname=root",
        ])
        .file("a")
        .end();
    let (index, _) = Index::scan(&bytes[..], OCI_LAYER).unwrap();
    let kept: Vec<_> = index.entries[0].entry.xattrs.iter().collect();
    assert_eq!(kept, [(&b"user.kept".to_vec(), &b"a\nb".to_vec())]);
}

#[test]
fn encrypted_layers_are_refused() {
    let media_type = format!("{OCI_LAYER}+gzip+encrypted");
    assert!(matches!(LayerReader::new(&b""[..], &media_type), Err(LayerError::MediaType(_))));
}
