//! How much work the templates of one run may make, counted in bytes that are looked at or copied.
//!
//! Expressions cannot loop, but a hostile file may hold very many, each over long values. What a file for
//! people asks for stays below a hundredth of this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::{Error, ErrorKind};

/// Bytes that may be looked at.
const MOST_WORK: u64 = 1 << 30;
/// Bytes that rendered texts may have in all.
const MOST_TEXT: u64 = 64 << 20;

/// Shared by all templates of a run.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<Spent>);

#[derive(Debug, Default)]
struct Spent {
    work: AtomicU64,
    text: AtomicU64,
}

impl Budget {
    /// Takes note of work on `bytes`.
    pub fn work(&self, bytes: usize) -> Result<(), Error> {
        match add(&self.0.work, bytes) {
            total if total > MOST_WORK => {
                Err(Error::new(ErrorKind::InvalidOperation, "the templates of this run do too much"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a rendered text of `bytes` still fits.
    pub fn has_room(&self, bytes: usize) -> bool {
        add(&self.0.text, bytes) <= MOST_TEXT
    }
}

fn add(total: &AtomicU64, bytes: usize) -> u64 {
    let bytes = bytes as u64;
    total.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
}
