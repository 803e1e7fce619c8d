//! The process environment as text, and a document that it names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Every variable whose name and value are Unicode; others cannot be named in a file.
pub fn read() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A JSON document that the environment names, such as the payload of a CI event. What cannot be read says
/// nothing, as where there is none: every fact of it may be missing anyway.
pub fn read_document(path: &Path) -> Option<serde_json::Value> {
    const LARGEST: u64 = 32 << 20;
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}
