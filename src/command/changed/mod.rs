//! `--changed`: which targets have other inputs than at a git revision, and why.
//!
//! Inputs are the files that steps can reach (not whatever lies in a context), Dockerfiles as far as the target
//! uses them, ignore files, and the target's values in the build file. Who builds on a changed target, or needs
//! it, is changed as well. What is outside of the work tree and what comes from elsewhere is not compared, and
//! what git ignores cannot be: files of that kind that steps take are told. Triggers of bases count as steps, and
//! where a base is not known every file of the context does.

mod earlier;
pub(super) mod reach;
mod told;
mod triggers;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dockerfiles::{DockerfileReader, Found};
use super::project::{Loaded, ProjectOptions};
use super::session::{self, Session};
use super::{Failure, clean};
use crate::base::Platform;
use crate::diag::{Place, Problem};
use crate::dockerfile::Dockerfile;
use crate::facts::{Changes, Facts};
use crate::model::{self, Context, Project, Target, Variant};
use crate::plan::Selection;

use earlier::Earlier;
use triggers::{TriggerReader, Triggers};

/// Targets with the reasons why they are not as they were.
#[derive(Debug)]
pub struct Changed {
    /// What was compared with, for people.
    pub revision: String,
    pub commit: String,
    /// In the order of the selection.
    pub targets: Vec<(String, Vec<Reason>)>,
    /// Files that targets take and git ignores, so that nobody knows what they were; relative to the work tree.
    pub uncompared: Vec<(String, BTreeSet<PathBuf>)>,
}

/// Why a target counts as changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It is not in the build file of the revision.
    New,
    /// The build file of the revision is missing or wrong.
    NoBuildFile,
    /// A file that a step reaches; the path is relative to the work tree.
    File {
        path: PathBuf,
        step: String,
        place: Option<Place>,
    },
    Dockerfile {
        path: PathBuf,
    },
    /// A file that no step is known to reach, while nothing is known of the base and its ONBUILD triggers.
    Triggers {
        base: String,
        path: PathBuf,
    },
    IgnoreFile {
        path: PathBuf,
    },
    /// A key of the target in the build file, such as `args.GO`.
    Value {
        key: String,
    },
    /// Another target that it builds on (`is_context`) or needs.
    Target {
        name: String,
        is_context: bool,
    },
}

impl Changed {
    pub fn has(&self, target: &str) -> bool {
        self.targets.iter().any(|(name, _)| name == target)
    }
}

/// Compares everything of `selection`. `revision` is as given; without one it is the merge base with the default
/// branch.
pub(super) async fn find(
    selection: &Selection<'_>,
    loaded: &Loaded,
    options: &ProjectOptions,
    revision: Option<&str>,
    facts: &mut Facts,
    session: &Session<'_>,
) -> Result<Changed, Failure> {
    let changes = changes(&loaded.project, revision, facts)?;
    let earlier = Earlier::read(&changes, options, facts);
    let facts = &*facts;
    let mut reader = DockerfileReader::new(facts, session);
    let mut trigger_reader: Option<TriggerReader<'_>> = None;
    let build = session::build_platform(facts);
    let (mut targets, mut uncompared) = (BTreeMap::new(), Vec::new());
    for target in selection.all() {
        let mut reasons = values::reasons(&loaded.project, &earlier, target);
        let mut ignored = BTreeSet::new();
        for variant in &target.variants {
            let dockerfile = read(&mut reader, variant).await;
            let triggers = match &dockerfile {
                // Nobody is asked about bases where there is nothing that triggers could take.
                Some(dockerfile) if reach::has_changed_files(&changes, variant) => {
                    let reader_of_triggers =
                        trigger_reader.get_or_insert_with(|| TriggerReader::new(selection, session, facts));
                    reader_of_triggers.of(dockerfile, variant, &mut reader, &build).await
                }
                _ => Triggers::new(),
            };
            let examined = Examined { changes: &changes, earlier: &earlier, target, variant, build: &build };
            for reason in examined.reasons(dockerfile, &triggers, &mut ignored) {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        if !ignored.is_empty() {
            uncompared.push((target.name.clone(), ignored));
        }
        targets.insert(target.name.as_str(), reasons);
    }
    spread(selection, &mut targets);
    let ordered = selection.all().filter_map(|target| {
        let reasons = targets.remove(target.name.as_str()).filter(|reasons| !reasons.is_empty())?;
        Some((target.name.clone(), reasons))
    });
    let targets = ordered.collect();
    Ok(Changed { revision: changes.name.clone(), commit: changes.commit.clone(), targets, uncompared })
}

fn changes(project: &Project, revision: Option<&str>, facts: &Facts) -> Result<Changes, Failure> {
    let ci = facts.ci.as_ref();
    let of_ci = ci.and_then(|ci| ci.base_branch.as_deref().or(ci.default_branch.as_deref()));
    // What a pull request is to be merged into is more to the point than what the project calls its own.
    let branches: Vec<&str> = of_ci.into_iter().chain(project.default_branch.as_deref()).collect();
    Changes::since(&project.root, revision, &branches)
        .map_err(|error| vec![Problem::input("facts::changed", error.to_string()).help(error.help())])
}

/// A Dockerfile of this machine; what is wrong with it is told when it is read for the plan.
async fn read(reader: &mut DockerfileReader<'_>, variant: &Variant) -> Option<Arc<Dockerfile>> {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let is_here = matches!(
        (&variant.dockerfile, &variant.context.value),
        (model::Dockerfile::Inline(_), _) | (model::Dockerfile::File(_), Context::Directory(_))
    );
    match is_here {
        true => reader.read(variant, &mut Found { problems: &mut problems, warnings: &mut warnings }).await,
        false => None,
    }
}

/// One platform of a target, compared.
struct Examined<'a> {
    changes: &'a Changes,
    earlier: &'a Earlier,
    target: &'a Target,
    variant: &'a Variant,
    build: &'a Platform,
}

impl Examined<'_> {
    fn reasons(
        &self,
        dockerfile: Option<Arc<Dockerfile>>,
        triggers: &Triggers,
        ignored: &mut BTreeSet<PathBuf>,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let path = self.dockerfile_path();
        let Some(dockerfile) = dockerfile else {
            // Missing or wrong: the plan is to say so, if it changed.
            let changed = path.filter(|path| self.changes.has(path));
            reasons.extend(changed.map(|path| Reason::Dockerfile { path: self.relative(&path) }));
            return reasons;
        };
        if let Some(path) = path.filter(|path| self.changes.has(path)) {
            let before = self.earlier.dockerfile(self.changes, &path);
            let before = before.zip(self.earlier.variant(self.target, self.variant));
            let is_same = before.is_some_and(|(before, variant)| {
                reach::parts(&before, variant, self.build)
                    == reach::parts(&dockerfile, self.variant, self.build)
            });
            if !is_same {
                reasons.push(Reason::Dockerfile { path: self.relative(&path) });
            }
        }
        let (reached, taken) = reach::reached(self.changes, &dockerfile, self.variant, self.build, triggers);
        reasons.extend(reached);
        ignored.extend(taken);
        reasons
    }

    fn dockerfile_path(&self) -> Option<PathBuf> {
        match (&self.variant.dockerfile, &self.variant.context.value) {
            (model::Dockerfile::File(file), Context::Directory(root)) => Some(clean(&root.join(&file.value))),
            _ => None,
        }
    }

    fn relative(&self, path: &Path) -> PathBuf {
        self.changes.below(path).unwrap_or_else(|| path.to_path_buf())
    }
}

/// Gives the targets that depend on changed ones their reasons, until nothing more comes of it.
fn spread<'a>(selection: &Selection<'a>, targets: &mut BTreeMap<&'a str, Vec<Reason>>) {
    let links: Vec<(&str, &str, bool)> = selection.all().flat_map(links).collect();
    loop {
        let mut is_settled = true;
        for (from, to, is_context) in &links {
            if targets.get(to).is_none_or(Vec::is_empty) {
                continue;
            }
            let reason = Reason::Target { name: to.to_string(), is_context: *is_context };
            let reasons = targets.entry(from).or_default();
            if from != to && !reasons.contains(&reason) {
                reasons.push(reason);
                is_settled = false;
            }
        }
        if is_settled {
            return;
        }
    }
}

fn links(target: &Target) -> impl Iterator<Item = (&str, &str, bool)> {
    let contexts = target.variants.iter().flat_map(|variant| variant.contexts.values());
    let contexts = contexts.filter_map(|context| match &context.value {
        Context::Target(name) => Some((name.as_str(), true)),
        _ => None,
    });
    let needs = target.needs.iter().map(|need| (need.value.as_str(), false));
    contexts.chain(needs).map(|(name, is_context)| (target.name.as_str(), name, is_context))
}
