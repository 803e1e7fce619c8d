//! The shape of config.toml for editors, as `config::schema` has it for multiarch.toml: doc comments are the
//! documentation of the keys, fields the one list of them.

use std::collections::BTreeMap;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};

use crate::config::schema::Builder;

/// The user's own settings of mab.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserFile {
    /// The local store.
    pub store: Option<Store>,
    /// How a run is shown.
    pub ui: Option<Ui>,
    /// How registries are reached, by host as a reference names it.
    pub registry: Option<BTreeMap<String, Registry>>,
    /// Engines on other machines, by name.
    pub builder: Option<BTreeMap<String, Builder>>,
}

/// The local store.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Store {
    /// Its folder, relative to this file. `--store` and `MAB_STORE` are stronger.
    pub path: Option<String>,
    /// What `mab prune` leaves at most, such as `50GB`, of all that is in the store; a bake prunes to that as well.
    /// `--keep-bytes` is stronger.
    pub budget: Option<String>,
    /// How long `mab prune` keeps what nobody uses: `90m`, `12h`, `14d`, `2w`; a bake prunes by that as well.
    /// `--unused-for` is stronger.
    pub keep: Option<String>,
    /// Whether a bake that succeeds prunes by `budget` and `keep` where they are given, once an hour at most: `true`
    /// unless set. `MAB_AUTO_PRUNE=off` is stronger.
    pub auto_prune: Option<bool>,
}

/// How a run is shown.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ui {
    /// As `--progress`, which is stronger, as is `MAB_PROGRESS`.
    pub progress: Option<Progress>,
    /// Whether colours are used on a terminal. `NO_COLOR` is stronger.
    pub color: Option<Color>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Progress {
    Auto,
    Tty,
    Plain,
    Json,
    Quiet,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    Auto,
    Never,
}

/// How a registry is reached.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Registry {
    /// Hosts, perhaps with a folder, that are asked first for what is pulled. Each with its own credentials.
    pub mirrors: Option<Vec<String>>,
    /// A file of certificates, in PEM, that are trusted besides the system's.
    pub ca: Option<String>,
    /// It may be spoken to without TLS.
    pub insecure: Option<bool>,
    /// It collects manifests that no tag leads to: each gets one until the image's own tags lead to it.
    pub staging_tags: Option<bool>,
}

/// The schema as the text of `schema/config.schema.json`.
pub fn json() -> String {
    let generator: SchemaGenerator = SchemaSettings::draft2020_12().into_generator();
    let schema = generator.into_root_schema_for::<UserFile>();
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
