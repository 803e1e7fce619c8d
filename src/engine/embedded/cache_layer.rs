//! The layer that a cache mount travels as: the directory `source`, and nothing beside it.

use std::fs::File;
use std::io;

use crate::layer::{Entry, EntryKind, LayerError, LayerReader};

/// The directory that a cache's layer holds.
const ROOT: &[u8] = b"source";

/// Reads all of a layer. A step that mounts the cache sees `source`, which therefore must be a directory for good.
pub fn check_cache_layer(file: &File, media_type: &str) -> Result<(), String> {
    let said = |error: LayerError| format!("is no layer of a cache: {error}");
    let mut reader = LayerReader::new(io::BufReader::new(file), media_type).map_err(said)?;
    let mut is_first = true;
    while let Some(entry) = reader.next_entry().map_err(said)? {
        if !belongs(&entry, is_first) {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            return Err(format!("is no layer of a cache: `{}` is not of its directory", path.escape_debug()));
        }
        is_first = false;
    }
    if is_first {
        return Err("is no layer of a cache: it is empty".to_string());
    }
    reader.finish().map(drop).map_err(said)
}

fn belongs(entry: &Entry, is_first: bool) -> bool {
    let is_below = |path: &[u8]| matches!(path.strip_prefix(ROOT), Some([b'/', ..]));
    if let EntryKind::HardLink { target } = &entry.kind
        && !is_below(target)
    {
        return false;
    }
    match entry.path.strip_prefix(ROOT) {
        Some([]) => entry.is_directory() || (!is_first && matches!(entry.kind, EntryKind::Opaque)),
        Some([b'/', ..]) => !is_first,
        Some(_) | None => false,
    }
}
