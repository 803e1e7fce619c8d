//! A survey as a multiarch.toml: one target for each Dockerfile, all of them by default, and a group that
//! pushes them.

use std::collections::BTreeMap;

use super::survey::{Dockerfile, PLACES, Survey, purpose};
use crate::config::write::{Document, Item, Kind, Section, Tree};

/// The group that pushes.
pub const RELEASE: &str = "[group.release]\ntargets = [\"default\"]\npush = true\n";

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

/// Images that many know by one word: a folder of that name is hardly what a FROM means.
const WELL_KNOWN: [&str; 22] = [
    "alpine", "busybox", "caddy", "debian", "elixir", "fedora", "golang", "gradle", "haproxy", "httpd",
    "maven", "mongo", "mysql", "nginx", "node", "php", "postgres", "python", "redis", "ruby", "rust",
    "ubuntu",
];

pub fn sketch(survey: &Survey) -> Document {
    let names = names(survey);
    let is_single = names.len() == 1;
    let image = image(survey, is_single);
    let mut document = Document::default();
    document.sections.push(project(survey, &image));
    document.sections.push(variable());
    let mut default = Section::new(Kind::Group, "default");
    let mut members: Vec<String> = names.clone();
    members.sort();
    default.put(Item::new("targets", Tree::texts(members)));
    document.sections.push(default);
    document.sections.push(release());
    if !is_single {
        let mut shared = Section::new(Kind::Target, "_image");
        shared.comments.push("What all images have in common.".to_string());
        put_tags(&mut shared, survey);
        document.sections.push(shared);
    }
    for (dockerfile, name) in survey.dockerfiles.iter().zip(&names) {
        let mut section = target(survey, dockerfile, name, &names, &image);
        match is_single {
            true => put_tags(&mut section, survey),
            false => section.items.insert(0, Item::new("inherits", Tree::texts(["_image"]))),
        }
        document.sections.push(section);
    }
    document
}

fn project(survey: &Survey, image: &str) -> Section {
    let mut project = Section::new(Kind::Project, "");
    project.put(Item::new("name", Tree::text(project_name(survey))));
    let unknown = "Nothing tells where the images belong: name your registry here.".to_string();
    project.put(Item::new("image", Tree::text(image)).noted(survey.home.is_none().then_some(unknown)));
    project.put(Item::new("platforms", Tree::texts(PLATFORMS)));
    project
}

fn variable() -> Section {
    let mut tag = Section::new(Kind::Var, "tag");
    tag.put(Item::new("default", Tree::text("latest")));
    tag.put(Item::new("env", Tree::text("TAG")));
    tag.put(Item::new("help", Tree::text("the tag of every image")));
    tag
}

fn release() -> Section {
    let mut release = Section::new(Kind::Group, "release");
    release.put(Item::new("targets", Tree::texts(["default"])));
    release.put(Item::new("push", Tree::Flag(true)));
    release
}

fn put_tags(section: &mut Section, survey: &Survey) {
    section.put(Item::new("tags", Tree::texts(["{{ vars.tag }}"])));
    if let Some(home) = &survey.home {
        let source = ("org.opencontainers.image.source".to_string(), Tree::text(&home.page));
        section.put(Item::new("labels", Tree::Table(vec![source])));
    }
}

fn project_name(survey: &Survey) -> String {
    let name = survey.home.as_ref().map_or(&survey.name, |home| &home.name);
    let name = slug(name);
    if name.is_empty() { "app".to_string() } else { name }
}

fn image(survey: &Survey, is_single: bool) -> String {
    let base = match &survey.home {
        Some(home) => home.image.clone(),
        None => format!("registry.example.com/{}", project_name(survey)),
    };
    if is_single { base } else { format!("{base}/{{{{ target.name }}}}") }
}

/// Lower-case letters, digits and `-`: good for targets and for images.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            c if c.is_ascii_alphanumeric() => slug.push(c),
            _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            _ => {}
        }
    }
    slug.trim_end_matches('-').to_string()
}

/// A name for each Dockerfile: of its file, of its folder, else the project's; with more of the path where two
/// would be the same.
fn names(survey: &Survey) -> Vec<String> {
    let short: Vec<String> = survey.dockerfiles.iter().map(|one| short_name(survey, one)).collect();
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    short.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    let mut names: Vec<String> = Vec::new();
    for (dockerfile, name) in survey.dockerfiles.iter().zip(&short) {
        let is_taken =
            |name: &str| matches!(name, "default" | "release") || names.iter().any(|known| known == name);
        let long = slug(&format!("{}/{}", dockerfile.folder, purpose(&dockerfile.file).unwrap_or_default()));
        let long = if long.is_empty() { project_name(survey) } else { long };
        let wanted = if counts[name] > 1 { long } else { name.clone() };
        let numbered = (2..).map(|count| format!("{wanted}-{count}"));
        let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| !is_taken(name));
        names.push(free.unwrap_or(wanted));
    }
    names
}

fn short_name(survey: &Survey, dockerfile: &Dockerfile) -> String {
    let own = slug(purpose(&dockerfile.file).unwrap_or_default());
    let folder = dockerfile.folder.rsplit('/').find(|part| !PLACES.contains(part)).map(slug);
    match (own.is_empty(), folder) {
        (false, _) => own,
        (true, Some(folder)) if !folder.is_empty() => folder,
        (true, _) => project_name(survey),
    }
}

fn target(survey: &Survey, dockerfile: &Dockerfile, name: &str, names: &[String], image: &str) -> Section {
    let mut section = Section::new(Kind::Target, name);
    section.comments.extend(about(dockerfile));
    if !dockerfile.context.is_empty() {
        section.put(Item::new("context", Tree::text(&dockerfile.context)));
    }
    let path = match dockerfile.folder.strip_prefix(&dockerfile.context) {
        Some(rest) if !rest.is_empty() => format!("{}/{}", rest.trim_start_matches('/'), dockerfile.file),
        _ => dockerfile.file.clone(),
    };
    if path != "Dockerfile" {
        section.put(Item::new("dockerfile", Tree::text(path)));
    }
    let mut contexts: Vec<(String, Tree)> = Vec::new();
    for base in &dockerfile.bases {
        let other = names.iter().find(|other| *other != name && means(base, other, image));
        let is_known = contexts.iter().any(|(known, _)| known == base);
        if let Some(other) = other.filter(|_| !is_known)
            && !needs_back(survey, names, other, name, image)
        {
            contexts.push((base.clone(), Tree::text(format!("target:{other}"))));
        }
    }
    if !contexts.is_empty() {
        section.put(Item::new("contexts", Tree::Table(contexts)));
    }
    section
}

fn about(dockerfile: &Dockerfile) -> Vec<String> {
    let mut comments = Vec::new();
    let stages: Vec<&String> = dockerfile.stages.iter().filter(|stage| !stage.is_empty()).collect();
    if stages.len() > 1 {
        let list: Vec<&str> = stages.iter().map(|stage| stage.as_str()).collect();
        comments.push(format!("Stages: {}. The last one is built; `stage` picks another.", list.join(", ")));
    }
    if !dockerfile.unignored.is_empty() {
        let place = if dockerfile.context.is_empty() { "." } else { &dockerfile.context };
        comments.push(format!(
            "There is no `.dockerignore` in `{place}`, which has {}.",
            dockerfile.unignored.join(" and ")
        ));
    }
    comments
}

/// Whether a FROM means the image of a target: by the name it is pushed under, or by its bare name.
fn means(base: &str, target: &str, image: &str) -> bool {
    let full = image.replace("{{ target.name }}", target);
    let without_tag = match base.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => base,
    };
    without_tag == full || without_tag == target && !WELL_KNOWN.contains(&target)
}

/// Whether the other target starts from this one, directly or through others.
fn needs_back(survey: &Survey, names: &[String], from: &str, to: &str, image: &str) -> bool {
    let (mut open, mut seen) = (vec![from.to_string()], Vec::new());
    while let Some(name) = open.pop() {
        if seen.contains(&name) {
            continue;
        }
        let dockerfiles = survey.dockerfiles.iter().zip(names).filter(|(_, known)| **known == name);
        for base in dockerfiles.flat_map(|(dockerfile, _)| &dockerfile.bases) {
            let meant = names.iter().filter(|other| **other != name && means(base, other, image));
            for other in meant {
                if other == to {
                    return true;
                }
                open.push(other.clone());
            }
        }
        seen.push(name);
    }
    false
}
