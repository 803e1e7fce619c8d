//! Rules for tags, and what goes with them.

use schemars::JsonSchema;

use super::Entry;

/// Lines of docker/metadata-action, several in one text or each alone; or tables.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Lines {
    Text(String),
    List(Vec<Entry>),
}

/// Whether, and what besides what is known.
#[derive(JsonSchema)]
#[serde(untagged)]
pub enum Switch {
    IsOn(bool),
    /// `key=value`, with the expressions of tag rules.
    Lines(Vec<String>),
}

/// What an annotation stands on.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    Manifest,
    Index,
    ManifestDescriptor,
    IndexDescriptor,
}

/// Whose ways are followed.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// To the letter, with what is known to go wrong.
    MetadataAction,
    None,
}

/// Who gets a tag that several versions would move.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Floating {
    /// The highest version, as far as git's tags say.
    Highest,
    /// The highest version, as far as the repository's own tags say when the tag moves.
    Registry,
    /// Whichever is built last.
    Any,
}
