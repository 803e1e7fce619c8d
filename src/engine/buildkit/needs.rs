//! What a build asks of its worker, and whether that is able of it: versions of the Dockerfile language, which workers'
//! own frontends read, stores that keep more than images, entitlements.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::place;
use crate::base::{GitReference, GitTimes, PinnedCommit, PinnedSource};
use crate::diag::Place;
use crate::dockerfile::{Dockerfile, Instruction, InstructionKind, Run, Security, Stage};
use crate::model::{Attestation, CacheUse, Entitlement, Variant};

/// One thing that not every worker does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// As messages call it.
    pub what: String,
    pub asks: Asks,
    pub place: Option<Place>,
}

impl Need {
    /// That one repository is taken with the times of its commit and with those of its checkout.
    fn two_times(place: Option<Place>) -> Self {
        let what = "one repository with two kinds of `mtime`".to_string();
        Self { what, asks: Asks::TimesOfFiles, place }
    }

    /// The same where what is taken is known, in whatever words.
    pub fn of_sources(sources: &[PinnedSource]) -> Option<Self> {
        let references = sources.iter().filter_map(|source| match source {
            PinnedSource::Git(commit) => Some(&commit.git),
            PinnedSource::Http { .. } => None,
        });
        let mut known = BTreeMap::new();
        let differs = |git: &GitReference| *known.entry(place(git)).or_insert(git.times) != git.times;
        references.into_iter().any(differs).then(|| Self::two_times(None))
    }

    /// That an image goes from the worker into its repository.
    pub fn left() -> Self {
        let what = "a result that stays in the registry".to_string();
        Self { what, asks: Asks::ImageStore, place: None }
    }
}

/// Of what a worker must be able.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// The minor version of the language that the need came with: 20 is Dockerfile 1.20.
    Language(u64),
    /// Another store than the classic one of a Docker Engine.
    ImageStore,
    /// That its own configuration allows it.
    Entitlement(Entitlement),
    /// A frontend that says which times it wants of a repository's files: none does of those that ADD takes.
    TimesOfFiles,
}

impl Asks {
    pub fn entitlement(self) -> Option<Entitlement> {
        match self {
            Self::Entitlement(entitlement) => Some(entitlement),
            Self::Language(_) | Self::ImageStore | Self::TimesOfFiles => None,
        }
    }
}

/// What a worker is able of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Abilities {
    pub language: Language,
    /// It builds into the classic store of a Docker Engine.
    pub has_classic_store: bool,
    /// Of the entitlements that it was asked about those that it does not grant.
    pub denied: BTreeSet<Entitlement>,
}

impl Abilities {
    pub fn lacks(&self, need: &Need) -> bool {
        match need.asks {
            Asks::Language(version) => self.language.minor.is_some_and(|minor| minor < version),
            Asks::ImageStore => self.has_classic_store,
            Asks::Entitlement(entitlement) => self.denied.contains(&entitlement),
            Asks::TimesOfFiles => true,
        }
    }
}

/// What a worker's frontend understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Language {
    /// The minor version; none where the worker's version tells nothing, which is taken for the newest.
    pub minor: Option<u64>,
}

/// The oldest that is known to give files of a repository the time of their commit.
const GIT_TIMES: u64 = 26;

/// The oldest that is known to do so for a folder of one, too: before, BuildKit asks git for the time in a folder that
/// it has removed.
const GIT_FOLDER_TIMES: u64 = 28;

/// From here on, frontends make the same images of what they understand.
const SETTLED: u64 = 7;

impl Language {
    /// Of a BuildKit, by the version that it tells. From 0.8 with 1.2 on, each release of the one has come with one of
    /// the other.
    pub fn of_buildkit(version: &str) -> Self {
        let version = semver::Version::parse(version.trim_start_matches('v')).ok();
        let version = version.filter(|version| (version.major, version.minor) > (0, 7));
        Self { minor: version.filter(|version| version.major == 0).map(|version| version.minor - 6) }
    }

    /// Of a Docker Engine with the classic store, by its version and the one that its BuildKit tells, if any.
    pub fn of_engine(engine: &str, buildkit: &str) -> Self {
        let told = Self::of_buildkit(buildkit);
        let numbers = engine.split('.').map(|part| part.parse::<u64>().ok());
        let numbers: Vec<u64> = numbers.map_while(|number| number).take(2).collect();
        match numbers[..] {
            _ if told.minor.is_some() => told,
            [20, 10] => Self { minor: Some(2) },
            [major, _] if major <= 20 => Self { minor: Some(0) },
            // BuildKit 0.10, which is also the least of what came later.
            _ => Self { minor: Some(4) },
        }
    }

    /// Whether the files of a commit are right where its BuildKit takes them. Whoever does not tell its version may be
    /// an old one, and being sent files is right for all.
    pub fn takes(self, commit: &PinnedCommit) -> bool {
        let is_a_folder = commit.git.subdir.is_some();
        let since = if is_a_folder { GIT_FOLDER_TIMES } else { GIT_TIMES };
        let is_old = self.minor.is_none_or(|minor| minor < since);
        !is_old
            || commit.git.times == GitTimes::Checkout
            || commit.git.keep_git_dir == Some(true) && !is_a_folder
    }

    /// Whether some of what it understands comes out otherwise than today.
    pub fn is_of_an_old_frontend(self) -> bool {
        self.minor.is_none_or(|minor| minor < SETTLED)
    }
}

/// All that a Dockerfile and the keys of its target ask for, in the order of the file.
pub fn needs(
    dockerfile: &Dockerfile,
    variant: &Variant,
    caches: &CacheUse,
    attestations: &[Attestation],
) -> Vec<Need> {
    let mut found = Vec::new();
    dockerfile.global_args.iter().for_each(|arg| of_instruction(arg, &mut found));
    for stage in &dockerfile.stages {
        of_from(stage, &mut found);
        stage.instructions.iter().for_each(|instruction| of_instruction(instruction, &mut found));
    }
    found.extend(of_repositories(dockerfile));
    let files = variant.contexts.iter().filter(|(_, context)| context.value.is_files());
    let stands_in = |name: &String| {
        dockerfile.stages.iter().any(|stage| stage.name.as_ref() == Some(&name.to_lowercase()))
    };
    let images =
        variant.contexts.iter().filter(|(name, context)| !context.value.is_files() && stands_in(name));
    found.extend(images.map(|(name, context)| Need {
        what: format!("the named context `{name}`, which stands in for a stage"),
        asks: Asks::Language(4),
        place: context.place.clone(),
    }));
    found.extend(files.map(|(name, context)| Need {
        what: format!("the named context `{name}`, which is files"),
        asks: Asks::Language(4),
        place: context.place.clone(),
    }));
    let keys = [("`ulimits`", !variant.ulimits.is_empty()), ("`shm-size`", variant.shm_size.is_some())];
    let keys = keys.into_iter().filter(|(_, is_given)| *is_given);
    found.extend(keys.map(|(key, _)| Need { what: key.to_string(), asks: Asks::Language(4), place: None }));
    found.extend(of_engines(variant, caches, attestations));
    found
}

/// What does not depend on how Dockerfiles are read.
fn of_engines(variant: &Variant, caches: &CacheUse, attestations: &[Attestation]) -> Vec<Need> {
    let attestations = attestations.iter().map(|asked| Need {
        what: format!("the attestation `{}`", asked.kind.name()),
        asks: Asks::ImageStore,
        place: None,
    });
    let entries = caches.from.iter().chain(&caches.to).map(|cache| Need {
        what: format!("a cache of steps, `type={}`", cache.value.kind.name()),
        asks: Asks::ImageStore,
        place: cache.place.clone(),
    });
    let named = caches.named.iter().map(|name| Need {
        what: format!("a cache of steps, `{}`", name.value),
        asks: Asks::ImageStore,
        place: name.place.clone(),
    });
    let entitlements = variant.entitlements.iter().map(|entitlement| Need {
        what: format!("the entitlement `{}`", entitlement.value),
        asks: Asks::Entitlement(entitlement.value),
        place: entitlement.place.clone(),
    });
    attestations.chain(named).chain(entries).chain(entitlements).collect()
}

fn of_from(stage: &Stage, found: &mut Vec<Need>) {
    let place = Some(stage.from.place.clone());
    found.extend(substitution(&stage.from.text).map(|language| substitutes(language, place)));
}

fn substitutes(language: u64, place: Option<Place>) -> Need {
    Need { what: "a newer way to write `${…}`".to_string(), asks: Asks::Language(language), place }
}

fn of_instruction(instruction: &Instruction, found: &mut Vec<Need>) {
    let place = Some(instruction.place.clone());
    let mut add = |is_used: bool, what: &str, language: u64| {
        found.extend(is_used.then(|| Need {
            what: what.to_string(),
            asks: Asks::Language(language),
            place: place.clone(),
        }));
    };
    // Whoever does not know a flag does not take its `false` either.
    let has = |flag: &str| instruction.text.split_whitespace().any(|word| word.starts_with(flag));
    match &instruction.kind {
        InstructionKind::Run(run) => return of_run(run, &mut add),
        InstructionKind::Copy(copy) => {
            add(!copy.heredocs.is_empty(), "a here-document in `COPY`", 4);
            add(has("--link"), "`COPY --link`", 4);
            add(has("--parents"), "`COPY --parents`", 20);
            add(!copy.exclude.is_empty(), "`COPY --exclude`", 19);
            add(is_special(copy.chmod.as_deref()), "`COPY --chmod` with more than `rwx` in numbers", 14);
        }
        InstructionKind::Add(added) => {
            add(!added.heredocs.is_empty(), "a here-document in `ADD`", 4);
            add(has("--link"), "`ADD --link`", 4);
            add(added.checksum.is_some(), "`ADD --checksum`", 6);
            add(added.keep_git_dir.is_some(), "`ADD --keep-git-dir`", 6);
            add(added.unpack.is_some(), "`ADD --unpack`", 17);
            add(!added.exclude.is_empty(), "`ADD --exclude`", 19);
            add(is_special(added.chmod.as_deref()), "`ADD --chmod` with more than `rwx` in numbers", 14);
            let repositories = || added.sources.iter().filter(|source| repository(source).is_some());
            let has_url = added.sources.iter().any(|source| source.contains("://"));
            // Older ones cannot be held to what the key was made of.
            add(has_url || repositories().next().is_some(), "`ADD` from elsewhere", 6);
            // What is in `.git` is not sent as files are.
            let keeps = added.keep_git_dir == Some(true);
            add(
                keeps && repositories().next().is_some(),
                "`ADD --keep-git-dir` with the times of the commit",
                GIT_TIMES,
            );
            let is_query = repositories().any(|source| source.contains('?'));
            add(is_query, "options in the URL of a repository", GIT_TIMES);
            let is_checked = added.checksum.is_some() && repositories().next().is_some();
            add(is_checked, "`ADD --checksum` of a repository", GIT_TIMES);
        }
        InstructionKind::Healthcheck(_) => {
            add(instruction.text.contains("--start-interval"), "`HEALTHCHECK --start-interval`", 6);
        }
        // The shell's own, or never expanded.
        InstructionKind::Cmd(_) | InstructionKind::Entrypoint(_) | InstructionKind::Shell(_) => return,
        InstructionKind::OnBuild(_) => {
            return add(instruction.text.contains("<<"), "a here-document in `ONBUILD`", 4);
        }
        InstructionKind::Maintainer(_) => return,
        InstructionKind::Arg(_)
        | InstructionKind::Env(_)
        | InstructionKind::Label(_)
        | InstructionKind::Expose(_)
        | InstructionKind::User(_)
        | InstructionKind::Workdir(_)
        | InstructionKind::StopSignal(_)
        | InstructionKind::Volume(_) => {}
    }
    found.extend(substitution(&instruction.text).map(|language| substitutes(language, place)));
}

/// The ADD that takes a repository with other times than one before it.
fn of_repositories(dockerfile: &Dockerfile) -> Option<Need> {
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let taken = instructions.flat_map(|instruction| match &instruction.kind {
        InstructionKind::Add(added) => {
            let references = added.sources.iter().filter_map(|source| repository(source));
            references.map(|git| (git, &instruction.place)).collect()
        }
        _ => Vec::new(),
    });
    let mut known = BTreeMap::new();
    let mut taken = taken.filter(|(git, _)| *known.entry(place(git)).or_insert(git.times) != git.times);
    taken.next().map(|(_, place)| Need::two_times(Some(place.clone())))
}

/// What ADD takes for a repository.
fn repository(source: &str) -> Option<GitReference> {
    let git = GitReference::parse(source)?.ok()?;
    (!git.looks_like_a_path).then_some(git)
}

fn of_run(run: &Run, add: &mut impl FnMut(bool, &str, u64)) {
    add(!run.heredocs.is_empty(), "a here-document in `RUN`", 4);
    add(run.network != crate::dockerfile::Network::Default, "`RUN --network`", 3);
    add(run.security != Security::Sandbox, "`RUN --security`", 20);
}

/// Modes in letters, from variables, or with bits that old frontends drop.
fn is_special(chmod: Option<&str>) -> bool {
    chmod.is_some_and(|mode| {
        let digits = mode.trim_start_matches('0');
        digits.len() > 3 || !digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Which version brought the newest way of writing a variable: `${name#pattern}`, `${name%pattern}` and
/// `${name/pattern/text}`, or `${name-default}` without a colon.
fn substitution(text: &str) -> Option<u64> {
    let versions = text.split("${").skip(1).filter_map(|rest| {
        let name = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
        match rest.as_bytes().get(name).filter(|_| name > 0)? {
            b'#' | b'%' | b'/' => Some(7),
            b'-' | b'+' | b'?' => Some(4),
            _ => None,
        }
    });
    versions.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buildkit_reads_what_came_out_with_it() {
        let check = |version: &str, expected| {
            assert_eq!(Language::of_buildkit(version), Language { minor: expected }, "{version}");
        };
        for (version, expected) in [("v0.8.3", Some(2)), ("v0.12.0", Some(6)), ("v0.16.0-rc1", Some(10))] {
            check(version, expected);
        }
        for (version, expected) in [("v0.32.2", Some(26)), ("v0.0.0+unknown", None), ("ours", None)] {
            check(version, expected);
        }
    }

    #[test]
    fn an_engine_reads_what_its_buildkit_does() {
        for (engine, buildkit, expected) in [
            ("20.10.24+dfsg1", "before 0.11", 2),
            ("19.03.15", "before 0.11", 0),
            ("20.9.1", "", 0),
            ("23.0.6", "before 0.11", 4),
            ("24.0.9", "v0.11.7", 5),
            ("29.1.0", "v0.26.0", 20),
            ("dev", "", 4),
        ] {
            assert_eq!(Language::of_engine(engine, buildkit).minor, Some(expected), "{engine} {buildkit}");
        }
    }

    #[test]
    fn patterns_in_braces() {
        for (text, expected) in [
            ("ENV a=${b#c}", Some(7)),
            ("ENV a=${b%%c}", Some(7)),
            ("ENV a=${b/c/d} ${b-e}", Some(7)),
            ("ENV a=${b-c}", Some(4)),
            ("ENV a=${b:-#}", None),
            ("ENV a=${b}/c", None),
            ("ENV a=$b#c", None),
            ("ENV a=${#}", None),
        ] {
            assert_eq!(substitution(text), expected, "{text}");
        }
    }
}
