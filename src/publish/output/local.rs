//! `type=local`: the root file system of an image as a directory of the user's.
//!
//! Everything belongs to whoever runs `mab`, as files that BuildKit's client receives do; modes and times
//! are the image's, extended attributes are left out. A new directory appears when it is complete; in one
//! that exists, files are replaced and others stay.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::OutputError;
use super::flat::Output;
use super::rootfs::Roots;
use crate::layer::{Applier, ApplyOptions, Entry, EntrySink, Form, Ids};
use crate::oci::Descriptor;
use crate::publish::BlobSource;

/// What an ordinary user's directory could not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalReport {
    pub skipped_devices: u64,
}

/// Writes the root file system of `image`, a manifest or an index, into `directory`. `split` is
/// `platform-split`; without it, several platforms are split and a single one is not.
pub fn write_root_directory(
    blobs: &dyn BlobSource,
    image: &Descriptor,
    split: Option<bool>,
    directory: &Path,
) -> Result<LocalReport, OutputError> {
    let roots = Roots::of(blobs, image, split)?;
    let failed = |cause| OutputError::writing(directory, cause);
    if directory.exists() {
        return fill(blobs, &roots, directory, &failed);
    }
    let folder = match directory.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let temporary = tempfile::Builder::new()
        .prefix(".mab-output.")
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(folder)
        .map_err(failed)?;
    let report = fill(blobs, &roots, temporary.path(), &failed)?;
    fs::rename(temporary.path(), directory).map_err(failed)?;
    // Nothing is left under the name that dropping it would remove.
    let _ = temporary.keep();
    Ok(report)
}

fn fill(
    blobs: &dyn BlobSource,
    roots: &Roots,
    directory: &Path,
    failed: &dyn Fn(io::Error) -> OutputError,
) -> Result<LocalReport, OutputError> {
    let options = ApplyOptions { form: Form::Merged, ids: Ids::Single };
    let mut sink = OwnFiles(Applier::open(directory, options).map_err(failed)?);
    roots.emit(blobs, &mut Output { sink: &mut sink, failed })?;
    let report = sink.0.finish().map_err(failed)?;
    Ok(LocalReport { skipped_devices: report.skipped_devices })
}

/// Makes entries the current user's.
struct OwnFiles(Applier);

impl EntrySink for OwnFiles {
    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        let mut own = entry.clone();
        own.uid = rustix::process::geteuid().as_raw();
        own.gid = rustix::process::getegid().as_raw();
        own.xattrs.clear();
        self.0.append(&own, content)
    }
}
