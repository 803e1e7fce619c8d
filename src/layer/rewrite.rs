//! A layer written anew: with no file younger than a given time, and with entries that are otherwise.

use std::fs::File;
use std::io::Read;

use super::entry::{Entry, EntrySink as _};
use super::error::LayerError;
use super::read::LayerReader;
use super::write::{FinishedLayer, LayerOptions, LayerWriter};

/// Writes the entries of the layer `blob` to `out` as `options` say.
pub fn rewrite(
    blob: impl Read,
    media_type: &str,
    out: File,
    options: LayerOptions,
) -> Result<FinishedLayer, LayerError> {
    amend(blob, media_type, out, options, |_| true)
}

/// The same, with each entry as `change` makes it, and without those that it is not true of.
pub fn amend(
    blob: impl Read,
    media_type: &str,
    out: File,
    options: LayerOptions,
    mut change: impl FnMut(&mut Entry) -> bool,
) -> Result<FinishedLayer, LayerError> {
    let mut reader = LayerReader::new(blob, media_type)?;
    let mut writer = LayerWriter::create(out, options)?;
    while let Some(mut entry) = reader.next_entry()? {
        if change(&mut entry) {
            writer.append(&entry, &mut reader)?;
        }
    }
    Ok(writer.finish()?)
}
