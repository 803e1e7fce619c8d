//! Standard input, which can be read once: as a build context, or as a Dockerfile.

use std::fmt;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use super::error::SourceError;

/// Somewhere to read from, once.
pub struct Stdin(Mutex<Option<Box<dyn Read + Send>>>);

impl Stdin {
    /// The program's own.
    pub fn of_program() -> Self {
        Self::new(io::stdin())
    }

    pub fn new(reader: impl Read + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(reader))))
    }

    pub(super) fn take(&self) -> Result<Box<dyn Read + Send>, SourceError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(SourceError::StdinTwice)
    }
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stdin")
    }
}
