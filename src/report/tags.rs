//! What targets are called and what is said of them: version, tags, labels, annotations.

use serde_json::{Map, Value, json};

use super::bake_json::annotation_text;
use crate::model::Target;

/// `{targets: {NAME: …}}`; what one target alone has stands at the top as well.
pub fn json(targets: &[&Target]) -> Value {
    let by_name: Map<String, Value> =
        targets.iter().map(|target| (target.name.clone(), target_json(target))).collect();
    let mut document = match targets {
        [only] => by_name.get(&only.name).and_then(Value::as_object).cloned().unwrap_or_default(),
        _ => Map::new(),
    };
    document.insert("targets".to_string(), Value::Object(by_name));
    Value::Object(document)
}

fn target_json(target: &Target) -> Value {
    json!({
        "version": version(target),
        "tags": names(target),
        "tag-names": tag_names(target),
        "labels": target.labels,
        "annotations": target.annotations.iter().map(annotation_text).collect::<Vec<_>>(),
    })
}

/// One paragraph for each target.
pub fn text(targets: &[&Target]) -> String {
    let mut text = String::new();
    for target in targets {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&target.name);
        text.push('\n');
        let labels = target.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let annotations = target.annotations.iter().map(annotation_text).collect();
        let version = version(target).map(str::to_string).into_iter().collect();
        for (title, lines) in
            [("version", version), ("tags", names(target)), ("labels", labels), ("annotations", annotations)]
        {
            add_lines(&mut text, title, &lines);
        }
    }
    text
}

fn add_lines(text: &mut String, title: &str, lines: &[String]) {
    for (at, line) in lines.iter().enumerate() {
        let title = if at == 0 { title } else { "" };
        text.push_str(&format!("  {title:<11}  {line}\n"));
    }
}

fn version(target: &Target) -> Option<&str> {
    target.tagging.as_ref()?.version.as_deref()
}

/// The names that rules give, as they give them, and those that the file lists.
fn names(target: &Target) -> Vec<String> {
    let (mut names, made) = match &target.tagging {
        Some(tagging) => (tagging.names.clone(), tagging.made),
        None => (Vec::new(), 0),
    };
    names.extend(target.tags.iter().skip(made).map(|tag| tag.value.familiar()));
    names
}

/// Tags alone, without images.
fn tag_names(target: &Target) -> Vec<String> {
    let (mut names, made) = match &target.tagging {
        Some(tagging) => (tagging.tags.clone(), tagging.made),
        None => (Vec::new(), 0),
    };
    for tag in target.tags.iter().skip(made).filter_map(|tag| tag.value.tag()) {
        if !names.iter().any(|known| known == tag) {
            names.push(tag.to_string());
        }
    }
    names
}
