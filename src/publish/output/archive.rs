//! Tar archives of image blobs, the same bytes for the same contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};

use tar::{EntryType, Header};

use super::OutputError;
use super::contents::Contents;
use super::destination::Destination;
use crate::model::Dest;
use crate::publish::BlobSource;

/// Tar counts in blocks of this size; an archive ends with two empty ones.
const BLOCK: u64 = 512;

/// Writes the blobs and the `documents`, by name, as a tar.
///
/// Names, order and modes are those of containerd's archive exporter, which BuildKit uses.
pub(super) fn write_archive(
    blobs: &dyn BlobSource,
    contents: &Contents,
    documents: &BTreeMap<&str, Vec<u8>>,
    dest: &Dest,
) -> Result<(), OutputError> {
    let mut destination = Destination::create(dest)?;
    for folder in ["blobs/", "blobs/sha256/"] {
        let written = write_header(destination.file(), folder, EntryType::Directory, 0o755, 0);
        written.map_err(|cause| destination.failed(cause))?;
    }
    for (digest, size) in contents.sizes() {
        let name = format!("blobs/sha256/{}", digest.hex());
        let written = write_header(destination.file(), &name, EntryType::Regular, 0o444, size);
        written.map_err(|cause| destination.failed(cause))?;
        let copied = contents.copy(blobs, &digest, destination.file())?;
        let written = copied.and_then(|()| write_padding(destination.file(), size));
        written.map_err(|cause| destination.failed(cause))?;
    }
    for (name, bytes) in documents {
        let written = write_document(destination.file(), name, bytes);
        written.map_err(|cause| destination.failed(cause))?;
    }
    let ended = destination.file().write_all(&[0; 2 * BLOCK as usize]);
    ended.map_err(|cause| destination.failed(cause))?;
    destination.finish()
}

fn write_document(out: &mut File, name: &str, bytes: &[u8]) -> io::Result<()> {
    write_header(out, name, EntryType::Regular, 0o644, bytes.len() as u64)?;
    out.write_all(bytes)?;
    write_padding(out, bytes.len() as u64)
}

fn write_header(out: &mut File, name: &str, kind: EntryType, mode: u32, size: u64) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    out.write_all(header.as_bytes())
}

fn write_padding(out: &mut File, size: u64) -> io::Result<()> {
    let padding = (BLOCK - size % BLOCK) % BLOCK;
    out.write_all(&[0; BLOCK as usize][..padding as usize])
}
