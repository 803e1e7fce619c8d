//! The command line, with its help.

use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use super::build_file::BuildFileArguments;
use super::lock::LockRules;
use super::verb::Verb;
use crate::base::{Platform, processors};
use crate::command::bake::{BakeOptions, Publishing};
use crate::command::list::{ListOptions, Listed};
use crate::command::plan::{Format, PlanOptions, plain_request};
use crate::command::{self, ChangedOption, PartOptions, ProjectOptions, SessionOptions};
use crate::config;
use crate::config::user::UserConfig;
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::Call;
use crate::plan::Request;
use crate::ui::Progress;

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  a build step or a test failed, or an image does not pass verification; of `diff`: there are differences
    2  wrong input: arguments, build file, Dockerfile, context, base image
    3  the machine cannot do it: namespaces, emulator, disk, store
    4  a registry or another remote did not do its part
   70  mab itself is wrong
  130  interrupted";

/// Builds container images for several platforms from one declarative file.
#[derive(Debug, Parser)]
#[command(name = "mab", version, propagate_version = true, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Args)]
#[command(after_long_help = SCHEMA_EXAMPLES)]
pub struct SchemaArguments {
    /// The schema of the user's config.toml instead
    #[arg(long)]
    pub config: bool,
}

const SCHEMA_EXAMPLES: &str = "\
Examples:
  mkdir -p schema && mab schema > schema/multiarch.schema.json";

// Which build file, and what of it.
#[derive(Debug, Args)]
pub struct ProjectArguments {
    /// Targets and groups; `api-*` and `label:KEY=VALUE` for all targets that match; without any, the group or target
    /// `default`. For `bake` and `plan` the first may be a URL with the build file: a repository
    /// (`https://HOST/REPO.git#REF:FOLDER`), an archive, or a bake file
    #[arg(value_name = "TARGET")]
    names: Vec<String>,
    #[command(flatten)]
    pub file: BuildFileArguments,
}

// Where work happens on this machine.
#[derive(Debug, Args)]
pub struct SessionArguments {
    /// The folder of the local store [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
    /// How many nodes, and how many steps, run on this machine at one time [default: the number of processors]
    ///
    /// It bounds this machine alone: the workers of a builder have slots of their own.
    #[arg(short, long, value_name = "COUNT")]
    jobs: Option<std::num::NonZeroUsize>,
}

#[derive(Debug, Args)]
#[command(after_long_help = BAKE_EXAMPLES)]
pub struct BakeArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    #[command(flatten)]
    pub session: SessionArguments,
    /// Prints the resolved file as JSON in the shape of `docker buildx bake --print`, and builds nothing
    #[arg(long)]
    pub print: bool,
    /// Only targets whose inputs differ from this git revision [default: where this branch left the default branch]
    ///
    /// Inputs are files that steps reach, the Dockerfile, ignore files, and the target's values in the build file;
    /// untracked files count, files that git ignores are only named. Triggers of bases (ONBUILD) are steps as well:
    /// where a base cannot be looked at, as with `--offline`, any file of the context counts. Targets that build on
    /// changed ones, or need them, are changed as well. On the default branch itself only uncommitted work differs: name a revision there, such as
    /// `--changed=HEAD^`.
    #[arg(long, value_name = "REV", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "print")]
    changed: Option<String>,
    /// Only these of the targets that are named; what groups say of them holds
    ///
    /// `mab bake release --only api` bakes one target of a release as that group has it, `mab bake api` as the target
    /// itself says. Targets that it builds on are built as well.
    #[arg(long, value_name = "TARGET", value_delimiter = ',', conflicts_with_all = ["print", "list"])]
    only: Vec<String>,
    /// Lists the targets or the variables of the file, and builds nothing: `targets`, `variables`, `targets,format=json`
    #[arg(long, value_name = "WHAT", value_parser = list, conflicts_with = "print")]
    pub list: Option<ListOptions>,
    /// Pushes every requested image to its tags, after all of them are built
    #[arg(long)]
    push: bool,
    /// Builds, pushes nothing, and prints where each tag would move: old → new digest
    ///
    /// Outputs that are files are written; what a cache is given is given. Tags that would be left to a newer release, and
    /// platforms that would be lost, are told as they would be.
    #[arg(long, conflicts_with_all = ["print", "list", "watch"])]
    dry_run: bool,
    /// Lets a tag that is there come to have fewer platforms than it has
    #[arg(long)]
    allow_fewer_platforms: bool,
    /// Lets floating tags go back to an older version or commit than they lead to
    #[arg(long)]
    allow_older_release: bool,
    /// Writes a part of a release into this folder, for `mab merge` on another machine; tags and outputs are left to that
    ///
    /// One folder is added to it, with a name of its own. Images that are to be pushed are brought to their repositories
    /// by digest; others go along in the part.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["print", "list", "watch", "dry_run", "load", "output", "check", "call"])]
    part: Option<PathBuf>,
    /// Takes all layers along in the part, and asks nothing of the registries that are pushed to
    #[arg(long, requires = "part")]
    carry: bool,
    /// Loads every requested image into the Docker Engine of DOCKER_HOST
    #[arg(long)]
    load: bool,
    /// Writes every requested image; replaces the outputs of the file
    ///
    /// `type=oci,dest=FILE` (`tar=false` for a folder), `type=docker,dest=FILE`, `type=local,dest=FOLDER`,
    /// `type=tar,dest=FILE`, `type=image,push=true`, `type=cacheonly`; `oci-mediatypes=false` for a Docker manifest list; a bare FOLDER is `type=local`, `-` a tar
    /// to standard output. Images take `compression=gzip|zstd|estargz|uncompressed`, `compression-level=N`,
    /// `force-compression=true` for layers of bases as well, and `source-date-epoch=SECONDS`.
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,
    #[command(flatten)]
    pub lock: LockRules,
    /// Runs every step again, whatever the store knows
    #[arg(long)]
    no_cache: bool,
    /// Accepted as bake's flag; bases named by tag are looked up in their registry in every run anyway, but for
    /// those that multiarch.lock pins: `mab lock --update` looks at them again
    #[arg(long)]
    pull: bool,
    /// Asks for an attestation: `type=sbom`, `type=provenance,mode=max`, `disabled=true`; none can be written yet
    #[arg(long, value_name = "ATTESTATION")]
    attest: Vec<String>,
    /// Short for `--attest type=sbom`; `=false` for none
    #[arg(long, value_name = "VALUE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// Short for `--attest type=provenance`; `=false` for none
    #[arg(long, value_name = "VALUE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Where to build: `default`, which is this machine, `docker`, which is a Docker Engine, or another one that
    /// `mab builder ls` shows [default: what `mab builder use` chose, or this machine]
    #[arg(long, value_name = "NAME", env = "MAB_BUILDER")]
    builder: Option<String>,
    /// Checks the Dockerfiles instead of building them, as `--call check`
    #[arg(long)]
    pub check: bool,
    /// What is done with the targets, whatever the file says: `build`, `check`, `outline` for what their Dockerfiles
    /// ask for, `targets` for the stages they have; `outline,format=json`
    #[arg(long, value_name = "CALL", value_parser = call, conflicts_with = "check")]
    pub call: Option<CallArgument>,
    /// Bakes again whenever something that decides the result changes, until Ctrl-C
    ///
    /// That is build files and what they include, the lock, Dockerfiles, ignore files, secrets, layouts and archives on
    /// this machine, and of contexts the files that steps take. A change waits until nothing happens for 200 ms, or for
    /// two seconds; one that is made during a bake is baked after it. A bake that fails is told, and the next change
    /// tries again. Ctrl-C ends with the exit code of the last bake.
    #[arg(long, conflicts_with_all = ["print", "list"])]
    pub watch: bool,
    /// Says of every node whether an earlier result is used, and for a miss what differs from the nearest earlier run
    #[arg(long)]
    explain: bool,
    /// After a failure, goes on with everything that does not depend on it
    #[arg(long)]
    keep_going: bool,
    /// How progress is shown
    #[arg(long, value_name = "HOW", env = "MAB_PROGRESS")]
    progress: Option<ProgressArgument>,
    /// Writes digests of what was built to this file, as JSON
    #[arg(long, value_name = "PATH")]
    metadata_file: Option<PathBuf>,
}

const BAKE_EXAMPLES: &str = "\
Examples:
  mab bake                                     everything of `[group.default]`
  mab bake api web --platform linux/arm64      two targets for one of their platforms
  mab bake api --load --watch                  again after every change of its files
  mab bake --set '*.args.GO=1.24'              with a value that is not in the file
  mab bake --changed=origin/main               what this branch changes, and what builds on it
  mab bake release --push --dry-run            where its tags would move
  mab bake release --platform linux/arm64 --part out/
                                               this machine's part of a release, for `mab merge`
  mab bake release --push                      a group, pushed to its tags when all of it is built
  mab bake api -o type=oci,dest=api.tar        one image with all platforms as an OCI archive
  mab bake release --locked --push             nothing that `mab lock` has not seen
  mab bake --list=targets                      what there is to bake
  mab bake --explain                           why is something built that was built before?
  mab bake --print | jq .target.api            what the file says in the end
  MAB_BORDER=on mab bake --allow fs.read=../shared --allow env=CI_*
                                               a file that somebody else wrote";

#[derive(Debug, Args)]
#[command(after_long_help = PLAN_EXAMPLES)]
pub struct PlanArguments {
    #[command(flatten)]
    pub project: ProjectArguments,
    /// Only targets whose inputs differ from this git revision [default: where this branch left the default branch]
    ///
    /// Inputs are files that steps reach, the Dockerfile, ignore files, and the target's values in the build file;
    /// untracked files count, files that git ignores are only named. Triggers of bases (ONBUILD) are steps as well:
    /// where a base cannot be looked at, as with `--offline`, any file of the context counts. Targets that build on
    /// changed ones, or need them, are changed as well. On the default branch itself only uncommitted work differs: name a revision there, such as
    /// `--changed=HEAD^`.
    #[arg(long, value_name = "REV", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    changed: Option<String>,
    /// The folder of the local store, where contexts from elsewhere are kept [default: $XDG_DATA_HOME/mab]
    #[arg(long, value_name = "PATH", env = "MAB_STORE")]
    store: Option<PathBuf>,
    #[command(flatten)]
    lock: LockRules,
    /// How the graph is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: FormatArgument,
    /// Says instead of every node what a bake would find: an earlier result, or what differs from the nearest
    /// earlier run
    #[arg(long)]
    pub explain: bool,
    /// Whose plan it is: that of this machine, or of a builder that `mab builder ls` shows; with `--explain` its workers
    /// are asked whether they do what is to be built [default: what `mab builder use` chose, or this machine]
    #[arg(long, value_name = "NAME", env = "MAB_BUILDER")]
    builder: Option<String>,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  mab plan                                     a tree: what waits for what
  mab plan --changed                           what this branch changes, why, and what follows from it
  mab plan --explain                           what a bake would build, and why
  mab plan release --format svg > plan.svg     a picture for a browser, light and dark
  mab plan --format json | jq '.nodes[].name'  for programs
  mab plan api --format mermaid                for a code block in Markdown
  mab plan api --format dot | dot -Tpdf > api.pdf";

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProgressArgument {
    /// A live view on a terminal, a log elsewhere
    Auto,
    Tty,
    Plain,
    /// One JSON object per event and line
    #[value(alias = "rawjson")]
    Json,
    /// Failures only
    Quiet,
}

/// `--call`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallArgument {
    pub call: Call,
    pub is_json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormatArgument {
    /// A tree of what waits for what
    Text,
    Json,
    /// For Graphviz: `dot -Tsvg`
    Dot,
    /// For Markdown: GitHub and GitLab draw it
    Mermaid,
    /// A picture, for any browser
    Svg,
}

impl From<ProgressArgument> for Progress {
    fn from(argument: ProgressArgument) -> Self {
        match argument {
            ProgressArgument::Auto => Self::Auto,
            ProgressArgument::Tty => Self::Tty,
            ProgressArgument::Plain => Self::Plain,
            ProgressArgument::Json => Self::Json,
            ProgressArgument::Quiet => Self::Quiet,
        }
    }
}

/// The flag and its variable, then the user's configuration.
pub fn progress_of(said: Option<ProgressArgument>, user: &UserConfig) -> Progress {
    let configured = || ProgressArgument::from_str(user.progress.as_deref()?, false).ok();
    said.or_else(configured).unwrap_or(ProgressArgument::Auto).into()
}

impl BakeArguments {
    /// What is done with all targets; `None` leaves it to the file.
    fn call(&self) -> Option<Call> {
        if self.check { Some(Call::Check) } else { self.call.map(|given| given.call) }
    }

    /// What is told of the Dockerfiles, if that is all that is wanted.
    pub fn described(&self) -> Option<CallArgument> {
        self.call.filter(|given| matches!(given.call, Call::Outline | Call::Targets))
    }
}

impl From<FormatArgument> for Format {
    fn from(argument: FormatArgument) -> Self {
        match argument {
            FormatArgument::Text => Self::Text,
            FormatArgument::Json => Self::Json,
            FormatArgument::Dot => Self::Dot,
            FormatArgument::Mermaid => Self::Mermaid,
            FormatArgument::Svg => Self::Svg,
        }
    }
}

impl ProjectArguments {
    pub fn options(&self) -> ProjectOptions {
        self.file.options(&self.names)
    }
}

impl SessionArguments {
    pub fn options(&self) -> SessionOptions {
        let jobs = self.jobs.map_or_else(processors, Into::into);
        SessionOptions { store: self.store.clone(), jobs, ..SessionOptions::default() }
    }
}

/// An empty revision is none.
fn changed(revision: Option<&String>) -> ChangedOption {
    match revision {
        None => ChangedOption::All,
        Some(revision) if revision.is_empty() => ChangedOption::SinceMergeBase,
        Some(revision) => ChangedOption::Since(revision.clone()),
    }
}

impl PlanArguments {
    pub fn options(&self, facts: &Facts) -> PlanOptions {
        let session = SessionOptions { store: self.store.clone(), ..SessionOptions::default() };
        PlanOptions {
            project: ProjectOptions {
                changed: changed(self.changed.as_ref()),
                builder: self.builder.clone(),
                ..self.project.options()
            },
            session: self.lock.of(session),
            request: plain_request(facts),
            format: self.format.into(),
        }
    }
}

impl BakeArguments {
    pub fn progress(&self, user: &UserConfig) -> Progress {
        progress_of(self.progress, user)
    }

    /// With what flags mean for bake files, so that `--print` shows it.
    pub fn project_options(&self) -> ProjectOptions {
        let flags =
            [("push", self.push), ("load", self.load), ("no-cache", self.no_cache), ("pull", self.pull)];
        let given = flags.into_iter().filter(|(_, is_given)| *is_given);
        let given = given.map(|(key, _)| format!("*.{key}=true"));
        let asked = |kind: &str, value: &Option<String>| {
            Some(format!("*.attest={}", attestation(kind, value.as_deref()?)))
        };
        let attestations = self.attest.iter().map(|text| format!("*.attest={text}"));
        let shorthands = given
            .chain(attestations)
            .chain(asked("sbom", &self.sbom))
            .chain(asked("provenance", &self.provenance))
            .collect();
        ProjectOptions {
            shorthands,
            only: self.only.clone(),
            changed: changed(self.changed.as_ref()),
            builder: self.builder.clone(),
            ..self.project.options()
        }
    }

    pub fn options(&self, facts: &Facts) -> Result<BakeOptions, Vec<Problem>> {
        let outputs = self.output.iter().map(|text| config::parse_output(text, &facts.directories.current));
        let outputs: Vec<_> = outputs.collect::<Result<_, _>>()?;
        let request = Request {
            push: self.push,
            load: self.load,
            outputs: (!outputs.is_empty()).then_some(outputs),
            no_cache: self.no_cache,
            pull: self.pull,
            tests_again: false,
            allowed: command::entitlements(&self.project.file.allow, facts)
                .map_err(|problem| vec![*problem])?,
            ..plain_request(facts)
        };
        Ok(BakeOptions {
            project: self.project_options(),
            session: self.lock.of(self.session.options()),
            request,
            call: self.call(),
            keep_going: self.keep_going,
            explains: self.explain,
            metadata: self.metadata_file.clone(),
            publishing: Publishing {
                allows_fewer_platforms: self.allow_fewer_platforms,
                allows_older: self.allow_older_release,
                is_rehearsal: self.dry_run,
            },
            keeps_images: false,
            part: self.part.clone().map(|folder| PartOptions { folder, carries: self.carry }),
        })
    }
}

/// `outline`, `targets,format=json`
fn call(text: &str) -> Result<CallArgument, String> {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let name = if name == "lint" { "check" } else { name };
    let Some((_, call)) = Call::NAMES.iter().find(|(known, _)| *known == name) else {
        return Err("there are `build`, `check`, `outline` and `targets`, and `format=json`".to_string());
    };
    let mut given = CallArgument { call: *call, is_json: false };
    for field in rest.split(',').filter(|field| !field.is_empty()) {
        match (field, given.call) {
            ("format=json", Call::Outline | Call::Targets) => given.is_json = true,
            ("format=json", _) => return Err("as JSON there is `mab check --format json`".to_string()),
            ("format=text", _) => given.is_json = false,
            // What is told has no status.
            ("ignorestatus=true" | "ignorestatus=false", Call::Outline | Call::Targets) => {}
            _ => return Err(format!("`{field}` is no option of `{name}`")),
        }
    }
    Ok(given)
}

/// `targets`, `type=targets,format=json`
fn list(text: &str) -> Result<ListOptions, String> {
    let mut list = ListOptions { what: Listed::Targets, is_json: false };
    for field in text.split(',') {
        match field.strip_prefix("type=").unwrap_or(field) {
            "targets" => list.what = Listed::Targets,
            "variables" => list.what = Listed::Variables,
            "format=json" => list.is_json = true,
            "format=table" => list.is_json = false,
            other => {
                return Err(format!(
                    "`{other}` cannot be listed: there are `targets`, `variables` and `format=json`"
                ));
            }
        }
    }
    Ok(list)
}

/// What `--sbom` and `--provenance` are short for.
fn attestation(kind: &str, value: &str) -> String {
    match value {
        "true" | "1" => format!("type={kind}"),
        "false" | "0" => format!("type={kind},disabled=true"),
        attributes => format!("type={kind},{attributes}"),
    }
}

pub(super) fn platform(text: &str) -> Result<Platform, String> {
    text.parse().map_err(|error: crate::base::platform::ParsePlatformError| error.to_string())
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("it is not of the form NAME=VALUE".to_string()),
    }
}
