//! Which builders there are: the user's own, those that `mab builder` keeps, the build file's, those of buildx, and the
//! two that are always there. Of one name, the first of these counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Failure, buildx, user};
use crate::config::OWN_BUILDER;
use crate::config::user::{self as user_config};
use crate::diag::{Kind, Place, Problem, Source, nearest};
use crate::facts::Facts;
use crate::model::{Builder, Project, Results, Worker};

/// The Docker Engine that `docker` speaks to, as a builder.
pub const DOCKER: &str = "docker";
const KEPT: &str = "mab/builders.toml";
const IN_USE: &str = "mab/builder-in-use";

/// Where a builder is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    Configuration,
    /// `mab builder add` wrote it.
    Kept,
    BuildFile,
    Buildx,
    /// The one that `docker buildx use` chose.
    BuildxInUse,
}

impl Origin {
    pub fn text(self) -> &'static str {
        match self {
            Self::BuiltIn => "built in",
            Self::Configuration => "configuration",
            Self::Kept => "mab builder add",
            Self::BuildFile => "build file",
            Self::Buildx => "buildx",
            Self::BuildxInUse => "buildx, in use there",
        }
    }
}

/// One of the builders.
#[derive(Clone, Debug)]
pub struct Known {
    pub origin: Origin,
    pub builder: buildx::Found,
}

/// All builders by name; `default`, this machine, is none of them.
pub fn all(project: Option<&Project>, facts: &Facts) -> Result<BTreeMap<String, Known>, Failure> {
    let mut known = BTreeMap::new();
    let mut add = |origin, builders: Vec<(String, buildx::Found)>| {
        for (name, builder) in builders {
            known.entry(name).or_insert(Known { origin, builder });
        }
    };
    let found = |builders: BTreeMap<String, Builder>| {
        builders.into_iter().map(|(name, builder)| (name, Ok(builder))).collect::<Vec<_>>()
    };
    add(Origin::Configuration, found(user::config(facts)?.builders));
    add(Origin::Kept, found(kept(facts)?));
    add(Origin::BuildFile, found(project.map(|project| project.builders.clone()).unwrap_or_default()));
    let current = buildx::current(facts);
    let instances = buildx::instances(facts).into_iter().filter(|(name, _)| name != OWN_BUILDER);
    let (used, others) = instances.partition(|(name, _)| current.as_ref() == Some(name));
    add(Origin::BuildxInUse, used);
    add(Origin::Buildx, others);
    add(Origin::BuiltIn, vec![(DOCKER.to_string(), Ok(docker()))]);
    Ok(known)
}

fn docker() -> Builder {
    let place = Place::new(&Source::new("--builder", DOCKER), 0..DOCKER.len());
    let workers = vec![Worker { endpoint: "docker://".to_string(), ..Worker::default() }];
    Builder { place, workers, results: Results::default() }
}

/// The builder of a name; none for this machine.
pub fn find(
    name: &str,
    project: Option<&Project>,
    facts: &Facts,
) -> Result<Option<(String, Builder)>, Failure> {
    if matches!(name, "" | OWN_BUILDER) {
        // The embedded engine is Linux's.
        return Ok((!cfg!(target_os = "linux")).then(|| (DOCKER.to_string(), docker())));
    }
    let mut known = all(project, facts)?;
    let Some(found) = known.remove(name) else {
        let names = known.keys().map(String::as_str);
        return Err(vec![unknown(name, names)]);
    };
    let builder = found.builder.map_err(|problem| vec![*problem])?;
    if builder.workers.is_empty() {
        let problem = Problem::input("builder::empty", format!("builder `{name}` has no workers"));
        return Err(vec![problem.at(builder.place, "this builder").help("add one to its `workers`")]);
    }
    Ok(Some((name.to_string(), builder)))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let problem = Problem::input("builder::unknown", format!("there is no builder `{name}`"));
    match nearest(name, known) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(
            "builders are in `[builder.NAME]` of your configuration or of multiarch.toml; `mab builder ls` shows them",
        ),
    }
}

/// The folder of the user's configuration; none where the user wants none.
fn folder(facts: &Facts) -> Option<PathBuf> {
    let is_unwanted = facts.environment.get("MAB_CONFIG").is_some_and(String::is_empty);
    facts.directories.config.clone().filter(|_| !is_unwanted)
}

fn must_have_folder(facts: &Facts) -> Result<PathBuf, Failure> {
    folder(facts).ok_or_else(|| {
        let message = "there is no place for builders: MAB_CONFIG is empty, or HOME is not set";
        vec![Problem::new(Kind::Host, "builder::nowhere", message).help("set HOME or XDG_CONFIG_HOME")]
    })
}

/// What `mab builder add` has written.
fn kept(facts: &Facts) -> Result<BTreeMap<String, Builder>, Failure> {
    let Some(folder) = folder(facts) else { return Ok(BTreeMap::new()) };
    let path = folder.join(KEPT);
    let Ok(text) = fs::read_to_string(&path) else { return Ok(BTreeMap::new()) };
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    Ok(user_config::read(&path.display().to_string(), &text, directory)?.builders)
}

/// Adds a worker to a builder, which may be a new one; without `results` it stays as it is.
pub fn add(name: &str, worker: Worker, results: Option<Results>, facts: &Facts) -> Result<(), Failure> {
    let path = must_have_folder(facts)?.join(KEPT);
    if let Some(known) = all(None, facts)?.get(name).filter(|known| known.origin != Origin::Kept) {
        let message = format!("builder `{name}` is declared elsewhere: {}", known.origin.text());
        return Err(vec![
            Problem::input("builder::taken", message).help("choose another name, or change it there"),
        ]);
    }
    let mut builders = kept(facts)?;
    let place = Place::new(&Source::new(KEPT, ""), 0..0);
    let new = Builder { place, workers: Vec::new(), results: Results::default() };
    let builder = builders.entry(name.to_string()).or_insert(new);
    builder.results = results.unwrap_or(builder.results);
    builder.workers.retain(|other| other.endpoint != worker.endpoint);
    builder.workers.push(worker);
    write(&path, &written(&builders))
}

/// Removes a builder that `mab builder add` made.
pub fn remove(name: &str, facts: &Facts) -> Result<(), Failure> {
    let path = must_have_folder(facts)?.join(KEPT);
    let mut builders = kept(facts)?;
    if builders.remove(name).is_none() {
        let known = all(None, facts)?;
        return Err(vec![match known.get(name) {
            None => unknown(name, known.keys().map(String::as_str)),
            Some(other) => {
                let message =
                    format!("builder `{name}` is not from `mab builder add`: {}", other.origin.text());
                Problem::input("builder::taken", message).help("remove it there")
            }
        }]);
    }
    write(&path, &written(&builders))?;
    if chosen(facts).as_deref() == Some(name) { choose(OWN_BUILDER, facts) } else { Ok(()) }
}

/// The builder of commands that name none, if it is not this machine: `MAB_BUILDER`, or that of `mab builder use`.
pub fn in_use(facts: &Facts) -> Option<String> {
    let told = facts.environment.get("MAB_BUILDER").filter(|name| !name.is_empty()).cloned();
    told.or_else(|| chosen(facts)).filter(|name| name != OWN_BUILDER)
}

fn chosen(facts: &Facts) -> Option<String> {
    let text = fs::read_to_string(folder(facts)?.join(IN_USE)).ok()?;
    Some(text.trim().to_string()).filter(|name| !name.is_empty())
}

/// Makes a builder the one of bakes that name none.
pub fn choose(name: &str, facts: &Facts) -> Result<(), Failure> {
    find(name, None, facts)?;
    write(&must_have_folder(facts)?.join(IN_USE), &format!("{name}\n"))
}

fn written(builders: &BTreeMap<String, Builder>) -> String {
    use toml::{Table, Value};
    let text = |path: &PathBuf| Value::from(path.display().to_string());
    let worker = |worker: &Worker| {
        let mut table = Table::from_iter([("endpoint".to_string(), Value::from(worker.endpoint.clone()))]);
        if !worker.platforms.is_empty() {
            let platforms = worker.platforms.iter().map(|platform| Value::from(platform.to_string()));
            table.insert("platforms".to_string(), Value::Array(platforms.collect()));
        }
        if !worker.labels.is_empty() {
            let labels = worker.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.clone())));
            table.insert("labels".to_string(), Value::Table(labels.collect()));
        }
        if let Some(count) = worker.max_parallelism {
            table.insert("max-parallelism".to_string(), Value::from(i64::from(count)));
        }
        if let Some(tls) = &worker.tls {
            let files = [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)];
            let files =
                files.into_iter().filter_map(|(key, path)| Some((key.to_string(), text(path.as_ref()?))));
            table.insert("tls".to_string(), Value::Table(files.collect()));
        }
        Value::Table(table)
    };
    let builder = |(name, builder): (&String, &Builder)| {
        let workers = Value::Array(builder.workers.iter().map(worker).collect());
        let mut table = Table::from_iter([("workers".to_string(), workers)]);
        if builder.results != Results::default() {
            table.insert("results".to_string(), Value::from(builder.results.name()));
        }
        (name.clone(), Value::Table(table))
    };
    let table =
        Table::from_iter([("builder".to_string(), Value::Table(builders.iter().map(builder).collect()))]);
    let text = toml::to_string(&table).expect("tables of texts are TOML");
    format!("# Kept by `mab builder`; builders of config.toml are stronger.\n{text}")
}

/// All of it or nothing, however it ends.
fn write(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    let written = (|| {
        let folder = path.parent().expect("it is in a folder");
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok::<_, std::io::Error>(())
    })();
    written.map_err(|error| {
        let message = format!("cannot write `{}`: {error}", path.display());
        vec![Problem::new(Kind::Host, "builder::unwritable", message)]
    })
}
