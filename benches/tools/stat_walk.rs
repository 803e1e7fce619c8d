//! The least that an unchanged build can cost: every entry of a tree looked at once, on all cores. Prints the seconds
//! of the fastest of some walks, and how many entries there are. Built and run by `benches/against-bake`.
//!
//!     stat_walk FOLDER...

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const WALKS: usize = 20;

fn main() {
    let roots: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let mut best = f64::MAX;
    let mut entries = 0;
    for _ in 0..WALKS {
        let begin = Instant::now();
        entries = walk(&roots);
        best = best.min(begin.elapsed().as_secs_f64());
    }
    println!("{best:.6} {entries}");
}

/// Threads take folders from one heap until nobody has any left.
fn walk(roots: &[PathBuf]) -> usize {
    let folders = Mutex::new(roots.to_vec());
    let (open, entries) = (AtomicUsize::new(roots.len()), AtomicUsize::new(0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while open.load(Ordering::Acquire) > 0 {
                    let Some(folder) = folders.lock().expect("no thread panics").pop() else {
                        std::thread::yield_now();
                        continue;
                    };
                    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                        let Ok(metadata) = entry.metadata() else { continue };
                        entries.fetch_add(1, Ordering::Relaxed);
                        if metadata.is_dir() {
                            open.fetch_add(1, Ordering::Release);
                            folders.lock().expect("no thread panics").push(entry.path());
                        }
                    }
                    open.fetch_sub(1, Ordering::Release);
                }
            });
        }
    });
    entries.into_inner()
}
