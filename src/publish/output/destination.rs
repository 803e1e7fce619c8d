//! A file the user asked for: written under a temporary name beside it, renamed when it is complete.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::OutputError;
use crate::model::Dest;

/// A file being written. Dropping it without [`Destination::finish`] leaves nothing behind.
pub(super) struct Destination {
    file: File,
    /// For messages.
    path: PathBuf,
    /// Not for what is written in place: standard output, devices, pipes.
    rename: Option<(TempPath, PathBuf)>,
}

impl Destination {
    pub(super) fn create(dest: &Dest) -> Result<Self, OutputError> {
        match dest {
            Dest::Stdout => Self::stdout(),
            Dest::Path(path) => Self::at(path),
        }
    }

    fn stdout() -> Result<Self, OutputError> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(OutputError::Terminal);
        }
        let path = PathBuf::from("-");
        let file =
            stdout.as_fd().try_clone_to_owned().map_err(|source| OutputError::writing(&path, source))?;
        Ok(Self { file: File::from(file), path, rename: None })
    }

    fn at(path: &Path) -> Result<Self, OutputError> {
        let failed = |source| OutputError::writing(path, source);
        // A link stays a link, and what it names is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        match fs::metadata(&target) {
            Ok(existing) if existing.is_dir() => {
                return Err(OutputError::IsDirectory { path: path.to_path_buf() });
            }
            Ok(existing) if !existing.is_file() => {
                let file = OpenOptions::new().write(true).open(&target).map_err(failed)?;
                return Ok(Self { file, path: path.to_path_buf(), rename: None });
            }
            _ => {}
        }
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let (file, temporary) = temporary_in(folder, &target).map_err(failed)?.into_parts();
        Ok(Self { file, path: path.to_path_buf(), rename: Some((temporary, target)) })
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn failed(&self, source: io::Error) -> OutputError {
        OutputError::writing(&self.path, source)
    }

    pub(super) fn finish(self) -> Result<(), OutputError> {
        let Some((temporary, target)) = self.rename else { return Ok(()) };
        temporary.persist(target).map_err(|failed| OutputError::writing(&self.path, failed.error))
    }
}

/// A new file in `folder` that is to become `target`, with the permissions the umask gives.
pub(super) fn temporary_in(folder: &Path, target: &Path) -> io::Result<tempfile::NamedTempFile> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    tempfile::Builder::new()
        .prefix(&format!(".{name}."))
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
}
