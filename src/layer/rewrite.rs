//! A layer written anew, with no file younger than a given time.

use std::fs::File;
use std::io::Read;

use super::entry::EntrySink as _;
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
    let mut reader = LayerReader::new(blob, media_type)?;
    let mut writer = LayerWriter::create(out, options)?;
    while let Some(entry) = reader.next_entry()? {
        writer.append(&entry, &mut reader)?;
    }
    Ok(writer.finish()?)
}
