//! What a hostile file is tried with: files in memory, and a count of what is allocated meanwhile.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use mab::command::plan::plain_request;
use mab::config::import::{self, ImportFile, Request};
use mab::config::{self, Entry, Files, Overrides};
use mab::diag::{Problem, Source};
use mab::dockerfile::Dockerfile;
use mab::facts::{Facts, GitFacts};
use mab::model::Project;
use mab::plan::{self, Dockerfiles};
use mab::ui::{self, Surroundings};

/// What may be in memory besides the files themselves.
const MOST_BYTES: usize = 200 << 20;
/// What may be said: more than anybody reads, and still shown at once.
const MOST_SAID: usize = 8 << 20;

/// No terminal.
const NOWHERE: Surroundings = Surroundings { is_terminal: false, term: None, no_color: None, columns: None };

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

/// Held by the test that is measured.
static TURN: Mutex<()> = Mutex::new(());

pub struct Meter(#[expect(dead_code, reason = "is held")] MutexGuard<'static, ()>);

impl Meter {
    /// Nothing else is measured until it is dropped.
    pub fn new() -> Self {
        Self(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One of the problems of `files` is `expected`, as `code: message`.
    #[track_caller]
    pub fn check(&self, what: &str, files: &Memory, expected: &str) {
        self.refused(what, expected, || planned(files).map(drop));
    }

    /// `text` as multiarch.toml.
    #[track_caller]
    pub fn toml(&self, what: &str, text: &str, expected: &str) {
        self.check(what, &Memory::one(text), expected);
    }

    /// `text` as a file of another tool.
    #[track_caller]
    pub fn import(&self, name: &str, what: &str, text: &str, expected: &str) {
        self.imports(name, what, text, &Memory::default(), expected);
    }

    #[track_caller]
    pub fn imports(&self, name: &str, what: &str, text: &str, disk: &Memory, expected: &str) {
        let files = vec![ImportFile { name: name.to_string(), text: text.to_string() }];
        let request = Request { files, names: vec!["*".to_string()], ..Request::default() };
        let facts = facts();
        self.refused(what, expected, || {
            let imported = import::import(&request, &facts, disk)?;
            imported.project(&facts, &[]).map(drop)
        });
    }

    #[track_caller]
    fn refused(&self, what: &str, expected: &str, work: impl FnOnce() -> Result<(), Vec<Problem>>) {
        let problems = self.measured(what, work).expect_err(what);
        let is_expected = |problem: &Problem| format!("{}: {}", problem.code, problem.message) == expected;
        assert!(problems.iter().any(is_expected), "{what}: there is\n{}", listed(&problems));
    }

    #[track_caller]
    fn measured(
        &self,
        what: &str,
        work: impl FnOnce() -> Result<(), Vec<Problem>>,
    ) -> Result<(), Vec<Problem>> {
        let before = NOW.load(Relaxed);
        MOST.store(before, Relaxed);
        let start = Instant::now();
        let answer = work();
        let found = start.elapsed();
        let problems = answer.as_ref().err().map(Vec::as_slice).unwrap_or_default();
        let said: usize = problems.iter().map(|problem| ui::report(problem, &NOWHERE).len()).sum();
        let bytes = MOST.load(Relaxed) - before;
        let shown = start.elapsed() - found;
        println!("{what}: {found:?} and {shown:?} to tell it, {} MiB, {said} bytes said", bytes >> 20);
        assert!(bytes < MOST_BYTES, "{what}: {bytes} bytes");
        assert!(said < MOST_SAID, "{what}: {said} bytes are said");
        answer
    }
}

fn listed(problems: &[Problem]) -> String {
    let shown = problems.iter().take(8).map(|problem| format!("{}: {}\n", problem.code, problem.message));
    shown.collect()
}

pub fn facts() -> Facts {
    let mut facts = Facts::for_test();
    facts.git = Some(GitFacts::for_test());
    facts
}

/// Loaded, validated and planned, all Dockerfiles being the same.
fn planned(files: &Memory) -> Result<Project, Vec<Problem>> {
    let facts = facts();
    let loaded = config::load(Path::new("/p/multiarch.toml"), files);
    let (project, _) = config::resolve(&loaded, &facts, &Overrides::default())?;
    let selection = plan::select(&project, &["*".to_string()])?;
    let dockerfile = std::sync::Arc::new(Dockerfile::parse(&Source::new("Dockerfile", "FROM scratch\n"))?);
    let mut dockerfiles = Dockerfiles::new();
    for target in selection.all() {
        for variant in &target.variants {
            dockerfiles.insert(&target.name, &variant.platform.value, dockerfile.clone());
        }
    }
    plan::compile(&selection, &plain_request(&facts), &dockerfiles)?;
    Ok(project)
}

/// Build files that are nowhere.
#[derive(Default)]
pub struct Memory {
    pub files: BTreeMap<PathBuf, String>,
    /// What every directory has besides.
    pub entries: Vec<Entry>,
}

impl Memory {
    pub fn one(text: &str) -> Self {
        Self::of([("multiarch.toml".to_string(), text.to_string())])
    }

    pub fn of(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let files = files.into_iter().map(|(name, text)| (Path::new("/p").join(name), text));
        Self { files: files.collect(), entries: Vec::new() }
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let clean = path.to_string_lossy().replace("/./", "/");
        self.files
            .get(Path::new(&clean.replace("/project/", "/p/")))
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        let files = self.files.keys().filter(|path| path.parent() == Some(directory));
        let names = files.filter_map(|path| path.file_name()?.to_str());
        let files = names.map(|name| Entry { name: name.to_string(), is_directory: false });
        Ok(files.chain(self.entries.iter().cloned()).collect())
    }
}

/// One line for each number.
pub fn lines(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(|n| line(n) + "\n").collect()
}
