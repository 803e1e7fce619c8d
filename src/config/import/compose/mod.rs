//! Compose files to targets, as far as builds are concerned: one for each service that is built, and the
//! group `default` of all of them. Everything else in the files is none of a build's business.
//!
//! ```text
//! yaml ─ interpolate ─ load (include, extends, merge, canonical) ─▶ project ─ service, bake_extension ─▶ targets
//! ```

mod bake_extension;
mod build_keys;
mod canonical;
mod dotenv;
mod interpolate;
mod load;
mod merge;
mod scalar;
mod service;
mod variables;
pub mod yaml;

use std::collections::BTreeMap;

use super::ImportFile;
use super::bake::Given;
use super::definition::Definition;
use super::names::is_name;
use super::target::Group;
use crate::config::files::Files;
use crate::diag::Problem;
use crate::facts::Facts;

use load::{Loader, bad_variables, texts};
use service::Context;
use variables::{Asked, Variables};
use yaml::{Kind, Node};

/// What Compose files define.
pub struct Read {
    pub definition: Definition,
    pub warnings: Vec<Problem>,
    /// What they have taken from the environment.
    pub asked: Asked,
}

/// Reads all files as one project.
pub fn read(
    files: &[ImportFile],
    given: &Given,
    facts: &Facts,
    disk: &(dyn Files + Sync),
) -> Result<Read, Vec<Problem>> {
    let current = &facts.directories.current;
    let mut variables = variables(given, facts, disk).map_err(|problem| vec![*problem])?;
    name_project(files, &mut variables);
    let mut loader = Loader::new(disk, current);
    let loaded = loader.load(files, &variables);
    let mut problems = loader.problems;
    let project = match loaded {
        Ok(project) if !problems.iter().any(Problem::is_error) => project,
        Ok(_) => return Err(problems),
        Err(problem) => {
            problems.push(*problem);
            return Err(problems);
        }
    };
    let members = |key: &str| project.get(key).and_then(Node::table).cloned().unwrap_or_default();
    let (services, secrets) = (members("services"), members("secrets"));
    if project.get("services").is_none() && project.get("secrets").is_none() {
        let problem = Problem::input("compose::empty", "the Compose file has no `services`");
        problems.push(problem.at(project.place.clone(), "nothing to build"));
        return Err(problems);
    }
    // As bake, which reads the variables of all containers, whether they are asked for or not.
    for service in services.values() {
        let peek = |name: &str| variables.peek(name).cloned();
        problems.extend(environment(service, &peek, facts, disk).err().map(|problem| *problem));
    }
    let look_up = |name: &str| variables.get(name).cloned();
    let environment = |service: &Node| environment(service, &look_up, facts, disk);
    let context =
        Context { services: &services, secrets: &secrets, variables: &variables, environment: &environment };
    let definition = targets(&context, &mut problems);
    if problems.iter().any(Problem::is_error) {
        Err(problems)
    } else {
        Ok(Read { definition, warnings: problems, asked: variables.asked() })
    }
}

pub fn can_be_parsed(source: &std::sync::Arc<crate::diag::Source>) -> bool {
    yaml::parse(source).is_ok()
}

fn targets(context: &Context<'_>, problems: &mut Vec<Problem>) -> Definition {
    let mut definition = Definition::default();
    let mut names = Vec::new();
    for (service_name, service) in context.services {
        let name = service_name.replace('.', "_");
        if !is_name(&name) {
            let message = format!("`{service_name}` cannot be the name of a target");
            problems.push(service.wrong(message, "not a name"));
            continue;
        }
        service::check_service(service_name, service, problems);
        let has = |key: &str| service.get(key).is_some_and(|node| !node.is_null());
        if !has("image") && !has("build") && !has("provider") {
            let message = format!("the service `{service_name}` has neither an image nor a build");
            let problem = service.wrong(message, "nothing to run");
            problems.push(match service.as_text().is_some_and(|text| text.contains(':')) {
                true => problem.help("write a space behind the `:` of a key"),
                false => problem,
            });
            continue;
        }
        match service::target(&name, service, context, problems) {
            Ok(Some(target)) => {
                names.push(name);
                definition.targets.push(target);
            }
            Ok(None) => {}
            Err(problem) => problems.push(*problem),
        }
    }
    if !context.services.is_empty() {
        let group = Group { name: "default".to_string(), targets: names, ..Group::default() };
        definition.groups.push(group);
    }
    definition
}

/// The environment, what `.env` adds to it, and `--var`.
pub fn variables(given: &Given, facts: &Facts, disk: &(dyn Files + Sync)) -> Result<Variables, Box<Problem>> {
    let mut variables = Variables::of_environment(&given.environment);
    if let Ok(text) = disk.read(&facts.directories.current.join(".env")) {
        let around = variables.clone();
        let known = |name: &str| around.get(name).cloned();
        let found = dotenv::parse(&text, &known).map_err(|message| bad_variables(".env", &message))?;
        for (name, value) in found {
            variables.add(name, value);
        }
    }
    given.vars.iter().for_each(|(name, text)| variables.insert(name.clone(), text.clone()));
    Ok(variables)
}

/// `COMPOSE_PROJECT_NAME`: what the last file calls itself, what the environment says, or `bake`.
fn name_project(files: &[ImportFile], variables: &mut Variables) {
    const NAME: &str = "COMPOSE_PROJECT_NAME";
    let mut name = variables.peek(NAME).filter(|name| !name.is_empty()).cloned();
    for file in files {
        let source = crate::diag::Source::new(file.name.clone(), file.text.clone());
        for document in yaml::parse(&source).unwrap_or_default() {
            let own = document.get("name").and_then(Node::as_text).filter(|own| !own.is_empty());
            let own = own.and_then(|own| interpolate::substitute(own, variables, &mut Vec::new(), 0).ok());
            name = own.or(name);
        }
    }
    variables.insert(NAME.to_string(), name.unwrap_or_else(|| "bake".to_string()));
}

/// The variables of a service's containers: `environment` over `env_file`.
fn environment(
    service: &Node,
    look_up: &dyn Fn(&str) -> Option<String>,
    facts: &Facts,
    disk: &(dyn Files + Sync),
) -> Result<BTreeMap<String, String>, Box<Problem>> {
    let mut own = match service.get("environment") {
        Some(node) => service::variables(node)?,
        None => BTreeMap::new(),
    };
    for (name, value) in &mut own {
        if value.is_none() {
            *value = look_up(name);
        }
    }
    // What is named without a value anywhere is not set, whatever files say.
    let unset: Vec<String> =
        own.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name.clone()).collect();
    let own: BTreeMap<String, String> =
        own.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut found = BTreeMap::new();
    let files = service.get("env_file").map(|node| match &node.kind {
        Kind::List(items) => items.clone(),
        _ => vec![node.clone()],
    });
    for file in files.unwrap_or_default() {
        let path = file.get("path").map(texts).unwrap_or_default().concat();
        let is_required = file.get("required").is_none_or(|required| required.kind != Kind::Bool(false));
        match disk.read(&facts.directories.current.join(&path)) {
            Ok(text) => {
                let known = |name: &str| look_up(name).or_else(|| own.get(name).cloned());
                found.extend(dotenv::parse(&text, &known).map_err(|message| bad_variables(&path, &message))?);
            }
            Err(error) if is_required => {
                let message = format!("cannot read `{path}`: {error}");
                let problem = Problem::input("compose::missing-file", message);
                return Err(Box::new(problem.at(file.place.clone(), "asked for here")));
            }
            Err(_) => {}
        }
    }
    found.retain(|name, _| !unset.contains(name));
    found.extend(own);
    Ok(found)
}
