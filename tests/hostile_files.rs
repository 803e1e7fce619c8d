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

/// A folder of folders without end: whatever is asked for has a hundred entries.
struct Endless;

impl Files for Endless {
    fn read(&self, path: &Path) -> io::Result<String> {
        match path == Path::new("/p/multiarch.toml") {
            true => Ok("include = [\"**/multiarch.toml\", \"**/**/x/**/*.toml\"]\n".to_string()),
            false => Ok(String::new()),
        }
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        let folder = |n: usize| Entry { name: format!("d{n}"), is_directory: true };
        Ok((0..100).map(folder).collect())
    }
}

#[track_caller]
fn check_files(what: &str, files: &dyn Files, code: &str) {
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let start = Instant::now();
    let mut facts = Facts::for_test();
    facts.git = Some(GitFacts::for_test());
    let loaded = config::load(Path::new("/p/multiarch.toml"), files);
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

#[track_caller]
fn check(what: &str, text: &str, code: &str) {
    let files = Memory([(PathBuf::from("/p/multiarch.toml"), text.to_string())].into());
    check_files(what, &files, code);
}

/// A target whose argument is one expression.
fn expression(text: &str) -> String {
    format!("[target.a]\nargs = {{ A = '{{{{ {text} }}}}' }}\n")
}

#[test]
fn files_that_ask_for_too_much_are_refused() {
    nested();
    large();
    templates();
    matrices();
    circles();
    check_files("include without end", &Endless, "config::too-many");
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
    check(
        "a line",
        &format!("[target.a]\ncontext = \"{}\"\nx = 1", "a".repeat(7 << 20)),
        "config::unknown-key",
    );
}

fn templates() {
    check("ranges", &expression("range(1000000000)"), "config::template");
    check("nested ranges", &expression("range(100000) | map(\"string\") | join"), "config::template");
    check("products", &expression("\"a\" * 1000000000"), "config::template");
    check("lists", &expression("[1] * 1000000000"), "config::template");
    check("powers", &expression("9 ** 9 ** 9 ** 9"), "config::template");
    check(
        "brackets",
        &expression(&format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000))),
        "config::template",
    );
    check("signs", &expression(&format!("{}1", "-".repeat(100_000))), "config::template");
    check(
        "loops",
        "[target.a]\nargs = { A = '{% for a in range(10**9) %}a{% endfor %}' }\n",
        "config::template",
    );
    let doubled = (1..40).map(|n| format!("~ (vars.a * {n})")).collect::<String>();
    check(
        "texts",
        &format!("[vars]\na = \"{}\"\n{}", "a".repeat(1 << 20), expression(&format!("vars.a {doubled}"))),
        "config::template",
    );
    let replaced = "| replace(\"a\", \"aaaaaaaaaaaaaaaa\")".repeat(12);
    check("replacements", &expression(&format!("\"a\" {replaced}")), "config::template");
}

fn matrices() {
    let axes: String = (0..12).map(|n| format!("a{n} = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")).collect();
    check("axes", &format!("[target.a.matrix.axes]\n{axes}"), "config::too-many");
    let values = (0..100_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    check(
        "values of an axis",
        &format!("[target.a.matrix]\naxes = {{ a = [{values}] }}\n"),
        "config::too-many",
    );
    let many: String = (0..200)
        .map(|n| {
            let values = (0..1000).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
            format!("[target.t{n}.matrix]\naxes = {{ a = [{values}] }}\n")
        })
        .collect();
    check("matrices", &many, "config::too-many");
}

fn circles() {
    let chain = |key: &str, count: usize| -> String {
        (0..count).map(|n| format!("[target.t{n}]\n{key} = [\"t{}\"]\n", (n + 1) % count)).collect()
    };
    check("a circle", &chain("inherits", 50), "config::cycle");
    check("a long circle", &chain("inherits", 20_000), "config::too-deep");
    let groups: String =
        (0..20_000).map(|n| format!("[group.g{n}]\ntargets = [\"g{}\"]\n", (n + 1) % 20_000)).collect();
    check("groups", &groups, "config::too-deep");
    // Every target inherits from all before it: few lines, many paths.
    let wide: String = (0..300)
        .map(|n| {
            let parents: Vec<String> = (0..n).map(|parent| format!("\"t{parent}\"")).collect();
            format!("[target.t{n}]\ninherits = [{}]\n", parents.join(", "))
        })
        .collect();
    check("many parents", &format!("{wide}x = 1\n"), "config::unknown-key");
    check(
        "a file that includes itself",
        "include = [\"multiarch.toml\", \"./multiarch.toml\", \"x.toml\"]",
        "config::unreadable",
    );
}
