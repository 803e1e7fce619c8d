//! The space that is left where the store is: when there is too little for work to go on.
//!
//! A command that fills the disk fails by itself, but until it notices, so does every other program on it, and
//! the store's own database with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often running work looks.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// Bytes that stay free: enough for the store's database and what others write between two looks. On a small
/// file system [`RESERVE_FRACTION`] of it.
const RESERVE: u64 = 64 << 20;
const RESERVE_FRACTION: u64 = 50;

/// A store whose file system has less than `reserve` bytes left.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store `{}` is on a file system with less than {} MiB left", store.display(), mebibytes(*reserve))]
pub struct Shortage {
    pub store: PathBuf,
    pub reserve: u64,
}

/// The shortage, if there is one now.
pub fn shortage(store: &Path) -> Option<Shortage> {
    shortage_after(store, 0)
}

/// The shortage there would be once `bytes` more were written.
pub fn shortage_after(store: &Path, bytes: u64) -> Option<Shortage> {
    // A file system that does not tell cannot be watched; writing to it will fail in its own way.
    let state = rustix::fs::statvfs(store).ok()?;
    let left = state.f_bavail.saturating_sub(bytes.div_ceil(state.f_frsize.max(1)));
    let reserve = missing_reserve(state.f_frsize, state.f_blocks, left)?;
    Some(Shortage { store: store.to_owned(), reserve })
}

/// The reserve that a file system of these many blocks does not have left. One without blocks has no size.
fn missing_reserve(block_size: u64, blocks: u64, available: u64) -> Option<u64> {
    let reserve = RESERVE.min(blocks.saturating_mul(block_size) / RESERVE_FRACTION);
    (available.saturating_mul(block_size) < reserve).then_some(reserve)
}

/// With one decimal, unless it is zero.
fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        tenth => format!("{}.{tenth}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_small_on_small_file_systems() {
        let check = |blocks: u64, available: u64, expected: Option<u64>| {
            assert_eq!(missing_reserve(4096, blocks, available), expected, "{available} of {blocks}");
        };
        // 1 TiB, where 64 MiB are 16,384 blocks.
        check(1 << 28, 16_384, None);
        check(1 << 28, 16_383, Some(64 << 20));
        // 100 MiB.
        check(25_600, 512, None);
        check(25_600, 511, Some(2 << 20));
        check(0, 0, None);
    }

    #[test]
    fn sizes_have_at_most_one_decimal() {
        for (bytes, expected) in [(64 << 20, "64"), (1_342_177, "1.3"), (1, "0.1")] {
            assert_eq!(mebibytes(bytes), expected);
        }
    }
}
