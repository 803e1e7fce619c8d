//! In what parts differ, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::Aspect;
use crate::base::{Part, Parts};

/// One disagreement, with both sides.
pub(super) struct Difference {
    pub aspect: Aspect,
    /// About what.
    pub what: String,
    /// Which part.
    pub part: String,
    pub theirs: String,
    /// Who says otherwise.
    pub whose: String,
    pub ours: String,
}

/// The variables that differ, with both values.
pub(super) fn variables(
    theirs: &BTreeMap<String, String>,
    ours: &BTreeMap<String, String>,
) -> Vec<(String, String, String)> {
    let names: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let text = |value: Option<&String>| value.map_or("not set".to_string(), |value| format!("`{value}`"));
    let differing = names.into_iter().filter(|name| theirs.get(*name) != ours.get(*name));
    differing.map(|name| (name.clone(), text(theirs.get(name)), text(ours.get(name)))).collect()
}

/// The first difference of two plans: what it is about, and both sides.
pub(super) fn first(theirs: &Parts, ours: &Parts) -> Option<(String, String, String)> {
    let difference = Parts::diff(theirs, ours).into_iter().next()?;
    let what = format!("`{}`", difference.path.join(" "));
    Some((what, text(difference.old.as_ref()), text(difference.new.as_ref())))
}

fn text(part: Option<&Part>) -> String {
    match part {
        None => "missing".to_string(),
        Some(Part::Text(text)) if text.is_empty() => "there".to_string(),
        Some(Part::Text(text)) => format!("`{text}`"),
        Some(Part::Digest(digest)) => digest.short(),
        Some(Part::Parts(_)) => "there".to_string(),
    }
}
