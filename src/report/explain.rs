//! The values of a target or a variable with the layers they come from, as text and as JSON.

use serde_json::{Map, Value, json};

use crate::base::Platform;
use crate::config::{How, Step};

/// What was asked for.
#[derive(Debug)]
pub struct Explanation {
    pub target: Option<String>,
    pub values: Vec<Explained>,
    /// All values of a target, each in one line.
    pub is_summary: bool,
    /// What is not known.
    pub note: Option<&'static str>,
}

/// One value.
#[derive(Debug)]
pub struct Explained {
    /// As it is asked for.
    pub path: String,
    /// What it is, for all platforms or for some; `None` when it is not there.
    pub values: Vec<(Vec<Platform>, Option<Value>)>,
    /// What it is when nobody says anything.
    pub default: Option<String>,
    /// Weakest first.
    pub steps: Vec<Held>,
}

/// A layer's word, and for whom it holds.
#[derive(Debug)]
pub struct Held {
    pub step: Step,
    pub holds: Holds,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Holds {
    /// Wherever it is said.
    Everywhere,
    For(Vec<Platform>),
    Nowhere,
}

pub fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    let width = explanation.values.iter().map(|one| one.path.len()).max().unwrap_or_default();
    for (at, one) in explanation.values.iter().enumerate() {
        if explanation.is_summary {
            text.push_str(&summary(one, width));
        } else {
            if at > 0 {
                text.push('\n');
            }
            text.push_str(&stack(one));
        }
    }
    if let Some(note) = explanation.note {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

fn summary(one: &Explained, width: usize) -> String {
    let mut text = String::new();
    for (platforms, value) in one.values.iter().filter(|(_, value)| value.is_some()) {
        let for_some =
            if one.values.len() > 1 { format!(" for {}", names(platforms)) } else { String::new() };
        let source = one.steps.iter().rev().find(|held| holds_for_some(held, platforms));
        let source = match source {
            Some(held) => format!("{}{}", held.step.layer, place(&held.step, ", ")),
            None => "built-in default".to_string(),
        };
        text.push_str(&format!("{:width$} = {}{for_some}    # {source}\n", one.path, value_text(value)));
    }
    text
}

fn gives(held: &Held, platforms: &[Platform]) -> bool {
    held.step.how != How::Removes && holds_for_some(held, platforms)
}

fn holds_for_some(held: &Held, platforms: &[Platform]) -> bool {
    match &held.holds {
        Holds::Everywhere => held.step.platform.as_ref().is_none_or(|only| platforms.contains(only)),
        Holds::For(some) => some.iter().any(|platform| platforms.contains(platform)),
        Holds::Nowhere => false,
    }
}

fn stack(one: &Explained) -> String {
    let mut text = String::new();
    for (platforms, value) in &one.values {
        let for_some =
            if one.values.len() > 1 { format!(" for {}", names(platforms)) } else { String::new() };
        text.push_str(&match value {
            Some(_) => format!("{} = {}{for_some}\n", one.path, value_text(value)),
            // Rules and what goes with them have no value of their own.
            None if one.steps.iter().any(|held| gives(held, platforms)) => {
                format!("{}{for_some}\n", one.path)
            }
            None => format!("{} is not set{for_some}\n", one.path),
        });
    }
    let mut rows: Vec<[String; 4]> = Vec::new();
    if let Some(default) = &one.default {
        let is_overridden = !one.steps.is_empty();
        let state = if is_overridden { "overridden" } else { "" };
        rows.push(["built-in default".to_string(), String::new(), default.clone(), state.to_string()]);
    }
    rows.extend(one.steps.iter().map(row));
    let widths = [0, 1, 2].map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or_default());
    for [layer, place, said, state] in rows {
        let line =
            format!("  {layer:0$}  {place:1$}  {said:2$}  {state}", widths[0], widths[1], widths[2].min(60));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(held: &Held) -> [String; 4] {
    let Step { layer, how, text, rendered, entry, .. } = &held.step;
    let said = match (how, rendered) {
        (How::Removes, _) => match entry {
            Some(entry) => format!("removes `{entry}`"),
            None => "removes it".to_string(),
        },
        (How::Adds, None) => format!("adds {text}"),
        (How::Adds, Some(rendered)) => format!("adds {text}, which is {rendered}"),
        (How::Gives, None) => text.clone(),
        (How::Gives, Some(rendered)) => format!("{text}, which is {rendered}"),
    };
    let state = match &held.holds {
        Holds::Everywhere => String::new(),
        Holds::For(platforms) => format!("for {}", names(platforms)),
        Holds::Nowhere => "overridden".to_string(),
    };
    [layer.clone(), place(&held.step, ""), said, state]
}

/// `file:line`
fn place(step: &Step, before: &str) -> String {
    step.place.as_ref().map(|place| format!("{before}{place}")).unwrap_or_default()
}

fn names(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn value_text(value: &Option<Value>) -> String {
    value.as_ref().map(Value::to_string).unwrap_or_default()
}

pub fn json(explanation: &Explanation) -> Value {
    let mut document = Map::new();
    document.insert("version".to_string(), json!(1));
    if let Some(target) = &explanation.target {
        document.insert("target".to_string(), json!(target));
    }
    let values = explanation.values.iter().map(|one| {
        let values = one.values.iter().map(|(platforms, value)| {
            let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
            json!({ "platforms": platforms, "value": value })
        });
        json!({
            "path": one.path,
            "values": values.collect::<Vec<_>>(),
            "default": one.default,
            "layers": one.steps.iter().map(layer_json).collect::<Vec<_>>(),
        })
    });
    document.insert("explained".to_string(), values.collect());
    if let Some(note) = explanation.note {
        document.insert("note".to_string(), json!(note));
    }
    Value::Object(document)
}

fn layer_json(held: &Held) -> Value {
    let Step { layer, platform, entry, how, text, rendered, place, .. } = &held.step;
    json!({
        "layer": layer.replace('`', ""),
        "platform": platform.as_ref().map(ToString::to_string),
        "entry": entry,
        "says": match how { How::Gives => "gives", How::Adds => "adds", How::Removes => "removes" },
        "text": text,
        "rendered": rendered,
        "file": place.as_ref().map(|place| place.source.name.clone()),
        "line": place.as_ref().map(|place| place.line()),
        "holds": match &held.holds {
            Holds::Everywhere => json!(true),
            Holds::For(platforms) => json!(platforms.iter().map(ToString::to_string).collect::<Vec<_>>()),
            Holds::Nowhere => json!(false),
        },
    })
}
