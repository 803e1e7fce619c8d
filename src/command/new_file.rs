//! A file that a verb makes for the user: whole or not at all, and never over another without being told.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Failure;
use crate::diag::{Kind, Problem};

/// Whether the file may be written.
pub fn check(path: &Path, force: bool) -> Result<(), Failure> {
    if force || std::fs::symlink_metadata(path).is_err() { Ok(()) } else { Err(vec![there(path)]) }
}

fn there(path: &Path) -> Problem {
    let name = path.file_name().unwrap_or(path.as_os_str()).display().to_string();
    Problem::input("output::exists", format!("there is a `{name}` already"))
        .help("look at the new one without writing it (`--print`, or no `-o`), or replace it with `--force`")
}

/// Writes the file; under its name there is the old one or the whole new one at every moment.
pub fn write(path: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        vec![Problem::new(Kind::Host, "output::file", format!("cannot write `{}`: {error}", path.display()))]
    };
    // As other files of a project: whoever may read the folder may read it.
    let mut builder = tempfile::Builder::new();
    let mut file = builder.permissions(Permissions::from_mode(0o666)).tempfile_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    if force {
        file.persist(path).map_err(|error| failed(error.error))?;
        return Ok(());
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Err(vec![there(path)]),
        Err(error) => Err(failed(error.error)),
    }
}
