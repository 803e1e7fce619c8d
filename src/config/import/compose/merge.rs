//! How a later file, or a service that extends another, is laid over what was there.

use super::yaml::{Kind, Node, Table};
use crate::diag::Problem;

/// Lays `over` over `base`. `path` says where both stand, services by `*`.
pub fn merge(base: Node, over: Node, path: &[&str]) -> Result<Node, Box<Problem>> {
    match rule(path) {
        Rule::Pairs => return Ok(pairs(base, over)),
        Rule::Sequence => {
            let mut items = sequence(&base);
            append(&mut items, sequence(&over));
            return Ok(over.with(Kind::List(items)));
        }
        Rule::Replace => return Ok(over),
        Rule::Build => return merge_tables(with_context(base), with_context(over), path),
        Rule::Plain => {}
    }
    if over.is_null() {
        return Ok(base);
    }
    match (&base.kind, &over.kind) {
        (Kind::Table(_), Kind::Table(_)) => merge_tables(base, over, path),
        (Kind::List(first), Kind::List(second)) => {
            let mut items = first.clone();
            append(&mut items, second.clone());
            Ok(over.with(Kind::List(items)))
        }
        (Kind::Table(_) | Kind::List(_), _) => {
            let message =
                format!("`{}` is {} in one file and {} in another", path.join("."), base.name(), over.name());
            let problem = Problem::input("compose::conflict", message);
            Err(Box::new(problem.at(over.place, "laid over").at(base.place, "what was there")))
        }
        _ => Ok(over),
    }
}

enum Rule {
    Plain,
    /// `KEY=VALUE` lists or tables: the last value of a key counts.
    Pairs,
    /// Lists, tables and single texts put together.
    Sequence,
    Replace,
    /// A text is a context.
    Build,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "build"] => Rule::Build,
        ["services", _, "build", "args" | "additional_contexts" | "labels"]
        | ["services", _, "environment" | "labels" | "annotations" | "sysctls"] => Rule::Pairs,
        ["services", _, "build", "extra_hosts"]
        | [
            "services",
            _,
            "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "extra_hosts" | "tmpfs",
        ] => Rule::Sequence,
        [
            "services",
            _,
            "command" | "entrypoint" | "depends_on" | "logging" | "networks" | "models" | "healthcheck",
        ]
        | ["services", _, "ulimits", _] => Rule::Replace,
        _ => Rule::Plain,
    }
}

fn merge_tables(base: Node, over: Node, path: &[&str]) -> Result<Node, Box<Problem>> {
    let place = over.place.clone();
    let (Kind::Table(mut merged), Kind::Table(entries)) = (base.kind, over.kind) else {
        let problem = Problem::input("compose::bad-value", format!("`{}` must be a table", path.join(".")));
        return Err(Box::new(problem.at(place, "not a table")));
    };
    for (name, value) in entries {
        let merged_value = match merged.remove(&name) {
            Some(known) => {
                let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                merge(known, value, &path)?
            }
            None => value,
        };
        merged.insert(name, merged_value);
    }
    Ok(Node { kind: Kind::Table(merged), place, tag: None })
}

fn with_context(build: Node) -> Node {
    match &build.kind {
        Kind::Text(_) => {
            let table = Table::from([("context".to_string(), build.clone())]);
            build.with(Kind::Table(table))
        }
        Kind::Null => build.with(Kind::Table(Table::new())),
        _ => build,
    }
}

/// The entries of a list or table of `KEY=VALUE`, one per key.
fn pairs(base: Node, over: Node) -> Node {
    let mut merged: Vec<Node> = Vec::new();
    for entry in sequence(&base).into_iter().chain(sequence(&over)) {
        let known = merged.iter().position(|known| key(known) == key(&entry));
        match known {
            Some(at) => merged[at] = entry,
            None => merged.push(entry),
        }
    }
    over.with(Kind::List(merged))
}

fn key(entry: &Node) -> String {
    let text = entry.printed().unwrap_or_default();
    text.split_once('=').map_or(text.clone(), |(key, _)| key.to_string())
}

/// A list as it is, a table as `KEY=VALUE` each, a text as a list of one.
fn sequence(node: &Node) -> Vec<Node> {
    match &node.kind {
        Kind::List(items) => items.clone(),
        Kind::Text(_) => vec![node.clone()],
        Kind::Table(table) => table.iter().flat_map(|(name, value)| written_pairs(name, value)).collect(),
        Kind::Null | Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) => Vec::new(),
    }
}

fn written_pairs(name: &str, value: &Node) -> Vec<Node> {
    match &value.kind {
        Kind::Null => vec![value.with(Kind::Text(name.to_string()))],
        Kind::List(items) => items.iter().flat_map(|item| written_pairs(name, item)).collect(),
        _ => {
            let text = value.printed().unwrap_or_default();
            vec![value.with(Kind::Text(format!("{name}={text}")))]
        }
    }
}

fn append(items: &mut Vec<Node>, more: Vec<Node>) {
    for item in more {
        if !items.contains(&item) {
            items.push(item);
        }
    }
}

/// Takes out what is tagged `!reset`, and gives the paths at which earlier values go: those of everything
/// tagged.
pub fn take_tags(node: &mut Node) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    collect_tags(node, &mut Vec::new(), &mut paths);
    paths
}

fn collect_tags(node: &mut Node, path: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    let Kind::Table(table) = &mut node.kind else { return };
    table.retain(|name, value| {
        path.push(name.clone());
        let is_kept = match value.tag {
            Some(super::yaml::Tag::Reset) => {
                paths.push(path.clone());
                false
            }
            Some(super::yaml::Tag::Override) => {
                paths.push(path.clone());
                true
            }
            None => {
                collect_tags(value, path, paths);
                true
            }
        };
        path.pop();
        is_kept
    });
}

/// Takes away what stands at a path.
pub fn remove(node: &mut Node, path: &[String]) {
    let (Some((first, rest)), Some(table)) = (path.split_first(), node.table_mut()) else { return };
    if rest.is_empty() {
        table.remove(first);
    } else if let Some(inner) = table.get_mut(first) {
        remove(inner, rest);
    }
}
