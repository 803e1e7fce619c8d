//! What can be wrong with a layer or another tar archive. Whoever reports it says which one.

use std::io;

/// Why a layer, or the index beside it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("it ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("not a valid tar archive: {0}")]
    Malformed(String),
    #[error("entry `{path}` {reason}")]
    Entry { path: String, reason: String },
    #[error("more than {limit} {what}")]
    Limit { what: &'static str, limit: u64 },
    #[error("layers of media type `{0}` cannot be read")]
    MediaType(String),
    #[error("the layer's index is damaged: {0}")]
    Index(&'static str),
    #[error("entries of a layer were asked for out of order")]
    Unordered,
    #[error("the index does not belong to the layer: they differ at `{0}`")]
    ForeignIndex(String),
}

impl LayerError {
    pub(super) fn entry(path: &[u8], reason: impl Into<String>) -> Self {
        Self::Entry { path: String::from_utf8_lossy(path).into_owned(), reason: reason.into() }
    }

    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }
}

impl From<LayerError> for io::Error {
    fn from(error: LayerError) -> Self {
        match error {
            LayerError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}
