//! `mab check`: the rules of `lint` over the Dockerfiles of a project, or over Dockerfiles without one.
//!
//! Base images are looked at where they are at hand; what cannot be reached is left unknown, and what rules would
//! say about it unsaid.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use super::bases;
use super::build_files::{self, BuildFiles};
use super::circles;
use super::dockerfiles::{DockerfileReader, Found};
use super::lock_file;
use super::overlay::Overlay;
use super::project::{self, Loaded, ProjectOptions};
use super::session::{self, Session, SessionOptions};
use crate::base::Platform;
use crate::config::{self, Disk, Entry, FILE_NAME, Files, Overrides, PlatformName};
use crate::context::IgnoreFile;
use crate::diag::{Kind, Located, Problem};
use crate::dockerfile::Dockerfile;
use crate::facts::Facts;
use crate::lint::{self, Choice, Failing, Report, Unit};
use crate::lock::Lock;
use crate::model::{self, Context, LintFailing, Project, Target};
use crate::plan::select;
use crate::steps::Setting;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct CheckOptions {
    pub project: ProjectOptions,
    /// Dockerfiles to check without a build file.
    pub dockerfiles: Vec<PathBuf>,
    /// `--build-arg`: more arguments for every target.
    pub args: BTreeMap<String, String>,
    pub deny_warnings: bool,
    /// Ask no registry.
    pub offline: bool,
    pub session: SessionOptions,
    /// Texts that stand in for files.
    pub overlay: Overlay,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Checked {
    pub report: Report,
    /// What is odd, but not about Dockerfiles.
    pub warnings: Vec<Problem>,
    /// How many Dockerfiles were looked at.
    pub files: usize,
}

/// Checks what `options` names. What is wrong with the build file is part of the answer; Dockerfiles are not looked
/// at then.
pub async fn check(options: &CheckOptions, facts: &mut Facts) -> Result<Checked, Failure> {
    let loaded = match &options.dockerfiles[..] {
        [] => build_files::find(&options.project, facts)
            .map(|files| match files {
                // Those of other tools were read before anybody asked what stands in for them.
                BuildFiles::Foreign(files) => {
                    BuildFiles::Foreign(build_files::read_again(files, &options.overlay, facts))
                }
                own => own,
            })
            .and_then(|files| project::load_from(files, &options.project, facts, &options.overlay)),
        files => without_build_file(files, &options.project, facts).map(|(project, warnings)| {
            let folder = project.root.clone();
            Loaded { project, warnings, names: Vec::new(), is_foreign: false, folder }
        }),
    };
    let Loaded { project, warnings, names, .. } = match loaded {
        Ok(loaded) => loaded,
        Err(problems)
            if problems.iter().all(|problem| problem.kind == Kind::Input)
                && problems.iter().any(|problem| !problem.labels.is_empty()) =>
        {
            let report = Report { problems, ..Report::default() };
            return Ok(Checked { report, ..Checked::default() });
        }
        Err(problems) => return Err(problems),
    };
    let names = match options.dockerfiles.is_empty() {
        true => project::names_or_all(&project, &names),
        false => project.targets.keys().cloned().collect(),
    };
    let selection = select(&project, &names)?;
    let circles = circles::find(selection.all());
    if !circles.is_empty() {
        return Ok(Checked { report: Report { problems: circles, ..Report::default() }, warnings, files: 0 });
    }
    let targets: Vec<Target> = selection.all().map(|target| with_arguments(target, &options.args)).collect();
    let session = Session::new(&options.session);
    let mut reader = DockerfileReader::new(facts, &session).with(&options.overlay).offline(options.offline);
    let mut checked = check_with(&project, &targets, &mut reader, &session, options.offline, facts).await?;
    checked.warnings.extend(warnings);
    if options.deny_warnings {
        checked.report.deny_warnings();
    }
    Ok(checked)
}

/// The folders whose files belong to what is checked: that of the build file, and the current one.
pub(super) fn roots(options: &CheckOptions, facts: &Facts) -> Vec<PathBuf> {
    let current = &facts.directories.current;
    let file = options.project.files.first().map(|file| current.join(file)).or_else(|| config::find(current));
    let folder = file.map(|file| match file.is_dir() {
        true => file,
        false => file.parent().unwrap_or(current).to_path_buf(),
    });
    let roots = folder.filter(|_| options.dockerfiles.is_empty()).into_iter().chain([current.clone()]);
    roots.filter_map(|root| root.canonicalize().ok()).collect()
}

fn with_arguments(target: &Target, args: &BTreeMap<String, String>) -> Target {
    let mut target = target.clone();
    for variant in &mut target.variants {
        let given = args.iter().map(|(name, value)| (name.clone(), Located::unplaced(value.clone())));
        Arc::make_mut(variant).args.extend(given);
    }
    target
}

/// Checks the Dockerfiles of `targets`.
pub(super) async fn check_targets(
    project: &Project,
    targets: &[Target],
    session: &Session<'_>,
    is_offline: bool,
    facts: &Facts,
) -> Result<Checked, Failure> {
    let mut reader = DockerfileReader::new(facts, session).offline(is_offline);
    check_with(project, targets, &mut reader, session, is_offline, facts).await
}

async fn check_with(
    project: &Project,
    targets: &[Target],
    reader: &mut DockerfileReader<'_>,
    session: &Session<'_>,
    is_offline: bool,
    facts: &Facts,
) -> Result<Checked, Failure> {
    let choice = choice(&project.lint)?;
    let build = session::build_platform(facts);
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    let mut found = Found { problems: &mut problems, warnings: &mut warnings };
    let uses = uses(targets, reader, &mut found).await;
    let settings = uses.iter().flat_map(|one| {
        one.variants.iter().map(|variant| (Setting::new(&one.dockerfile, variant, &build), *variant))
    });
    let wanted = bases::wanted(&settings.collect::<Vec<_>>(), &mut problems);
    let bases = bases::look_at(wanted, session.options(), is_offline, facts, &mut warnings).await;
    // A lock that cannot be read is for those to tell who need it.
    let lock = lock_file::read(&project.root, facts).ok().flatten();
    let units: Vec<Unit<'_>> = uses.iter().map(|one| one.unit(lock.as_ref())).collect();
    let mut report = lint::check(&units, &build, &bases, &choice);
    problems.append(&mut report.problems);
    project::dedup(&mut problems);
    report.problems = problems;
    // The rule `NoEmptyContinuation` tells it, if it is not skipped.
    warnings.retain(|warning| warning.code != "dockerfile::no-empty-continuation");
    Ok(Checked { report, warnings, files: reader.count() })
}

/// Every Dockerfile that can be read, once for each target that uses it.
async fn uses<'a>(
    targets: &'a [Target],
    reader: &mut DockerfileReader<'_>,
    found: &mut Found<'_>,
) -> Vec<Use<'a>> {
    let mut uses: Vec<Use<'_>> = Vec::new();
    for target in targets {
        for variant in &target.variants {
            let Some(dockerfile) = reader.read(variant, found).await else { continue };
            let same = |known: &&mut Use<'_>| {
                known.target == target.name && known.dockerfile.source == dockerfile.source
            };
            match uses.iter_mut().find(same) {
                Some(known) => known.variants.push(variant),
                None => {
                    let ignore = ignore_file(variant, found.problems);
                    uses.push(Use { target: &target.name, dockerfile, variants: vec![variant], ignore });
                }
            }
        }
    }
    uses
}

/// What `[lint]` says, if its rules exist.
pub(super) fn choice(lint: &model::Lint) -> Result<Choice, Failure> {
    let mut unknown = Vec::new();
    let mut known = |names: &[Located<String>]| -> BTreeSet<String> {
        for name in names.iter().filter(|name| lint::rule(&name.value).is_none()) {
            unknown.push(unknown_rule(name));
        }
        names.iter().map(|name| name.value.clone()).collect()
    };
    let skip = known(&lint.skip);
    let failing = match &lint.failing {
        LintFailing::None => Failing::Errors,
        LintFailing::All => Failing::All,
        LintFailing::Rules(names) => Failing::These(known(names)),
    };
    if unknown.is_empty() { Ok(Choice { skip, failing, ..Choice::default() }) } else { Err(unknown) }
}

fn unknown_rule(name: &Located<String>) -> Problem {
    let problem = Problem::input("check::unknown-rule", format!("there is no rule `{}`", name.value));
    let problem = match lint::nearest_rule(&name.value) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem.help("`mab check --list` names them all"),
    };
    match &name.place {
        Some(place) => problem.at(place.clone(), "not a rule"),
        None => problem,
    }
}

/// One Dockerfile as one target uses it.
struct Use<'a> {
    target: &'a str,
    dockerfile: Arc<Dockerfile>,
    variants: Vec<&'a model::Variant>,
    ignore: Option<IgnoreFile>,
}

impl Use<'_> {
    fn unit<'u>(&'u self, lock: Option<&'u Lock>) -> Unit<'u> {
        Unit {
            target: self.target,
            dockerfile: &self.dockerfile,
            variants: self.variants.clone(),
            ignore: self.ignore.as_ref(),
            lock,
        }
    }
}

pub(super) fn ignore_file(variant: &model::Variant, problems: &mut Vec<Problem>) -> Option<IgnoreFile> {
    let Context::Directory(root) = &variant.context.value else { return None };
    let dockerfile = match &variant.dockerfile {
        model::Dockerfile::File(file) => Some(root.join(&file.value)),
        model::Dockerfile::Inline(_) | model::Dockerfile::Stdin => None,
    };
    IgnoreFile::find(root, dockerfile.as_deref()).unwrap_or_else(|error| {
        problems.push(error.problem());
        None
    })
}

/// A project with one target for each of `dockerfiles`, whose context is the folder it is in.
fn without_build_file(
    dockerfiles: &[PathBuf],
    options: &ProjectOptions,
    facts: &Facts,
) -> Result<(Project, Vec<Problem>), Failure> {
    let quoted = |text: &Path| serde_json::Value::from(text.to_string_lossy()).to_string();
    let given = PlatformName::without_sets(&options.platforms).map_err(|problem| vec![problem])?;
    let platforms = match &given[..] {
        [] => vec![Platform::linux("amd64"), Platform::linux("arm64")],
        _ => given,
    };
    let platforms: Vec<String> = platforms.iter().map(|platform| format!("\"{platform}\"")).collect();
    let mut text = format!("[project]\nplatforms = [{}]\n", platforms.join(", "));
    for (index, path) in dockerfiles.iter().enumerate() {
        let path = facts.directories.current.join(path);
        let (folder, name) = (path.parent().unwrap_or(Path::new("/")), path.file_name().unwrap_or_default());
        let (context, name) = (quoted(folder), quoted(Path::new(name)));
        text.push_str(&format!(
            "[target.dockerfile-{}]\ncontext = {context}\ndockerfile = {name}\n",
            index + 1
        ));
    }
    let loaded = config::load(&facts.directories.current.join(FILE_NAME), &Memory(text));
    config::resolve(&loaded, facts, &Overrides::default())
}

/// A build file that is nowhere.
struct Memory(String);

impl Files for Memory {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        Disk.list(directory)
    }
}

/// Which of `names` are Dockerfiles rather than targets; without names and without a build file, the one here.
pub fn dockerfiles_among(names: &[String], file: Option<&Path>, facts: &Facts) -> Vec<PathBuf> {
    let current = &facts.directories.current;
    let has_none = || config::find(current).is_none() && build_files::foreign_names(facts).is_empty();
    if names.is_empty() && file.is_none() && has_none() {
        return Some(PathBuf::from("Dockerfile"))
            .into_iter()
            .filter(|path| current.join(path).is_file())
            .collect();
    }
    names.iter().map(PathBuf::from).filter(|path| current.join(path).is_file()).collect()
}
