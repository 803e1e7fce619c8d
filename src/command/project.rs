//! From the build file to a plan: find, read, resolve, select, read Dockerfiles, compile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Failure;
use crate::base::Platform;
use crate::config::{self, Disk, Overrides};
use crate::diag::{Located, Problem, Source};
use crate::dockerfile::Dockerfile;
use crate::facts::{Facts, GitFacts};
use crate::model::{self, Call, Context, Project, Target, Variant};
use crate::plan::{self, Dockerfiles, Plan, Request, Selection};

/// What the command line says about the build file.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// `--file`
    pub file: Option<PathBuf>,
    pub vars: BTreeMap<String, String>,
    pub platforms: Vec<Platform>,
    /// Targets and groups; `default` when empty.
    pub names: Vec<String>,
}

/// A project whose plan stands.
#[derive(Debug)]
pub struct Planned {
    pub project: Project,
    pub plan: Arc<Plan>,
    /// The targets that were asked for.
    pub requested: Vec<String>,
    /// Those of them that are checked instead of being built.
    pub checked: Vec<Target>,
    pub warnings: Vec<Problem>,
}

/// The resolved project and what is odd about it.
pub fn load(options: &ProjectOptions, facts: &mut Facts) -> Result<(Project, Vec<Problem>), Failure> {
    let file = find(options, facts).map_err(|problem| vec![*problem])?;
    let loaded = config::load(&file, &Disk);
    if config::needs_git(&loaded) && facts.git.is_none() {
        facts.git = GitFacts::read(&loaded.root).map_err(|error| {
            vec![
                Problem::input(
                    "facts::git",
                    format!("the build file asks for git, which cannot be read: {error}"),
                )
                .help("run mab inside a git work tree, with `git` installed"),
            ]
        })?;
    }
    let overrides = Overrides { vars: options.vars.clone(), platforms: options.platforms.clone() };
    config::resolve(&loaded, facts, &overrides)
}

fn find(options: &ProjectOptions, facts: &Facts) -> Result<PathBuf, Box<Problem>> {
    let current = &facts.directories.current;
    if let Some(file) = &options.file {
        let path = current.join(file);
        let path = if path.is_dir() { path.join(config::FILE_NAME) } else { path };
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Box::new(
                Problem::input("config::missing-file", format!("there is no file `{}`", file.display()))
                    .help("check the path given with `--file`"),
            ))
        };
    }
    config::find(current).ok_or_else(|| {
        Box::new(
            Problem::input(
                "config::missing-file",
                format!("there is no `{}` in `{}` or above it", config::FILE_NAME, current.display()),
            )
            .help("go to the project's folder, or name the file with `--file`"),
        )
    })
}

/// Compiles the plan of what `options` names. `call` stands in for what the targets say is to be done.
pub fn plan(
    options: &ProjectOptions,
    request: &Request,
    call: Option<Call>,
    facts: &mut Facts,
) -> Result<Planned, Failure> {
    let (project, mut warnings) = load(options, facts)?;
    let selection = plan::select(&project, &options.names)?;
    let (selection, checked) = match call {
        None => selection.without_checks(&project),
        Some(Call::Build) => (selection, Vec::new()),
        Some(Call::Check) => {
            let all: Vec<&Target> = selection.requested;
            (Selection::default(), all)
        }
    };
    let checked: Vec<Target> = checked.into_iter().cloned().collect();
    let mut problems = Vec::new();
    let mut reader = DockerfileReader::new(&facts.directories.current);
    let mut dockerfiles = Dockerfiles::new();
    for target in selection.all() {
        for variant in &target.variants {
            if let Some(dockerfile) = reader.read(variant, &mut problems, &mut warnings) {
                dockerfiles.insert((target.name.clone(), variant.platform.value.clone()), dockerfile);
            }
        }
    }
    let compiled = plan::compile(&selection, request, &dockerfiles);
    let requested = selection.requested.iter().map(|target| target.name.clone()).collect();
    match compiled {
        Ok(plan) if problems.is_empty() => {
            Ok(Planned { project, plan: Arc::new(plan), requested, checked, warnings })
        }
        Ok(_) => Err(problems),
        Err(more) => {
            problems.extend(more);
            dedup(&mut problems);
            Err(problems)
        }
    }
}

/// The same Dockerfile for two platforms has its problems once.
pub(super) fn dedup(problems: &mut Vec<Problem>) {
    let mut seen: Vec<Problem> = Vec::new();
    problems.retain(|problem| {
        let known = seen.contains(problem);
        if !known {
            seen.push(problem.clone());
        }
        !known
    });
}

/// Reads each Dockerfile once, however many targets and platforms use it.
pub(super) struct DockerfileReader {
    current: PathBuf,
    known: BTreeMap<PathBuf, Option<Arc<Dockerfile>>>,
    inline: usize,
}

impl DockerfileReader {
    /// `current` is what names of files are relative to when people read them.
    pub(super) fn new(current: &Path) -> Self {
        Self { current: current.to_path_buf(), known: BTreeMap::new(), inline: 0 }
    }

    /// How many Dockerfiles were read.
    pub(super) fn count(&self) -> usize {
        self.known.len() + self.inline
    }

    pub(super) fn read(
        &mut self,
        variant: &Variant,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Option<Arc<Dockerfile>> {
        match &variant.dockerfile {
            model::Dockerfile::Inline(text) => {
                let name = text
                    .place
                    .as_ref()
                    .map_or("inline".to_string(), |place| format!("{place} (dockerfile-inline)"));
                self.inline += 1;
                parse(&Source::new(name, text.value.clone()), problems, warnings)
            }
            model::Dockerfile::File(file) => match &variant.context.value {
                Context::Directory(root) => {
                    self.read_file(&root.join(&file.value), file, variant, problems, warnings)
                }
                _ => {
                    problems.push(no_directory(variant));
                    None
                }
            },
        }
    }

    fn read_file(
        &mut self,
        path: &Path,
        file: &Located<PathBuf>,
        variant: &Variant,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Option<Arc<Dockerfile>> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let name = path.strip_prefix(&self.current).unwrap_or(path).display().to_string();
        let dockerfile = match read_text(path) {
            Ok(text) => parse(&Source::new(name, text), problems, warnings),
            Err(error) => {
                problems.push(unreadable(&name, &error, file, variant));
                None
            }
        };
        self.known.insert(path.to_path_buf(), dockerfile.clone());
        dockerfile
    }
}

/// The largest Dockerfile that is read; BuildKit's frontend has the same bound.
const LARGEST_DOCKERFILE: u64 = 2 << 20;

fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read as _};
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST_DOCKERFILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_DOCKERFILE {
        return Err(Error::new(ErrorKind::InvalidData, "it is larger than 2 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn parse(
    source: &Arc<Source>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Arc<Dockerfile>> {
    match Dockerfile::parse(source) {
        Ok(dockerfile) => {
            warnings.extend(dockerfile.warnings.iter().cloned());
            Some(Arc::new(dockerfile))
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error, file: &Located<PathBuf>, variant: &Variant) -> Problem {
    let problem = Problem::input(
        "dockerfile::missing",
        format!("the Dockerfile `{name}` cannot be read: {error}"),
    )
    .help(
        "`dockerfile` is relative to the target's `context`, which is relative to the file that declares it",
    );
    match file.place.as_ref().or(variant.context.place.as_ref()) {
        Some(place) => problem.at(place.clone(), "declared here"),
        None => problem,
    }
}

fn no_directory(variant: &Variant) -> Problem {
    let problem = Problem::input(
        "dockerfile::context",
        "the Dockerfile of a context that is no directory cannot be read",
    )
    .help("use `dockerfile-inline`, or a directory as `context`");
    match &variant.context.place {
        Some(place) => problem.at(place.clone(), "this context"),
        None => problem,
    }
}
