//! `mab promote`, `mab rollback`, `mab release log`: what tags lead to, changed and told without a build.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::Failure;
use super::bake::Publishing;
use super::plan::Document;
use super::project::{self, ProjectOptions};
use super::session;
use crate::base::{Digest, Reference};
use crate::diag::Problem;
use crate::facts::Facts;
use crate::publish::about::About;
use crate::publish::journal::{Action, End, Journal};
use crate::publish::journals::Journals;
use crate::publish::push::{PushError, PushEvent, PushedName};
use crate::publish::retag;
use crate::registry::RegistryError;

/// `mab promote`: a tag without a repository is one of the source's.
pub async fn promote(
    source: &str,
    tags: &[String],
    options: Publishing,
    facts: &Facts,
) -> Result<Document, Failure> {
    let registry = session::registry(facts, false).map_err(|problem| vec![*problem])?;
    let source = reference(source)?;
    let names = tags.iter().map(|tag| match tag.contains(['/', ':']) {
        true => reference(tag),
        false => source.without_tag().with_tag(tag).map_err(|error| bad_name(&error.to_string())),
    });
    let names: Vec<Reference> = names.collect::<Result<_, _>>()?;
    let (notices, about) = (Mutex::default(), about(Action::Promote, options, facts));
    let report = |event| note(&notices, event);
    let pushed = retag::promote(&registry, &source, &names, &about, &report).await.map_err(failed)?;
    Ok(document(&pushed, notices))
}

/// `mab rollback`: back to where the last publication found the tags.
pub async fn rollback(
    options: &ProjectOptions,
    retagging: Publishing,
    facts: &mut Facts,
) -> Result<Document, Failure> {
    let places = places(options, facts)?;
    let registry = session::registry(facts, false).map_err(|problem| vec![*problem])?;
    let (notices, about) = (Mutex::default(), about(Action::Rollback, retagging, facts));
    let mut found = Vec::new();
    for (repository, tag) in &places {
        let earlier = retag::last(&registry, repository, tag.as_deref()).await.map_err(failed)?;
        let tags = earlier.map(|earlier| earlier.tags).unwrap_or_default();
        if tags.is_empty() {
            let name = tag.as_ref().and_then(|tag| repository.with_tag(tag).ok());
            let name = name.unwrap_or_else(|| repository.clone()).familiar();
            let message = format!("there is nothing that `{name}` could go back to");
            let problem = Problem::input("release::no-earlier", message)
                .help("`mab release log` shows what was published, and what tags led to before");
            return Err(vec![problem]);
        }
        found.push((repository, tags));
    }
    let mut pushed = Vec::new();
    for (repository, tags) in found {
        let report = |event| note(&notices, event);
        pushed.extend(retag::back(&registry, repository, &tags, &about, &report).await.map_err(failed)?);
    }
    Ok(document(&pushed, notices))
}

/// `mab release log`: the journals, the newest first.
pub async fn log(
    options: &ProjectOptions,
    most: usize,
    is_json: bool,
    facts: &mut Facts,
) -> Result<Document, Failure> {
    let places = places(options, facts)?;
    let registry = session::registry(facts, false).map_err(|problem| vec![*problem])?;
    let (mut text, mut entries, mut warnings) = (String::new(), Vec::new(), Vec::new());
    for (repository, tag) in places {
        let journals = Journals::new(&registry, &repository);
        let listed = journals.list().await.map_err(|error| failed(error.into()))?;
        let all = listed.open.iter().chain(&listed.done).collect::<std::collections::BTreeSet<_>>();
        let mut left = most;
        for name in all.into_iter().rev() {
            if left == 0 {
                break;
            }
            let read = journals.read(name, listed.done.contains(name)).await;
            let Some(found) = read.map_err(|error| failed(error.into()))? else { continue };
            let is_about =
                |moved: &&crate::publish::journal::Move| tag.is_none() || moved.name.tag() == tag.as_deref();
            if !found.journal.moves_in(&repository).any(|moved| is_about(&moved)) {
                continue;
            }
            left -= 1;
            text.push_str(&entry_text(&found.journal, found.end, &repository));
            entries.push(entry_json(&found.journal, found.end, &repository));
        }
        if left == most && most > 0 {
            warnings.push(unknown(&repository, tag.as_deref()));
        }
    }
    if is_json {
        text = format!("{:#}\n", Value::Array(entries));
    }
    Ok(Document { text, warnings })
}

fn unknown(repository: &Reference, tag: Option<&str>) -> Problem {
    let repository = repository.familiar();
    let what = match tag {
        Some(tag) => format!("of `{repository}:{tag}`"),
        None => format!("to `{repository}`"),
    };
    let help = format!("other tools leave no journals; `mab ls {repository}` shows the tags that there are");
    Problem::warning("release::none", format!("no publication {what} is known")).help(help)
}

/// What a publication did, or would do, one line for each name.
pub fn moves_text(pushed: &[PushedName]) -> String {
    let line = |name: &PushedName| {
        let reference = match name.reference.tag() {
            Some(_) => name.reference.familiar(),
            None => name.reference.without_tag().familiar(),
        };
        match (name.unchanged, name.is_kept) {
            (true, _) => format!("{reference}  {} (unchanged)\n", name.digest),
            (_, true) => format!("{reference}  {} (kept)\n", name.digest),
            _ => format!("{reference}  {} → {}\n", old(name.old), name.digest),
        }
    };
    pushed.iter().map(line).collect()
}

fn old(digest: Option<Digest>) -> String {
    digest.map_or("new".to_string(), |digest| digest.to_string())
}

fn state(end: Option<End>) -> &'static str {
    match end {
        None => "open",
        Some(End::Done) => "done",
        Some(End::Abandoned) => "abandoned",
    }
}

fn entry_text(journal: &Journal, end: Option<End>, repository: &Reference) -> String {
    let mut text = format!(
        "{}  {}  {}  {}  {}\n",
        journal.began(),
        repository.familiar(),
        journal.action.name(),
        state(end),
        journal.by
    );
    if let Some(url) = &journal.run_url {
        text.push_str(&format!("  {url}\n"));
    }
    for moved in journal.moves_in(repository) {
        let kept = if moved.is_kept { " (kept)" } else { "" };
        let release = if moved.release.is_known() { format!("  {}", moved.release) } else { String::new() };
        let tag = moved.name.tag().unwrap_or_default();
        text.push_str(&format!("  {tag}  {} → {}{kept}{release}\n", old(moved.old), moved.new));
    }
    text
}

fn entry_json(journal: &Journal, end: Option<End>, repository: &Reference) -> Value {
    let moves = journal.moves_in(repository).map(|moved| {
        json!({
            "tag": moved.name.tag(),
            "old": moved.old.map(|old| old.to_string()),
            "new": moved.new.to_string(),
            "version": moved.release.version,
            "revision": moved.release.revision,
            "kept": moved.is_kept,
        })
    });
    json!({
        "repository": repository.familiar(),
        "started": journal.started.to_string(),
        "action": journal.action.name(),
        "state": state(end),
        "by": journal.by,
        "run": journal.run_url,
        "tags": moves.collect::<Vec<_>>(),
    })
}

/// Repositories, each perhaps with a tag: named, or those of targets.
fn places(options: &ProjectOptions, facts: &mut Facts) -> Result<Vec<(Reference, Option<String>)>, Failure> {
    let is_reference = |name: &String| name.contains('/');
    if !options.names.is_empty() && options.names.iter().all(is_reference) {
        let named = options.names.iter().map(|name| {
            let parsed = reference(name)?;
            let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
            let tag = parsed.tag().filter(|_| has_tag).map(str::to_string);
            Ok((parsed.without_tag(), tag))
        });
        return named.collect();
    }
    let loaded = project::load(options, facts)?;
    let names = project::names_or_all(&loaded.project, &loaded.names);
    let selection = crate::plan::select(&loaded.project, &names)?;
    let all = selection.requested.iter().flat_map(|target| target.tags.iter().chain(&target.images));
    let repositories: BTreeMap<String, Reference> =
        all.map(|name| (name.value.name(), name.value.without_tag())).collect();
    Ok(repositories.into_values().map(|repository| (repository, None)).collect())
}

fn about(action: Action, options: Publishing, facts: &Facts) -> About {
    About {
        run_url: facts.ci.as_ref().and_then(|ci| ci.run_url.clone()),
        allows_fewer_platforms: options.allows_fewer_platforms,
        allows_older: options.allows_older,
        is_rehearsal: options.is_rehearsal,
        ..About::new(action, facts.now)
    }
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(|error: crate::base::reference::ParseReferenceError| bad_name(&error.to_string()))
}

fn bad_name(message: &str) -> Failure {
    vec![Problem::input("release::bad-name", message)]
}

fn failed(error: PushError) -> Failure {
    let problem = error.problem();
    match error {
        PushError::Vanished { digest, repository } => {
            let message = format!("`{repository}` has not got {digest} any more");
            vec![
                Problem::new(problem.kind, "release::gone", message)
                    .help("something has cleaned it up; publish it again"),
            ]
        }
        PushError::Registry(RegistryError::NotFound { .. })
        | PushError::Registry(_)
        | PushError::Document { .. }
        | PushError::Immutable { .. }
        | PushError::FewerPlatforms { .. } => vec![problem],
    }
}

fn note(notices: &Mutex<Vec<Problem>>, event: PushEvent) {
    if let PushEvent::Notice(problem) = event {
        notices.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(*problem);
    }
}

fn document(pushed: &[PushedName], notices: Mutex<Vec<Problem>>) -> Document {
    let warnings = notices.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Document { text: moves_text(pushed), warnings }
}
