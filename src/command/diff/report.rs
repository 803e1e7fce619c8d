//! Differences as text, and as JSON.

use serde_json::{Value, json};

use super::config::Change;
use super::files::{FileChange, FileState};
use super::{Differences, PlatformDifference};
use crate::command::inspect::text::clean;
use crate::oci::Descriptor;
use crate::ui::{bytes, count, pad, width};

/// Files of one platform that are told without being asked for all.
const MOST_FILES: usize = 40;

pub fn text(differences: &Differences, all_files: bool) -> String {
    let Differences { old, new, only_old, only_new, annotations, platforms } = differences;
    if old.1 == new.1 {
        return format!("both are {}\n", old.1);
    }
    let mut text = format!("- {}  {}\n+ {}  {}\n", clean(&old.0), old.1, clean(&new.0), new.1);
    text.extend(only_old.iter().map(|platform| format!("\n- {platform}\n")));
    text.extend(only_new.iter().map(|platform| format!("\n+ {platform}\n")));
    text.push_str(&section("annotations", annotations));
    for difference in platforms {
        text.push_str(&platform_text(difference, all_files));
    }
    if only_old.is_empty() && only_new.is_empty() && annotations.is_empty() && platforms.is_empty() {
        text.push_str("\nthe images of all platforms are the same\n");
    }
    text
}

fn platform_text(difference: &PlatformDifference, all_files: bool) -> String {
    let (old, new) = difference.sizes;
    let mut text = format!("\n{}  {}\n", difference.platform, grown(old, new));
    text.push_str(&section("config", &difference.config));
    text.push_str(&section("annotations", &difference.annotations));
    text.push_str(&layers(difference));
    if let Some(files) = &difference.files {
        text.push_str(&files_text(files, all_files));
    }
    text
}

/// `20.1 MB → 20.4 MB (+1.2 %)`
fn grown(old: u64, new: u64) -> String {
    if old == new {
        return bytes(old);
    }
    let percent = (new as f64 - old as f64) / (old.max(1) as f64) * 100.0;
    format!("{} → {} ({percent:+.1} %)", bytes(old), bytes(new))
}

fn section(title: &str, changes: &[Change]) -> String {
    if changes.is_empty() {
        return String::new();
    }
    let widest = changes.iter().map(|change| width(&clean(&change.key))).max().unwrap_or_default();
    let lines = changes.iter().map(|change| {
        let key = pad(&clean(&change.key), widest);
        match (&change.old, &change.new) {
            (Some(old), Some(new)) => format!("    ~ {key}  {} → {}\n", clean(old), clean(new)),
            (Some(old), None) => format!("    - {key}  {}\n", clean(old)),
            (None, new) => format!("    + {key}  {}\n", clean(new.as_deref().unwrap_or_default())),
        }
    });
    format!("  {title}\n{}", lines.collect::<String>())
}

fn layers(difference: &PlatformDifference) -> String {
    if difference.only_old.is_empty() && difference.only_new.is_empty() {
        return format!("  layers  {}, all the same\n", difference.shared_layers);
    }
    let line = |sign: char, layer: &Descriptor| {
        format!("    {sign} sha256:{}  {}\n", layer.digest.short(), bytes(layer.size))
    };
    let gone = difference.only_old.iter().map(|layer| line('-', layer));
    let come = difference.only_new.iter().map(|layer| line('+', layer));
    format!("  layers  {} shared\n{}", difference.shared_layers, gone.chain(come).collect::<String>())
}

fn files_text(files: &[FileChange], all_files: bool) -> String {
    if files.is_empty() {
        return "  files   all the same\n".to_string();
    }
    let number = |which: fn(&FileChange) -> bool| files.iter().filter(|change| which(change)).count();
    let (added, removed) = (number(|change| change.old.is_none()), number(|change| change.new.is_none()));
    let changed = files.len() - added - removed;
    let mut text = format!("  files   {added} added, {removed} removed, {changed} changed\n");
    let most = if all_files { usize::MAX } else { MOST_FILES };
    let shown: Vec<(String, String)> =
        files.iter().take(most).map(|change| (clean(&change.path), what(change))).collect();
    let widest = shown.iter().map(|(path, _)| width(path)).max().unwrap_or_default().min(48);
    for ((path, what), change) in shown.iter().zip(files) {
        let sign = match (&change.old, &change.new) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        let line = format!("    {sign} {}  {what}", pad(path, widest));
        text.push_str(&format!("{}\n", line.trim_end()));
    }
    if files.len() > most {
        text.push_str(&format!("    and {}: --all-files\n", count(files.len() - most, "more file")));
    }
    text
}

/// What became of a file.
fn what(change: &FileChange) -> String {
    let (old, new) = match (&change.old, &change.new) {
        (Some(old), Some(new)) => (old, new),
        (Some(only), None) | (None, Some(only)) => return state(only),
        (None, None) => return String::new(),
    };
    let mut parts = Vec::new();
    if old.kind != new.kind {
        parts.push(format!("{} → {}", old.kind, new.kind));
    }
    if old.digest != new.digest && old.kind == new.kind {
        parts.push(match old.size == new.size {
            true => format!("other content, {}", bytes(new.size)),
            false => format!("{} → {}", bytes(old.size), bytes(new.size)),
        });
    }
    if old.target != new.target && old.kind == new.kind {
        let target = |state: &FileState| clean(state.target.as_deref().unwrap_or_default());
        parts.push(format!("{} → {}", target(old), target(new)));
    }
    if old.mode != new.mode {
        parts.push(format!("mode {:04o} → {:04o}", old.mode, new.mode));
    }
    if old.owner != new.owner {
        parts.push(format!("owner {}:{} → {}:{}", old.owner.0, old.owner.1, new.owner.0, new.owner.1));
    }
    if old.has_other_attributes(new) {
        parts.push("other extended attributes".to_string());
    }
    parts.join(", ")
}

fn state(state: &FileState) -> String {
    match (state.kind, &state.target) {
        ("file", _) => bytes(state.size),
        (kind, Some(target)) => format!("{kind} {}", clean(target)),
        (kind, None) => kind.to_string(),
    }
}

pub fn json(differences: &Differences) -> Value {
    let Differences { old, new, only_old, only_new, annotations, platforms } = differences;
    json!({
        "old": { "name": old.0, "digest": old.1.to_string() },
        "new": { "name": new.0, "digest": new.1.to_string() },
        "only-old": only_old,
        "only-new": only_new,
        "annotations": changes_json(annotations),
        "platforms": platforms.iter().map(platform_json).collect::<Vec<_>>(),
    })
}

fn platform_json(difference: &PlatformDifference) -> Value {
    let layers = |layers: &[Descriptor]| {
        let all =
            layers.iter().map(|layer| json!({ "digest": layer.digest.to_string(), "size": layer.size }));
        all.collect::<Vec<_>>()
    };
    let files = difference.files.as_ref().map(|files| files.iter().map(file_json).collect::<Vec<_>>());
    json!({
        "platform": difference.platform,
        "old": { "digest": difference.digests.0.to_string(), "content-size": difference.sizes.0 },
        "new": { "digest": difference.digests.1.to_string(), "content-size": difference.sizes.1 },
        "config": changes_json(&difference.config),
        "annotations": changes_json(&difference.annotations),
        "layers": {
            "shared": difference.shared_layers,
            "only-old": layers(&difference.only_old),
            "only-new": layers(&difference.only_new),
        },
        "files": files,
    })
}

fn changes_json(changes: &[Change]) -> Value {
    changes.iter().map(|change| json!({ "key": change.key, "old": change.old, "new": change.new })).collect()
}

fn file_json(change: &FileChange) -> Value {
    let side = |state: &Option<FileState>| {
        state.as_ref().map(|state| {
            json!({
                "kind": state.kind,
                "size": state.size,
                "mode": format!("{:04o}", state.mode),
                "owner": format!("{}:{}", state.owner.0, state.owner.1),
                "digest": state.digest.map(|digest| digest.to_string()),
                "target": state.target,
            })
        })
    };
    json!({ "path": change.path, "old": side(&change.old), "new": side(&change.new) })
}
