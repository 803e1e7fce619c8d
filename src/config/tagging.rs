//! The keys by which tags, labels and annotations are made by rules.

use toml::de::DeValue;

use super::conditional::Conditional;
use super::declare::{Compat, Layer};
use super::entries::{self, EntryDeclaration};
use super::read::read_word;
use super::table::{Reader, Role, Value};
use super::text::Text;
use crate::diag::Located;
use crate::model::AnnotationLevel;
use crate::tagging::Floating;

const COMPATS: [(&str, Compat); 2] = [("metadata-action", Compat::MetadataAction), ("none", Compat::None)];
const FLOATINGS: [(&str, Floating); 3] =
    [("highest", Floating::Highest), ("registry", Floating::Registry), ("any", Floating::Any)];
pub const LEVELS: [(&str, AnnotationLevel); 4] = [
    ("manifest", AnnotationLevel::Manifest),
    ("index", AnnotationLevel::Index),
    ("manifest-descriptor", AnnotationLevel::ManifestDescriptor),
    ("index-descriptor", AnnotationLevel::IndexDescriptor),
];

pub fn is_key(key: &str) -> bool {
    matches!(
        key,
        "tag-rules"
            | "flavor"
            | "compat"
            | "floating"
            | "git-tag-prefix"
            | "oci-labels"
            | "oci-annotations"
            | "oci-levels"
    )
}

pub fn read(reader: &mut Reader<'_>, layer: &mut Layer, key: &str, value: &Value<'_>) {
    match key {
        "tag-rules" => layer.tag_rules = read_lines(reader, key, value),
        "flavor" => layer.flavor = read_lines(reader, key, value),
        "compat" => layer.compat = read_word(reader, key, value, &COMPATS),
        "floating" => layer.floating = read_word(reader, key, value, &FLOATINGS),
        "git-tag-prefix" => layer.git_tag_prefix = reader.text(key, value, Role::Template),
        "oci-labels" => (layer.has_oci_labels, layer.oci_labels) = read_switch(reader, key, value),
        "oci-annotations" => {
            (layer.has_oci_annotations, layer.oci_annotations) = read_switch(reader, key, value)
        }
        _ => layer.oci_levels = read_levels(reader, key, value),
    }
    // What they come to depends on the commit; a file that is printed has it already.
    if !reader.file.is_literal && key != "floating" && key != "flavor" {
        reader.uses_git.tags = true;
    }
}

/// A list of lines and tables, or several lines in one string.
fn read_lines(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
) -> Option<Vec<Conditional<EntryDeclaration>>> {
    match value.get_ref() {
        DeValue::String(_) => {
            let text = reader.text(key, value, Role::Raw)?;
            Some(vec![Conditional::always(EntryDeclaration::Line(text))])
        }
        _ => entries::read(reader, key, value, Role::Raw),
    }
}

/// `true` and `false`, or lines that are added.
fn read_switch(reader: &mut Reader<'_>, key: &str, value: &Value<'_>) -> (Option<bool>, Option<Vec<Text>>) {
    match value.get_ref() {
        DeValue::Boolean(is_on) => (Some(*is_on), None),
        DeValue::Array(_) => (Some(true), reader.texts(key, value, Role::Raw)),
        _ => {
            reader.mismatch(key, value, "`true`, `false` or a list of `key=value`");
            (None, None)
        }
    }
}

fn read_levels(
    reader: &mut Reader<'_>,
    key: &str,
    value: &Value<'_>,
) -> Option<Vec<Located<AnnotationLevel>>> {
    let members = reader.list(key, value, "a list of levels")?;
    let read = |member: &Value<'_>| {
        let level = read_word(reader, key, member, &LEVELS)?;
        Some(Located::new(level, reader.place(member.span())))
    };
    Some(members.into_iter().filter_map(read).collect())
}
