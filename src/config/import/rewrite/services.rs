//! Targets of Compose files as sections. The files are read twice: as they are, and with every substitution
//! left as a mark, which goes where its value would go and becomes a template there.

use std::collections::BTreeMap;

use super::comments;
use super::literal;
use super::renderer::Renderer;
use crate::config::import::definition::Definition;
use crate::config::import::target::Target;
use crate::config::write::Tree;
use crate::config::write::{Document, Item, Kind, Section};

/// Around the name of a variable, in texts that are read for their marks.
const OPEN: char = '\u{f8f0}';
const CLOSE: char = '\u{f8f1}';

/// What stands for the value of a variable.
pub fn mark(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// The variables that a file asks for, each with the first default it has for it.
pub fn asked(text: &str) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let uncommented = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in uncommented {
        let mut rest = line;
        while let Some(at) = rest.find('$') {
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
                continue;
            }
            let inner = rest.strip_prefix('{');
            let named = inner.unwrap_or(rest);
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = named.find(|c| !is_word(c)).unwrap_or(named.len());
            let (name, operation) = named.split_at(length);
            if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
                continue;
            }
            let default = inner.and_then(|_| plain_default(operation));
            match found.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) if known.is_none() => *known = default,
                Some(_) => {}
                None => found.push((name.to_string(), default)),
            }
        }
    }
    found
}

/// `:-default}` or `-default}`, unless the default asks for more.
fn plain_default(operation: &str) -> Option<String> {
    let default = operation.strip_prefix(":-").or_else(|| operation.strip_prefix('-'))?;
    let (default, _) = default.split_once('}')?;
    (!default.contains('$')).then(|| default.to_string())
}

/// Services with their templates, which give what the services have without them.
pub fn write(
    document: &mut Document,
    plain: &Definition,
    marked: Option<&Definition>,
    names: &BTreeMap<String, String>,
    renderer: &Renderer<'_>,
) {
    for target in &plain.targets {
        let twin = marked.and_then(|all| all.targets.iter().find(|other| other.name == target.name));
        document.sections.push(section(target, twin, names, renderer));
    }
    for group in &plain.groups {
        let mut section = Section::new(Kind::Group, &group.name);
        section.put(Item::new("targets", Tree::texts(group.targets.clone())));
        document.sections.push(section);
    }
}

fn section(
    target: &Target,
    twin: Option<&Target>,
    names: &BTreeMap<String, String>,
    renderer: &Renderer<'_>,
) -> Section {
    let mut section = Section::new(Kind::Target, &target.name);
    let marked: BTreeMap<&str, Tree> = twin.map(literal::attributes).into_iter().flatten().collect();
    for (key, tree) in literal::attributes(target) {
        if is_empty(&tree) {
            continue;
        }
        let mut found = Found { key, names, renderer, is_lost: false };
        let value = match marked.get(key) {
            Some(marked) => found.value(&tree, marked),
            None => tree,
        };
        let mut item = Item::new(key, value);
        if let (true, Some(place)) = (found.is_lost, target.places.get(key)) {
            item.comments.push(format!(
                "a substitution ({}) has no equal here; this is its value",
                comments::at(place)
            ));
        }
        section.put(item);
    }
    let unset = target.args.iter().flatten().filter(|(_, value)| value.is_none());
    let unset: Vec<String> = unset.map(|(name, _)| format!("`{name}`")).collect();
    if !unset.is_empty() {
        section.comments.push(format!(
            "not carried over: the argument {}, which comes from the environment where it is set",
            unset.join(", ")
        ));
    }
    section
}

fn is_empty(tree: &Tree) -> bool {
    match tree {
        Tree::List(members) => members.is_empty(),
        Tree::Table(members) => members.is_empty(),
        Tree::Text(_) | Tree::Flag(_) | Tree::Number(_) => false,
    }
}

struct Found<'a, 'e> {
    key: &'a str,
    names: &'a BTreeMap<String, String>,
    renderer: &'a Renderer<'e>,
    /// Something was marked and comes as its value.
    is_lost: bool,
}

impl Found<'_, '_> {
    /// The value with templates where marks stand and say the same.
    fn value(&mut self, plain: &Tree, marked: &Tree) -> Tree {
        match (plain, marked) {
            (Tree::Text(plain), Tree::Text(marked)) if marked.contains(OPEN) => {
                Tree::Text(self.text(plain, marked))
            }
            (Tree::List(plain), Tree::List(marked)) if plain.len() == marked.len() => {
                Tree::List(plain.iter().zip(marked).map(|(a, b)| self.value(a, b)).collect())
            }
            (Tree::Table(plain), Tree::Table(marked)) if plain.len() == marked.len() => {
                let members = plain.iter().map(|(name, value)| {
                    let twin = marked.iter().find(|(other, _)| other == name);
                    (name.clone(), twin.map_or_else(|| value.clone(), |(_, twin)| self.value(value, twin)))
                });
                Tree::Table(members.collect())
            }
            _ => {
                self.is_lost |= plain != marked;
                plain.clone()
            }
        }
    }

    fn text(&mut self, plain: &str, marked: &str) -> String {
        let template = self.template(marked).filter(|_| literal::is_template_key(self.key));
        let is_proven = |template: &String| {
            let expected = self.renderer.render(plain, "", None);
            expected.is_some() && self.renderer.render(template, "", None) == expected
        };
        match template.filter(is_proven) {
            Some(template) => template,
            None => {
                self.is_lost = true;
                plain.to_string()
            }
        }
    }

    fn template(&self, marked: &str) -> Option<String> {
        let mut written = String::new();
        let mut rest = marked;
        while let Some(at) = rest.find(OPEN) {
            written.push_str(&rest[..at]);
            let (name, after) = rest[at + OPEN.len_utf8()..].split_once(CLOSE)?;
            let name = self.names.get(name)?;
            written.push_str(&format!("{{{{ vars.{name} }}}}"));
            rest = after;
        }
        written.push_str(rest);
        Some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::asked;

    #[test]
    fn variables_are_found_with_their_defaults() {
        let text = "# ${NOT}\na: $A-${B:-b}-${C-}${B:-other}\nb: $${D} ${E:?needed} ${F:-${G}} $1";
        let expected =
            [("A", None), ("B", Some("b")), ("C", Some("")), ("E", None), ("F", None), ("G", None)];
        let found = asked(text);
        let found: Vec<_> = found.iter().map(|(name, default)| (name.as_str(), default.as_deref())).collect();
        assert_eq!(found, expected);
    }
}
