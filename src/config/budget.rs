//! How much work one run may make: the templates, counted in bytes that are looked at or copied, and the targets,
//! counted in values.
//!
//! Expressions cannot loop, but a hostile file may hold very many, each over long values; and whatever is inherited,
//! there is once for each heir and each of its platforms. What a file for people asks for stays below a tenth of
//! this.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::{Error, ErrorKind};

/// Bytes that may be looked at.
const MOST_WORK: u64 = 1 << 30;
/// Bytes that rendered texts may have in all.
pub const MOST_TEXT: u64 = 64 << 20;
/// Values that all targets may have, counted for each platform.
pub const MOST_VALUES: u64 = 500_000;

/// Shared by all templates of a run.
#[derive(Clone, Debug, Default)]
pub struct Budget(Arc<Spent>);

#[derive(Debug, Default)]
struct Spent {
    work: AtomicU64,
    text: AtomicU64,
    values: AtomicU64,
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

    /// Whether targets may have `count` more values.
    pub fn has_values(&self, count: usize) -> bool {
        add(&self.0.values, count) <= MOST_VALUES
    }

    /// Whether there are more values than targets may have.
    pub fn is_out_of_values(&self) -> bool {
        self.mark().values > MOST_VALUES
    }

    /// Whether something was refused.
    pub fn is_spent(&self) -> bool {
        let Marked { work, text, values } = self.mark();
        work > MOST_WORK || text > MOST_TEXT || values > MOST_VALUES
    }

    pub fn mark(&self) -> Marked {
        let spent = &self.0;
        Marked {
            work: spent.work.load(Ordering::Relaxed),
            text: spent.text.load(Ordering::Relaxed),
            values: spent.values.load(Ordering::Relaxed),
        }
    }

    /// Forgets what was spent since.
    pub fn return_to(&self, mark: Marked) {
        self.0.work.store(mark.work, Ordering::Relaxed);
        self.0.text.store(mark.text, Ordering::Relaxed);
        self.0.values.store(mark.values, Ordering::Relaxed);
    }
}

/// What was spent at one time.
#[derive(Clone, Copy, Debug)]
pub struct Marked {
    work: u64,
    text: u64,
    values: u64,
}

fn add(total: &AtomicU64, bytes: usize) -> u64 {
    let bytes = bytes as u64;
    total.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
}
