//! One target: its layers rendered, parsed and put together, for all platforms and for each.

mod annotations;
mod delivery;
mod image_tests;
mod names;
mod tagging;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use minijinja::value::Value;

use super::budget::MOST_VALUES;
use super::conditional::Conditional;
use super::context;
use super::declare::{Declarations, DockerfileDeclaration};
use super::keys;
use super::layers::{self, Layers, OfRun};
use super::platforms::{self, PlatformEntry, PlatformSets};
use super::roster::{Member, Roster};
use super::scope::{Scope, Shared};
use super::secret::SecretVariable;
use super::table::MOST_PROBLEMS;
use super::template::Templates;
use super::text::Text;
use super::{forwarded, output, removal, resources, sandbox, secret, ssh};
use crate::base::{Platform, RemoteSource, Secret};
use crate::diag::{Located, Problem};
use crate::model::{Context, Delivery, Dockerfile, Output, SecretSource, SshSource, Target, Variant};

/// Platforms whose values are remembered.
const MOST_KNOWN: usize = 32;

/// What all targets share.
pub use tagging::{KnownRules, Occasions};

pub struct World<'a, 'e> {
    pub declared: &'a Declarations,
    pub templates: Templates<'e>,
    /// The members of every scope: `vars`, `project`, `git`.
    pub shared: Shared,
    pub host: &'a Platform,
    /// `[platforms]`
    pub platform_sets: PlatformSets,
    /// What rules for tags are about.
    pub occasions: Occasions<'a>,
    pub rules: KnownRules,
    /// The values of secret variables that have one.
    pub secrets: BTreeMap<String, Secret>,
    /// What `--platform` leaves; empty when it was not given.
    pub wanted: Vec<Platform>,
    /// What templates know as `platform`, of those that were asked for.
    pub platforms: RwLock<Vec<(Platform, Value)>>,
}

/// One target while it is resolved.
struct Resolver<'w, 'a, 'e> {
    world: &'w World<'a, 'e>,
    roster: &'w Roster<'a>,
    member: &'w Member<'a>,
    run: OfRun<'w>,
    common: Layers<'w>,
    /// What templates know as `target`.
    name: Value,
    scope: Scope,
    problems: &'w mut Vec<Problem>,
}

pub fn resolve<'w, 'a>(
    world: &'w World<'a, '_>,
    roster: &'w Roster<'a>,
    member: &'w Member<'a>,
    run: OfRun<'w>,
    problems: &'w mut Vec<Problem>,
) -> Target {
    let common = layers::common(world.declared, &member.lineage, run);
    let name = target_member(&member.name, None);
    let scope = world.scope_of(Some(name.clone()), None, member.matrix.clone());
    Resolver { world, roster, member, run, common, name, scope, problems }.target()
}

impl World<'_, '_> {
    /// The value of a secret variable; `None` when nobody gave one.
    fn secret_variable(&self, name: &str) -> Result<SecretVariable, Problem> {
        let declared = &self.declared.vars;
        let unknown = |message: String| Problem::input("config::unknown-name", message);
        match declared.get(name) {
            Some(var) if var.is_secret => Ok(SecretVariable {
                value: self.secrets.get(name).cloned(),
                env: var.env.as_ref().map(|env| env.value.clone()),
            }),
            Some(_) => Err(unknown(format!("variable `{name}` is not secret"))
                .help(format!("declare it as `[var.{name}]` with `secret = true`"))),
            None => {
                let names = declared.iter().filter(|(_, var)| var.is_secret).map(|(name, _)| name.as_str());
                let names: Vec<&str> = names.collect();
                let help = keys::suggestion(name, names.clone()).unwrap_or_else(|| match names.is_empty() {
                    true => format!("declare it as `[var.{name}]` with `secret = true`"),
                    false => format!("the secret variables are {}", keys::quoted_list(names)),
                });
                Err(unknown(format!("there is no variable `{name}`")).help(help))
            }
        }
    }

    /// The platforms an entry names, whatever its `when`; what does not parse is reported elsewhere.
    pub fn platforms_of(&self, entry: &Conditional<PlatformEntry>) -> Vec<Platform> {
        let found = self.platform_sets.expand(&entry.value.0).unwrap_or_default();
        found.into_iter().map(|platform| platform.value).collect()
    }

    /// What templates see of one target, one platform and one combination of a matrix.
    pub fn scope(&self, target: Option<&str>, platform: Option<&Platform>, matrix: Option<Value>) -> Scope {
        self.scope_of(target.map(|name| target_member(name, None)), platform, matrix)
    }

    fn scope_of(&self, target: Option<Value>, platform: Option<&Platform>, matrix: Option<Value>) -> Scope {
        let platform = platform.map(|platform| self.platform_member(platform));
        let own = [("target", target), ("platform", platform), ("matrix", matrix)];
        let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
        Scope::within(&self.shared, own.collect())
    }

    /// A run has few platforms and many targets.
    fn platform_member(&self, platform: &Platform) -> Value {
        let known = self.platforms.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = known.iter().find(|(known, _)| known == platform) {
            return value.clone();
        }
        drop(known);
        let value = platform_member(platform);
        let mut known = self.platforms.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MOST_KNOWN {
            known.push((platform.clone(), value.clone()));
        }
        value
    }
}

/// What templates know as `target`.
fn target_member(name: &str, version: Option<&str>) -> Value {
    let members = [("name", Some(name)), ("version", version)];
    Value::from_pairs(members.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

/// What templates know as `platform`.
fn platform_member(platform: &Platform) -> Value {
    Value::from_pairs([
        ("os", Value::from(&platform.os)),
        ("arch", Value::from(&platform.architecture)),
        ("variant", Value::from(platform.variant.as_deref().unwrap_or(""))),
        ("slug", Value::from(platform.file_name())),
        ("name", Value::from(platform.to_string())),
    ])
}

impl<'w> Resolver<'w, '_, '_> {
    fn target(mut self) -> Target {
        let platforms = self.platforms();
        self.check_on(&platforms);
        let own = &self.member.declaration.layer;
        for strongest in [Some(own), self.run.set.map(|set| &set.layer)].into_iter().flatten() {
            removal::check(strongest, &self.common.below(strongest), self.problems);
        }
        let ruled = self.ruled();
        if let Some(version) = ruled.as_ref().and_then(|ruled| ruled.version.as_deref()) {
            self.name = target_member(&self.member.name, Some(version));
            self.scope = self.world.scope_of(Some(self.name.clone()), None, self.member.matrix.clone());
        }
        let images = self.images();
        let mut tags = Vec::new();
        let tagging = ruled.as_ref().map(|ruled| self.tagging(ruled, &images, &mut tags));
        tags.extend(self.tags(&images).into_iter().filter(|tag| !tags.contains(tag)).collect::<Vec<_>>());
        let mut labels = self.labels();
        if let Some(ruled) = &ruled {
            let generated = self.oci_labels(ruled);
            for (key, value) in generated {
                labels.entry(key).or_insert(value);
            }
        }
        let wanted = &self.world.wanted;
        let narrowed = platforms.iter().filter(|p| wanted.is_empty() || wanted.contains(&p.value));
        Target {
            name: self.member.name.clone(),
            description: self.description(),
            place: Some(self.member.declaration.place.clone()),
            variants: narrowed.map_while(|platform| self.variant_if_room(platform, &platforms)).collect(),
            annotations: self.annotations(ruled.as_ref(), &platforms),
            tags,
            images,
            labels,
            outputs: self.outputs(),
            delivery: Delivery {
                push: self.common.last("push", |layer| layer.push),
                load: self.common.last("load", |layer| layer.load),
            },
            call: self.common.last("call", |layer| layer.call).unwrap_or_default(),
            needs: self.needs(),
            cache: self.caches(),
            attestations: self.attestations(),
            policies: self.policies(),
            tagging,
            requirements: self.requirements(),
        }
    }

    fn description(&mut self) -> Option<String> {
        let text = self.common.last("description", |layer| layer.description.as_ref())?;
        self.copied(text)
    }

    fn copied(&mut self, text: &Text) -> Option<String> {
        match self.world.templates.copied(text) {
            Ok(copy) => Some(copy),
            Err(problem) => {
                self.report(problem);
                None
            }
        }
    }

    fn platforms(&mut self) -> Vec<Located<Platform>> {
        let Some(declared) = self.common.list("platforms", |layer| layer.platforms.as_ref()) else {
            return vec![Located::unplaced(self.world.host.clone())];
        };
        if declared.is_empty() {
            return self.no_platform();
        }
        let last = declared.last().map(|entry| entry.value.0.place());
        let (mut found, mut is_wrong) = (Vec::new(), false);
        for entry in self.holding(declared) {
            match self.world.platform_sets.expand(&entry.0) {
                Ok(platforms) => found.push((&entry.0, platforms)),
                Err(problem) => {
                    self.problems.push(problem);
                    is_wrong = true;
                }
            }
        }
        if is_wrong {
            return Vec::new();
        }
        let (platforms, problems) = platforms::without_repeats(found);
        self.problems.extend(problems);
        if platforms.is_empty() {
            let message = format!("none of the platforms of target `{}` is for this run", self.member.name);
            let problem = Problem::input("config::no-platform", message)
                .help("give the target a `when` as well, or one platform without");
            self.problems.push(match last {
                Some(place) => problem.at(place, "left out, as those before it"),
                None => problem,
            });
        }
        platforms
    }

    /// The members of a list whose `when` holds.
    fn holding<T>(&mut self, list: Vec<&'w Conditional<T>>) -> Vec<&'w T> {
        let mut kept = Vec::new();
        for member in list {
            let holds = member.when.as_ref().map(|when| self.world.templates.holds(when, &self.scope));
            match holds.unwrap_or(Ok(true)) {
                Ok(true) => kept.push(&member.value),
                Ok(false) => {}
                Err(problem) => self.problems.push(problem),
            }
        }
        kept
    }

    /// A list that `remove` has emptied.
    fn no_platform(&mut self) -> Vec<Located<Platform>> {
        let removed = self.common.iter().flat_map(|layer| &layer.remove);
        let last = removed.filter(|removal| removal.key == "platforms").last();
        let message = format!("target `{}` has no platform left", self.member.name);
        let problem = Problem::input("config::no-platform", message);
        self.problems.push(match last {
            Some(removal) => problem.at(removal.text.place(), "takes the last one away"),
            None => problem,
        });
        Vec::new()
    }

    /// Templates may speak of platforms that some of their targets lack; a target itself may not.
    fn check_on(&mut self, platforms: &[Located<Platform>]) {
        // Where it has none, that has been said.
        if platforms.is_empty() {
            return;
        }
        let set = self.run.set.into_iter().flat_map(|set| &set.exact);
        for platform in self.member.declaration.on.iter().map(|(platform, _)| platform).chain(set) {
            if !platforms.contains(platform) {
                let known: Vec<String> = platforms.iter().map(|known| known.value.to_string()).collect();
                let message = format!("target `{}` is not built for `{}`", self.member.name, platform.value);
                let mut problem = Problem::input("config::unknown-platform", message)
                    .help(format!("its platforms are {}", known.join(", ")));
                if let Some(place) = &platform.place {
                    problem = problem.at(place.clone(), "not one of its platforms");
                }
                self.problems.push(problem);
            }
        }
    }

    /// The rendered text, or nothing and a problem.
    fn render<'t>(&mut self, text: &'t Text) -> Option<Cow<'t, str>> {
        match self.world.templates.render(text, &self.scope) {
            Ok(rendered) => Some(rendered),
            Err(problem) => {
                self.report(problem);
                None
            }
        }
    }

    /// One target may have as many problems as it has values.
    fn report(&mut self, problem: Problem) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn parsed<T, E: Display>(
        &mut self,
        code: &'static str,
        text: &Text,
        result: Result<T, E>,
    ) -> Option<Located<T>> {
        match result {
            Ok(value) => Some(Located::new(value, text.place())),
            Err(error) => {
                let problem = Problem::input(code, error.to_string()).at(text.place(), "here");
                self.report(match other_template(&text.value) {
                    Some(help) => problem.help(help),
                    None => problem,
                });
                None
            }
        }
    }

    /// Rendered members of a list; empty ones are left out, so that a condition can take one away.
    fn rendered_list(&mut self, texts: Option<Vec<&'w Text>>) -> Vec<(&'w Text, Cow<'w, str>)> {
        let texts = texts.into_iter().flatten();
        let rendered = texts.filter_map(|text| Some((text, self.render(text)?)));
        rendered.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn labels(&mut self) -> BTreeMap<String, String> {
        let labels = self.common.merged("labels", |layer| &layer.labels);
        let labels = labels.into_iter();
        labels.filter_map(|(key, text)| Some((key.to_string(), self.render(text)?.into_owned()))).collect()
    }

    fn outputs(&mut self) -> Vec<Located<Output>> {
        let declared = self.common.list("output", |layer| layer.outputs.as_ref()).unwrap_or_default();
        let mut outputs = Vec::new();
        for declaration in self.holding(declared) {
            let render = |text: &Text| self.world.templates.render(text, &self.scope).map(Cow::into_owned);
            match output::resolve(declaration, render) {
                Ok(output) => outputs.extend(output),
                Err(problems) => self.problems.extend(problems),
            }
        }
        outputs
    }

    fn needs(&mut self) -> Vec<Located<String>> {
        let texts = self.common.list("needs", |layer| layer.needs.as_ref());
        let mut needs = Vec::new();
        for (text, name) in self.rendered_list(texts) {
            self.check_target(text, &name);
            needs.push(Located::new(name.into_owned(), text.place()));
        }
        needs
    }

    /// Whether `name` is a target of this run; `text` is where it stands.
    fn check_target(&mut self, text: &Text, name: &str) {
        // What is meant takes a while to find.
        if !self.roster.has(name) && self.problems.len() < MOST_PROBLEMS {
            self.problems.push(self.roster.not_a_target(self.world, name, text));
        }
    }

    /// Nothing once the targets have more values than they may have.
    fn variant_if_room(
        &mut self,
        platform: &Located<Platform>,
        platforms: &[Located<Platform>],
    ) -> Option<Arc<Variant>> {
        let budget = self.world.templates.budget();
        let has_room = budget.has_values(self.common.iter().count());
        let variant = has_room.then(|| self.variant(platform, platforms));
        if let Some(variant) = variant.filter(|variant| budget.has_values(variant.size())) {
            return Some(Arc::new(variant));
        }
        self.report(
            Problem::input("config::too-many", format!("the targets have more than {MOST_VALUES} values together"))
                .at(self.member.declaration.place.clone(), "with this target")
                .help("what a target inherits counts for each of its platforms; split the project into several files"),
        );
        None
    }

    fn variant(&mut self, platform: &Located<Platform>, platforms: &[Located<Platform>]) -> Variant {
        let layers =
            layers::of_platform(self.world.declared, &self.member.lineage, self.run, &platform.value);
        let matrix = self.member.matrix.clone();
        let scope = self.world.scope_of(Some(self.name.clone()), Some(&platform.value), matrix);
        let own = self.member.declaration.on.iter().find(|(name, _)| name.value == platform.value);
        if let Some((_, own)) = own {
            removal::check(own, &layers.below(own), self.problems);
        }
        let common = std::mem::replace(&mut self.scope, scope);
        let args = self.args(&layers);
        let mut context = self.context(&layers);
        keep_git_dir(&mut context.value, &args);
        let variant = Variant {
            platform: platform.clone(),
            context,
            dockerfile: self.dockerfile(&layers),
            stage: self.stage(&layers),
            args,
            contexts: self.contexts(&layers),
            build_platform: None,
            emulate: layers.last("emulate", |layer| layer.emulate).unwrap_or_default(),
            no_cache: layers.last("no-cache", |layer| layer.no_cache).unwrap_or(false),
            pull: layers.last("pull", |layer| layer.pull).unwrap_or(false),
            network: layers.last("network", |layer| layer.network).unwrap_or_default(),
            shm_size: layers.last("shm-size", |layer| layer.shm_size),
            extra_hosts: owned(layers.merged("extra-hosts", |layer| &layer.extra_hosts)),
            secrets: self.secrets(&layers),
            ssh: self.agents(&layers),
            entitlements: sandbox::entitlements(&layers),
            ulimits: sandbox::ulimits(&layers),
            no_cache_filter: no_cache_filter(&layers),
            resources: resources::resolve(&layers),
            source_date_epoch: self.source_date_epoch(&layers),
            verify: layers.last("verify", |layer| layer.verify.clone()),
            allow_failure: layers.last("allow-failure", |layer| layer.allow_failure.clone()),
            worker_labels: worker_labels(&layers),
            tests: self.tests(&layers, platform, platforms),
        };
        self.scope = common;
        variant
    }

    fn secrets(&mut self, layers: &Layers<'w>) -> BTreeMap<String, Located<SecretSource>> {
        let declared = layers.list("secret", |layer| layer.secrets.as_ref()).unwrap_or_default();
        let declared = self.holding(declared).into_iter();
        let render = |text: &Text| self.world.templates.render(text, &self.scope).map(Cow::into_owned);
        let variable = |name: &str| self.world.secret_variable(name);
        let resolve = |one| secret::resolve(one, &render, &variable);
        let (secrets, problems) = forwarded::by_id("secret", declared, resolve);
        self.problems.extend(problems);
        secrets
    }

    fn agents(&mut self, layers: &Layers<'_>) -> BTreeMap<String, Located<SshSource>> {
        let declared = layers.list("ssh", |layer| layer.ssh.as_ref()).into_iter().flatten();
        let render = |text: &Text| self.world.templates.render(text, &self.scope).map(Cow::into_owned);
        let (agents, problems) = forwarded::by_id("ssh", declared, |one| ssh::resolve(one, &render));
        self.problems.extend(problems);
        agents
    }

    fn context(&mut self, layers: &Layers<'_>) -> Located<Context> {
        let own = || Located::unplaced(Context::Directory(self.member.declaration.file.directory.clone()));
        let default = own();
        let Some(text) = layers.last("context", |layer| layer.context.as_ref()) else { return default };
        let Some(value) = self.render(text) else { return default };
        match context::parse_main(text, &value) {
            Ok(context) => Located::new(context, text.place()),
            Err(problem) => {
                self.problems.push(problem);
                default
            }
        }
    }

    fn dockerfile(&mut self, layers: &Layers<'w>) -> Dockerfile {
        match layers.last("dockerfile", |layer| layer.dockerfile.as_ref()) {
            Some(DockerfileDeclaration::File(text)) => {
                let path = self.render(text).unwrap_or_default();
                if path == "-" {
                    return Dockerfile::Stdin;
                }
                Dockerfile::File(Located::new(PathBuf::from(path.as_ref()), text.place()))
            }
            Some(DockerfileDeclaration::Inline(text)) => {
                Dockerfile::Inline(Located::new(self.copied(text).unwrap_or_default(), text.place()))
            }
            None => Dockerfile::File(Located::unplaced(PathBuf::from("Dockerfile"))),
        }
    }

    fn stage(&mut self, layers: &Layers<'w>) -> Option<Located<String>> {
        let text = layers.last("stage", |layer| layer.stage.as_ref())?;
        let stage = self.render(text)?.into_owned();
        (!stage.is_empty()).then(|| Located::new(stage, text.place()))
    }

    fn args(&mut self, layers: &Layers<'_>) -> BTreeMap<String, Located<String>> {
        let mut args = BTreeMap::new();
        for (name, text) in layers.merged("args", |layer| &layer.args) {
            if let Some(help) = other_template(&text.value) {
                let message = format!("`args.{name}` is passed on as it is: `$` is no template here");
                let warning = Problem::warning("config::not-rendered", message);
                self.problems.push(warning.at(text.place(), "not replaced").help(help));
            }
            if let Some(value) = self.render(text) {
                args.insert(name.to_string(), Located::new(value.into_owned(), text.place()));
            }
        }
        args
    }

    fn contexts(&mut self, layers: &Layers<'_>) -> BTreeMap<String, Located<Context>> {
        let mut contexts = BTreeMap::new();
        for (name, text) in layers.merged("contexts", |layer| &layer.contexts) {
            let Some(value) = self.render(text) else { continue };
            // Bake: an empty value takes an inherited context away.
            if value.is_empty() {
                continue;
            }
            match context::parse_named(text, &value) {
                Ok(context) => {
                    if let Context::Target(target) = &context {
                        self.check_target(text, target);
                    }
                    contexts.insert(name.to_string(), Located::new(context, text.place()));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        contexts
    }
}

/// The build argument by which BuildKit keeps the `.git` of a context.
fn keep_git_dir(context: &mut Context, args: &BTreeMap<String, Located<String>>) {
    let asked = args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR").map(|value| value.value.as_str());
    if let Context::Remote { source: RemoteSource::Git(git), .. } = context
        && matches!(asked, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
    {
        git.keep_git_dir = Some(true);
    }
}

fn worker_labels(layers: &Layers<'_>) -> BTreeMap<String, Located<String>> {
    let labels = layers.merged("worker-labels", |layer| &layer.worker_labels).into_iter();
    labels.map(|(key, text)| (key.to_string(), Located::new(text.value.clone(), text.place()))).collect()
}

fn no_cache_filter(layers: &Layers<'_>) -> Vec<String> {
    let stages = layers.list("no-cache-filter", |layer| layer.no_cache_filter.as_ref());
    stages.into_iter().flatten().map(|stage| stage.value.clone()).collect()
}

fn owned(entries: BTreeMap<&str, &String>) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

/// What to write for `${NAME}`, which other tools take for a template.
fn other_template(text: &str) -> Option<String> {
    let rest = &text[text.find('$')? + 1..];
    let rest = rest.strip_prefix('{').unwrap_or(rest);
    let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count();
    let name = &rest[..length];
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then(|| format!("write `{{{{ vars.{} }}}}`, or `{{{{ env(\"{name}\") }}}}`", name.to_lowercase()))
}
