//! A service with a `build` to a target.

use std::collections::BTreeMap;

use super::bake_extension;
use super::build_keys::{BUILD_KEYS, IGNORED_KEYS, SERVICE_KEYS};
use super::load::texts;
use super::variables::Variables;
use super::yaml::{Kind, Node};
use crate::config::import::entries::{Attestation, Secret, Ssh, from_texts, is_true};
use crate::config::import::target::{Target, Texts};
use crate::config::keys::sure_of;
use crate::config::size;
use crate::diag::{Problem, nearest};

type Read<T> = Result<T, Box<Problem>>;

/// What a service is read with.
pub struct Context<'c> {
    pub services: &'c BTreeMap<String, Node>,
    pub secrets: &'c BTreeMap<String, Node>,
    pub variables: &'c Variables,
    /// The variables of the service's own containers, which arguments without value take theirs from.
    pub environment: &'c dyn Fn(&Node) -> Read<BTreeMap<String, String>>,
}

/// The target of a service; none for one that is not built.
pub fn target(
    name: &str,
    service: &Node,
    context: &Context<'_>,
    warnings: &mut Vec<Problem>,
) -> Read<Option<Target>> {
    let Some(build) = service.get("build").filter(|build| !build.is_null()) else { return Ok(None) };
    check_keys(build, warnings);
    check_limits(build, warnings);
    let mut notes = Notes { problems: &mut *warnings };
    let mut target = Target {
        name: name.to_string(),
        place: Some(build.place.clone()),
        context: notes.take(text_of(build, "context")),
        dockerfile: notes.take(text_of(build, "dockerfile")),
        dockerfile_inline: notes.take(text_of(build, "dockerfile_inline")),
        contexts: notes.take(contexts(build, context)),
        args: notes.take(args(build, service, context)),
        labels: Some(notes.take(labels(build))),
        tags: notes.take(list(build, "tags")),
        platforms: notes.take(list(build, "platforms")),
        network: notes.take(text_of(build, "network")),
        shm_size: notes.take(shm_size(build)),
        ulimits: notes.take(ulimits(build)),
        extra_hosts: Some(notes.take(extra_hosts(build))),
        no_cache: notes.take(truth(build, "no_cache")).filter(|value| *value),
        pull: notes.take(truth(build, "pull")).filter(|value| *value),
        secrets: notes.take(secrets(build, context)),
        ssh: ssh(build),
        cache_from: notes.take(entries(build, "cache_from")),
        cache_to: notes.take(entries(build, "cache_to")),
        attest: notes.take(attestations(build)),
        ..Target::default()
    };
    let stage = notes.take(text_of(build, "target"));
    check_exclusive(build, &target)?;
    remember_places(build, &mut target);
    if let Some(extension) = build.get("x-bake").filter(|extension| !extension.is_null()) {
        bake_extension::apply(extension, &mut target, warnings)?;
    }
    target.stage = stage;
    let image = service.get("image").and_then(Node::printed).filter(|image| !image.is_empty());
    if target.tags.as_ref().is_none_or(Vec::is_empty)
        && let Some(image) = image
    {
        target.tags = Some(vec![image]);
        if let Some(node) = service.get("image") {
            target.places.insert("tags", node.place.clone());
        }
    }
    Ok(Some(target))
}

/// Compose refuses what it does not know in a build, and bake what it knows but does not use is passed over.
fn check_keys(build: &Node, problems: &mut Vec<Problem>) {
    for (key, value) in build.table().into_iter().flatten() {
        if let Some(reason) = IGNORED_KEYS.iter().find(|(ignored, _)| ignored == key) {
            let message = format!("`build.{key}` is passed over, as bake does: {}", reason.1);
            problems.push(Problem::warning("compose::ignored", message).at(value.place.clone(), "not used"));
        } else if !key.starts_with("x-") && !BUILD_KEYS.iter().any(|(known, _)| known == key) {
            let problem = Problem::input("compose::unknown-key", format!("a build has no key `{key}`"));
            let mut problem = slip(problem, key, value, BUILD_KEYS.iter().map(|(known, _)| *known));
            if problem.help.is_none() && SERVICE_KEYS.contains(&key.as_str()) {
                problem.help = Some("it is a key of the service, beside `build`".to_string());
            }
            problems.push(problem);
        }
    }
}

/// Adds the place of a key, and what is meant by it.
fn slip<'a>(
    problem: Problem,
    key: &str,
    value: &Node,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Problem {
    let place = value.key_place(key);
    let mut problem = problem.at(place.clone().unwrap_or_else(|| value.place.clone()), "not known");
    problem.help = nearest(key, known.clone()).map(|near| format!("did you mean `{near}`?"));
    match sure_of(key, known).filter(|_| place.is_some()) {
        Some(meant) => problem.replaced_by(meant),
        None => problem,
    }
}

/// What Compose refuses and bake passes over: slips of the words around a build, and what belongs into it.
pub fn check_service(name: &str, service: &Node, problems: &mut Vec<Problem>) {
    for (key, value) in service.table().into_iter().flatten() {
        if key.starts_with("x-") || SERVICE_KEYS.contains(&key.as_str()) {
            continue;
        }
        let message = format!("the service `{name}` has a key `{key}` that means nothing there");
        let warning = Problem::warning("compose::ignored", message);
        if BUILD_KEYS.iter().any(|(known, _)| known == key) {
            let place = value.key_place(key).unwrap_or_else(|| value.place.clone());
            problems.push(
                warning
                    .at(place, "not used")
                    .help(format!("it belongs below `build`: `build: {{ context: ., {key}: … }}`")),
            );
        } else {
            problems.push(slip(warning, key, value, SERVICE_KEYS.into_iter()));
        }
    }
}

fn check_exclusive(build: &Node, target: &Target) -> Read<()> {
    if target.dockerfile.is_some() && target.dockerfile_inline.is_some() {
        let message = "`dockerfile` and `dockerfile_inline` exclude each other";
        return Err(Box::new(build.wrong(message, "has both")));
    }
    Ok(())
}

fn remember_places(build: &Node, target: &mut Target) {
    for (key, attribute) in BUILD_KEYS {
        if let Some(node) = build.get(key) {
            target.places.insert(attribute, node.place.clone());
        }
    }
}

/// Takes values, and keeps what is wrong with those that are none: one run tells all of it.
struct Notes<'p> {
    problems: &'p mut Vec<Problem>,
}

impl Notes<'_> {
    fn take<T: Default>(&mut self, read: Read<T>) -> T {
        read.unwrap_or_else(|problem| {
            self.problems.push(*problem);
            T::default()
        })
    }
}

/// A text that is there and not empty.
fn text_of(table: &Node, key: &str) -> Read<Option<String>> {
    match table.get(key) {
        None => Ok(None),
        Some(Node { kind: Kind::Text(text), .. }) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(other) => {
            let message = format!("`{key}` must be a text, not {}", other.name());
            Err(Box::new(other.wrong(message, "not a text").help("put it into quotes")))
        }
    }
}

/// A list of texts.
fn list(table: &Node, key: &str) -> Read<Option<Vec<String>>> {
    let Some(node) = table.get(key) else { return Ok(None) };
    let Kind::List(items) = &node.kind else {
        let problem = node.wrong(format!("`{key}` must be a list"), "not a list");
        let written = node.place.source.text.get(node.place.span.clone()).unwrap_or_default();
        let is_plain = !written.contains(['\n', ',', '"', '\'', '#', '[', ']', '{', '}', '&', '*']);
        return Err(Box::new(match (&node.kind, is_plain) {
            (Kind::Text(_), true) => {
                problem.replaced_by(format!("[\"{written}\"]")).help(format!("write `[\"{written}\"]`"))
            }
            _ => problem,
        }));
    };
    let texts = items.iter().map(|item| match item.as_text() {
        Some(text) => Ok(text.to_string()),
        None => Err(Box::new(item.wrong(format!("an entry of `{key}` must be a text"), "not a text"))),
    });
    let texts: Vec<String> = texts.collect::<Read<_>>()?;
    Ok((!texts.is_empty()).then_some(texts))
}

fn entries<E: crate::config::import::entries::Entry>(table: &Node, key: &str) -> Read<Option<Vec<E>>> {
    let Some(texts) = list(table, key)? else { return Ok(None) };
    from_texts(&texts).map(Some).map_err(|message| wrong_entry(table, key, message))
}

fn wrong_entry(table: &Node, key: &str, message: String) -> Box<Problem> {
    let node = table.get(key).unwrap_or(table);
    Box::new(node.wrong(message, "here"))
}

/// A bool, or a text that is one.
fn truth(table: &Node, key: &str) -> Read<Option<bool>> {
    let Some(node) = table.get(key) else { return Ok(None) };
    let value = match &node.kind {
        Kind::Bool(value) => Some(*value),
        Kind::Text(text) => match text.to_lowercase().as_str() {
            "y" | "yes" | "on" => Some(true),
            "n" | "no" | "off" => Some(false),
            other => is_true(other),
        },
        _ => None,
    };
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(Box::new(node.wrong(format!("`{key}` must be true or false"), "neither"))),
    }
}

fn contexts(build: &Node, context: &Context<'_>) -> Read<Option<BTreeMap<String, String>>> {
    let Some(node) = build.get("additional_contexts") else { return Ok(None) };
    let mut found = BTreeMap::new();
    for (name, value) in node.table().into_iter().flatten() {
        let text = value.printed().unwrap_or_default();
        if let Some(service) = text.strip_prefix("service:") {
            check_link(service, value, context)?;
        }
        found.insert(name.clone(), named_context(&text));
    }
    Ok(Some(found))
}

fn check_link(service: &str, node: &Node, context: &Context<'_>) -> Read<()> {
    let wrong = |message: String, label: &str| {
        let problem = node.wrong(message, label);
        Err(Box::new(Problem { code: "compose::unknown-service", ..problem }))
    };
    match context.services.get(service) {
        None => {
            let mut problem = wrong(format!("there is no service `{service}`"), "not there");
            if let (Err(problem), Some(near)) =
                (&mut problem, nearest(service, context.services.keys().map(String::as_str)))
            {
                problem.help = Some(format!("did you mean `{near}`?"));
            }
            problem
        }
        Some(found) if found.get("build").is_none_or(Node::is_null) => {
            wrong(format!("the service `{service}` is not built"), "has no `build`")
        }
        Some(_) => Ok(()),
    }
}

/// Other services are other targets.
pub fn named_context(text: &str) -> String {
    let linked = text.strip_prefix("service:").or_else(|| text.strip_prefix("target:"));
    linked.map_or_else(|| text.to_string(), |name| format!("target:{}", name.replace('.', "_")))
}

/// Keys with values; a list of `KEY=VALUE` or a table. `None` is a key without value.
pub fn pairs(node: &Node) -> Read<Texts> {
    match &node.kind {
        Kind::Table(table) => {
            let texts = table.iter().map(|(name, value)| match &value.kind {
                Kind::Null => Ok((name.clone(), None)),
                _ => match value.printed() {
                    Some(text) => Ok((name.clone(), Some(text))),
                    None => Err(Box::new(value.wrong(format!("`{name}` must be a text"), "not a text"))),
                },
            });
            texts.collect()
        }
        Kind::List(items) => {
            let texts = items.iter().map(|item| match item.printed() {
                Some(text) => Ok(match text.split_once('=') {
                    Some((name, value)) => (name.to_string(), Some(value.to_string())),
                    None => (text, None),
                }),
                None => Err(Box::new(item.wrong("an entry must be a text", "not a text"))),
            });
            texts.collect()
        }
        Kind::Null => Ok(Texts::new()),
        _ => Err(Box::new(node.wrong("a table or a list is required here", "neither"))),
    }
}

/// The same of variables, which in a list are written without a blank before the `=`.
pub fn variables(node: &Node) -> Read<Texts> {
    let variables = pairs(node)?;
    let is_list = matches!(node.kind, Kind::List(_));
    match variables.keys().find(|name| is_list && name.ends_with(char::is_whitespace)) {
        Some(name) => Err(Box::new(node.wrong(format!("`{name}` ends with a blank"), "one of these"))),
        None => Ok(variables),
    }
}

/// Arguments without value get it from the environment, or are left out.
fn args(build: &Node, service: &Node, context: &Context<'_>) -> Read<Option<Texts>> {
    let Some(node) = build.get("args") else { return Ok(None) };
    let mut args = variables(node)?;
    if args.values().any(Option::is_none) {
        let environment = (context.environment)(service)?;
        context.variables.asked_at(None);
        for (name, value) in &mut args {
            if value.is_none() {
                *value = environment.get(name).or_else(|| context.variables.get(name)).cloned();
            }
        }
    }
    context.variables.asked_at(Some(&node.place));
    args.retain(|_, value| value.is_some());
    Ok((!args.is_empty()).then_some(args))
}

fn labels(build: &Node) -> Read<Texts> {
    let Some(node) = build.get("labels") else { return Ok(Texts::new()) };
    let labels = pairs(node)?.into_iter();
    Ok(labels.map(|(name, value)| (name, Some(value.unwrap_or_default()))).collect())
}

fn shm_size(build: &Node) -> Read<Option<String>> {
    let Some(node) = build.get("shm_size") else { return Ok(None) };
    let bytes = node.printed().and_then(|text| size::parse(&text));
    match bytes {
        Some(0) => Ok(None),
        Some(bytes) => Ok(Some(size::text(bytes))),
        None => Err(Box::new(node.wrong("`shm_size` is not a size", "such as `128m`"))),
    }
}

/// Limits that are one number, which bake reads as zero.
fn check_limits(build: &Node, warnings: &mut Vec<Problem>) {
    let limits = build.get("ulimits").and_then(Node::table).into_iter().flatten();
    for (name, limit) in limits.filter(|(_, limit)| limit.table().is_none()) {
        let Some(number) = limit.printed() else { continue };
        let message = format!("the limit `{name}` is set to 0, as bake does, not to {number}");
        warnings.push(
            Problem::warning("compose::ignored", message)
                .at(limit.place.clone(), "not used")
                .help(format!("write `{{ soft: {number}, hard: {number} }}`")),
        );
    }
}

fn ulimits(build: &Node) -> Read<Option<Vec<String>>> {
    let Some(node) = build.get("ulimits") else { return Ok(None) };
    let mut limits = Vec::new();
    for (name, limit) in node.table().into_iter().flatten() {
        let number = |node: Option<&Node>| node.and_then(Node::printed);
        let (soft, hard) = match &limit.kind {
            Kind::Table(_) => (number(limit.get("soft")), number(limit.get("hard"))),
            // A single number is lost in bake.
            _ => (Some("0".to_string()), Some("0".to_string())),
        };
        let (Some(soft), Some(hard)) = (soft, hard) else {
            let message = format!("the limit `{name}` needs `soft` and `hard`, or a number for both");
            return Err(Box::new(limit.wrong(message, "not complete")));
        };
        limits.push(format!("{name}={soft}:{hard}"));
    }
    Ok(Some(limits))
}

/// Host names with their addresses, by commas.
fn extra_hosts(build: &Node) -> Read<Texts> {
    let Some(node) = build.get("extra_hosts") else { return Ok(Texts::new()) };
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    match &node.kind {
        Kind::Table(table) => {
            for (name, addresses) in table {
                hosts.entry(name.clone()).or_default().extend(texts(addresses));
            }
        }
        _ => {
            for text in texts(node) {
                let split = text.split_once('=').or_else(|| text.split_once(':'));
                let Some((name, addresses)) = split else {
                    return Err(Box::new(node.wrong(format!("`{text}` has no address"), "here")));
                };
                let addresses = addresses.split(',').map(str::to_string);
                hosts.entry(name.to_string()).or_default().extend(addresses);
            }
        }
    }
    let plain = |address: String| match address.strip_prefix('[').and_then(|a| a.strip_suffix(']')) {
        Some(inner) if !inner.is_empty() => inner.to_string(),
        _ => address,
    };
    let hosts = hosts.into_iter().map(|(name, addresses)| {
        let addresses: Vec<String> = addresses.into_iter().map(plain).collect();
        (name, Some(addresses.join(",")))
    });
    Ok(hosts.collect())
}

fn secrets(build: &Node, context: &Context<'_>) -> Read<Option<Vec<Secret>>> {
    let Some(node) = build.get("secrets") else { return Ok(None) };
    let Kind::List(items) = &node.kind else {
        return Err(Box::new(node.wrong("`secrets` must be a list", "not a list")));
    };
    let mut found = Vec::new();
    for item in items {
        let source = item.as_text().or_else(|| item.get("source").and_then(Node::as_text));
        let Some(id) = source else {
            return Err(Box::new(item.wrong("a secret needs a `source`", "no source")));
        };
        let Some(declared) = context.secrets.get(id) else {
            let problem = item.wrong(format!("there is no secret `{id}`"), "not declared");
            return Err(Box::new(match nearest(id, context.secrets.keys().map(String::as_str)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("declare it under `secrets` at the top of the file"),
            }));
        };
        let is_external = declared.get("external").is_some_and(|external| external.kind != Kind::Bool(false));
        if is_external {
            let message = format!("the secret `{id}` is external, which a build cannot use");
            return Err(Box::new(declared.wrong(message, "external")));
        }
        let text = |key: &str| declared.get(key).and_then(Node::printed).unwrap_or_default();
        found.push(Secret { id: id.to_string(), source: text("file"), environment: text("environment") });
    }
    Ok((!found.is_empty()).then_some(found))
}

fn ssh(build: &Node) -> Option<Vec<Ssh>> {
    let agents = build.get("ssh")?.table()?.iter().map(|(id, path)| {
        let path = path.printed().filter(|path| !path.is_empty());
        Ssh { id: id.clone(), paths: path.into_iter().collect() }
    });
    let mut agents: Vec<Ssh> = agents.collect();
    agents.sort();
    (!agents.is_empty()).then_some(agents)
}

fn attestations(build: &Node) -> Read<Option<Vec<Attestation>>> {
    let mut given = Vec::new();
    for kind in ["sbom", "provenance"] {
        let text = build.get(kind).and_then(Node::printed).filter(|text| !text.is_empty());
        given.extend(text.map(|text| Attestation::text(kind, &text)));
    }
    let found = from_texts(&given).map_err(|message| Box::new(build.wrong(message, "in this build")))?;
    Ok((!found.is_empty()).then_some(found))
}
