//! A context described in lines, made on disk: what git cannot hold is the point of many cases.
//!
//! ```text
//! dir     sub 0700
//! file    sub/a.txt 0644 "one\n"         the mode may be left out
//! zeros   sparse 1048576                 a file that is one hole
//! base64  a.tar.xz "…"
//! link    l "sub/a.txt"
//! hard    h sub/a.txt
//! fifo    pipe
//! socket  s
//! char    null 1 3
//! owner   sub/a.txt 1000 1000
//! xattr   sub/a.txt user.note "text"
//! cap     sub/a.txt                      cap_net_raw, as setcap writes it
//! time    sub/a.txt 1000000000 500       seconds and nanoseconds
//! tar.gz  a.tar.gz                       tar, tar.gz or tar.zst of the indented lines that follow
//!   file  inner "two\n"
//! ```
//!
//! Parents are made as needed. Each entry gets a time made of the context's and of its own path, so that equal
//! entries of different cases have equal times where their contexts have.

use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

/// `cap_net_raw+ep` in the kernel's second format.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The time of archives' members does not depend on the case: it is content.
const MEMBERS: i64 = 1_000_000_000;

/// Makes what `description` says below `folder`, which is new.
pub fn make(folder: &Path, description: &str, time: i64) {
    fs::create_dir_all(folder).expect("there is a place for contexts");
    let mut times = vec![(folder.to_path_buf(), time, 0)];
    let mut lines = description.lines().filter(|line| !line.trim().is_empty()).peekable();
    while let Some(line) = lines.next() {
        let words = Words::of(line);
        let path = folder.join(words.path(1));
        let own_time = time + own_seconds(&words.0[1]);
        fs::create_dir_all(path.parent().expect("it is below the context")).expect("parents can be made");
        match words.text(0) {
            "time" => times.push((path, words.number(2), words.number(3))),
            kind @ ("tar" | "tar.gz" | "tar.zst") => {
                let mut inner = String::new();
                while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
                    inner.push_str(line.trim_start());
                    inner.push('\n');
                }
                fs::write(&path, archive(kind, &inner, MEMBERS + own_seconds(&words.0[1])))
                    .expect("the context is writable");
                times.push((path, own_time, 0));
            }
            "owner" => {
                let id = |index| u32::try_from(words.number(index)).expect("an id");
                std::os::unix::fs::lchown(&path, Some(id(2)), Some(id(3))).expect("root gives files away");
            }
            "xattr" => set_xattr(&path, words.text(2), &words.0[3]),
            "cap" => set_xattr(&path, "security.capability", &CAPABILITY),
            kind => {
                make_entry(kind, &path, folder, &words);
                times.push((path, own_time, 0));
            }
        }
    }
    // Last, and what is inside first, since making an entry touches its folder.
    for (path, seconds, nanoseconds) in times.iter().rev() {
        set_time(path, *seconds, *nanoseconds);
    }
    for (path, seconds, nanoseconds) in &times {
        set_time(path, *seconds, *nanoseconds);
    }
}

/// What a path adds to the time of its context: less than a hundred seconds.
fn own_seconds(path: &[u8]) -> i64 {
    path.iter().fold(17, |sum, byte| (sum * 31 + i64::from(*byte)) % 97)
}

fn make_entry(kind: &str, path: &Path, root: &Path, words: &Words) {
    let create = |bytes: &[u8], mode: u32| {
        fs::write(path, bytes).expect("the context is writable");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
    };
    let node = |kind: FileType, device: u64| {
        rustix::fs::mknodat(CWD, path, kind, Mode::from_raw_mode(0o644), device).expect("root makes nodes");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("the node is ours");
    };
    match kind {
        "dir" => {
            fs::create_dir_all(path).expect("the context is writable");
            let mode = words.mode(2).unwrap_or(0o755);
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the folder is ours");
        }
        "file" => create(words.last(), words.mode(2).unwrap_or(0o644)),
        "base64" => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(words.last()).expect("it is base64");
            create(&bytes, 0o644);
        }
        "zeros" => {
            create(b"", 0o644);
            let file = fs::File::options().write(true).open(path).expect("the file is ours");
            file.set_len(u64::try_from(words.number(2)).expect("a size")).expect("the file is ours");
        }
        "link" => symlink(std::ffi::OsStr::from_bytes(words.last()), path).expect("the context is writable"),
        "hard" => fs::hard_link(root.join(words.path(2)), path).expect("what is linked is there"),
        "fifo" => node(FileType::Fifo, 0),
        "char" => {
            let number = |index| u32::try_from(words.number(index)).expect("a device number");
            node(FileType::CharacterDevice, rustix::fs::makedev(number(2), number(3)));
        }
        "socket" => drop(UnixListener::bind(path).expect("the path is short enough")),
        other => panic!("`{other}` is not an entry of a context"),
    }
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()).expect("the file system keeps attributes");
}

pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("the entry is ours");
}

/// An archive of further lines; its members' times are the archive's.
fn archive(kind: &str, description: &str, time: i64) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for line in description.lines() {
        let words = Words::of(line);
        let (kind, data, mode, link) = match words.text(0) {
            "dir" => (tar::EntryType::Directory, &b""[..], 0o755, None),
            "file" => (tar::EntryType::Regular, words.last(), 0o644, None),
            "link" => (tar::EntryType::Symlink, &b""[..], 0o777, Some(words.path(2))),
            "hard" => (tar::EntryType::Link, &b""[..], 0o644, Some(words.path(2))),
            "fifo" => (tar::EntryType::Fifo, &b""[..], 0o644, None),
            other => panic!("`{other}` is not an entry of an archive"),
        };
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(words.mode(2).unwrap_or(mode));
        header.set_size(data.len() as u64);
        header.set_mtime(time.unsigned_abs());
        // Owners of an archive are kept, unlike those of a context.
        header.set_uid(7);
        header.set_gid(8);
        match link {
            Some(link) => builder.append_link(&mut header, words.path(1), link),
            None => builder.append_data(&mut header, words.path(1), data),
        }
        .expect("memory is writable");
    }
    let tar = builder.into_inner().expect("memory is writable");
    match kind {
        "tar" => tar,
        "tar.gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&tar).expect("memory is writable");
            encoder.finish().expect("memory is writable")
        }
        _ => zstd::encode_all(&tar[..], 3).expect("memory is writable"),
    }
}

/// The words of a line; those in quotes may hold blanks and escapes.
struct Words(Vec<Vec<u8>>);

impl Words {
    fn of(line: &str) -> Self {
        let mut words = Vec::new();
        let mut rest = line.trim().as_bytes();
        while let Some(first) = rest.first() {
            let (word, length) = if *first == b'"' { quoted(rest) } else { plain(rest) };
            words.push(word);
            rest = rest[length..].trim_ascii_start();
        }
        Self(words)
    }

    fn text(&self, index: usize) -> &str {
        std::str::from_utf8(&self.0[index]).expect("it is text")
    }

    fn path(&self, index: usize) -> PathBuf {
        PathBuf::from(std::ffi::OsString::from_vec(self.0[index].clone()))
    }

    fn number(&self, index: usize) -> i64 {
        self.text(index).parse().expect("it is a number")
    }

    /// The word at `index` when it is a mode and not the last one's content.
    fn mode(&self, index: usize) -> Option<u32> {
        let word = std::str::from_utf8(self.0.get(index)?).ok()?;
        let is_mode = word.len() == 4 && word.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        is_mode.then(|| u32::from_str_radix(word, 8).expect("its digits are octal"))
    }

    fn last(&self) -> &[u8] {
        self.0.last().expect("a line has words")
    }
}

fn plain(rest: &[u8]) -> (Vec<u8>, usize) {
    let length = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    (rest[..length].to_vec(), length)
}

fn quoted(rest: &[u8]) -> (Vec<u8>, usize) {
    let mut word = Vec::new();
    let mut at = 1;
    while rest[at] != b'"' {
        if rest[at] != b'\\' {
            word.push(rest[at]);
            at += 1;
            continue;
        }
        let escaped = rest[at + 1];
        at += 2;
        word.push(match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'x' => {
                let digits = std::str::from_utf8(&rest[at..at + 2]).expect("two digits");
                at += 2;
                u8::from_str_radix(digits, 16).expect("two digits")
            }
            other => other,
        });
    }
    (word, at + 1)
}
