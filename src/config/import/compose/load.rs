//! Compose files to one tree: documents and files laid over each other, `include` and `extends` followed,
//! paths made relative to where all begins.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::canonical::{
    Base, canonical_service, default_context, resolve_project_paths, resolve_service_paths,
};
use super::dotenv;
use super::interpolate::interpolate;
use super::merge::{merge, remove, take_tags};
use super::variables::Variables;
use super::yaml::{self, Kind, Node, Table};
use crate::config::files::Files;
use crate::config::import::ImportFile;
use crate::config::import::hcl::clean_path;
use crate::diag::{Place, Problem, Source, nearest};

/// Keys of a service that Compose takes with a value only.
const NEVER_NULL: &[&str] = &["build", "depends_on", "env_file", "environment", "image"];
/// Includes, and services that extend others, nested deeper than this are refused.
const DEEPEST: usize = 64;
/// Files of includes of includes may be the same ones over and over.
const MOST_FILES: usize = 1_000;
/// Steps of `extends`, counted anew for each service.
const MOST_EXTENDED: usize = 20_000;

type Loaded<T> = Result<T, Box<Problem>>;

pub struct Loader<'l> {
    pub disk: &'l (dyn Files + Sync),
    /// What relative paths of files are relative to.
    pub current: &'l Path,
    pub problems: Vec<Problem>,
    /// Files that services extend, by path.
    bases: BTreeMap<String, Node>,
    /// Files that were asked for by others.
    files: usize,
    /// Services that were laid over others.
    extended: usize,
}

/// Where a set of files is read.
struct Surroundings<'s> {
    /// What `include` and `extends` are relative to.
    directory: &'s str,
    variables: &'s Variables,
    /// The files that led here.
    path: Vec<String>,
}

impl Surroundings<'_> {
    fn home(&self) -> Option<&str> {
        self.variables.peek("HOME").map(String::as_str)
    }
}

/// Where a service stands that extends another.
#[derive(Clone, Copy)]
struct Here<'h> {
    file: &'h str,
    /// What the file of the other one is relative to.
    directory: &'h str,
}

impl<'l> Loader<'l> {
    pub fn new(disk: &'l (dyn Files + Sync), current: &'l Path) -> Self {
        Self { disk, current, problems: Vec::new(), bases: BTreeMap::new(), files: 0, extended: 0 }
    }

    /// The project that the files are together.
    pub fn load(&mut self, files: &[ImportFile], variables: &Variables) -> Loaded<Node> {
        let surroundings = Surroundings { directory: "", variables, path: Vec::new() };
        self.model(files, "", &surroundings)
    }

    /// `base` is what paths in the files are relative to.
    fn model(&mut self, files: &[ImportFile], base: &str, around: &Surroundings<'_>) -> Loaded<Node> {
        let mut project: Option<Node> = None;
        for file in files {
            let source = Source::new(file.name.clone(), file.text.clone());
            let documents = yaml::parse(&source)?;
            check_says_something(&documents)?;
            for mut document in documents {
                if document.table().is_none() {
                    let problem = document.wrong("a Compose file is a table", "not a table");
                    return Err(Box::new(problem));
                }
                let tagged = take_tags(&mut document);
                check_nulls(&document)?;
                interpolate(&mut document, around.variables, &mut self.problems);
                self.include(&mut document, &file.name, around)?;
                if let Some(project) = &mut project {
                    tagged.iter().for_each(|path| remove(project, path));
                }
                self.extend_services(&mut document, &file.name, around)?;
                project = Some(match project {
                    Some(known) => merge(known, document, &[])?,
                    None => document,
                });
            }
        }
        let mut project = project.unwrap_or_else(|| empty(files));
        let base = Base { directory: base, home: around.home() };
        each_service(&mut project, |service| {
            canonical_service(service)?;
            default_context(service);
            resolve_service_paths(service, base);
            Ok(())
        })?;
        resolve_project_paths(&mut project, base);
        Ok(project)
    }

    fn read(&mut self, path: &str, asked: &Node) -> Loaded<ImportFile> {
        self.files += 1;
        if self.files > MOST_FILES {
            let message = format!("more than {MOST_FILES} files are included or extended");
            let problem = Problem::input("compose::too-much", message);
            return Err(Box::new(problem.at(asked.place.clone(), "one too many")));
        }
        match self.disk.read(&self.current.join(path)) {
            Ok(text) => Ok(ImportFile { name: path.to_string(), text }),
            Err(error) => {
                let message = format!("cannot read `{path}`: {error}");
                let problem = Problem::input("compose::missing-file", message);
                Err(Box::new(problem.at(asked.place.clone(), "asked for here")))
            }
        }
    }

    fn include(&mut self, document: &mut Node, file: &str, around: &Surroundings<'_>) -> Loaded<()> {
        let Some(includes) = document.table_mut().and_then(|table| table.remove("include")) else {
            return Ok(());
        };
        let Kind::List(includes) = &includes.kind else {
            if includes.is_null() {
                return Ok(());
            }
            return Err(Box::new(includes.wrong("`include` must be a list", "not a list")));
        };
        for include in includes {
            let imported = self.included(include, file, around)?;
            import(document, imported)?;
        }
        Ok(())
    }

    /// The project of one `include`.
    fn included(&mut self, include: &Node, file: &str, around: &Surroundings<'_>) -> Loaded<Node> {
        let paths = match &include.kind {
            Kind::Table(table) => table.get("path").map(texts).unwrap_or_default(),
            _ => texts(include),
        };
        if paths.is_empty() {
            return Err(Box::new(include.wrong("an `include` needs the `path` of a file", "no path")));
        }
        let paths: Vec<String> = paths.iter().map(|path| joined(around.directory, path)).collect();
        let mut path = around.path.clone();
        path.push(file.to_string());
        if path.contains(&paths[0]) || path.len() > DEEPEST {
            let message = format!("`include` runs in a circle: {} → {}", path.join(" → "), paths[0]);
            let problem = Problem::input("compose::circle", message);
            return Err(Box::new(problem.at(include.place.clone(), "closes the circle")));
        }
        let given = include.get("project_directory").and_then(Node::as_text).filter(|text| !text.is_empty());
        let directory = match given {
            Some(given) => joined(around.directory, given),
            None => parent(&paths[0]),
        };
        let files: Vec<ImportFile> =
            paths.iter().map(|path| self.read(path, include)).collect::<Loaded<_>>()?;
        let variables = self.included_variables(include, &directory, around)?;
        let surroundings = Surroundings { directory: &directory, variables: &variables, path };
        self.model(&files, &directory, &surroundings)
    }

    /// Those around it, and for what they lack those of its files.
    fn included_variables(
        &mut self,
        include: &Node,
        directory: &str,
        around: &Surroundings<'_>,
    ) -> Loaded<Variables> {
        let named = include.get("env_file").map(texts).unwrap_or_default();
        let files: Vec<(String, bool)> = if named.is_empty() {
            vec![(joined(directory, ".env"), false)]
        } else {
            let named = named.iter().filter(|name| *name != "/dev/null");
            named.map(|name| (joined(around.directory, name), true)).collect()
        };
        // The last file says most, and what is around it more than any.
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        for (path, is_required) in files {
            let text = match self.disk.read(&self.current.join(&path)) {
                Ok(text) => text,
                Err(_) if !is_required => continue,
                Err(_) => return self.read(&path, include).map(|_| around.variables.clone()),
            };
            let known = |name: &str| around.variables.get(name).cloned();
            said =
                dotenv::parse_over(said, &text, &known).map_err(|message| bad_variables(&path, &message))?;
        }
        let mut variables = around.variables.clone();
        said.into_iter().for_each(|(name, value)| variables.add(name, value));
        Ok(variables)
    }

    fn extend_services(&mut self, document: &mut Node, file: &str, around: &Surroundings<'_>) -> Loaded<()> {
        let Some(services) = document.table_mut().and_then(|table| table.get_mut("services")) else {
            return Ok(());
        };
        let Some(table) = services.table().cloned() else {
            if services.is_null() {
                return Ok(());
            }
            return Err(Box::new(services.wrong("`services` must be a table", "not a table")));
        };
        let mut extended = Table::new();
        for (name, service) in &table {
            let service = if service.get("extends").is_some() {
                let here = Here { file, directory: around.directory };
                self.extended(name, service, &table, here, around, &mut Vec::new())?
            } else {
                service.clone()
            };
            extended.insert(name.clone(), service);
        }
        services.kind = Kind::Table(extended);
        Ok(())
    }

    /// A service laid over the one it extends.
    fn extended(
        &mut self,
        name: &str,
        service: &Node,
        services: &Table,
        here: Here<'_>,
        around: &Surroundings<'_>,
        path: &mut Vec<(String, String)>,
    ) -> Loaded<Node> {
        let Some(extends) = service.get("extends").filter(|extends| !extends.is_null()) else {
            return Ok(service.clone());
        };
        let step = (here.file.to_string(), name.to_string());
        if path.contains(&step) || path.len() > DEEPEST {
            let problem =
                extends.wrong(format!("`extends` of `{name}` runs in a circle"), "closes the circle");
            return Err(Box::new(Problem { code: "compose::circle", ..problem }));
        }
        path.push(step);
        let wanted = extends.as_text().or_else(|| extends.get("service").and_then(Node::as_text));
        let Some(wanted) = wanted else {
            return Err(Box::new(extends.wrong("`extends` needs the name of a `service`", "no service")));
        };
        let elsewhere = extends.get("file").and_then(Node::as_text);
        self.extended += 1;
        if self.extended > MOST_EXTENDED {
            let problem =
                extends.wrong(format!("services extend more than {MOST_EXTENDED} others in all"), "here");
            return Err(Box::new(Problem { code: "compose::too-much", ..problem }));
        }
        let (base_services, base_file, directory) = match elsewhere {
            Some(given) => {
                let given = joined(here.directory, given);
                let directory = parent(&given);
                (Cow::Owned(self.base_services(&given, extends, around)?), given, directory)
            }
            None => (Cow::Borrowed(services), here.file.to_string(), here.directory.to_string()),
        };
        let Some(base) = base_services.get(wanted) else {
            let mut problem =
                extends.wrong(format!("there is no service `{wanted}` in `{base_file}`"), "not there");
            problem.help = nearest(wanted, base_services.keys().map(String::as_str))
                .map(|near| format!("did you mean `{near}`?"));
            return Err(Box::new(Problem { code: "compose::unknown-service", ..problem }));
        };
        let there = Here { file: &base_file, directory: &directory };
        let base = self.extended(wanted, base, &base_services, there, around, path)?;
        let mut own = service.clone();
        own.table_mut().map(|table| table.remove("extends"));
        if base.is_null() {
            return Ok(own);
        }
        merge(base, own, &["services", "x"])
    }

    /// The services of a file that others extend, with paths relative to where that is asked for.
    fn base_services(&mut self, path: &str, asked: &Node, around: &Surroundings<'_>) -> Loaded<Table> {
        if let Some(known) = self.bases.get(path) {
            return Ok(known.table().cloned().unwrap_or_default());
        }
        let file = self.read(path, asked)?;
        let source = Source::new(file.name.clone(), file.text);
        let mut project = empty_at(&source);
        for mut document in yaml::parse(&source)? {
            take_tags(&mut document);
            interpolate(&mut document, around.variables, &mut self.problems);
            project = merge(project, document, &[])?;
        }
        let directory = relative(&parent(path), around.directory);
        let base = Base { directory: &directory, home: around.home() };
        each_service(&mut project, |service| {
            canonical_service(service)?;
            resolve_service_paths(service, base);
            Ok(())
        })?;
        let Some(services) = project.get("services").cloned() else {
            let message = format!("`{path}` has no `services`");
            return Err(Box::new(asked.wrong(message, "asked for here")));
        };
        let table = services.table().cloned().unwrap_or_default();
        self.bases.insert(path.to_string(), services);
        Ok(table)
    }
}

/// A file is for something, if only for what another one includes.
fn check_says_something(documents: &[Node]) -> Loaded<()> {
    let says = |document: &Node| {
        ["services", "secrets", "include"].iter().any(|key| document.get(key).is_some())
            || document.table().is_none()
    };
    match documents.first() {
        Some(first) if !documents.iter().any(says) => {
            let problem = first.wrong("the Compose file has no `services`", "nothing to build");
            Err(Box::new(Problem { code: "compose::empty", ..problem }))
        }
        _ => Ok(()),
    }
}

/// What is written without a value takes nothing away: Compose wants one, or `!reset`.
fn check_nulls(document: &Node) -> Loaded<()> {
    let services = document.get("services").and_then(Node::table).into_iter().flat_map(Table::values);
    for service in services {
        let of_build = service.get("build").and_then(Node::table).into_iter().flatten();
        let of_build = of_build.filter(|(key, _)| !key.starts_with("x-"));
        let own = service.table().into_iter().flatten().filter(|(key, _)| NEVER_NULL.contains(&key.as_str()));
        if let Some((key, value)) = of_build.chain(own).find(|(_, value)| value.is_null()) {
            let problem = value.wrong(format!("`{key}` has no value"), "nothing here");
            let help = "give it one, or leave it out; `!reset null` takes away what other files say";
            return Err(Box::new(problem.help(help)));
        }
    }
    Ok(())
}

fn each_service(project: &mut Node, mut change: impl FnMut(&mut Node) -> Loaded<()>) -> Loaded<()> {
    let services = project.table_mut().and_then(|table| table.get_mut("services"));
    let services = services.and_then(Node::table_mut).into_iter().flat_map(Table::values_mut);
    for service in services {
        change(service)?;
    }
    Ok(())
}

/// Adds what an included project has; what both have is merged, the including file winning.
fn import(document: &mut Node, imported: Node) -> Loaded<()> {
    let (Some(own), Kind::Table(imported)) = (document.table_mut(), imported.kind) else { return Ok(()) };
    for kind in ["services", "secrets"] {
        let Some(Node { kind: Kind::Table(found), place, .. }) = imported.get(kind).cloned() else {
            continue;
        };
        let target = own.entry(kind.to_string()).or_insert_with(|| Node {
            kind: Kind::Table(Table::new()),
            place,
            tag: None,
        });
        if target.is_null() {
            target.kind = Kind::Table(Table::new());
        }
        let Some(target) = target.table_mut() else { continue };
        for (name, node) in found {
            let merged = match target.remove(&name) {
                Some(known) if known == node => known,
                Some(known) => merge(node, known, &[kind, name.as_str()])?,
                None => node,
            };
            target.insert(name, merged);
        }
    }
    Ok(())
}

pub fn bad_variables(path: &str, message: &str) -> Box<Problem> {
    Box::new(Problem::input("compose::variables", format!("`{path}` cannot be read: {message}")))
}

/// A text, or the texts of a list.
pub fn texts(node: &Node) -> Vec<String> {
    match &node.kind {
        Kind::List(items) => items.iter().filter_map(Node::printed).collect(),
        _ => node.printed().into_iter().collect(),
    }
}

fn empty(files: &[ImportFile]) -> Node {
    let file = files.first();
    let name = file.map(|file| file.name.clone()).unwrap_or_default();
    empty_at(&Source::new(name, file.map(|file| file.text.clone()).unwrap_or_default()))
}

fn empty_at(source: &Arc<Source>) -> Node {
    Node { kind: Kind::Table(Table::new()), place: Place::new(source, 0..0), tag: None }
}

/// `path` as seen from where all begins.
pub fn joined(directory: &str, path: &str) -> String {
    if path.starts_with('/') || directory.is_empty() {
        return clean_path(path);
    }
    clean_path(&format!("{directory}/{path}"))
}

fn parent(path: &str) -> String {
    let parent = PathBuf::from(path).parent().map(|parent| parent.display().to_string());
    parent.filter(|parent| !parent.is_empty()).unwrap_or_else(|| ".".to_string())
}

/// `path` as seen from `directory`, both as seen from where all begins.
fn relative(path: &str, directory: &str) -> String {
    let directory = clean_path(directory);
    match path.strip_prefix(&format!("{directory}/")) {
        Some(rest) => rest.to_string(),
        None if path == directory => ".".to_string(),
        None => path.to_string(),
    }
}
