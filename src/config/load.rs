//! The root file and its includes to declarations, names that are declared twice reported.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::declare::Declarations;
use super::files::{self, Files, MOST_ENTRIES, TooMuch};
use super::include::{self, Include};
use super::read::{self, FileDeclarations, Rank};
use super::syntax;
use super::table::{MOST_PROBLEMS, Reader};
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
    let read = loaded.read_one(&root_file, files, None);
    let found = loaded.load_tree(&root_file, &mut way, read, "");
    loaded.add(found);
    loaded
}

/// How many files are parsed at a time, on all cores.
const AT_A_TIME: usize = 64;

/// One file with what is wrong with it.
#[derive(Debug, Default)]
struct Read {
    found: FileDeclarations,
    problems: Vec<Problem>,
    incomplete: bool,
    uses_git: GitUse,
    bytes: usize,
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
    fn load_tree(&mut self, path: &Path, way: &mut Way<'_>, read: Read, prefix: &str) -> FileDeclarations {
        way.seen.insert((path.to_path_buf(), prefix.to_string()));
        way.open.push(path.to_path_buf());
        let mut found = self.take(read);
        for include in std::mem::take(&mut found.include) {
            // What is before all names so far, and then before those of this file.
            let prefix = format!("{prefix}{}", include.prefix);
            let paths = self.matching(&include.pattern, way.files);
            for some in paths.chunks(AT_A_TIME) {
                for (path, read) in some.iter().zip(self.read_ahead(some, way, &include, &prefix)) {
                    if self.is_too_much(&include.pattern) || !self.may_include(path, way, &include, &prefix) {
                        continue;
                    }
                    let read = read.unwrap_or_else(|| self.read_one(path, way.files, Some(&include)));
                    let mut inner = self.load_tree(path, way, read, &prefix);
                    include::add_prefix(&mut inner, &include.prefix);
                    found.append(inner);
                }
            }
        }
        way.open.pop();
        found
    }

    /// The files at `paths` that are going to be needed, read one after the other and parsed at one time.
    fn read_ahead(
        &self,
        paths: &[PathBuf],
        way: &Way<'_>,
        include: &Include,
        prefix: &str,
    ) -> Vec<Option<Read>> {
        let mut room = MOST_BYTES.saturating_sub(self.bytes);
        let is_new = |path: &PathBuf| {
            !way.open.contains(path) && !way.seen.contains(&(path.clone(), prefix.to_string()))
        };
        let texts: Vec<_> = paths
            .iter()
            .map(|path| {
                let text = (room > 0 && is_new(path)).then(|| way.files.read(path))?;
                room = room.saturating_sub(text.as_ref().map_or(0, String::len));
                Some((path, text))
            })
            .collect();
        let read = |(path, text): (&PathBuf, _)| self.parse_file(path, text, Rank::Included, Some(include));
        texts.into_par_iter().map(|text| text.map(read)).collect()
    }

    fn read_one(&self, path: &Path, files: &dyn Files, asked: Option<&Include>) -> Read {
        let rank = if asked.is_some() { Rank::Included } else { Rank::Root };
        self.parse_file(path, files.read(path), rank, asked)
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

    /// What the text of one file declares.
    fn parse_file(&self, path: &Path, text: io::Result<String>, rank: Rank, asked: Option<&Include>) -> Read {
        let mut read = Read::default();
        let name = relative(path, &self.root);
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let is_optional = asked.is_some_and(|include| include.is_optional);
                if error.kind() != io::ErrorKind::NotFound || !is_optional {
                    read.problems.push(unreadable(&name, &error, asked));
                    read.incomplete = true;
                }
                return read;
            }
        };
        read.bytes = text.len();
        let file = Arc::new(File {
            source: Source::new(name, text),
            directory: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
            is_literal: false,
        });
        let document = match syntax::parse(&file) {
            Ok(document) => document,
            Err(problems) => {
                read.incomplete = true;
                read.problems.extend(problems);
                return read;
            }
        };
        let mut reader =
            Reader { file: file.clone(), problems: &mut read.problems, uses_git: GitUse::default() };
        read.found = read::read(&mut reader, document.get_ref(), rank);
        read.uses_git = reader.uses_git;
        read
    }

    /// Takes over what was read of one file.
    fn take(&mut self, read: Read) -> FileDeclarations {
        let room = MOST_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(read.problems.into_iter().take(room));
        self.incomplete |= read.incomplete;
        self.uses_git.add(read.uses_git);
        self.bytes += read.bytes;
        read.found
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

fn unreadable(name: &str, error: &io::Error, asked: Option<&Include>) -> Problem {
    let problem = Problem::input("config::unreadable", format!("cannot read `{name}`: {error}"));
    match asked {
        Some(include) => problem.at(include.pattern.place(), "included here"),
        None => problem,
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
