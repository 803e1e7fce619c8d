//! What every CI system is told: which targets for which platforms in which order, and what they need.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::word;
use super::runner::Runner;
use crate::base::{Platform, Reference};
use crate::model::{CacheKind, Output, Project, SecretSource, Target};
use crate::plan::{Node, Plan, PublishTarget};

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// One job for each platform, and one that joins them.
    pub is_split: bool,
    /// The build file, where it is not the usual one.
    pub file: Option<String>,
    /// Targets and groups as they are named; none for the default.
    pub names: Vec<String>,
    /// Where releases of `mab` are: `OWNER/REPO`, or `./` for an action of the repository itself.
    pub source: String,
    /// A shell command that installs `mab`, in place of a release.
    pub install: Option<String>,
    /// Another engine than that of the machine.
    pub builder: Option<String>,
    pub version: String,
}

/// Targets that can be built at one time, on every platform of any of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub targets: Vec<String>,
    pub platforms: Vec<Platform>,
}

#[derive(Clone, Debug)]
pub struct Pipeline {
    pub title: String,
    pub options: Options,
    /// One, unless a cache carries results from one level to the next.
    pub levels: Vec<Level>,
    /// Targets stand on others, and no cache that machines share has those.
    pub lacks_cache: bool,
    /// Targets and groups of a build that publishes nothing: what groups require is required of releases.
    pub tried: Vec<String>,
    /// A group requires a tag: what is merged is not released.
    pub releases_tags_only: bool,
    /// Hosts that images are pushed to, or results of a cache.
    pub registries: Vec<String>,
    /// Targets that are pushed.
    pub pushed: BTreeSet<String>,
    /// Environment variables that secrets come from.
    pub secrets: Vec<String>,
    pub default_branch: String,
    /// Results of steps are kept in GitHub's cache.
    pub uses_github_cache: bool,
    /// Files and folders that outputs write.
    pub files: Vec<String>,
    /// `sbom` and the like are asked for, which builders alone make.
    pub attests: bool,
}

impl Pipeline {
    pub fn new(plan: &Plan, project: &Project, requested: &[String], options: Options) -> Self {
        let targets: Vec<&Target> = requested.iter().map(|name| &project.targets[name]).collect();
        let edges = edges(plan);
        let stood_on = requested.iter().filter(|name| edges.values().any(|below| below.contains(*name)));
        let stood_on: Vec<&Target> = stood_on.map(|name| &project.targets[name]).collect();
        let is_shared =
            stood_on.iter().all(|target| kinds(target, project).iter().any(|kind| is_shared(*kind)));
        let levels = match options.is_split && !stood_on.is_empty() && is_shared {
            true => levels(&targets, &edges),
            false => vec![level(&targets)],
        };
        let required = required(project, &options.names);
        let variants = || targets.iter().flat_map(|target| &target.variants);
        let secrets: BTreeSet<String> = variants()
            .flat_map(|variant| variant.secrets.values())
            .filter_map(|secret| match &secret.value {
                SecretSource::Env(name) => Some(name.clone()),
                SecretSource::Variable { env, .. } => env.clone(),
                SecretSource::File(_) | SecretSource::ById(_) => None,
            })
            .collect();
        let all = plan.nodes().filter_map(|(_, node)| match node {
            Node::Build(build) => project.targets.get(&build.target),
            _ => None,
        });
        let mut all = all.flat_map(|target| kinds(target, project));
        Self {
            title: match &options.names[..] {
                [] => project.name.clone(),
                names => names.join(" "),
            },
            tried: match required.is_empty() {
                true => options.names.clone(),
                false => requested.to_vec(),
            },
            releases_tags_only: required.contains("tag"),
            lacks_cache: !stood_on.is_empty() && !is_shared,
            levels,
            registries: registries(plan, project),
            pushed: published(plan).map(|target| target.target.clone()).collect(),
            secrets: secrets.into_iter().collect(),
            default_branch: project.default_branch.clone().unwrap_or_else(|| "main".to_string()),
            uses_github_cache: all.any(|kind| kind == CacheKind::Gha),
            files: files(plan, project),
            attests: targets.iter().any(|target| !target.attestations.is_empty()),
            options,
        }
    }

    /// Whether machines make parts that are joined.
    pub fn is_split(&self) -> bool {
        self.options.is_split && self.delivers()
    }

    /// Whether anything leaves the pipeline.
    pub fn delivers(&self) -> bool {
        !self.pushed.is_empty() || !self.files.is_empty()
    }

    /// What a job that builds one level says of it in its name.
    pub(super) fn step(&self, at: usize) -> String {
        if self.levels.len() == 1 { String::new() } else { format!(" {}", self.levels[at].targets.join(" ")) }
    }

    pub(super) fn runners(&self, level: &Level) -> Vec<Runner> {
        level.platforms.iter().map(Runner::of).collect()
    }

    /// Platforms that no machine of the pipeline runs natively, of a job that builds all of them on one for amd64.
    pub(super) fn emulates(&self) -> bool {
        let platforms = self.levels.iter().flat_map(|level| &level.platforms);
        platforms.map(Runner::of).any(|runner| {
            runner.is_emulated || !self.is_split() && runner.machine != super::runner::Machine::Amd64
        })
    }

    /// The words between `mab VERB` and its flags: a file and names.
    fn words(&self, names: &[String]) -> String {
        let mut words: Vec<String> = names.iter().map(|name| word(name)).collect();
        if let Some(file) = &self.options.file {
            words.push(format!("-f {}", word(file)));
        }
        words.join(" ")
    }

    fn builder(&self) -> String {
        self.options.builder.as_ref().map(|name| format!(" --builder {}", word(name))).unwrap_or_default()
    }

    /// `bake …` of everything, on one machine.
    pub(super) fn bake(&self, more: &str) -> String {
        tidy(&format!("bake {}{} {more}", self.words(&self.options.names), self.builder()))
    }

    /// The same of what publishes nothing.
    pub(super) fn bake_tried(&self, more: &str) -> String {
        tidy(&format!("bake {}{} {more}", self.words(&self.tried), self.builder()))
    }

    /// `bake …` of a level for one platform; `platform` is how the system says which.
    pub(super) fn bake_level(&self, level: &Level, platform: &str, more: &str) -> String {
        let names = if self.levels.len() == 1 { &self.tried } else { &level.targets };
        tidy(&format!("bake {}{} --platform {platform} {more}", self.words(names), self.builder()))
    }

    /// The part of a level: of everything that is named, so that what groups say of their members holds here, too.
    pub(super) fn part(&self, level: &Level, platform: &str) -> String {
        let only = match self.levels.len() {
            1 => String::new(),
            _ => format!("--only {}", word(&level.targets.join(","))),
        };
        let words = self.words(&self.options.names);
        tidy(&format!("bake {words}{} {only} --platform {platform} --part parts/", self.builder()))
    }

    pub(super) fn merge(&self) -> String {
        tidy(&format!("merge {} parts/", self.words(&self.options.names)))
    }

    /// `build`, or `build-2` where there are several levels.
    pub(super) fn job(&self, at: usize) -> String {
        if self.levels.len() == 1 { "build".to_string() } else { format!("build-{}", at + 1) }
    }
}

/// What the groups that are named, and those within them, require.
fn required(project: &Project, names: &[String]) -> BTreeSet<&'static str> {
    let default = ["default".to_string()];
    let names = if names.is_empty() { &default[..] } else { names };
    let mut waiting: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut required, mut seen) = (BTreeSet::new(), BTreeSet::new());
    while let Some(name) = waiting.pop() {
        if let Some(group) = project.groups.get(name).filter(|_| seen.insert(name)) {
            required.extend(group.require.iter().copied());
            waiting.extend(group.targets.iter().map(|member| member.value.as_str()));
        }
    }
    required
}

fn tidy(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Of each target the targets that it stands on or waits for.
fn edges(plan: &Plan) -> BTreeMap<&str, BTreeSet<String>> {
    let mut edges: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (id, node) in plan.nodes() {
        let Node::Build(node) = node else { continue };
        let below = edges.entry(&node.target).or_default();
        for dependency in plan.dependencies(id) {
            if let Node::Build(other) = plan.node(dependency)
                && other.target != node.target
            {
                below.insert(other.target.clone());
            }
        }
    }
    edges
}

fn levels(targets: &[&Target], edges: &BTreeMap<&str, BTreeSet<String>>) -> Vec<Level> {
    let mut left: Vec<&Target> = targets.to_vec();
    let mut levels = Vec::new();
    while !left.is_empty() {
        let waits = |target: &&Target| {
            let below = edges.get(target.name.as_str());
            left.iter().any(|other| below.is_some_and(|below| below.contains(&other.name)))
        };
        let (later, now): (Vec<&Target>, Vec<&Target>) = left.iter().copied().partition(waits);
        // A plan has no cycles; were there one, its targets would go together.
        let now = if now.is_empty() { later.clone() } else { now };
        levels.push(level(&now));
        left.retain(|target| !now.iter().any(|built| built.name == target.name));
    }
    levels
}

fn level(targets: &[&Target]) -> Level {
    let mut platforms: Vec<Platform> = Vec::new();
    for variant in targets.iter().flat_map(|target| &target.variants) {
        if !platforms.contains(&variant.platform.value) {
            platforms.push(variant.platform.value.clone());
        }
    }
    Level { targets: targets.iter().map(|target| target.name.clone()).collect(), platforms }
}

/// The kinds of the caches that a target writes.
fn kinds(target: &Target, project: &Project) -> Vec<CacheKind> {
    let named = target.cache.named.iter().filter_map(|name| project.caches.get(&name.value));
    let named = named.map(|cache| cache.entry.kind);
    named.chain(target.cache.to.iter().map(|entry| entry.value.kind)).collect()
}

fn is_shared(kind: CacheKind) -> bool {
    !matches!(kind, CacheKind::Local | CacheKind::Inline)
}

fn published(plan: &Plan) -> impl Iterator<Item = &PublishTarget> {
    plan.nodes().flat_map(|(_, node)| match node {
        Node::Publish(publish) => publish.targets.as_slice(),
        _ => &[],
    })
}

/// Where images go, and where caches are written.
fn registries(plan: &Plan, project: &Project) -> Vec<String> {
    let names = published(plan).flat_map(|target| &target.names);
    let mut hosts: BTreeSet<String> = names.map(|name| name.registry().to_string()).collect();
    for (_, node) in plan.nodes() {
        let Node::Build(build) = node else { continue };
        let Some(target) = project.targets.get(&build.target) else { continue };
        let named = target.cache.named.iter().filter_map(|name| project.caches.get(&name.value));
        let entries = named.map(|cache| &cache.entry).chain(target.cache.to.iter().map(|entry| &entry.value));
        let places = entries.filter(|entry| entry.kind == CacheKind::Registry);
        let places = places.filter_map(|entry| entry.parameters.get("ref")?.parse::<Reference>().ok());
        hosts.extend(places.map(|place| place.registry().to_string()));
    }
    hosts.into_iter().collect()
}

/// What outputs write, below the project's folder.
fn files(plan: &Plan, project: &Project) -> Vec<String> {
    let mut files = BTreeSet::new();
    for (_, node) in plan.nodes() {
        let Node::Merge(merge) = node else { continue };
        for output in &merge.outputs {
            let path = match output {
                Output::Local { dest, .. } => Some(dest),
                Output::Oci { dest, .. }
                | Output::Tar { dest, .. }
                | Output::Docker { dest: Some(dest), .. } => match dest {
                    crate::model::Dest::Path(path) => Some(path),
                    crate::model::Dest::Stdout => None,
                },
                _ => None,
            };
            files.extend(
                path.and_then(|path| path.strip_prefix(&project.root).ok())
                    .map(|path| path.display().to_string()),
            );
        }
    }
    files.into_iter().collect()
}
