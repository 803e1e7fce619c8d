//! Tar archives as people have them beside a Dockerfile, in every compression.

use std::io::Write;

use tar::{Builder, EntryType, Header};

#[derive(Clone, Copy)]
pub enum Form {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

/// An archive under construction; names are taken as they are.
pub struct Tar(Builder<Vec<u8>>);

impl Default for Tar {
    fn default() -> Self {
        Self(Builder::new(Vec::new()))
    }
}

type Owner = (u64, u64);

impl Tar {
    /// When every member was changed.
    pub const MTIME: u64 = 1_500_000_000;

    pub fn file(self, path: &str, content: &str, mode: u32, owner: Owner) -> Self {
        self.member(EntryType::Regular, path, "", content.as_bytes(), mode, owner)
    }

    pub fn folder(self, path: &str, mode: u32, owner: Owner) -> Self {
        self.member(EntryType::Directory, path, "", b"", mode, owner)
    }

    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.member(EntryType::Symlink, path, target, b"", 0o777, (0, 0))
    }

    pub fn hardlink(self, path: &str, target: &str, mode: u32, owner: Owner) -> Self {
        self.member(EntryType::Link, path, target, b"", mode, owner)
    }

    pub fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = header(EntryType::Char, path, "", 0o644, (0, 0));
        header.set_device_major(major).expect("a ustar header");
        header.set_device_minor(minor).expect("a ustar header");
        header.set_cksum();
        self.0.append(&header, &b""[..]).expect("memory takes it");
        self
    }

    /// Extended attributes for the next member.
    pub fn attributes(mut self, attributes: &[(&str, &[u8])]) -> Self {
        let names: Vec<String> = attributes.iter().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
        let records = names.iter().zip(attributes).map(|(name, (_, value))| (name.as_str(), *value));
        self.0.append_pax_extensions(records).expect("memory takes it");
        self
    }

    fn member(
        mut self,
        kind: EntryType,
        path: &str,
        link: &str,
        content: &[u8],
        mode: u32,
        owner: Owner,
    ) -> Self {
        let mut header = header(kind, path, link, mode, owner);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).expect("memory takes it");
        self
    }

    pub fn bytes(self, form: Form) -> Vec<u8> {
        let tar = self.0.into_inner().expect("memory takes it");
        let write = |mut encoder: Box<dyn Write + '_>| encoder.write_all(&tar).expect("memory takes it");
        let mut bytes = Vec::new();
        match form {
            Form::Plain => return tar,
            Form::Gzip => {
                write(Box::new(flate2::write::GzEncoder::new(&mut bytes, flate2::Compression::fast())))
            }
            Form::Bzip2 => {
                write(Box::new(bzip2::write::BzEncoder::new(&mut bytes, bzip2::Compression::fast())))
            }
            Form::Xz => write(Box::new(liblzma::write::XzEncoder::new(&mut bytes, 1))),
            Form::Zstd => return zstd::encode_all(&tar[..], 1).expect("memory takes it"),
        }
        bytes
    }
}

fn header(kind: EntryType, path: &str, link: &str, mode: u32, owner: Owner) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_mtime(Tar::MTIME);
    header.set_size(0);
    header.set_cksum();
    header
}
