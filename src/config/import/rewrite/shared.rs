//! What all targets agree on goes to `[project]`: platforms, and the repository that all images are in.

use crate::config::write::Tree;
use crate::config::write::{Document, Item, Kind, Section};

/// What is said of platforms that nobody has written.
pub const OF_CONSUMERS: &str = "those of the targets that use it";

/// Moves platforms up if all targets that say some say the same, and those that say none inherit them.
pub fn lift_platforms(document: &mut Document, resolved: &dyn Fn(&str) -> Vec<String>) {
    let targets: Vec<&Section> = document.targets().collect();
    let mut own = targets.iter().filter_map(|section| section.item("platforms"));
    let Some(first) = own.next() else { return };
    if own.any(|other| other.value != first.value) || targets.len() < 2 {
        return;
    }
    let is_said =
        |section: &&Section| section.item("platforms").is_some() || !resolved(&section.name).is_empty();
    let is_only_inherited = |section: &&Section| is_inherited(document, &section.name);
    if !targets.iter().all(|section| is_said(section) || is_only_inherited(section)) {
        return;
    }
    let mut item = Item::new("platforms", first.value.clone());
    item.comments.clone_from(&first.comments);
    item.comments.retain(|comment| comment != OF_CONSUMERS);
    for section in document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
        section.remove("platforms");
    }
    project(document).put(item);
}

/// Whether the target is there for others to inherit from, and for nothing else.
fn is_inherited(document: &Document, name: &str) -> bool {
    let names = |section: &Section, key: &str| match section.item(key).map(|item| &item.value) {
        Some(Tree::List(members)) => members.contains(&Tree::text(name)),
        Some(Tree::Table(members)) => {
            members.iter().any(|(_, one)| *one == Tree::text(format!("target:{name}")))
        }
        _ => false,
    };
    let sections = &document.sections;
    sections.iter().any(|section| names(section, "inherits"))
        && !sections.iter().any(|section| names(section, "targets") || names(section, "contexts"))
}

fn project(document: &mut Document) -> &mut Section {
    if document.section(Kind::Project, "").is_none() {
        document.sections.insert(0, Section::new(Kind::Project, ""));
    }
    document.section_mut(Kind::Project, "").expect("it has just been added")
}

/// Moves the repository up if every tag of every target is `REPOSITORY/NAME:TAG` with the target's own name, or
/// all are of one repository.
pub fn lift_image(document: &mut Document) {
    let mut found: Option<String> = None;
    for section in document.targets() {
        let Some(Tree::List(tags)) = section.item("tags").map(|item| &item.value) else { continue };
        for tag in tags {
            let image = match tag {
                Tree::Text(tag) if section.item("matrix").is_none() => {
                    split(tag).and_then(|(repository, _)| {
                        let (place, name) = repository.rsplit_once('/')?;
                        let is_own = name == section.name;
                        Some(if is_own {
                            format!("{place}/{{{{ target.name }}}}")
                        } else {
                            repository.to_string()
                        })
                    })
                }
                _ => None,
            };
            if image.is_none() || found.as_ref().is_some_and(|known| Some(known) != image.as_ref()) {
                return;
            }
            found = image;
        }
    }
    // Whoever has no tags would get an image.
    let all_tagged = document.targets().all(|section| {
        let has_tags = section.item("tags").is_some_and(|item| item.value != Tree::List(Vec::new()));
        has_tags || is_inherited(document, &section.name)
    });
    let Some(image) = found.filter(|_| all_tagged) else { return };
    for section in document.sections.iter_mut().filter(|section| section.kind == Kind::Target) {
        if let Some(item) = section.item_mut("tags") {
            item.value =
                item.value.map(&|tag| split(tag).map_or_else(|| tag.to_string(), |(_, tag)| tag.to_string()));
        }
    }
    project(document).put(Item::new("image", Tree::text(image)));
}

/// Repository and tag of a reference that has a registry or a folder, and a tag; templates stay whole.
fn split(reference: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    let mut colon = None;
    for (at, c) in reference.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => colon = Some(at),
            '/' if depth == 0 => colon = None,
            '@' if depth == 0 => return None,
            _ => {}
        }
    }
    let (repository, tag) = reference.split_at(colon?);
    (repository.contains('/') && tag.len() > 1).then(|| (repository, &tag[1..]))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn references_are_split_outside_of_templates() {
        for (reference, expected) in [
            ("ghcr.io/acme/api:1", Some(("ghcr.io/acme/api", "1"))),
            ("localhost:5000/api", None),
            ("{{ vars.repo }}/api:{{ vars.tag }}", Some(("{{ vars.repo }}/api", "{{ vars.tag }}"))),
            ("api:1", None),
            ("a/b:1@sha256:00", None),
            ("{{ 'a:b' if vars.x else '' }}", None),
        ] {
            assert_eq!(split(reference), expected, "{reference}");
        }
    }
}
