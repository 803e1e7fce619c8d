//! What differs between two locks, for people; and which entries a name on the command line means.

use std::fmt;

use super::{Lock, Section};
use crate::base::Digest;
use crate::pattern::Glob;

/// One entry that came, went or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added { name: String, what: String },
    Changed { name: String, old: String, new: String },
    Removed { name: String },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { name, what } => write!(f, "added    {name}  {what}"),
            Self::Changed { name, old, new } => write!(f, "changed  {name}  {old} → {new}"),
            Self::Removed { name } => write!(f, "removed  {name}"),
        }
    }
}

/// From `old` to `new`, in the order of the file.
pub fn changes(old: &Lock, new: &Lock) -> Vec<Change> {
    let mut changes = Vec::new();
    let (before, after) = (flat(old), flat(new));
    for ((section, name), what) in &after {
        let known = before
            .iter()
            .find(|((section_before, name_before), _)| section_before == section && name_before == name);
        match known {
            None => changes.push(Change::Added { name: name.clone(), what: what.clone() }),
            Some((_, before)) if before == what => {}
            Some((_, before)) => {
                changes.push(Change::Changed { name: name.clone(), old: before.clone(), new: what.clone() })
            }
        }
    }
    for ((section, name), _) in &before {
        if !after
            .iter()
            .any(|((section_after, name_after), _)| section_after == section && name_after == name)
        {
            changes.push(Change::Removed { name: name.clone() });
        }
    }
    changes
}

/// Every name with what it is pinned to, in short.
fn flat(lock: &Lock) -> Vec<((Section, String), String)> {
    let mut flat = Vec::new();
    for (name, image) in &lock.images {
        let platforms: Vec<String> = image.platforms.keys().map(ToString::to_string).collect();
        let what = format!("{} ({})", short(&image.digest), platforms.join(", "));
        flat.push(((Section::Image, name.clone()), what));
    }
    for (name, commit) in &lock.commits {
        flat.push(((Section::Git, name.clone()), commit.commit[..12].to_string()));
    }
    for (name, file) in &lock.files {
        flat.push(((Section::Http, name.clone()), short(&file.digest)));
    }
    flat
}

fn short(digest: &Digest) -> String {
    format!("sha256:{}", digest.short())
}

/// The entries that `wanted` means: named so in full, or but for the tag or ref, or by a pattern of `*` and `?`.
pub fn names_like<'l>(lock: &'l Lock, wanted: &str) -> Vec<(Section, &'l str)> {
    // A star is to match slashes, too, which no name's parts are separated by as paths are.
    let flat = |text: &str| text.replace('/', "\u{1}");
    let glob = Glob::parse(flat(wanted).as_bytes()).ok();
    let is_meant = |section: Section, name: &str| {
        name == wanted
            || untagged(section, name) == wanted
            || glob.as_ref().is_some_and(|glob| glob.matches(flat(name).as_bytes()))
    };
    lock.names().filter(|(section, name)| is_meant(*section, name)).collect()
}

/// A name without what picks one of several contents.
fn untagged(section: Section, name: &str) -> &str {
    match section {
        Section::Image => {
            let name = name.split('@').next().unwrap_or(name);
            let start = name.rfind('/').map_or(0, |slash| slash + 1);
            name[start..].find(':').map_or(name, |colon| &name[..start + colon])
        }
        Section::Git => name.split('#').next().unwrap_or(name),
        Section::Http => name,
    }
}
