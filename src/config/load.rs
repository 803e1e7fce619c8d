//! The root file and its includes to declarations, names that are declared twice reported.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::declare::Declarations;
use super::files::{self, Files, MOST_ENTRIES, TooMuch};
use super::read::{self, FileDeclarations, Rank};
use super::table::{MOST_PROBLEMS, Reader};
use super::text::{File, Text, clean};
use crate::diag::{Place, Problem, Source};

/// All build files of a project together.
const MOST_BYTES: usize = 32 << 20;

/// Everything read and nothing resolved.
#[derive(Debug)]
pub struct Loaded {
    /// The directory of the root file.
    pub root: PathBuf,
    pub(super) declared: Declarations,
    pub(super) problems: Vec<Problem>,
    /// A file could not be read or parsed, so that names may be missing.
    pub(super) incomplete: bool,
    pub(super) uses_git: bool,
    /// Of all files together.
    bytes: usize,
}

/// Reads `root_file`, an absolute path, and what it includes. Never fails: problems are part of the result
/// and come out of `resolve` together with those found there.
pub fn load(root_file: &Path, files: &dyn Files) -> Loaded {
    let root_file = clean(root_file);
    let root = root_file.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut loaded = Loaded {
        root,
        declared: Declarations::default(),
        problems: Vec::new(),
        incomplete: false,
        uses_git: false,
        bytes: 0,
    };
    let include = loaded.load_file(&root_file, files, Rank::Root, None);
    let mut seen = HashSet::from([root_file]);
    for pattern in &include {
        for path in loaded.matching(pattern, files) {
            if loaded.is_too_much(pattern) {
                return loaded;
            }
            if seen.insert(path.clone()) {
                loaded.load_file(&path, files, Rank::Included, Some(pattern));
            }
        }
    }
    loaded
}

impl Loaded {
    fn matching(&mut self, pattern: &Text, files: &dyn Files) -> Vec<PathBuf> {
        if !files::has_wildcard(&pattern.value) {
            return vec![pattern.resolve_path(&pattern.value)];
        }
        files::glob(files, &pattern.file.directory, &pattern.value).unwrap_or_else(|TooMuch| {
            let message = format!("`{}` looks at more than {MOST_ENTRIES} files", pattern.value);
            let problem = Problem::input("config::too-many", message).at(pattern.place(), "too wide");
            self.problems.push(problem.help("name the folders: `services/*/multiarch.toml`"));
            self.incomplete = true;
            Vec::new()
        })
    }

    /// Whether what was read is more than any project has, which is said at `pattern`.
    fn is_too_much(&mut self, pattern: &Text) -> bool {
        if self.bytes <= MOST_BYTES {
            return false;
        }
        let message = format!("the build files are larger than {} MiB together", MOST_BYTES >> 20);
        self.problems.push(Problem::input("config::too-many", message).at(pattern.place(), "with these"));
        self.incomplete = true;
        true
    }

    /// Reads one file into the declarations; gives its include patterns.
    fn load_file(&mut self, path: &Path, files: &dyn Files, rank: Rank, asked: Option<&Text>) -> Vec<Text> {
        let name = relative(path, &self.root);
        let text = match files.read(path) {
            Ok(text) => text,
            Err(error) => {
                let mut problem =
                    Problem::input("config::unreadable", format!("cannot read `{name}`: {error}"));
                if let Some(pattern) = asked {
                    problem = problem.at(pattern.place(), "included here");
                }
                self.problems.push(problem);
                self.incomplete = true;
                return Vec::new();
            }
        };
        self.bytes += text.len();
        let file = Arc::new(File {
            source: Source::new(name, text),
            directory: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
            is_literal: false,
        });
        let (document, errors) = DeTable::parse_recoverable(&file.source.text);
        if !errors.is_empty() {
            // What recovery made of the rest would give problems that are not there.
            self.incomplete = true;
            let errors = errors.iter().take(MOST_PROBLEMS);
            self.problems.extend(errors.map(|error| syntax_problem(&file, error)));
            return Vec::new();
        }
        let mut reader = Reader { file: file.clone(), problems: &mut self.problems, uses_git: false };
        let found = read::read(&mut reader, document.get_ref(), rank);
        self.uses_git |= reader.uses_git;
        self.add(found)
    }

    fn add(&mut self, found: FileDeclarations) -> Vec<Text> {
        let Self { declared, problems, .. } = self;
        if let Some(project) = found.project {
            declared.project = project;
        }
        if let Some(lint) = found.lint {
            declared.lint = lint;
        }
        insert_all(&mut declared.vars, found.vars, "variable", |var| &var.place, problems);
        insert_all(&mut declared.groups, found.groups, "group", |group| &group.place, problems);
        insert_all(&mut declared.targets, found.targets, "target", |target| &target.place, problems);
        found.include
    }
}

fn insert_all<T>(
    known: &mut BTreeMap<String, T>,
    found: Vec<(String, T)>,
    kind: &str,
    place: impl Fn(&T) -> &Place,
    problems: &mut Vec<Problem>,
) {
    for (name, declaration) in found {
        match known.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(declaration);
            }
            Entry::Occupied(entry) => problems.push(
                Problem::input("config::duplicate", format!("{kind} `{}` is declared twice", entry.key()))
                    .at(place(&declaration).clone(), "declared again here")
                    .at(place(entry.get()).clone(), "first declared here")
                    .help("rename one of them"),
            ),
        }
    }
}

pub(super) fn syntax_problem(file: &File, error: &toml::de::Error) -> Problem {
    let message = error.message().replace('\n', ", ");
    let span = error.span().unwrap_or_default();
    Problem::input("config::syntax", message).at(file.place(span), "not TOML")
}

/// `path` as somebody in `directory` types it.
fn relative(path: &Path, directory: &Path) -> String {
    let mut up = PathBuf::new();
    for ancestor in directory.ancestors() {
        if let Ok(rest) = path.strip_prefix(ancestor) {
            return up.join(rest).display().to_string();
        }
        up.push(Component::ParentDir);
    }
    path.display().to_string()
}
