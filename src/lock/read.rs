//! The text of a lock to values, all problems collected. What it does not know is an error: it would pin nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Lock, LockedCommit, LockedFile, LockedImage, LockedManifest, Section};
use crate::base::{GitReference, Platform, toml_size};
use crate::diag::{Place, Problem, Source};

const VERSION: i64 = 1;

impl Lock {
    pub fn parse(source: &Arc<Source>) -> Result<Self, Vec<Problem>> {
        if let Some(excess) = toml_size::excess(&source.text) {
            let message = format!("`{}` has {excess}", source.name);
            let place = Place::new(source, 0..0);
            return Err(vec![Problem::input("lock::too-many", message).at(place, "this file")]);
        }
        // A program writes it: one slip says enough, which is mostly a merge that is not over.
        let document = DeTable::parse(&source.text).map_err(|error| vec![syntax_problem(source, &error)])?;
        let mut reader = Reader { source, problems: Vec::new(), lock: Self::default() };
        reader.document(document.get_ref());
        if reader.problems.is_empty() { Ok(reader.lock) } else { Err(reader.problems) }
    }
}

fn syntax_problem(source: &Arc<Source>, error: &toml::de::Error) -> Problem {
    let message = error.message().replace('\n', ", ");
    let place = Place::new(source, error.span().unwrap_or_default());
    Problem::input("lock::syntax", message)
        .at(place, "not TOML")
        .help("after a merge, take either side and run `mab lock`; `mab lock --update` writes the file anew")
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    problems: Vec<Problem>,
    lock: Lock,
}

type Entry<'t> = (&'t Spanned<Cow<'t, str>>, &'t Spanned<DeValue<'t>>);

impl Reader<'_> {
    fn document(&mut self, document: &DeTable<'_>) {
        match document.get("version").map(|version| (version.span(), integer(version.get_ref()))) {
            Some((_, Some(VERSION))) => {}
            Some((span, _)) => {
                let problem = self.problem(span, "a lock of another version", "this mab reads version 1");
                return self.problems.push(
                    problem.help("use the mab that wrote it, or write it anew with `mab lock --update`"),
                );
            }
            None => {
                let problem = self.problem(0..0, "the lock has no `version`", "here");
                return self.problems.push(problem.help("write it anew with `mab lock --update`"));
            }
        }
        for (key, value) in document.iter().filter(|(key, _)| key.get_ref() != "version") {
            match Section::ALL.into_iter().find(|section| section.name() == key.get_ref()) {
                Some(section) => self.section(section, (key, value)),
                None => self.unknown(key),
            }
        }
    }

    fn section(&mut self, section: Section, entry: Entry<'_>) {
        let Some(table) = self.table(entry) else { return };
        for (name, value) in table.iter() {
            let Some(entry) = self.table((name, value)) else { continue };
            let text = name.get_ref().to_string();
            let is_read = match section {
                Section::Image => self.image(name, entry).map(|image| {
                    self.lock.images.insert(text.clone(), image);
                }),
                Section::Git => self.commit(name, entry).map(|commit| {
                    self.lock.commits.insert(text.clone(), commit);
                }),
                Section::Http => self.file(name, entry).map(|file| {
                    self.lock.files.insert(text.clone(), file);
                }),
            };
            if is_read.is_some() {
                self.lock.places.0.insert((section, text), Place::new(self.source, name.span()));
            }
        }
    }

    fn image(&mut self, name: &Spanned<Cow<'_, str>>, table: &DeTable<'_>) -> Option<LockedImage> {
        let digest = self.parsed(name, table, "digest");
        let mut platforms = BTreeMap::new();
        for (key, value) in table.iter().filter(|(key, _)| key.get_ref() != "digest") {
            let Ok(platform) = key.get_ref().parse::<Platform>() else {
                self.unknown(key);
                continue;
            };
            let Some(pins) = self.table((key, value)) else { continue };
            self.only(pins, &["manifest", "config"]);
            let (manifest, config) = (self.parsed(key, pins, "manifest"), self.parsed(key, pins, "config"));
            if let (Some(manifest), Some(config)) = (manifest, config) {
                platforms.insert(platform, LockedManifest { manifest, config });
            }
        }
        Some(LockedImage { digest: digest?, platforms })
    }

    fn commit(&mut self, name: &Spanned<Cow<'_, str>>, table: &DeTable<'_>) -> Option<LockedCommit> {
        self.only(table, &["commit", "reference", "object"]);
        let commit: Option<Commit> = self.parsed(name, table, "commit");
        let reference: Option<RefName> = self.parsed(name, table, "reference");
        let object = match table.get("object") {
            Some(_) => self.parsed::<Commit>(name, table, "object"),
            None => commit.clone(),
        };
        Some(LockedCommit { commit: commit?.0, reference: reference?.0, object: object?.0 })
    }

    fn file(&mut self, name: &Spanned<Cow<'_, str>>, table: &DeTable<'_>) -> Option<LockedFile> {
        self.only(table, &["digest"]);
        Some(LockedFile { digest: self.parsed(name, table, "digest")? })
    }

    fn table<'t>(&mut self, (key, value): Entry<'t>) -> Option<&'t DeTable<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            _ => {
                let message = format!("`{}` is no table", key.get_ref());
                let problem = self.problem(value.span(), &message, "a table is expected");
                self.problems.push(problem);
                None
            }
        }
    }

    fn parsed<T: FromStr>(
        &mut self,
        owner: &Spanned<Cow<'_, str>>,
        table: &DeTable<'_>,
        key: &str,
    ) -> Option<T> {
        let (span, text) = match table.get(key) {
            Some(value) => (value.span(), value.get_ref().as_str().map(str::to_string)),
            None => (owner.span(), None),
        };
        let parsed = text.as_deref().and_then(|text| text.parse().ok());
        if parsed.is_none() {
            let message = match text {
                Some(text) => format!("`{text}` is no value for `{key}`"),
                None => format!("`{}` has no `{key}`", owner.get_ref()),
            };
            let problem = self.problem(span, &message, "not as `mab lock` writes it");
            self.problems.push(problem.help("`mab lock --update` writes it anew"));
        }
        parsed
    }

    fn only(&mut self, table: &DeTable<'_>, known: &[&str]) {
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        unknown.for_each(|key| self.unknown(key));
    }

    fn unknown(&mut self, key: &Spanned<Cow<'_, str>>) {
        let message = format!("`{}` is not known in a lock", key.get_ref());
        let problem = self.problem(key.span(), &message, "not as `mab lock` writes it");
        self.problems
            .push(problem.help("use the mab that wrote it, or write it anew with `mab lock --update`"));
    }

    fn problem(&self, span: Range<usize>, message: &str, label: &str) -> Problem {
        Problem::input("lock::malformed", message).at(Place::new(self.source, span), label)
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(integer) => integer.as_str().parse().ok(),
        _ => None,
    }
}

/// The name of an object: all of its hex digits.
#[derive(Clone)]
struct Commit(String);

impl FromStr for Commit {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if GitReference::is_commit(text) { Ok(Self(text.to_string())) } else { Err(()) }
    }
}

/// The full name of a ref, which git cannot take for an option.
struct RefName(String);

impl FromStr for RefName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_name = text.starts_with("refs/") && !text.contains(char::is_whitespace);
        if is_name && !text.contains(':') { Ok(Self(text.to_string())) } else { Err(()) }
    }
}
