//! What goes wrong while results are written out, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::{Digest, Platform};
use crate::diag::{Kind, Problem};
use crate::layer::{LayerError, TreeError};

#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("no space is left for `{}`", path.display())]
    DiskFull { path: PathBuf },
    #[error("`{}` may not be written", path.display())]
    NotWritable { path: PathBuf },
    #[error("`{}` is a directory, and the output is a file", path.display())]
    IsDirectory { path: PathBuf },
    #[error("a file stands where `{}` needs a directory", path.display())]
    NotADirectory { path: PathBuf },
    #[error("the output is a file of bytes, and standard output is a terminal")]
    Terminal,
    #[error("cannot write `{}`: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}` is not the index of an OCI layout: {source}", path.display())]
    NotALayout { path: PathBuf, source: serde_json::Error },
    #[error("cannot read `{digest}` from the store: {source}")]
    Read { digest: Digest, source: io::Error },
    #[error("`{digest}` is damaged in the store: it has not the bytes its digest names")]
    Damaged { digest: Digest },
    #[error("`{digest}` is no image document: {source}")]
    Document { digest: Digest, source: serde_json::Error },
    #[error("`{digest}` is of type `{media_type}`, which is no image")]
    NotAnImage { digest: Digest, media_type: String },
    #[error("an archive for `docker load` holds one platform, and the image has {}", list(platforms))]
    SeveralPlatforms { platforms: Vec<Platform> },
    #[error("cannot read the layer `{digest}`: {source}")]
    Layer { digest: Digest, source: LayerError },
    #[error("the layer `{digest}` does not fit the layers below: {source}")]
    Tree { digest: Digest, source: TreeError },
    #[error("`{path}` is in the images of both `{}` and `{}`", platforms.0, platforms.1)]
    Conflict { path: String, platforms: Box<(Platform, Platform)> },
}

impl OutputError {
    pub(in crate::publish) fn writing(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path },
            io::ErrorKind::IsADirectory => Self::IsDirectory { path },
            // Making a folder where a file stands finds that it exists already.
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Self::NotADirectory { path },
            _ => Self::Write { path, source },
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::DiskFull { .. } => "output::disk-full",
            Self::NotWritable { .. } => "output::not-writable",
            Self::IsDirectory { .. } => "output::is-directory",
            Self::NotADirectory { .. } => "output::not-a-directory",
            Self::Terminal => "output::terminal",
            Self::Write { .. } => "output::write",
            Self::NotALayout { .. } => "output::not-a-layout",
            Self::Read { .. } => "output::read",
            Self::Damaged { .. } => "output::damaged",
            Self::Document { .. } | Self::NotAnImage { .. } => "output::no-image",
            Self::SeveralPlatforms { .. } => "output::several-platforms",
            Self::Layer { .. } | Self::Tree { .. } => "output::layer",
            Self::Conflict { .. } => "output::conflict",
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::IsDirectory { .. }
            | Self::NotADirectory { .. }
            | Self::Terminal
            | Self::NotALayout { .. }
            | Self::SeveralPlatforms { .. }
            | Self::Layer { .. }
            | Self::Tree { .. }
            | Self::Conflict { .. } => Kind::Input,
            Self::DiskFull { .. }
            | Self::NotWritable { .. }
            | Self::Write { .. }
            | Self::Read { .. }
            | Self::Damaged { .. } => Kind::Host,
            Self::Document { .. } | Self::NotAnImage { .. } => Kind::Bug,
        }
    }

    fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::DiskFull { .. } => "free space there, or choose another `dest`",
            Self::NotWritable { .. } => {
                "choose a `dest` you may write, or change the permissions of its folder"
            }
            Self::IsDirectory { .. } => {
                "name a file in it as `dest`, or write a directory: `type=oci,tar=false`"
            }
            Self::NotADirectory { .. } => "choose another `dest`, or remove the file",
            Self::Terminal => "redirect standard output, or name a file as `dest`",
            Self::NotALayout { .. } => "choose an empty directory as `dest`",
            Self::Damaged { .. } => "delete it from `blobs/sha256` in the store, and build again",
            Self::SeveralPlatforms { .. } => {
                "choose one with `--platform`, or write all of them with `type=oci`"
            }
            Self::Conflict { .. } => "leave out `platform-split=false`, for one folder per platform",
            Self::Layer { .. } | Self::Tree { .. } => "the image was made wrong; build or pull it anew",
            Self::Write { .. } | Self::Read { .. } | Self::Document { .. } | Self::NotAnImage { .. } => {
                return None;
            }
        })
    }
}

impl From<&OutputError> for Problem {
    fn from(error: &OutputError) -> Self {
        let problem = Self::new(error.kind(), error.code(), error.to_string());
        match error.help() {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(|platform| format!("`{platform}`")).collect::<Vec<_>>().join(", ")
}
