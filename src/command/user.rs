//! The user's own configuration: where it is, and what it means for the clients of a run.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Failure, builders};
use crate::base::Platform;
use crate::config::OWN_BUILDER;
use crate::config::user::{self, UserConfig};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::model::{Builder, Project};
use crate::registry::RegistryOptions;

/// The file that `MAB_CONFIG` names (empty: none), else the one of the XDG base directories if it is there.
pub fn config(facts: &Facts) -> Result<UserConfig, Failure> {
    let named = facts.environment.get("MAB_CONFIG");
    let path: PathBuf = match (named.map(String::as_str), &facts.directories.config) {
        (Some(""), _) => return Ok(UserConfig::default()),
        (Some(named), _) => facts.directories.current.join(named),
        (None, Some(directory)) => directory.join(user::FILE_NAME),
        (None, None) => return Ok(UserConfig::default()),
    };
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return Ok(UserConfig::default());
        }
        Err(error) => {
            let problem = Problem::input("config::unreadable", format!("cannot read `{name}`: {error}"));
            return Err(vec![problem.help("set MAB_CONFIG to another file, or to nothing for none")]);
        }
    };
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    user::read(&name, &text, directory)
}

/// Mirrors, certificates and exceptions of registries. Credentials are added by whoever makes the client.
pub fn registries(config: &UserConfig) -> Result<RegistryOptions, Box<Problem>> {
    let mut options = RegistryOptions::default();
    for (host, settings) in &config.registries {
        if settings.insecure {
            options.insecure.push(host.clone());
        }
        if settings.staging_tags {
            options.staging_tags.push(host.clone());
        }
        if !settings.mirrors.is_empty() {
            options.mirrors.insert(host.clone(), settings.mirrors.clone());
        }
        if let Some(path) = &settings.ca {
            let read = std::fs::read(path).map_err(|error| {
                let message = format!("cannot read `{}`, the `ca` of `{host}`: {error}", path.display());
                Box::new(Problem::input("config::unreadable", message))
            });
            options.root_certificates.insert(host.clone(), vec![read?]);
        }
    }
    Ok(options)
}

/// The builder that is asked for: by `--builder`, else by `mab builder use`.
fn chosen<'a>(option: Option<&'a str>, facts: &Facts) -> Option<std::borrow::Cow<'a, str>> {
    option.map(Into::into).or_else(|| builders::in_use(facts).map(Into::into))
}

/// What is odd about the builders of the build file, and that there is none as `--builder` names it.
pub fn check_builders(
    project: &mut Project,
    option: Option<&str>,
    facts: &Facts,
) -> Result<Vec<Problem>, Failure> {
    if let Some(name) = chosen(option, facts)
        && let Err(problems) = builders::find(&name, Some(project), facts)
    {
        project.refusals.extend(problems);
    }
    if project.builders.is_empty() {
        return Ok(Vec::new());
    }
    let own = config(facts)?.builders;
    let hidden = project.builders.iter().filter_map(|(name, builder)| Some((name, builder, own.get(name)?)));
    let warnings = hidden.map(|(name, builder, own)| {
        let message = format!(
            "builder `{name}` of the build file is not used: your configuration has one of that name"
        );
        Problem::warning("builder::hidden", message)
            .at(builder.place.clone(), "not used")
            .at(own.place.clone(), "used instead")
            .help("rename one of them to have both")
    });
    Ok(warnings.collect())
}

/// The builder that is asked for; none for this machine.
pub fn builder(
    project: &Project,
    option: Option<&str>,
    facts: &Facts,
) -> Result<Option<(String, Builder)>, Failure> {
    match chosen(option, facts) {
        // What is wrong with it was told with everything else.
        Some(name) if project.refusals.is_empty() => builders::find(&name, Some(project), facts),
        None => builders::find(OWN_BUILDER, Some(project), facts),
        Some(_) => Ok(None),
    }
}

/// Where a worker is for a platform, builds of that platform run on it, and so do their stages for `$BUILDPLATFORM`.
pub fn set_build_platforms(project: &mut Project, builder: &Builder) {
    let is_offered =
        |platform: &Platform| builder.workers.iter().any(|worker| worker.platforms.contains(platform));
    for variant in project.targets.values_mut().flat_map(|target| &mut target.variants) {
        let platform = variant.platform.value.clone();
        if is_offered(&platform) {
            Arc::make_mut(variant).build_platform = Some(platform);
        }
    }
}
