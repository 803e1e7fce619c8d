//! The root file and its includes to declarations, names that are declared twice reported.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::declare::Declarations;
use super::files::{self, Files, MOST_ENTRIES, TooMuch};
use super::include::{self, Include};
use super::read::{self, FileDeclarations, Rank};
use super::syntax;
use super::table::Reader;
use super::template::GitUse;
use super::text::{File, Text, clean};
use crate::diag::{Place, Problem, Source};

/// All build files of a project together.
const MOST_BYTES: usize = 32 << 20;
/// Includes of includes go no deeper, and reach no more files.
const DEEPEST: usize = 16;
const MOST_FILES: usize = 10_000;

/// Everything read and nothing resolved.
#[derive(Debug)]
pub struct Loaded {
    /// The directory of the root file.
    pub root: PathBuf,
    pub(super) declared: Declarations,
    pub(super) problems: Vec<Problem>,
    /// A file could not be read or parsed, so that names may be missing.
    pub(super) incomplete: bool,
    pub(super) uses_git: GitUse,
    /// Of all files together.
    pub(super) bytes: usize,
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
        uses_git: GitUse::default(),
        bytes: 0,
    };
    let mut way = Way { files, open: Vec::new(), seen: BTreeSet::new() };
    let found = loaded.load_tree(&root_file, &mut way, None, "");
    loaded.add(found);
    loaded
}

/// The files on the way to the one that is read, and all that were.
struct Way<'f> {
    files: &'f dyn Files,
    open: Vec<PathBuf>,
    /// With the prefixes of their names.
    seen: BTreeSet<(PathBuf, String)>,
}

impl Loaded {
    /// A file with everything it includes, whose names have `prefix` in the end.
    fn load_tree(
        &mut self,
        path: &Path,
        way: &mut Way<'_>,
        asked: Option<&Include>,
        prefix: &str,
    ) -> FileDeclarations {
        way.seen.insert((path.to_path_buf(), prefix.to_string()));
        way.open.push(path.to_path_buf());
        let rank = if way.open.len() == 1 { Rank::Root } else { Rank::Included };
        let mut found = self.load_file(path, way.files, rank, asked);
        for include in std::mem::take(&mut found.include) {
            // What is before all names so far, and then before those of this file.
            let prefix = format!("{prefix}{}", include.prefix);
            for path in self.matching(&include.pattern, way.files) {
                if self.is_too_much(&include.pattern) || !self.may_include(&path, way, &include, &prefix) {
                    continue;
                }
                let mut inner = self.load_tree(&path, way, Some(&include), &prefix);
                include::add_prefix(&mut inner, &include.prefix);
                found.append(inner);
            }
        }
        way.open.pop();
        found
    }

    /// Whether a file is to be read that was not yet; circles and what goes too far are reported.
    fn may_include(&mut self, path: &Path, way: &Way<'_>, include: &Include, prefix: &str) -> bool {
        let refused = |code, message: String, label: &str| {
            Problem::input(code, message).at(include.pattern.place(), label)
        };
        let is_pattern = files::has_wildcard(&include.pattern.value);
        if let Some(start) = way.open.iter().position(|open| open == path) {
            // A pattern may well match the file it stands in.
            if !is_pattern {
                let chain = way.open[start..].iter().map(PathBuf::as_path).chain([path]);
                let chain: Vec<String> = chain.map(|path| relative(path, &self.root)).collect();
                let message = format!("`include` runs in a circle: {}", chain.join(" → "));
                self.problems.push(refused("config::cycle", message, "closes the circle"));
            }
            return false;
        }
        if way.open.len() >= DEEPEST {
            let message = format!("`include` goes deeper than {DEEPEST} files");
            self.problems.push(refused("config::too-deep", message, "here"));
            return false;
        }
        if way.seen.len() >= MOST_FILES {
            let message = format!("more than {MOST_FILES} files are included");
            self.problems.push(refused("config::too-many", message, "here"));
            return false;
        }
        !way.seen.contains(&(path.to_path_buf(), prefix.to_string()))
    }

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

    /// Reads one file; what is wrong with it is kept.
    fn load_file(
        &mut self,
        path: &Path,
        files: &dyn Files,
        rank: Rank,
        asked: Option<&Include>,
    ) -> FileDeclarations {
        let name = relative(path, &self.root);
        let text = match files.read(path) {
            Ok(text) => text,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && asked.is_some_and(|include| include.is_optional) =>
            {
                return FileDeclarations::default();
            }
            Err(error) => {
                let mut problem =
                    Problem::input("config::unreadable", format!("cannot read `{name}`: {error}"));
                if let Some(include) = asked {
                    problem = problem.at(include.pattern.place(), "included here");
                }
                self.problems.push(problem);
                self.incomplete = true;
                return FileDeclarations::default();
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
            self.problems.extend(syntax::problems(&file, &errors));
            return FileDeclarations::default();
        }
        let mut reader =
            Reader { file: file.clone(), problems: &mut self.problems, uses_git: GitUse::default() };
        let found = read::read(&mut reader, document.get_ref(), rank);
        self.uses_git.add(reader.uses_git);
        found
    }

    fn add(&mut self, found: FileDeclarations) {
        let Self { declared, problems, .. } = self;
        if let Some(project) = found.project {
            declared.project = project;
        }
        if let Some(lint) = found.lint {
            declared.lint = lint;
        }
        let sets = &mut declared.platform_sets;
        insert_all(sets, found.platform_sets, "platform set", |set| &set.place, problems);
        insert_all(&mut declared.caches, found.caches, "cache", |cache| &cache.place, problems);
        let builders = found.builders;
        insert_all(&mut declared.builders, builders, "builder", |builder| &builder.place, problems);
        insert_all(&mut declared.vars, found.vars, "variable", |var| &var.place, problems);
        insert_all(&mut declared.groups, found.groups, "group", |group| &group.place, problems);
        insert_all(&mut declared.targets, found.targets, "target", |target| &target.place, problems);
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
