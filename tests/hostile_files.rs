//! A multiarch.toml that asks for too much ends in an error, within a second and 200 MB. What is in memory is
//! counted, which is why this is one test in a file of its own.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mab::config::{self, Entry, Files, Overrides};
use mab::facts::{Facts, GitFacts};

/// A second is what the user waits; tests run unoptimised and beside others.
const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 20 } else { 1 });
const MOST_BYTES: usize = 200 << 20;

struct Counted;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it is the system's allocator, with counters beside it.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Build files that are nowhere.
struct Memory(BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        Ok(Vec::new())
    }
}

#[track_caller]
fn check(what: &str, text: &str, code: &str) {
    let files = Memory([(PathBuf::from("/p/multiarch.toml"), text.to_string())].into());
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let start = Instant::now();
    let mut facts = Facts::for_test();
    facts.git = Some(GitFacts::for_test());
    let loaded = config::load(Path::new("/p/multiarch.toml"), &files);
    let answer = config::resolve(&loaded, &facts, &Overrides::default());
    let taken = start.elapsed();
    let bytes = MOST.load(Relaxed) - before;
    let problems = answer.expect_err(what);
    let codes: Vec<&str> = problems.iter().map(|problem| problem.code).take(5).collect();
    assert!(codes.contains(&code), "{what}: {codes:?} has no {code}");
    let shown: usize = problems.iter().map(|problem| mab::diag::render(problem, false, 100).len()).sum();
    assert!(shown < 1 << 20, "{what}: {shown} bytes are said");
    assert!(taken < LONGEST, "{what}: after {taken:?}");
    assert!(bytes < MOST_BYTES, "{what}: {bytes} bytes");
}

#[test]
fn files_that_ask_for_too_much_are_refused() {
    nested();
    large();
}

fn nested() {
    check("arrays", &format!("a = {}", "[".repeat(100_000)), "config::syntax");
    check("closed arrays", &format!("a = {}{}", "[".repeat(50_000), "]".repeat(50_000)), "config::syntax");
    check("tables", &format!("a = {}", "{ a = ".repeat(100_000)), "config::syntax");
    check("dotted keys", &format!("{}a = 1", "a.".repeat(100_000)), "config::syntax");
    check("headers", &format!("[{}a]", "a.".repeat(100_000)), "config::syntax");
    let value = format!("[vars]\na = {}1{}\n", "[".repeat(60), "]".repeat(60));
    check("values", &value, "config::too-deep");
}

fn large() {
    let keys: String = (0..200_000).map(|n| format!("k{n} = {n}\n")).collect();
    check("keys", &keys, "config::unknown-key");
    let targets: String = (0..100_000).map(|n| format!("[target.t{n}]\n")).collect();
    check("targets", &targets, "config::too-many");
}
