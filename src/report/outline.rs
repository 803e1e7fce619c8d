//! What Dockerfiles ask for, and which stages they have: as BuildKit's frontend prints it, as text and as JSON.
//!
//! Places are lines, as the frontend counts them. Caches are our own addition: the frontend has a list for them
//! that it leaves empty.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::diag::Place;
use crate::dockerfile::Dockerfile;
use crate::steps::{Outline, OutlineMount};

pub fn outline_text(outline: &Outline) -> String {
    let mut text = String::new();
    if outline.stage.is_some() || outline.description.is_some() {
        let name = outline.stage.as_deref().unwrap_or("(default)");
        let description = outline.description.as_deref().map(|description| ["DESCRIPTION:", description]);
        let rows = std::iter::once(["TARGET:", name]).chain(description);
        text.push_str(&table(1, rows));
        text.push('\n');
    }
    if !outline.args.is_empty() {
        let rows = outline.args.iter().map(|arg| {
            [&*arg.name, arg.value.as_deref().unwrap_or(""), arg.description.as_deref().unwrap_or("")]
        });
        text.push_str(&table(3, std::iter::once(["BUILD ARG", "VALUE", "DESCRIPTION"]).chain(rows)));
        text.push('\n');
    }
    for (title, mounts) in [("SECRET", &outline.secrets), ("SSH", &outline.ssh)] {
        if !mounts.is_empty() {
            let required = |mount: &OutlineMount| if mount.is_required { "true" } else { "" };
            let rows = mounts.iter().map(|mount| [&*mount.id, required(mount)]);
            text.push_str(&table(3, std::iter::once([title, "REQUIRED"]).chain(rows)));
            text.push('\n');
        }
    }
    if !outline.caches.is_empty() {
        let rows = outline.caches.iter().map(|mount| [&*mount.id]);
        text.push_str(&table(3, std::iter::once(["CACHE MOUNT"]).chain(rows)));
        text.push('\n');
    }
    text
}

pub fn outline_json(outline: &Outline, dockerfile: &Dockerfile) -> Value {
    let mut object = Map::new();
    put(&mut object, "name", outline.stage.as_ref());
    put(&mut object, "description", outline.description.as_ref());
    let args = outline.args.iter().map(|arg| {
        let mut object = Map::new();
        object.insert("name".to_string(), json!(arg.name));
        put(&mut object, "description", arg.description.as_ref());
        put(&mut object, "value", arg.value.as_ref().filter(|value| !value.is_empty()));
        object.insert("location".to_string(), location(&arg.place));
        Value::Object(object)
    });
    let mounts = |mounts: &[OutlineMount], key: &str| -> Vec<Value> {
        let one = |mount: &OutlineMount| {
            let mut object = Map::new();
            object.insert(key.to_string(), json!(mount.id));
            if mount.is_required {
                object.insert("required".to_string(), json!(true));
            }
            object.insert("location".to_string(), location(&mount.place));
            Value::Object(object)
        };
        mounts.iter().map(one).collect()
    };
    let lists = [
        ("args", args.collect()),
        ("secrets", mounts(&outline.secrets, "name")),
        ("ssh", mounts(&outline.ssh, "name")),
        ("cache", mounts(&outline.caches, "ID")),
    ];
    for (key, list) in lists {
        put(&mut object, key, Some(list).filter(|list: &Vec<Value>| !list.is_empty()));
    }
    object.insert("sources".to_string(), sources(dockerfile));
    Value::Object(object)
}

pub fn targets_text(dockerfile: &Dockerfile) -> String {
    let last = dockerfile.stages.len().saturating_sub(1);
    let rows: Vec<[String; 2]> = dockerfile
        .stages
        .iter()
        .map(|stage| {
            let name = stage.name.clone().unwrap_or_default();
            let name = match (name.is_empty(), stage.index == last) {
                (true, true) => "(default)".to_string(),
                (false, true) => format!("{name} (default)"),
                (_, false) => name,
            };
            [name, stage.description.clone().unwrap_or_default()]
        })
        .collect();
    let rows = rows.iter().map(|row| row.each_ref().map(String::as_str));
    table(1, std::iter::once(["TARGET", "DESCRIPTION"]).chain(rows))
}

pub fn targets_json(dockerfile: &Dockerfile) -> Value {
    let last = dockerfile.stages.len().saturating_sub(1);
    let targets = dockerfile.stages.iter().map(|stage| {
        let mut object = Map::new();
        put(&mut object, "name", stage.name.as_ref());
        put(&mut object, "default", (stage.index == last).then_some(true));
        put(&mut object, "description", stage.description.as_ref());
        put(&mut object, "base", Some(&stage.from.image.value));
        put(&mut object, "platform", stage.from.platform.as_ref().map(|platform| &platform.value));
        object.insert("location".to_string(), location(&stage.from.place));
        Value::Object(object)
    });
    json!({ "targets": targets.collect::<Vec<_>>(), "sources": sources(dockerfile) })
}

fn put<T: serde::Serialize>(object: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(key.to_string(), json!(value));
    }
}

fn sources(dockerfile: &Dockerfile) -> Value {
    json!([STANDARD.encode(dockerfile.source.text.as_bytes())])
}

fn location(place: &Place) -> Value {
    let end = place.source.line(place.span.end.saturating_sub(1).max(place.span.start));
    json!({ "ranges": [{ "start": { "line": place.line() }, "end": { "line": end } }] })
}

/// Columns as wide as their widest entry with `gap` blanks behind it, but for the last.
fn table<'a, const N: usize>(gap: usize, rows: impl Iterator<Item = [&'a str; N]>) -> String {
    let rows: Vec<[&str; N]> = rows.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0) + gap;
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
            match at + 1 == N {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:width$}")),
            }
        }
        text.push('\n');
    }
    text
}
