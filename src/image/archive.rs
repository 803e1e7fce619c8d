//! The members of a tar by name, each readable without reading the others.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::layer::decompressed;

/// An image of many layers has a few hundred members.
const MOST_MEMBERS: usize = 100_000;
/// The longest chain of links among members: `docker save` links equal layers.
const MOST_LINKS: usize = 8;
/// What a compressed archive may become.
const LARGEST_ARCHIVE: u64 = 1 << 40;

/// An archive of images.
pub struct Archive {
    file: Arc<File>,
    members: HashMap<String, Member>,
}

enum Member {
    File { offset: u64, size: u64 },
    Link(String),
}

/// A part of a file that is read on its own.
pub struct Part {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Archive {
    /// Reads where members are. A compressed archive is unpacked to a file without a name first.
    pub fn of(mut file: File) -> io::Result<Self> {
        let mut magic = [0; 512];
        let known = file.read_at(&mut magic, 0)?;
        if known < magic.len() || magic[257..262] != *b"ustar" {
            let mut plain = tempfile::tempfile()?;
            let reader = decompressed(BufReader::new(file), "").map_err(io::Error::other)?;
            let count = io::copy(&mut reader.take(LARGEST_ARCHIVE), &mut plain)?;
            if count == LARGEST_ARCHIVE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to more than 1 TiB"));
            }
            file = plain;
        }
        file.seek(SeekFrom::Start(0))?;
        let mut archive = tar::Archive::new(file.try_clone()?);
        let mut members = HashMap::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_string();
            let kind = entry.header().entry_type();
            let member = if kind.is_file() {
                Member::File { offset: entry.raw_file_position(), size: entry.size() }
            } else if let (true, Some(link)) =
                (kind.is_symlink() || kind.is_hard_link(), entry.link_name_bytes())
            {
                let link = String::from_utf8_lossy(&link).to_string();
                Member::Link(if kind.is_symlink() { beside(&name, &link) } else { link })
            } else {
                continue;
            };
            members.insert(name, member);
            if members.len() > MOST_MEMBERS {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it has too many members"));
            }
        }
        Ok(Self { file: Arc::new(file), members })
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn size(&self, name: &str) -> Option<u64> {
        self.find(name).map(|(_, size)| size)
    }

    pub fn member(&self, name: &str) -> io::Result<Part> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("there is no `{name}` in it"));
        let (offset, left) = self.find(name).ok_or_else(missing)?;
        Ok(Part { file: Arc::clone(&self.file), offset, left })
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name;
        for _ in 0..MOST_LINKS {
            match self.members.get(name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(to) => name = to,
            }
        }
        None
    }
}

/// Where a link of a member leads, within the archive.
fn beside(member: &str, link: &str) -> String {
    let mut parts: Vec<&str> = member.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_other_members() {
        for (member, link, expected) in [
            ("a/layer.tar", "../b/layer.tar", "b/layer.tar"),
            ("a/layer.tar", "x.tar", "a/x.tar"),
            ("layer.tar", "../../../etc/passwd", "etc/passwd"),
        ] {
            assert_eq!(beside(member, link), expected);
        }
    }
}
