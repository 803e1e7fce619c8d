//! Selected targets to the model. Relative paths are relative to the working directory, as in bake.
//!
//! What makes no sense is an error here, before anything runs; of a cache, which changes no result, a warning.
//! What no engine does yet is the plan's to say, as it is for our own files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::Selection;
use super::entries::{Export, Secret, Ssh};
use super::rebase::{is_remote, printed_context};
use super::target::{Group, Target, Texts};
use crate::base::Platform;
use crate::config::entries::cache::Direction;
use crate::config::entries::{self, EntryDeclaration};
use crate::config::text::{File, Text, clean};
use crate::config::{annotation, context, keys, output, platforms, resources, sandbox, size};
use crate::diag::{Located, Place, Problem, Source};
use crate::facts::Facts;
use crate::model::{
    self, Annotation, Attestation, CacheEntry, CacheUse, Call, Context, Delivery, Dockerfile, Emulate,
    Entitlement, Network, Output, Policy, Project, Resources, SecretSource, SshSource, Ulimit, Variant,
};

/// More than anybody reads.
const MOST_ERRORS: usize = 500;

/// The project of a selection; or everything that is wrong.
pub fn project(
    selection: &Selection,
    facts: &Facts,
    wanted: &[Platform],
    remote: Option<&Path>,
) -> Result<(Project, Vec<Problem>), Vec<Problem>> {
    let mut problems: Vec<Problem> = Vec::new();
    let widened = with_platforms_of_consumers(selection);
    let (mut targets, mut errors) = (BTreeMap::new(), 0);
    for (name, target) in &widened {
        let known = problems.len();
        let converter = Converter { target, facts, wanted, remote, problems: &mut problems };
        targets.insert(name.clone(), converter.target());
        errors += problems[known..].iter().filter(|problem| problem.is_error()).count();
        if errors >= MOST_ERRORS {
            break;
        }
    }
    // Where a target and a group have one name, the request has been for what the group means.
    let groups = selection.groups.iter().filter(|(name, _)| !selection.targets.contains_key(*name));
    let groups = groups.map(|(name, group)| (name.clone(), model_group(group)));
    let groups = groups.collect();
    let root = remote.unwrap_or(&facts.directories.current).to_path_buf();
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (left_out, environment) = (BTreeMap::new(), BTreeMap::new());
    if problems.iter().any(Problem::is_error) {
        return Err(problems);
    }
    Ok((
        Project {
            name,
            root,
            default_branch: None,
            targets,
            groups,
            caches: BTreeMap::new(),
            builders: BTreeMap::new(),
            left_out,
            environment,
            refusals: Vec::new(),
            unmet: Vec::new(),
            lint: Default::default(),
        },
        problems,
    ))
}

/// What only others use, and names no platforms itself, is built for theirs: a base of another platform
/// would put wrong bytes under a right name.
fn with_platforms_of_consumers(selection: &Selection) -> BTreeMap<String, Target> {
    let mut targets = selection.targets.clone();
    let open: Vec<&String> = selection
        .linked
        .iter()
        .filter(|name| targets[*name].platforms.as_ref().is_none_or(Vec::is_empty))
        .collect();
    let mut consumers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, target) in &selection.targets {
        let links: BTreeSet<&str> = target.links().collect();
        links.into_iter().for_each(|link| consumers.entry(link).or_default().push(name));
    }
    // Each round reaches one link further; links go no deeper than a selection's.
    for _ in 0..=open.len() {
        let mut changed = false;
        for name in &open {
            let consumers = consumers.get(name.as_str()).into_iter().flatten();
            let wanted: BTreeSet<String> = consumers
                .flat_map(|consumer| targets[*consumer].platforms.iter().flatten().cloned())
                .collect();
            let Some(target) = targets.get_mut(*name).filter(|_| !wanted.is_empty()) else { continue };
            let wanted: Vec<String> = wanted.into_iter().collect();
            if target.platforms.as_ref() != Some(&wanted) {
                target.platforms = Some(wanted);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    targets
}

fn model_group(group: &Group) -> model::Group {
    model::Group {
        name: group.name.clone(),
        description: Some(group.description.clone()).filter(|text| !text.is_empty()),
        targets: group.targets.iter().map(|name| located(name.clone(), group.place.as_ref())).collect(),
        place: group.place.clone(),
        require: Vec::new(),
        is_withheld: false,
    }
}

fn located<T>(value: T, place: Option<&Place>) -> Located<T> {
    Located { value, place: place.cloned() }
}

struct Converter<'a> {
    target: &'a Target,
    facts: &'a Facts,
    wanted: &'a [Platform],
    /// Where files of elsewhere are.
    remote: Option<&'a Path>,
    problems: &'a mut Vec<Problem>,
}

impl Converter<'_> {
    fn target(mut self) -> model::Target {
        let target = self.target;
        let variant = self.variant();
        let platforms = self.platforms();
        let narrowed =
            platforms.into_iter().filter(|p| self.wanted.is_empty() || self.wanted.contains(&p.value));
        let variants = narrowed.map(|platform| Arc::new(Variant { platform, ..variant.clone() })).collect();
        model::Target {
            name: target.name.clone(),
            description: Some(target.description.clone()).filter(|text| !text.is_empty()),
            place: target.place.clone(),
            variants,
            tags: self.tags(),
            images: Vec::new(),
            labels: texts(target.labels.as_ref()),
            annotations: self.annotations(),
            outputs: self.outputs(),
            delivery: Delivery::default(),
            call: self.call(),
            needs: Vec::new(),
            cache: CacheUse {
                named: Vec::new(),
                from: self.caches("cache-from", Direction::From),
                to: self.caches("cache-to", Direction::To),
            },
            attestations: self.attestations(),
            policies: self.policies(),
            tagging: None,
            requirements: Vec::new(),
        }
    }

    fn place(&self, attribute: &str) -> Option<&Place> {
        self.target.places.get(attribute).or(self.target.place.as_ref())
    }

    /// Reports a problem of an attribute.
    fn report(&mut self, attribute: &str, problem: Problem) {
        let problem = match self.place(attribute) {
            Some(place) if problem.labels.is_empty() => problem.at(place.clone(), "here"),
            _ => problem,
        };
        self.problems.push(problem);
    }

    /// Reports a problem of one entry of an attribute, where that can be found.
    fn report_part(&mut self, attribute: &str, part: &str, problem: Problem) {
        match self.place(attribute).map(|place| place.of_part(part, &(0..part.len()))) {
            Some(place) => self.problems.push(problem.at(place, "here")),
            None => self.report(attribute, problem),
        }
    }

    /// A value where it stands; overrides and defaults stand nowhere but in themselves.
    fn text(&self, attribute: &str, value: &str) -> Text {
        self.text_in(&self.facts.directories.current, attribute, value)
    }

    /// The text of a context, whose path is relative to the file's folder where that is from elsewhere.
    fn context_text(&self, attribute: &str, written: &str, value: &mut String) -> Text {
        let is_here = written.starts_with("cwd://") || written.starts_with("oci-layout://");
        match self.remote.filter(|_| !is_here) {
            Some(root) => {
                if value.starts_with('/') {
                    // As in bake, its root is all there is.
                    *value = format!("./{}", value.trim_start_matches('/'));
                }
                self.text_in(root, attribute, value)
            }
            None => self.text(attribute, value),
        }
    }

    fn text_in(&self, directory: &Path, attribute: &str, value: &str) -> Text {
        let directory = directory.to_path_buf();
        match self.place(attribute) {
            Some(place) => {
                let file = Arc::new(File { source: place.source.clone(), directory, is_literal: false });
                Text::new(value, &file, place.span.clone())
            }
            None => {
                let source = Source::new(format!("{}.{attribute}", self.target.name), value);
                Text::new(value, &Arc::new(File { source, directory, is_literal: false }), 0..value.len())
            }
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        clean(&self.facts.directories.current.join(path))
    }

    /// An entry of a list with its keys and values.
    fn entry(&self, attribute: &str, pairs: Vec<(String, String)>) -> EntryDeclaration {
        let entries: Vec<(Located<String>, Text)> = pairs
            .into_iter()
            .map(|(key, value)| {
                let text = self.text(attribute, &value);
                (Located::new(key, text.place()), text)
            })
            .collect();
        EntryDeclaration::Table { place: self.text(attribute, "").place(), entries }
    }

    /// Bake builds on, whatever is wrong with a cache.
    fn caches(&mut self, attribute: &str, direction: Direction) -> Vec<Located<CacheEntry>> {
        let target = self.target;
        let caches = if direction == Direction::From { &target.cache_from } else { &target.cache_to };
        let mut found = Vec::new();
        for one in caches.iter().flatten() {
            match entries::cache::resolve(&self.entry(attribute, one.pairs()), direction, as_written) {
                Ok(entry) => found.extend(entry),
                Err(problems) => {
                    let message = problems.first().map_or("", |problem| problem.message.as_str());
                    let message = format!("`{attribute}` has a cache that is not used: {message}");
                    self.report(attribute, Problem::warning("bake::cache", message));
                }
            }
        }
        found
    }

    fn attestations(&mut self) -> Vec<Located<Attestation>> {
        let mut found = Vec::new();
        for one in self.target.attest.iter().flatten() {
            match entries::attestation::resolve(&self.entry("attest", one.pairs()), as_written) {
                Ok(entry) => found.extend(entry),
                Err(problems) => self.problems.extend(problems),
            }
        }
        found
    }

    fn policies(&mut self) -> Vec<Located<Policy>> {
        let mut found = Vec::new();
        for one in self.target.policy.iter().flatten() {
            match entries::policy::resolve(&self.entry("policy", one.pairs()), as_written) {
                Ok(entry) => found.extend(entry),
                Err(problems) => self.problems.extend(problems),
            }
        }
        found
    }

    fn resources(&mut self) -> Option<Located<Resources>> {
        let mut resources = Resources::default();
        for (key, value) in self.target.resources.as_ref()?.pairs() {
            if resources::set(&mut resources, key, &value).is_none() {
                let problem = Problem::input("config::bad-value", format!("`{key}` cannot be `{value}`"));
                self.report("resources", problem.help(resources::what_it_is(key)));
            }
        }
        Some(located(resources, self.place("resources")))
    }

    fn call(&mut self) -> Call {
        match self.target.call.as_deref() {
            None | Some("" | "build") => Call::Build,
            Some("check" | "lint") => Call::Check,
            Some("outline") => Call::Outline,
            Some("targets") => Call::Targets,
            Some(other) => {
                self.report("call", keys::not_yet(&format!("the call `{other}`")));
                Call::Build
            }
        }
    }

    fn platforms(&mut self) -> Vec<Located<Platform>> {
        let mut platforms: Vec<Located<Platform>> = Vec::new();
        let texts = self.target.platforms.iter().flatten().flat_map(|text| text.split(','));
        for text in texts {
            let parsed = match text {
                "local" => Ok(self.facts.host.clone()),
                text => text.parse::<Platform>().map_err(|error| error.to_string()),
            };
            match parsed {
                Ok(platform) => {
                    let platform = located(platform, self.place("platforms"));
                    if !platforms.contains(&platform) {
                        platforms.push(platform);
                    }
                }
                Err(message) => {
                    let problem = Problem::input("config::bad-value", message);
                    let problem = match platforms::help(text) {
                        Some(help) => problem.help(help),
                        None => problem,
                    };
                    self.report_part("platforms", text, problem);
                }
            }
        }
        if platforms.is_empty() {
            platforms.push(Located::unplaced(self.facts.host.clone()));
        }
        platforms
    }

    fn tags(&mut self) -> Vec<Located<crate::base::Reference>> {
        let mut tags = Vec::new();
        for tag in self.target.tags.iter().flatten() {
            match tag.parse::<crate::base::Reference>() {
                Ok(reference) => tags.push(located(reference, self.place("tags"))),
                Err(error) => {
                    let problem = Problem::input("config::bad-reference", error.to_string());
                    let problem = match tag.contains("{{") || tag.contains('$') {
                        true => problem.help("a variable is written `${NAME}`"),
                        false => problem,
                    };
                    self.report_part("tags", tag, problem);
                }
            }
        }
        tags
    }

    fn annotations(&mut self) -> Vec<Annotation> {
        let mut annotations = Vec::new();
        for text in self.target.annotations.iter().flatten() {
            match annotation::parse(text) {
                Ok(found) => annotations.extend(found),
                Err(message) => self.report("annotations", Problem::input("config::bad-annotation", message)),
            }
        }
        annotations
    }

    fn outputs(&mut self) -> Vec<Located<Output>> {
        let mut outputs = Vec::new();
        for export in self.target.outputs.iter().flatten() {
            match self.output(export) {
                Ok(output) => outputs.extend(output),
                Err(problems) => self.problems.extend(problems),
            }
        }
        outputs
    }

    fn output(&self, export: &Export) -> Result<Option<Located<Output>>, Vec<Problem>> {
        output::resolve(&self.entry("output", export.pairs()), as_written)
    }

    /// What all platforms have in common.
    fn variant(&mut self) -> Variant {
        let target = self.target;
        Variant {
            platform: Located::unplaced(self.facts.host.clone()),
            context: self.context(),
            dockerfile: self.dockerfile(),
            stage: target
                .stage
                .clone()
                .filter(|stage| !stage.is_empty())
                .map(|stage| located(stage, self.place("target"))),
            args: texts(target.args.as_ref())
                .into_iter()
                .map(|(name, value)| (name, located(value, self.place("args"))))
                .collect(),
            contexts: self.contexts(),
            build_platform: None,
            emulate: Emulate::default(),
            no_cache: target.no_cache.unwrap_or(false),
            pull: target.pull.unwrap_or(false),
            network: self.network(),
            shm_size: self.shm_size(),
            extra_hosts: texts(target.extra_hosts.as_ref()),
            secrets: self.secrets(),
            ssh: self.ssh(),
            entitlements: self.entitlements(),
            ulimits: self.ulimits(),
            no_cache_filter: target.no_cache_filter.clone().unwrap_or_default(),
            resources: self.resources(),
            source_date_epoch: None,
            verify: None,
            allow_failure: None,
            worker_labels: BTreeMap::new(),
            tests: Vec::new(),
        }
    }

    fn context(&mut self) -> Located<Context> {
        let written = self.target.context.as_deref().unwrap_or(".");
        let mut value = printed_context(written);
        let text = self.context_text("context", written, &mut value);
        let is_here = written.starts_with("cwd://");
        let dockerfile = self.target.dockerfile.as_deref().unwrap_or("Dockerfile");
        let needs_dockerfile = self.target.dockerfile_inline.is_none() && !dockerfile.starts_with("cwd://");
        if self.remote.is_some() && is_here && needs_dockerfile {
            let message = "the context is here, and the Dockerfile elsewhere";
            let help = "as in bake: name a Dockerfile here, `cwd://Dockerfile`, or use `dockerfile-inline`";
            self.report("context", Problem::input("bake::remote-dockerfile", message).help(help));
        }
        if value == "-" {
            let message = "bake reads no context from standard input";
            self.report("context", Problem::input("bake::stdin", message));
        }
        match context::parse_main(&text, &value) {
            Ok(context) => located(context, self.place("context")),
            Err(problem) => {
                self.problems.push(problem);
                Located::unplaced(Context::Directory(self.facts.directories.current.clone()))
            }
        }
    }

    fn dockerfile(&mut self) -> Dockerfile {
        if let Some(inline) = &self.target.dockerfile_inline {
            return Dockerfile::Inline(located(inline.clone(), self.place("dockerfile-inline")));
        }
        let value = self.target.dockerfile.as_deref().unwrap_or("Dockerfile");
        if value == "-" {
            let message = "bake reads no Dockerfile from standard input";
            self.report("dockerfile", Problem::input("bake::stdin", message));
        }
        if is_remote(value) {
            self.report("dockerfile", keys::not_yet("a Dockerfile from elsewhere"));
        }
        let path = match value.strip_prefix("cwd://") {
            Some(path) => self.path(path),
            None => PathBuf::from(value),
        };
        Dockerfile::File(located(path, self.place("dockerfile")))
    }

    fn contexts(&mut self) -> BTreeMap<String, Located<Context>> {
        let mut contexts = BTreeMap::new();
        for (name, written) in self.target.contexts.iter().flatten() {
            let mut value = written.strip_prefix("cwd://").unwrap_or(written).to_string();
            let text = self.context_text("contexts", written, &mut value);
            match context::parse_named(&text, &value) {
                Ok(context) => {
                    contexts.insert(name.clone(), located(context, self.place("contexts")));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        contexts
    }

    fn network(&mut self) -> Network {
        match self.target.network.as_deref() {
            None | Some("" | "default") => Network::Default,
            Some("none") => Network::None,
            Some("host") => Network::Host,
            Some(other) => {
                let message = format!("there is no network `{other}`");
                let problem = Problem::input("config::bad-value", message);
                self.report("network", problem.help("the values are `default`, `none` and `host`"));
                Network::Default
            }
        }
    }

    fn shm_size(&mut self) -> Option<u64> {
        let text = self.target.shm_size.as_deref().filter(|text| !text.is_empty())?;
        let parsed = size::parse(text);
        if parsed.is_none() {
            let message = format!("`{text}` is not a size, such as `128m`");
            self.report("shm-size", Problem::input("config::bad-value", message));
        }
        parsed
    }

    fn secrets(&mut self) -> BTreeMap<String, Located<SecretSource>> {
        let mut secrets = BTreeMap::new();
        for Secret { id, source, environment } in self.target.secrets.iter().flatten() {
            if id.is_empty() {
                let problem = Problem::input("config::bad-secret", "a secret has no `id`");
                let help = "write `id=…`, as `RUN --mount=type=secret,id=…` has it";
                self.report("secret", problem.help(help));
                continue;
            }
            let found = match (environment.as_str(), source.as_str()) {
                ("", "") => SecretSource::ById(self.path(id)),
                ("", path) => SecretSource::File(self.path(path)),
                (name, _) => SecretSource::Env(name.to_string()),
            };
            secrets.insert(id.clone(), located(found, self.place("secret")));
        }
        secrets
    }

    fn ssh(&self) -> BTreeMap<String, Located<SshSource>> {
        let agents = self.target.ssh.iter().flatten().map(|Ssh { id, paths }| {
            let id = if id.is_empty() { "default" } else { id };
            let paths: Vec<PathBuf> =
                paths.iter().filter(|path| !path.is_empty()).map(|path| self.path(path)).collect();
            let source = if paths.is_empty() { SshSource::Environment } else { SshSource::Paths(paths) };
            (id.to_string(), located(source, self.place("ssh")))
        });
        agents.collect()
    }

    fn entitlements(&mut self) -> Vec<Located<Entitlement>> {
        let mut entitlements = Vec::new();
        for text in self.target.entitlements.iter().flatten() {
            match Entitlement::parse(text) {
                Some(found) => entitlements.push(located(found, self.place("entitlements"))),
                None => {
                    self.report("entitlements", keys::not_yet(&format!("the entitlement `{text}`")));
                }
            }
        }
        entitlements
    }

    fn ulimits(&mut self) -> Vec<Ulimit> {
        let mut limits = Vec::new();
        for text in self.target.ulimits.iter().flatten() {
            match sandbox::parse_ulimit(text) {
                Ok(limit) => limits.push(limit),
                Err(problem) => self.report("ulimits", problem),
            }
        }
        limits
    }
}

/// Nothing in these files is a template of ours.
fn as_written(text: &Text) -> Result<String, Problem> {
    Ok(text.value.clone())
}

fn texts(texts: Option<&Texts>) -> BTreeMap<String, String> {
    let texts = texts.into_iter().flatten();
    texts.filter_map(|(name, text)| Some((name.clone(), text.clone()?))).collect()
}
