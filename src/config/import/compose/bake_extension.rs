//! `x-bake`: what bake has and Compose has no word for.

use std::collections::BTreeMap;

use super::service::named_context;
use super::yaml::{Kind, Node};
use crate::config::import::entries::{Entry, from_texts, last_of_each, without_repeats};
use crate::config::import::target::Target;
use crate::diag::{Problem, nearest};

const KEYS: [&str; 11] = [
    "tags",
    "cache-from",
    "cache-to",
    "secret",
    "ssh",
    "platforms",
    "output",
    "pull",
    "no-cache",
    "no-cache-filter",
    "contexts",
];

type Applied<T> = Result<T, Box<Problem>>;

/// Adds what the extension says to a target.
pub fn apply(extension: &Node, target: &mut Target, warnings: &mut Vec<Problem>) -> Applied<()> {
    let Some(table) = extension.table() else {
        return Err(Box::new(extension.wrong("`x-bake` must be a table", "not a table")));
    };
    for (key, value) in table {
        let Some(known) = KEYS.iter().find(|known| *known == key) else {
            let message = format!("`x-bake` has no key `{key}`, so bake passes over it");
            let mut warning =
                Problem::warning("compose::ignored", message).at(value.place.clone(), "not used");
            warning.help = nearest(key, KEYS).map(|near| format!("did you mean `{near}`?"));
            warnings.push(warning);
            continue;
        };
        target.places.insert(known, value.place.clone());
        apply_key(key, value, target)?;
    }
    Ok(())
}

fn apply_key(key: &str, value: &Node, target: &mut Target) -> Applied<()> {
    match key {
        "tags" => add_texts(&mut target.tags, texts(value)?),
        "platforms" => add_texts(&mut target.platforms, texts(value)?),
        "no-cache-filter" => add_texts(&mut target.no_cache_filter, texts(value)?),
        "cache-from" => add(&mut target.cache_from, value, without_repeats)?,
        "cache-to" => add(&mut target.cache_to, value, without_repeats)?,
        "output" => add(&mut target.outputs, value, without_repeats)?,
        "secret" => add(&mut target.secrets, value, |all| {
            *all = last_of_each(std::mem::take(all), |one| one.id.clone());
        })?,
        "ssh" => add(&mut target.ssh, value, |all| {
            *all = last_of_each(std::mem::take(all), |one| one.id.clone());
            all.sort();
        })?,
        "pull" => target.pull = truth(value)?.or(target.pull),
        "no-cache" => target.no_cache = truth(value)?.or(target.no_cache),
        "contexts" => {
            let mut contexts: BTreeMap<String, String> = value
                .table()
                .ok_or_else(|| Box::new(value.wrong("`contexts` must be a table", "not a table")))?
                .iter()
                .map(|(name, node)| (name.clone(), named_context(&node.printed().unwrap_or_default())))
                .collect();
            contexts.extend(target.contexts.take().unwrap_or_default());
            target.contexts = Some(contexts);
        }
        _ => {}
    }
    Ok(())
}

/// A list of texts, or one text with spaces between them.
fn texts(value: &Node) -> Applied<Vec<String>> {
    match &value.kind {
        Kind::Null => Ok(Vec::new()),
        Kind::List(items) => {
            let texts = items.iter().map(|item| {
                item.printed().ok_or_else(|| Box::new(item.wrong("an entry must be a text", "not a text")))
            });
            texts.collect()
        }
        _ => match value.printed() {
            Some(text) => Ok(text.split_whitespace().map(str::to_string).collect()),
            None => Err(Box::new(value.wrong("a list of texts is required here", "not a list"))),
        },
    }
}

fn truth(value: &Node) -> Applied<Option<bool>> {
    match &value.kind {
        Kind::Null => Ok(None),
        Kind::Bool(value) => Ok(Some(*value)),
        _ => Err(Box::new(value.wrong("this must be true or false", "neither"))),
    }
}

fn add_texts(own: &mut Option<Vec<String>>, more: Vec<String>) {
    if more.is_empty() {
        return;
    }
    let own = own.get_or_insert_default();
    own.extend(more);
    let mut seen = std::collections::BTreeSet::new();
    own.retain(|text| seen.insert(text.clone()));
}

fn add<E: Entry>(own: &mut Option<Vec<E>>, value: &Node, tidy: impl Fn(&mut Vec<E>)) -> Applied<()> {
    let more: Vec<E> =
        from_texts(&texts(value)?).map_err(|message| Box::new(value.wrong(message, "here")))?;
    if !more.is_empty() {
        let own = own.get_or_insert_default();
        own.extend(more);
        tidy(own);
    }
    Ok(())
}
