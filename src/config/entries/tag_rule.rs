//! Tag rules: docker/metadata-action's `type=semver,pattern=…`, a table of the same keys, or the short table
//! `{ semver = "…" }`. They are not templates; their patterns are metadata-action's.

use super::{EntryDeclaration, Field, Fields};
use crate::diag::{Located, Problem};
use crate::model::{TagRule, TagRuleKind};

/// The keys of every type.
const COMMON: [&str; 4] = ["enable", "priority", "prefix", "suffix"];

/// The rule; `None` for an empty text.
pub fn resolve(declared: &EntryDeclaration) -> Result<Option<Located<TagRule>>, Vec<Problem>> {
    let bare = |line: &str| Some(vec![("type", "raw".to_string()), ("value", line.to_string())]);
    let Some(mut fields) = declared.fields("config::bad-tag-rule", |text| Ok(text.value.clone()), bare)?
    else {
        return Ok(None);
    };
    fields.title = "a tag rule".to_string();
    let Some(kind) = kind(&mut fields) else { return Err(fields.problems) };
    fields.title = format!("a tag rule of type `{}`", kind.name());
    let known: Vec<&str> = own_keys(kind).iter().chain(&COMMON).copied().collect();
    check(&mut fields, kind);
    let attributes = fields.take_known(&known);
    fields.finish(Some(TagRule { kind, attributes }), &known, &[]).map(Some)
}

/// The type, or the key of the short form, which is a type with its main attribute as value.
fn kind(fields: &mut Fields<'_>) -> Option<TagRuleKind> {
    let short = |field: &Field| TagRuleKind::NAMES.iter().find(|(name, _)| *name == field.key);
    let is_short = fields.rest.iter().all(|field| field.key != "type");
    if is_short && let Some((name, kind)) = fields.rest.iter().find_map(short) {
        let field = fields.take(name)?;
        fields.rest.push(Field { key: main_key(*kind).to_string(), ..field });
        return Some(*kind);
    }
    fields.kind(&TagRuleKind::NAMES)
}

fn check(fields: &mut Fields<'_>, kind: TagRuleKind) {
    let is_needed = !matches!(kind, TagRuleKind::Schedule | TagRuleKind::Edge | TagRuleKind::Sha);
    if is_needed {
        fields.needs(main_key(kind));
    }
    match kind {
        TagRuleKind::Ref => fields.check_word("event", &["branch", "tag", "pr"]),
        TagRuleKind::Sha => fields.check_word("format", &["short", "long"]),
        _ => {}
    }
    if let Some(field) = fields.find("priority")
        && field.value.parse::<i64>().is_err()
    {
        let place = field.value_place.clone();
        fields.report("`priority` must be a number".to_string(), place, "not a number");
    }
}

/// The attribute that says most.
fn main_key(kind: TagRuleKind) -> &'static str {
    own_keys(kind)[0]
}

fn own_keys(kind: TagRuleKind) -> &'static [&'static str] {
    match kind {
        TagRuleKind::Schedule => &["pattern"],
        TagRuleKind::Semver | TagRuleKind::Pep440 => &["pattern", "value", "match"],
        TagRuleKind::Match => &["pattern", "group", "value"],
        TagRuleKind::Edge => &["branch"],
        TagRuleKind::Ref => &["event"],
        TagRuleKind::Raw => &["value"],
        TagRuleKind::Sha => &["format"],
    }
}
