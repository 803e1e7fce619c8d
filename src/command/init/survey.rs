//! What is in a folder: Dockerfiles with what they say, where git says the project lives.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::image::{self, Home};

/// Folders deeper than this, and Dockerfiles beyond that many, are no project that somebody starts with.
const DEEPEST: usize = 8;
const MOST: usize = 500;
/// A Dockerfile larger than this is none.
const LARGEST: u64 = 1 << 20;

/// Folders of what others wrote, or of what was built.
const FOREIGN: [&str; 9] = [
    "node_modules",
    "vendor",
    "third_party",
    "target",
    "dist",
    "__pycache__",
    "venv",
    "testdata",
    "fixtures",
];

/// Folders for Dockerfiles of what is elsewhere; they are no names for targets.
pub const PLACES: [&str; 9] =
    ["docker", "dockerfiles", "build", "deploy", "container", "containers", "ci", "images", "package"];

#[derive(Debug, Default)]
pub struct Survey {
    /// The name of the folder.
    pub name: String,
    pub home: Option<Home>,
    pub dockerfiles: Vec<Dockerfile>,
}

/// One Dockerfile, with paths relative to where the survey began and `/` between their parts.
#[derive(Debug, Default)]
pub struct Dockerfile {
    /// Empty at the top.
    pub folder: String,
    pub file: String,
    /// The folder that its COPYs are about.
    pub context: String,
    /// Images that it starts from, as they are written.
    pub bases: Vec<String>,
    pub stages: Vec<String>,
    /// Of the context: what a `.dockerignore` should leave out, and there is none.
    pub unignored: Vec<String>,
}

/// Reads the folder and those below.
pub fn survey(root: &Path) -> Survey {
    let mut paths = Vec::new();
    walk(root, Path::new(""), 0, &mut paths);
    paths.sort();
    paths.truncate(MOST);
    let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Survey {
        name,
        home: remote(root).and_then(|remote| image::home(&remote)),
        dockerfiles: paths.iter().filter_map(|path| dockerfile(root, path)).collect(),
    }
}

fn walk(root: &Path, below: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(root.join(below)) else { return };
    for entry in entries.flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        if kind.is_dir() {
            let is_ours = !name.starts_with('.') && !FOREIGN.contains(&name.as_str());
            if is_ours && depth < DEEPEST {
                walk(root, &below.join(name), depth + 1, found);
            }
        } else if kind.is_file() && purpose(&name).is_some() {
            found.push(below.join(name));
        }
    }
}

/// What a file's name says it is for; empty for a plain Dockerfile, nothing for what is none.
pub fn purpose(file: &str) -> Option<&str> {
    const ENDINGS: [&str; 8] = ["dockerignore", "md", "bak", "orig", "swp", "tmpl", "j2", "template"];
    if matches!(file, "Dockerfile" | "Containerfile") {
        return Some("");
    }
    let rest = file.strip_prefix("Dockerfile.").or_else(|| file.strip_prefix("Containerfile."));
    let rest = rest.or_else(|| file.strip_suffix(".Dockerfile")).or_else(|| file.strip_suffix(".dockerfile"));
    rest.filter(|rest| !rest.is_empty() && !ENDINGS.iter().any(|ending| rest.ends_with(ending)))
}

fn dockerfile(root: &Path, path: &Path) -> Option<Dockerfile> {
    if std::fs::metadata(root.join(path)).ok()?.len() > LARGEST {
        return None;
    }
    let text = std::fs::read_to_string(root.join(path)).ok()?;
    let words = Words::of(&text);
    if words.bases.is_empty() && words.stages.is_empty() {
        return None;
    }
    let folder = slashes(path.parent().unwrap_or(Path::new("")));
    let file = path.file_name()?.to_str()?.to_string();
    let context = context(root, &folder, &words.sources);
    let unignored = unignored(root, &context, &folder, &file);
    Some(Dockerfile { folder, file, context, bases: words.bases, stages: words.stages, unignored })
}

fn slashes(path: &Path) -> String {
    let parts: Vec<_> =
        path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    parts.join("/")
}

/// Where what is copied is: beside the Dockerfile or in a folder above it.
fn context(root: &Path, folder: &str, sources: &[String]) -> String {
    let has_all = |candidate: &str| sources.iter().all(|source| root.join(candidate).join(source).exists());
    let is_place = folder.rsplit('/').next().is_some_and(|name| PLACES.contains(&name));
    if sources.is_empty() && !is_place || !sources.is_empty() && has_all(folder) {
        return folder.to_string();
    }
    let mut candidate = folder;
    while !candidate.is_empty() {
        candidate = candidate.rsplit_once('/').map_or("", |(above, _)| above);
        let fits = if sources.is_empty() { !PLACES.contains(&candidate) } else { has_all(candidate) };
        if fits {
            return candidate.to_string();
        }
    }
    folder.to_string()
}

/// Large or private folders that would be part of the context.
fn unignored(root: &Path, context: &str, folder: &str, file: &str) -> Vec<String> {
    let context = root.join(context);
    let own = root.join(folder).join(format!("{file}.dockerignore"));
    if context.join(".dockerignore").exists() || own.exists() {
        return Vec::new();
    }
    let folders = [".git", "node_modules", "target", ".venv"].into_iter();
    folders.filter(|name| context.join(name).exists()).map(str::to_string).collect()
}

/// The words of a Dockerfile that matter here.
#[derive(Default)]
struct Words {
    bases: Vec<String>,
    stages: Vec<String>,
    sources: Vec<String>,
}

impl Words {
    fn of(text: &str) -> Self {
        let mut found = Self::default();
        let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next().map(str::to_ascii_uppercase).as_deref() {
                Some("FROM") => found.from(words.filter(|word| !word.starts_with("--")).collect()),
                Some("COPY" | "ADD") => found.copy(&words.collect::<Vec<_>>()),
                _ => {}
            }
        }
        found
    }

    fn from(&mut self, words: Vec<&str>) {
        let Some(base) = words.first() else { return };
        let is_stage = self.stages.iter().any(|stage| stage.eq_ignore_ascii_case(base));
        if !is_stage && *base != "scratch" && !base.contains('$') {
            self.bases.push(base.to_string());
        }
        match words.as_slice() {
            [_, word, name, ..] if word.eq_ignore_ascii_case("as") => self.stages.push(name.to_string()),
            _ if is_stage || *base == "scratch" || base.contains('$') => self.stages.push(String::new()),
            _ => {}
        }
    }

    /// Sources in the context that are known by name.
    fn copy(&mut self, words: &[&str]) {
        if words.iter().any(|word| word.starts_with("--from") || word.contains("<<")) {
            return;
        }
        let plain: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
        let Some((_, sources)) = plain.split_last() else { return };
        let is_known = |source: &&&str| !source.contains(['*', '?', '[', '$', '"', ':']) && **source != ".";
        let mut seen: BTreeSet<String> = self.sources.iter().cloned().collect();
        for source in sources.iter().filter(is_known) {
            let source = source.trim_start_matches("./").trim_matches('/').to_string();
            if !source.is_empty() && seen.insert(source.clone()) {
                self.sources.push(source);
            }
        }
    }
}

/// The address of `origin`, if this is a checkout and git is there to ask.
fn remote(root: &Path) -> Option<String> {
    let asked = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["config", "--get", "remote.origin.url"])
        .output()
        .ok()?;
    let text = String::from_utf8(asked.stdout).ok()?;
    Some(text.trim().to_string()).filter(|text| asked.status.success() && !text.is_empty())
}
