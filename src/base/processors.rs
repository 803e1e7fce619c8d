//! How much this process can do at once.

use std::sync::OnceLock;
use std::thread;

/// The processors that the system lets this process use, asked once: finding that out reads control groups.
pub fn processors() -> usize {
    static PROCESSORS: OnceLock<usize> = OnceLock::new();
    *PROCESSORS.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
