//! One form for what Compose takes in several, and paths of services made relative to where all begins.

use super::load::joined;
use super::yaml::{Kind, Node, Table};
use crate::diag::Problem;

type Changed = Result<(), Box<Problem>>;

/// `build: DIR` becomes a table, lists of `KEY=VALUE` that are tables become them.
pub fn canonical_service(service: &mut Node) -> Changed {
    let Some(table) = service.table_mut() else { return Ok(()) };
    if let Some(env_file) = table.get_mut("env_file") {
        canonical_env_file(env_file);
    }
    let Some(build) = table.get_mut("build") else { return Ok(()) };
    if let Kind::Text(_) = &build.kind {
        let context = Table::from([("context".to_string(), build.clone())]);
        build.kind = Kind::Table(context);
    }
    let Some(table) = build.table_mut() else {
        if build.is_null() {
            return Ok(());
        }
        let message = format!("`build` must be a directory or a table, not {}", build.name());
        return Err(Box::new(build.wrong(message, "not a table")));
    };
    if let Some(contexts) = table.get_mut("additional_contexts") {
        keyed(contexts, true)?;
    }
    if let Some(ssh) = table.get_mut("ssh") {
        keyed(ssh, false)?;
    }
    Ok(())
}

/// Each file with whether it must be there.
fn canonical_env_file(env_file: &mut Node) {
    let items = match &env_file.kind {
        Kind::List(items) => items.clone(),
        Kind::Null => return,
        _ => vec![env_file.clone()],
    };
    let items = items.into_iter().map(|item| match item.kind {
        Kind::Text(_) => {
            let path = Table::from([("path".to_string(), item.clone())]);
            item.with(Kind::Table(path))
        }
        _ => item,
    });
    env_file.kind = Kind::List(items.collect());
}

/// A list of `KEY=VALUE` as table.
fn keyed(node: &mut Node, needs_value: bool) -> Changed {
    let items = match &node.kind {
        Kind::List(items) => items,
        // A table with further tables inside would be no table of texts.
        Kind::Table(table) => {
            let wrong = table.values().find(|value| matches!(value.kind, Kind::List(_) | Kind::Table(_)));
            return match wrong {
                Some(wrong) => Err(Box::new(wrong.wrong("a text is required here", "not a text"))),
                None => Ok(()),
            };
        }
        _ => return Err(Box::new(node.wrong("a table or a list is required here", "neither"))),
    };
    let mut table = Table::new();
    for item in items {
        let Some(text) = item.printed() else {
            return Err(Box::new(item.wrong("an entry must be a text", "not a text")));
        };
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_string(), Kind::Text(value.to_string())),
            None if !needs_value && text == "default" => (text, Kind::Null),
            None => {
                return Err(Box::new(
                    item.wrong(format!("`{text}` is not of the form `KEY=VALUE`"), "no `=`"),
                ));
            }
        };
        table.insert(key, item.with(value));
    }
    node.kind = Kind::Table(table);
    Ok(())
}

/// A build without context has the directory of the file.
pub fn default_context(service: &mut Node) {
    let build = service.table_mut().and_then(|table| table.get_mut("build"));
    let Some(build) = build.filter(|build| build.table().is_some()) else { return };
    let context = build.with(Kind::Text(".".to_string()));
    if let Some(table) = build.table_mut() {
        table.entry("context".to_string()).or_insert(context);
    }
}

/// What paths are relative to.
#[derive(Clone, Copy)]
pub struct Base<'b> {
    pub directory: &'b str,
    /// What `~` stands for.
    pub home: Option<&'b str>,
}

pub fn resolve_service_paths(service: &mut Node, base: Base<'_>) {
    let Some(table) = service.table_mut() else { return };
    if let Some(Node { kind: Kind::List(files), .. }) = table.get_mut("env_file") {
        for file in files {
            file.table_mut()
                .and_then(|file| file.get_mut("path"))
                .into_iter()
                .for_each(|path| resolve(path, base));
        }
    }
    let Some(build) = table.get_mut("build").and_then(Node::table_mut) else { return };
    build.get_mut("context").into_iter().for_each(|context| resolve_context(context, base));
    let contexts = build.get_mut("additional_contexts").and_then(Node::table_mut);
    contexts.into_iter().flat_map(Table::values_mut).for_each(|context| resolve_context(context, base));
    let agents = build.get_mut("ssh").and_then(Node::table_mut);
    agents.into_iter().flat_map(Table::values_mut).for_each(|path| resolve(path, base));
}

pub fn resolve_project_paths(project: &mut Node, base: Base<'_>) {
    let secrets = project.table_mut().and_then(|table| table.get_mut("secrets")).and_then(Node::table_mut);
    for secret in secrets.into_iter().flat_map(Table::values_mut) {
        let file = secret.table_mut().and_then(|secret| secret.get_mut("file"));
        file.into_iter().for_each(|file| resolve(file, base));
    }
}

fn resolve(node: &mut Node, base: Base<'_>) {
    let Kind::Text(path) = &mut node.kind else { return };
    let of_home = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let (Some(rest), Some(home)) = (of_home, base.home) {
        *path = format!("{home}{rest}");
    } else if !path.is_empty() && !path.starts_with('/') {
        *path = joined(base.directory, path);
    }
}

/// Contexts from elsewhere are no paths.
fn resolve_context(node: &mut Node, base: Base<'_>) {
    let is_special = node.as_text().is_some_and(|text| {
        let starts = ["service:", "github.com/", "git@"];
        text.contains("://") || starts.iter().any(|start| text.starts_with(start))
    });
    if !is_special {
        resolve(node, base);
    }
}
