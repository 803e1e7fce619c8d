//! What bake and multiarch.toml inherit in different ways: lists that bake adds up, names that mean a target
//! and a group, circles.

use std::collections::{BTreeMap, BTreeSet};

use super::blocks::ADDED;
use crate::config::write::Tree;
use crate::config::write::{Document, Item, Kind};

/// Takes away the edges of `inherits` that close a circle, which bake passes over.
pub fn cut_circles(document: &mut Document) {
    let parents: BTreeMap<String, Vec<String>> =
        document.targets().map(|section| (section.name.clone(), inherits(document, &section.name))).collect();
    let reaches = |from: &str, to: &str| {
        let (mut open, mut seen) = (vec![from.to_string()], BTreeSet::new());
        while let Some(name) = open.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name.clone()) {
                open.extend(parents.get(&name).into_iter().flatten().cloned());
            }
        }
        false
    };
    for section in document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
        let name = section.name.clone();
        let Some(item) = section.item_mut("inherits") else { continue };
        let Tree::List(members) = &mut item.value else { continue };
        let closes = |member: &Tree| matches!(member, Tree::Text(parent) if reaches(parent, &name));
        let cut: Vec<String> = members.iter().filter(|one| closes(one)).map(Tree::inline).collect();
        members.retain(|member| !closes(member));
        item.comments.extend(
            cut.iter().map(|parent| format!("not carried over: {parent} inherits from this target itself")),
        );
        if let Tree::List(members) = &item.value
            && members.is_empty()
        {
            let comments = std::mem::take(&mut item.comments);
            section.remove("inherits");
            section.comments.extend(comments);
        }
    }
}

fn inherits(document: &Document, name: &str) -> Vec<String> {
    let item = document.section(Kind::Target, name).and_then(|section| section.item("inherits"));
    match item.map(|item| &item.value) {
        Some(Tree::List(members)) => members.iter().filter_map(text_of).collect(),
        _ => Vec::new(),
    }
}

fn text_of(tree: &Tree) -> Option<String> {
    match tree {
        Tree::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Lists replace what they inherit here, and are added to it in bake: where that makes a difference they are
/// written below `append`, or as a whole where several parents have one.
pub fn add_up(document: &mut Document) {
    let names: Vec<String> = document.targets().map(|section| section.name.clone()).collect();
    let mut whole: Vec<(String, Item)> = Vec::new();
    for name in &names {
        let parents = inherits(document, name);
        for key in ADDED {
            let own = document.section(Kind::Target, name).and_then(|section| section.item(key));
            let saying = parents.iter().filter(|parent| !list(document, parent, key, 0).is_empty()).count();
            if saying == 0 || own.is_none() && saying == 1 {
                continue;
            }
            let mut item = own.cloned().unwrap_or_else(|| Item::new(key, Tree::List(Vec::new())));
            let adds = saying == 1 && item.value != Tree::List(Vec::new());
            match adds {
                true => item.is_added = true,
                false => item.value = Tree::List(list(document, name, key, 0)),
            }
            whole.push((name.clone(), item));
        }
    }
    for (name, item) in whole {
        if let Some(section) = document.section_mut(Kind::Target, &name) {
            section.put(item);
        }
    }
}

/// The list with everything inherited.
fn list(document: &Document, name: &str, key: &str, depth: usize) -> Vec<Tree> {
    const DEEPEST: usize = 64;
    if depth > DEEPEST {
        return Vec::new();
    }
    let mut found: Vec<Tree> = Vec::new();
    for parent in inherits(document, name) {
        let inherited = list(document, &parent, key, depth + 1);
        found.extend(inherited.into_iter().filter(|one| !found.contains(one)).collect::<Vec<_>>());
    }
    let own = document.section(Kind::Target, name).and_then(|section| section.item(key));
    if let Some(Tree::List(members)) = own.map(|item| &item.value) {
        found.extend(members.iter().filter(|one| !found.contains(one)).cloned().collect::<Vec<_>>());
    }
    found
}

/// Gives other names to targets that cannot keep theirs: a group has it, or it begins with `_` and is built.
pub fn rename(document: &mut Document) -> BTreeMap<String, String> {
    let of_kind = |kind: Kind| {
        let sections = document.sections.iter().filter(move |section| section.kind == kind);
        sections.map(|section| section.name.clone()).collect::<BTreeSet<String>>()
    };
    let (groups, targets) = (of_kind(Kind::Group), of_kind(Kind::Target));
    let built = built(document);
    let mut names = BTreeMap::new();
    for target in &targets {
        let is_free = |name: &String| !groups.contains(name) && !targets.contains(name);
        let wanted = match target.strip_prefix('_') {
            _ if groups.contains(target) => format!("{target}-target"),
            Some(rest) if built.contains(target) && !rest.is_empty() => rest.to_string(),
            _ => continue,
        };
        let free = std::iter::once(wanted.clone()).chain((2..).map(|count| format!("{wanted}-{count}")));
        if let Some(name) = free.into_iter().find(is_free) {
            names.insert(target.clone(), name);
        }
    }
    for section in &mut document.sections {
        apply(section, &names);
    }
    names
}

/// Targets that groups and contexts name.
fn built(document: &Document) -> BTreeSet<String> {
    let mut built = BTreeSet::new();
    for section in &document.sections {
        match (section.kind, section.item("targets"), section.item("contexts")) {
            (Kind::Group, Some(Item { value: Tree::List(members), .. }), _) => {
                built.extend(members.iter().filter_map(text_of));
            }
            (Kind::Target, _, Some(Item { value: Tree::Table(contexts), .. })) => {
                let links = contexts.iter().filter_map(|(_, context)| text_of(context));
                built.extend(links.filter_map(|link| Some(link.strip_prefix("target:")?.to_string())));
            }
            _ => {}
        }
    }
    built
}

fn apply(section: &mut crate::config::write::Section, names: &BTreeMap<String, String>) {
    let renamed = |name: &str| names.get(name).cloned().unwrap_or_else(|| name.to_string());
    if section.kind == Kind::Target {
        if let Some(name) = names.get(&section.name) {
            section
                .comments
                .push(format!("`{}` there, which cannot be the name of a target here", section.name));
            section.name.clone_from(name);
        }
        if let Some(item) = section.item_mut("inherits") {
            item.value = item.value.map(&renamed);
        }
        if let Some(item) = section.item_mut("contexts") {
            item.value = item.value.map(&|text| match text.strip_prefix("target:") {
                Some(name) => format!("target:{}", renamed(name)),
                None => text.to_string(),
            });
        }
    }
    if section.kind == Kind::Group {
        let own = section.name.clone();
        if let Some(item) = section.item_mut("targets") {
            // A group inside of itself stands for the target of its name; elsewhere the group is meant.
            item.value = item.value.map(&|name| match name == own || name.starts_with('_') {
                true => renamed(name),
                false => name.to_string(),
            });
        }
    }
}
