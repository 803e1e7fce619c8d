//! Work that blocks, and what the machine refuses while it does.

use std::io;

use crate::diag::Problem;
use crate::layer::LayerError;
use crate::store::act_problem;

/// Runs blocking work on the blocking pool.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The pool drops work only while the program ends; then nobody waits for this.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A failed act of the machine; `action` is a phrase after "cannot".
pub fn io_problem(action: &str, error: &io::Error) -> Problem {
    if error.get_ref().is_some_and(|inner| inner.is::<LayerError>()) {
        return Problem::input("layer::entry", format!("cannot {action}: {error}"));
    }
    act_problem(action, error)
}
