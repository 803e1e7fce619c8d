//! `include`: further files, each a pattern or a table, and the prefix that names of a file get.
//!
//! Names of targets and groups are prefixed; variables, caches and platform sets are one space for all files.
//! References of an included file mean its own names first. They are taken as they are written: what a template
//! comes to is a full name.

use std::collections::BTreeSet;

use toml::de::DeValue;

use super::declare::{Layer, TargetDeclaration, is_template};
use super::keys::Section;
use super::read::FileDeclarations;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::Problem;

/// One member of `include`.
#[derive(Clone, Debug)]
pub struct Include {
    pub pattern: Text,
    /// Before every name that the files declare.
    pub prefix: String,
    /// Nothing is wrong when there is no such file.
    pub is_optional: bool,
}

pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Vec<Include> {
    let mut includes = Vec::new();
    for member in reader.list("include", value, "a list of strings and tables").unwrap_or_default() {
        match member.get_ref() {
            DeValue::Table(_) => includes.extend(read_table(reader, member)),
            DeValue::String(_) => {
                let pattern = reader.text("include", member, Role::Plain);
                let plain = |pattern| Include { pattern, prefix: String::new(), is_optional: false };
                includes.extend(pattern.map(plain));
            }
            _ => reader.mismatch("include", member, "a string or a table"),
        }
    }
    includes
}

fn read_table(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Include> {
    let (mut pattern, mut prefix, mut is_optional, mut has_path) = (None, String::new(), false, false);
    for (key, value) in reader.table("include", value)? {
        match key.get_ref().as_ref() {
            "path" => {
                has_path = true;
                pattern = reader.text("path", value, Role::Plain);
            }
            "prefix" => prefix = read_prefix(reader, value).unwrap_or_default(),
            "optional" => is_optional = reader.boolean("optional", value).unwrap_or(false),
            _ => reader.unknown_key(Section::Include, key),
        }
    }
    if !has_path {
        let place = reader.place(value.span());
        reader.report(
            Problem::input("config::missing-key", "an entry of `include` needs `path`")
                .at(place, "names no file")
                .help("write `{ path = \"vendor/*/multiarch.toml\", prefix = \"vendor-\" }`"),
        );
    }
    Some(Include { pattern: pattern?, prefix, is_optional })
}

fn read_prefix(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<String> {
    let text = reader.text("prefix", value, Role::Plain)?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !text.value.bytes().all(is_name) || text.value.starts_with('_') {
        let message = format!("`{}` cannot stand before a name", text.value);
        reader.report(
            Problem::input("config::bad-name", message)
                .at(text.place(), "not a part of a name")
                .help("names are made of letters, digits, `_` and `-`; `_` comes first in templates alone"),
        );
        return None;
    }
    Some(text.value)
}

/// Gives `prefix` to the names that a file declares, wherever the file speaks of them.
pub fn add_prefix(found: &mut FileDeclarations, prefix: &str) {
    if prefix.is_empty() {
        return;
    }
    let targets = found.targets.iter().map(|(name, _)| name.clone());
    let own: BTreeSet<String> = targets.chain(found.groups.iter().map(|(name, _)| name.clone())).collect();
    let prefixer = Prefixer { prefix, own };
    for (name, target) in &mut found.targets {
        *name = prefixed(prefix, name);
        prefixer.target(target);
    }
    for (name, group) in &mut found.groups {
        *name = prefixed(prefix, name);
        group.targets.iter_mut().for_each(|member| prefixer.name(member));
    }
}

/// What makes a template one stays in front.
fn prefixed(prefix: &str, name: &str) -> String {
    match name.strip_prefix('_') {
        Some(rest) if is_template(name) => format!("_{prefix}{rest}"),
        _ => format!("{prefix}{name}"),
    }
}

struct Prefixer<'p> {
    prefix: &'p str,
    /// What the file declares.
    own: BTreeSet<String>,
}

impl Prefixer<'_> {
    fn name(&self, text: &mut Text) {
        if self.own.contains(&text.value) {
            *text = text.with_value(prefixed(self.prefix, &text.value));
        }
    }

    fn target(&self, target: &mut TargetDeclaration) {
        target.inherits.iter_mut().for_each(|parent| self.name(parent));
        self.layer(&mut target.layer);
        target.on.iter_mut().for_each(|(_, layer)| self.layer(layer));
        if let Some(matrix) = &mut target.matrix {
            matrix.add_prefix(self.prefix);
        }
    }

    fn layer(&self, layer: &mut Layer) {
        layer.needs.iter_mut().flatten().for_each(|need| self.name(need));
        let contexts = layer.contexts.values_mut().chain(&mut layer.context);
        for context in contexts {
            if let Some(name) = context.value.strip_prefix("target:")
                && self.own.contains(name)
            {
                *context = context.with_value(format!("target:{}", prefixed(self.prefix, name)));
            }
        }
        if let Some(append) = &mut layer.append {
            self.layer(append);
        }
    }
}
