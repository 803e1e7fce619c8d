//! Which changed files a target's steps reach. Paths are matched as texts, since files that are gone count as well;
//! links that sources lead through are followed where they are still there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Reason;
use super::triggers::Triggers;
use crate::base::{Digest, Platform};
use crate::command::clean;
use crate::context::IgnoreFile;
use crate::dockerfile::Dockerfile;
use crate::facts::Changes;
use crate::model::{self, Context, Variant};
use crate::oci::ImageConfig;
use crate::pattern::{Glob, Ignore};
use crate::steps::{
    BaseImage, BaseRequest, CopyFrom, CopyOp, Lowered, Op, Setting, Step, base_requests, lower_assuming,
    lowered_parts,
};

/// What identifies the steps of a build, bases by name; nothing when it has no meaning.
pub(super) fn parts(dockerfile: &Dockerfile, variant: &Variant, build: &Platform) -> Option<Digest> {
    lowered(dockerfile, variant, build, &Triggers::new()).map(|lowered| lowered_parts(&lowered).digest())
}

/// Lowered with bases of which nothing is known but their names and triggers.
fn lowered(
    dockerfile: &Dockerfile,
    variant: &Variant,
    build: &Platform,
    triggers: &Triggers,
) -> Option<Lowered> {
    lower_assuming(&Setting::new(dockerfile, variant, build), |request| {
        let mut config = ImageConfig::default();
        config.config.on_build = triggers.get(&(request.name.clone(), request.platform.clone())).cloned();
        let manifest = Digest::of(format!("{} {}", request.name, request.platform).as_bytes());
        BaseImage::new(manifest, config.into())
    })
}

/// Whether anything has changed that triggers could take: the main context is theirs alone to copy from.
pub(super) fn has_changed_files(changes: &Changes, variant: &Variant) -> bool {
    FileTree::of(changes, variant, None)
        .is_some_and(|tree| !tree.changed.is_empty() || tree.changed_rules.is_some())
}

/// The steps that take files, of those that the result needs.
fn copying(lowered: &Lowered) -> impl Iterator<Item = (&Step, &CopyOp)> {
    let needed = lowered.needed();
    lowered.steps.iter().filter(move |step| needed.contains(&step.id)).filter_map(|step| match &step.op {
        Op::Copy(copy) => Some((step, copy)),
        _ => None,
    })
}

/// What the steps of a Dockerfile take of files; nothing when it has no meaning.
pub(in crate::command) fn copies(
    dockerfile: &Dockerfile,
    variant: &Variant,
    build: &Platform,
) -> Option<Vec<CopyOp>> {
    Some(copies_of(&lowered(dockerfile, variant, build, &Triggers::default())?))
}

/// The same of a Dockerfile whose bases are known.
pub(in crate::command) fn copies_of(lowered: &Lowered) -> Vec<CopyOp> {
    copying(lowered).map(|(_, copy)| copy.clone()).collect()
}

/// What of the changes a target's steps reach, and which files they take that git ignores.
pub(super) fn reached(
    changes: &Changes,
    dockerfile: &Dockerfile,
    variant: &Variant,
    build: &Platform,
    triggers: &Triggers,
) -> (Vec<Reason>, BTreeSet<PathBuf>) {
    let Some(lowered) = lowered(dockerfile, variant, build, triggers) else { return Default::default() };
    let copies = copying(&lowered);
    let mut trees: BTreeMap<Option<&str>, Option<FileTree>> = BTreeMap::new();
    let mut reasons = Vec::new();
    let mut ignored = BTreeSet::new();
    for (step, copy) in copies {
        let name = match &copy.from {
            CopyFrom::MainContext => None,
            CopyFrom::Context(name) => Some(name.as_str()),
            CopyFrom::Remote(_) | CopyFrom::Step(_) => continue,
        };
        let tree = trees.entry(name).or_insert_with(|| FileTree::of(changes, variant, name));
        let Some(tree) = tree else { continue };
        reasons.extend(tree.reasons(changes, step, copy));
        ignored.extend(tree.ignored(changes, copy));
    }
    let unknown = unknown_bases(changes, dockerfile, variant, build, triggers, &reasons);
    reasons.extend(unknown);
    (reasons, ignored)
}

/// A base of which nothing is known may have triggers that take any file.
fn unknown_bases(
    changes: &Changes,
    dockerfile: &Dockerfile,
    variant: &Variant,
    build: &Platform,
    triggers: &Triggers,
    known: &[Reason],
) -> Vec<Reason> {
    let Some(tree) = FileTree::of(changes, variant, None) else { return Vec::new() };
    let is_reached = |path: &PathBuf| {
        known.iter().any(|reason| matches!(reason, Reason::File { path: reached, .. } if reached == path))
    };
    let paths = tree.changed.iter().map(|path| tree.root.join(path));
    let mut paths = paths.map(|path| changes.below(&path).unwrap_or(path));
    let Some(path) = paths.find(|path| !is_reached(path)) else { return Vec::new() };
    let requests = base_requests(&Setting::new(dockerfile, variant, build)).unwrap_or_default();
    let is_base = |request: &BaseRequest| {
        dockerfile.stages.iter().any(|stage| stage.from.image.place.as_ref() == Some(&request.place))
    };
    let is_known =
        |request: &BaseRequest| triggers.contains_key(&(request.name.clone(), request.platform.clone()));
    let unknown = requests.into_iter().filter(|request| is_base(request) && !is_known(request));
    unknown.map(|request| Reason::Triggers { base: request.name, path: path.clone() }).collect()
}

/// A directory that is a context, and what has changed in it.
struct FileTree {
    root: PathBuf,
    /// Absolute, of the ignore file if that has changed.
    changed_rules: Option<PathBuf>,
    /// Relative to the root, without what is ignored.
    changed: Vec<PathBuf>,
    /// The same, of what git ignores; a folder for all that is in it.
    ignored: Vec<PathBuf>,
}

impl FileTree {
    fn of(changes: &Changes, variant: &Variant, name: Option<&str>) -> Option<Self> {
        let context = match name {
            Some(name) => variant.contexts.get(name)?,
            None => &variant.context,
        };
        let Context::Directory(root) = &context.value else { return None };
        // Work trees may be reached through links, and git names what these lead to.
        let root = fs::canonicalize(root).unwrap_or_else(|_| clean(root));
        let dockerfile = match (&variant.dockerfile, name) {
            (model::Dockerfile::File(file), None) => Some(clean(&root.join(&file.value))),
            _ => None,
        };
        let found = IgnoreFile::find(&root, dockerfile.as_deref()).ok().flatten();
        // One that is gone has changed, too.
        let own = dockerfile.map(|path| PathBuf::from(format!("{}.dockerignore", path.display())));
        let places = own.into_iter().chain([root.join(".dockerignore")]);
        let changed_rules = places
            .take_while(|path| found.as_ref().is_none_or(|found| found.path != *path))
            .chain(found.as_ref().map(|found| found.path.clone()))
            .find(|path| changes.has(path));
        let rules = found.and_then(|found| found.parse().ok()).unwrap_or_default();
        let relative = |path: &Path| changes.root.join(path).strip_prefix(&root).ok().map(Path::to_path_buf);
        let is_seen = |path: &PathBuf| !rules.matches(path.as_os_str().as_bytes());
        let changed = changes.within(&root).filter_map(relative).filter(is_seen).collect();
        let ignored = changes.ignored_within(&root).filter_map(relative).filter(is_seen).collect();
        Some(Self { root, changed_rules, changed, ignored })
    }

    fn reasons(&self, changes: &Changes, step: &Step, copy: &CopyOp) -> Vec<Reason> {
        let relative = |path: &Path| changes.below(path).unwrap_or_else(|| path.to_path_buf());
        let rules = self.changed_rules.iter().map(|path| Reason::IgnoreFile { path: relative(path) });
        let reach = Reach::of(copy, &self.root);
        let files =
            self.changed.iter().filter(|path| reach.has(path, self.root.join(path).is_dir())).map(|path| {
                Reason::File {
                    path: relative(&self.root.join(path)),
                    step: step.text.clone(),
                    place: step.place.clone(),
                }
            });
        rules.chain(files).collect()
    }

    /// What the step takes of the files that git ignores.
    fn ignored(&self, changes: &Changes, copy: &CopyOp) -> Vec<PathBuf> {
        if self.ignored.is_empty() {
            return Vec::new();
        }
        let reach = Reach::of(copy, &self.root);
        let paths = self.ignored.iter().map(|path| (path, self.root.join(path)));
        let taken = paths.filter(|(path, whole)| reach.has(path, whole.is_dir()));
        taken.map(|(_, whole)| changes.below(&whole).unwrap_or(whole)).collect()
    }
}

/// What one COPY takes of a directory, by the texts of paths.
pub(in crate::command) struct Reach {
    sources: Vec<Source>,
    exclude: Ignore,
}

/// A path whose components are patterns; with `--parents`, a further pattern for what is below.
struct Source {
    components: Vec<Component>,
    below: Option<Ignore>,
}

enum Component {
    Name(Vec<u8>),
    Pattern(Glob),
}

impl Reach {
    pub(in crate::command) fn of(copy: &CopyOp, root: &Path) -> Self {
        let exclude = Ignore::from_patterns(copy.exclude.iter().map(String::as_bytes)).unwrap_or_default();
        let mut sources = Vec::new();
        for source in &copy.sources {
            let (path, below) = match copy.parents {
                true => source.split_once("/./").unwrap_or(("", source)),
                false => (source.as_str(), ""),
            };
            let below = below.trim_matches('/');
            let below =
                (!below.is_empty()).then(|| Ignore::from_patterns([below.as_bytes()]).unwrap_or_default());
            let components = components(path, copy.is_mounted);
            if below.is_none() {
                let links = linked(root, &components).into_iter();
                sources.extend(links.map(|path| Source { components: components_of(&path), below: None }));
            }
            sources.push(Source { components, below });
        }
        Self { sources, exclude }
    }

    /// Whether `path` is taken; of a submodule, which is one changed path, something below it.
    pub(in crate::command) fn has(&self, path: &Path, is_directory: bool) -> bool {
        let names: Vec<&[u8]> = path.components().map(|name| name.as_os_str().as_bytes()).collect();
        self.sources.iter().any(|source| {
            let begins =
                source.components.iter().zip(&names).all(|(component, name)| component.matches(name));
            let rest = names.get(source.components.len()..).unwrap_or_default().join(&b'/');
            if !begins || rest.is_empty() {
                return begins;
            }
            let is_meant = source
                .below
                .as_ref()
                .is_none_or(|below| below.matches(&rest) || is_directory && below.may_match_below(&rest));
            is_meant && !self.exclude.matches(&rest)
        })
    }
}

impl Component {
    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Pattern(pattern) => pattern.matches(name),
        }
    }
}

fn components(path: &str, is_literal: bool) -> Vec<Component> {
    let cleaned = clean(&Path::new("/").join(path.trim_start_matches('/')));
    let names = cleaned.components().skip(1).map(|name| name.as_os_str().as_bytes().to_vec());
    names
        .map(|name| match Glob::parse(&name) {
            Ok(pattern) if !is_literal && Glob::is_wild(&name) => Component::Pattern(pattern),
            _ => Component::Name(name),
        })
        .collect()
}

fn components_of(path: &Path) -> Vec<Component> {
    path.components().map(|name| Component::Name(name.as_os_str().as_bytes().to_vec())).collect()
}

/// Where sources lead that go through links: paths relative to the root.
fn linked(root: &Path, components: &[Component]) -> Vec<PathBuf> {
    let mut paths = vec![root.to_path_buf()];
    for component in components {
        paths = match component {
            Component::Name(name) => {
                paths.iter().map(|path| path.join(std::ffi::OsStr::from_bytes(name))).collect()
            }
            Component::Pattern(pattern) => paths
                .iter()
                .filter_map(|path| fs::read_dir(path).ok())
                .flat_map(|entries| entries.flatten())
                .filter(|entry| pattern.matches(entry.file_name().as_bytes()))
                .map(|entry| entry.path())
                .collect(),
        };
    }
    let led = paths.iter().filter_map(|path| fs::canonicalize(path).ok().filter(|led| led != path));
    led.filter_map(|led| led.strip_prefix(root).ok().map(Path::to_path_buf)).collect()
}
