//! When a cache is left alone for the rest of a run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::CacheError;

/// Counts the failures of one way of using one cache.
#[derive(Default)]
pub struct Circuit(Mutex<State>);

#[derive(Default)]
struct State {
    in_a_row: u32,
    failures: u32,
    last: Option<String>,
    is_open: bool,
}

impl Circuit {
    /// Whether nothing goes this way any more.
    pub fn is_open(&self) -> bool {
        self.state().is_open
    }

    pub fn succeeded(&self) {
        self.state().in_a_row = 0;
    }

    /// Counts a failure; whether it was the one after which the cache is left alone.
    pub fn failed(&self, error: &CacheError, most: u32) -> bool {
        let mut state = self.state();
        state.in_a_row += 1;
        state.failures += 1;
        state.last = Some(error.to_string());
        let opens = !state.is_open && (error.is_denied() || state.in_a_row >= most);
        state.is_open |= opens;
        opens
    }

    /// How often it failed, and how the last time, if it is still in use.
    pub fn failures(&self) -> Option<(u32, String)> {
        let state = self.state();
        let last = state.last.clone().filter(|_| !state.is_open)?;
        Some((state.failures, last))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_or_one_refusal() {
        let status = |status| CacheError::Status { status, detail: String::new(), retry_after: None };
        let circuit = Circuit::default();
        assert!(!circuit.failed(&status(500), 3));
        assert!(!circuit.failed(&status(500), 3));
        circuit.succeeded();
        assert!(!circuit.failed(&status(500), 3));
        assert!(!circuit.failed(&status(503), 3));
        assert_eq!(circuit.failures(), Some((4, "it answered with status 503".to_string())));
        assert!(circuit.failed(&status(500), 3));
        assert!(circuit.is_open());
        assert!(!circuit.failed(&status(500), 3), "told once");
        assert_eq!(circuit.failures(), None);

        let circuit = Circuit::default();
        assert!(circuit.failed(&status(403), 3));
    }
}
