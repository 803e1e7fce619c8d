//! What `mab bake --print` wrote, read back: a project whose templates are rendered and whose layers are one.
//!
//! The document is bake's JSON with a mark that bake takes for a comment. Its keys go through the reader of
//! multiarch.toml, with strings as they are; as in bake, paths are relative to the working directory.

use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::builder;
use super::declare::{Declarations, DockerfileDeclaration, GroupDeclaration, Layer, TargetDeclaration};
use super::import::{JsonKind, JsonNode, read_json};
use super::lint;
use super::load::Loaded;
use super::path;
use super::read::{read_cache, read_group, read_layer_key, read_on_key, read_project};
use super::removal::Removal;
use super::table::{Reader, Role, Value};
use super::text::{File, Text};
use crate::base::Platform;
use crate::diag::{Located, Problem, Source, Span};

/// The member of a document that says who wrote it.
pub const MARK: &str = "//";
/// The version of the document.
pub const VERSION: u64 = 1;

/// Whether `mab bake --print` wrote the text for multiarch.toml.
pub fn is_resolved(text: &str) -> bool {
    text.contains("\"//\"")
        && serde_json::from_str::<serde_json::Value>(text)
            .is_ok_and(|document| document[MARK]["mab"].is_u64())
}

/// Reads such a document. Problems are part of the result, as those of `load`.
pub fn load_resolved(name: &str, text: &str, directory: &Path) -> Loaded {
    let file = Arc::new(File {
        source: Source::new(name, text),
        directory: directory.to_path_buf(),
        is_literal: true,
    });
    let mut loaded = Loaded {
        root: directory.to_path_buf(),
        declared: Declarations::default(),
        problems: Vec::new(),
        incomplete: false,
        uses_git: Default::default(),
        bytes: text.len(),
    };
    let document = match read_json(&file.source) {
        Ok(document) => document,
        Err(problem) => {
            loaded.problems.push(*problem);
            loaded.incomplete = true;
            return loaded;
        }
    };
    let mut reader = Reader { file, problems: &mut loaded.problems, uses_git: Default::default() };
    for (key, span, value) in members(&document) {
        match key {
            MARK => check_version(&mut reader, value),
            "project" => {
                let source = reader.file.source.clone();
                loaded.declared.project = read_project(&mut reader, &toml_value(&source.text, value));
            }
            "lint" => {
                let source = reader.file.source.clone();
                loaded.declared.lint = lint::read(&mut reader, &toml_value(&source.text, value));
            }
            "group" => {
                for (name, span, group) in members(value) {
                    if let Some(group) = group_of(&mut reader, span, group) {
                        loaded.declared.groups.insert(name.to_string(), group);
                    }
                }
            }
            "cache" => {
                for (name, span, cache) in members(value) {
                    let place = reader.place(span.clone());
                    let source = reader.file.source.clone();
                    if let Some(cache) = read_cache(&mut reader, place, &toml_value(&source.text, cache)) {
                        loaded.declared.caches.insert(name.to_string(), cache);
                    }
                }
            }
            "builder" => {
                let source = reader.file.source.clone();
                let found = builder::read_all(&mut reader, &toml_value(&source.text, value));
                loaded.declared.builders.extend(found);
            }
            "target" => {
                for (name, span, target) in members(value) {
                    let target = target_of(&mut reader, span, target);
                    loaded.declared.targets.insert(name.to_string(), target);
                }
            }
            _ => unknown(&mut reader, key, span),
        }
    }
    loaded
}

type Member<'n> = (&'n str, &'n Span, &'n JsonNode);

fn members(node: &JsonNode) -> Vec<Member<'_>> {
    match &node.kind {
        JsonKind::Object(members) => {
            members.iter().map(|(name, span, value)| (&*name.value, span, value)).collect()
        }
        _ => Vec::new(),
    }
}

fn unknown(reader: &mut Reader<'_>, key: &str, span: &Span) {
    let place = reader.place(span.clone());
    reader.report(
        Problem::input("config::unknown-key", format!("a resolved file has no key `{key}`"))
            .at(place, "unknown key"),
    );
}

fn check_version(reader: &mut Reader<'_>, value: &JsonNode) {
    let version = members(value).into_iter().find(|(key, ..)| *key == "mab");
    let Some((_, _, node)) = version else { return };
    let text = &reader.file.source.text[node.span.clone()];
    if text != VERSION.to_string() {
        let message = format!("version `{text}` of a resolved file is not known");
        let place = reader.place(node.span.clone());
        reader.report(
            Problem::input("config::version", message)
                .at(place, "not a known version")
                .help(format!("this mab reads version {VERSION}")),
        );
    }
}

fn group_of(reader: &mut Reader<'_>, span: &Span, node: &JsonNode) -> Option<GroupDeclaration> {
    let (place, source) = (reader.place(span.clone()), reader.file.source.clone());
    read_group(reader, place, &toml_value(&source.text, node))
}

fn target_of(reader: &mut Reader<'_>, span: &Span, node: &JsonNode) -> TargetDeclaration {
    let mut target = TargetDeclaration {
        place: reader.place(span.clone()),
        file: reader.file.clone(),
        inherits: Vec::new(),
        layer: Layer::default(),
        on: Vec::new(),
        matrix: None,
    };
    for (key, span, value) in members(node) {
        if key != "on" {
            read_key(reader, &mut target.layer, key, span, value);
            continue;
        }
        for (name, span, changes) in members(value) {
            let name = Text::new(name, &reader.file, span.clone());
            let Some(platform) = reader.parsed("config::bad-platform", &name, str::parse::<Platform>) else {
                continue;
            };
            let mut layer = Layer::default();
            for (key, span, value) in members(changes) {
                read_key(reader, &mut layer, key, span, value);
            }
            target.on.push((Located::new(platform.value, name.place()), layer));
        }
    }
    target
}

/// One key of a target or of what is different for a platform, where `null` is what is not there.
fn read_key(reader: &mut Reader<'_>, layer: &mut Layer, key: &str, span: &Span, node: &JsonNode) {
    let name = Text::new(path::our_key(key), &reader.file, span.clone());
    if matches!(node.kind, JsonKind::Null) {
        layer.remove.push(Removal::of_key(&name));
        return;
    }
    for (entry, span, value) in members(node) {
        if matches!(value.kind, JsonKind::Null) {
            let entry = Text::new(entry, &reader.file, span.clone());
            layer.remove.push(Removal { is_lenient: true, ..Removal::of_entry(&name, &entry) });
        }
    }
    let source = reader.file.source.clone();
    let value = toml_value(&source.text, node);
    match name.value.as_str() {
        "images" => layer.images = reader.texts("images", &value, Role::Template),
        "dockerfile" => {
            let text = reader.text("dockerfile", &value, Role::Template);
            layer.dockerfile = text.map(DockerfileDeclaration::File);
        }
        "dockerfile-inline" => {
            let text = reader.text("dockerfile-inline", &value, Role::Raw);
            layer.dockerfile = text.map(DockerfileDeclaration::Inline);
        }
        ours => {
            let key = Spanned::new(span.clone(), ours.to_string().into());
            match ours {
                // What only `on` tables have stands with the rest where all platforms agree.
                "allow-failure" | "worker-labels" => read_on_key(reader, layer, &key, &value),
                _ => read_layer_key(reader, layer, &key, &value),
            }
        }
    }
}

/// The value as the reader takes it; members that are `null` are left out.
fn toml_value<'s>(source: &'s str, node: &JsonNode) -> Value<'s> {
    let value = match &node.kind {
        JsonKind::Null => DeValue::String(String::new().into()),
        JsonKind::Bool(truth) => DeValue::Boolean(*truth),
        JsonKind::Number(_) => number(&source[node.span.clone()]),
        JsonKind::Text(text) => DeValue::String(unescaped(&text.value).into()),
        JsonKind::Array(items) => DeValue::Array(items.iter().map(|item| toml_value(source, item)).collect()),
        JsonKind::Object(_) => {
            let there = members(node).into_iter().filter(|(.., value)| !matches!(value.kind, JsonKind::Null));
            let entries = there.map(|(name, span, value)| {
                (Spanned::new(span.clone(), unescaped(name).into()), toml_value(source, value))
            });
            DeValue::Table(entries.collect::<DeTable<'s>>())
        }
    };
    Spanned::new(node.span.clone(), value)
}

/// A number as TOML has it; a text where TOML has none such, as `1E+05`.
fn number(text: &str) -> DeValue<'_> {
    match DeValue::parse(text) {
        Ok(value) => value.into_inner(),
        Err(_) => DeValue::String(text.into()),
    }
}

/// Text that HCL takes for a template is written with its opening twice.
pub fn escaped(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

fn unescaped(text: &str) -> String {
    text.replace("$${", "${").replace("%%{", "%{")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["plain", "${A}", "$${A}", "%{ if }", "$", "$$", "$$${x}", "{{ x }}"] {
            assert_eq!(unescaped(&escaped(text)), text, "{text}");
        }
    }
}
